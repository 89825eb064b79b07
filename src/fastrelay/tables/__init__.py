"""Lookup tables: hash: lmdb: texthash: cidr: regexp: and the others, asked with get(), built by postmap."""

from fastrelay.tables.maps import Maps
from fastrelay.tables.matching import AddressMatcher, DomainMatcher, StringMatcher
from fastrelay.tables.registry import open_table, table_types
from fastrelay.tables.table import Table, TableError

__all__ = [
    "AddressMatcher",
    "DomainMatcher",
    "Maps",
    "StringMatcher",
    "Table",
    "TableError",
    "open_table",
    "table_types",
]
