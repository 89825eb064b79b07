"""fastrelay: a mail relay with the surface of Postfix and a log-structured queue; docs/flow.md is the map."""
