"""open_writer(): the table that "type:name" names, to be written to.

Who keeps a cache in a table opens it here; postmap does so for -i, -d and -s of `proxy:`, and master/proxywrite.py
for what it is asked to write. A table with `proxy:` is written by that process, where it is another than this one.
"""

from __future__ import annotations

from fastrelay.tables.lmdb_table import LmdbTable
from fastrelay.tables.lmdb_writer import LmdbWriter
from fastrelay.tables.options import NOWHERE, Options, Surroundings
from fastrelay.tables.proxy import PREFIX, refusal, strip
from fastrelay.tables.proxywrite import ProxyWriter
from fastrelay.tables.registry import open_table
from fastrelay.tables.remote import RemoteTable
from fastrelay.tables.remote_writer import RemoteWriter
from fastrelay.tables.table import TableError
from fastrelay.tables.writer import TableWriter


def open_writer(
    spec: str, *, fold: bool = True, utf8: bool = True, around: Surroundings = NOWHERE
) -> TableWriter:
    """TableError: there is no such table, it cannot be written to, or proxy_write_maps does not name it."""
    how = Options(fold, utf8, around)
    if spec.startswith(PREFIX):
        spec = approved_name(spec, around)
        if around.proxywrite:
            return ProxyWriter(spec, how)
    table = open_table(spec, fold=fold, utf8=utf8, around=around)
    if isinstance(table, LmdbTable):
        return LmdbWriter(table, how)
    if table.problem is not None:
        raise TableError(spec, table.problem)
    if not isinstance(table, RemoteTable) or not table.writable:
        raise TableError(spec, f"table type {table.type} cannot be written to")
    return RemoteWriter(table)


def approved_name(spec: str, around: Surroundings) -> str:
    """Of `proxy:type:name` what is behind `proxy:`; who asks for another is told as Postfix tells it."""
    name = strip(spec)
    if around.writable is not None and name not in around.writable:
        for text in refusal(name, "read-write", "proxy_write_maps"):
            around.complain(text)
        raise TableError(PREFIX + name, f'proxywrite service is not configured for table "{name}"')
    return name
