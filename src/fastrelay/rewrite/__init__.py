"""Addresses: parse, rewrite to canonical form, resolve to (transport, next hop); trivial-rewrite(8)."""
