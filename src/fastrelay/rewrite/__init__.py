"""Addresses: parsing, rewriting to canonical form, and resolving to (transport, next hop), as trivial-rewrite(8)."""
