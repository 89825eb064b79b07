"""Network and disk out: the delivery agents, each an implementation of borders.Agent."""
