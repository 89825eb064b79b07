"""The table types by name, and open_table(), which makes a table of "type:name".

A type that there is not, or a name that makes no table, gives a table that answers TableError: a relay
starts with it and says 451 where it is asked (Postfix's dict_surrogate).
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from importlib.util import find_spec

from fastrelay.tables.cdb import CdbTable
from fastrelay.tables.cidr import CidrTable
from fastrelay.tables.compound import PipeTable, UnionTable
from fastrelay.tables.environ import EnvironTable
from fastrelay.tables.fail import FailTable
from fastrelay.tables.inline import InlineTable
from fastrelay.tables.internal import InternalTable
from fastrelay.tables.lmdb_table import BtreeTable, HashTable, LmdbTable
from fastrelay.tables.options import NOWHERE, Options, Surroundings
from fastrelay.tables.proxy import open_proxy
from fastrelay.tables.randmap import RandomTable
from fastrelay.tables.regexp import RegexpTable
from fastrelay.tables.static import StaticTable
from fastrelay.tables.surrogate import SurrogateTable
from fastrelay.tables.table import Table, choose_fold
from fastrelay.tables.texthash import TextHashTable
from fastrelay.tables.unix import UnixTable

Factory = Callable[[str, Options], Table]

EXTRAS = {  # the class in tables/<type>.py, and the library that it needs, if any
    "ldap": ("LdapTable", "ldap"),
    "memcache": ("MemcacheTable", ""),
    "mysql": ("MysqlTable", "asyncmy"),
    "nis": ("NisTable", ""),
    "pcre": ("PcreTable", "pcre2"),
    "pgsql": ("PgsqlTable", "asyncpg"),
    "redis": ("RedisTable", ""),
    "socketmap": ("SocketmapTable", ""),
    "sqlite": ("SqliteTable", "sqlite3"),
    "tcp": ("TcpTable", ""),
}


def _extra(kind: str, table: str, library: str) -> Factory:
    """A type that few use or whose library may be missing: its file is imported when a table is opened."""

    def make(name: str, how: Options) -> Table:
        try:
            importlib.import_module(library or __name__)
            module = importlib.import_module(f"fastrelay.tables.{kind}")
        except (ImportError, OSError) as error:
            problem = f"unsupported dictionary type: {kind}. Is fastrelay[{kind}] installed? ({error})"
            return SurrogateTable(f"{kind}:{name}", problem)
        made: Table = getattr(module, table)(name, how)
        return made

    return make


TYPES: dict[str, Factory] = {
    "btree": lambda name, how: BtreeTable(name, how.fold, how.utf8),
    "cdb": lambda name, how: CdbTable(name, choose_fold(how.fold, how.utf8), how.utf8),
    "cidr": lambda name, how: CidrTable(name, how.utf8),
    "environ": lambda name, how: EnvironTable(name, choose_fold(how.fold, how.utf8), how.utf8),
    "fail": lambda name, how: FailTable(name),
    "hash": lambda name, how: HashTable(name, how.fold, how.utf8),
    "inline": lambda name, how: InlineTable(name, choose_fold(how.fold, how.utf8), how.utf8),
    "internal": lambda name, how: InternalTable(name, choose_fold(how.fold, how.utf8)),
    "lmdb": lambda name, how: LmdbTable(name, how.fold, how.utf8),
    "pipemap": lambda name, how: PipeTable(name, lambda spec: _open(spec, how), how),
    "proxy": lambda name, how: open_proxy(name, how, _open, asks_a_server(name)),
    "randmap": lambda name, how: RandomTable(name, how.utf8),
    "regexp": lambda name, how: RegexpTable(name, how.utf8),
    "static": lambda name, how: StaticTable(name, how.utf8),
    "texthash": lambda name, how: TextHashTable(name, choose_fold(how.fold, how.utf8), how.utf8),
    "unionmap": lambda name, how: UnionTable(name, lambda spec: _open(spec, how), how),
    "unix": lambda name, how: UnixTable(name, choose_fold(how.fold, how.utf8)),
}
TYPES |= {kind: _extra(kind, *extra) for kind, extra in EXTRAS.items()}
_SERVERS = re.compile(rf"(?:^|[{{,\s])(?:{'|'.join(EXTRAS.keys() - {'pcre'})}):")
COMPILED_TYPES = ("hash", "btree", "lmdb", "cdb")  # what postmap can make


def open_table(spec: str, *, fold: bool = True, utf8: bool = True, around: Surroundings = NOWHERE) -> Table:
    """The table that `spec` names. Never raises: see `problem` for what is to be logged as an error."""
    return _open(spec, Options(fold, utf8, around))


def asks_a_server(spec: str) -> bool:
    """Is it, or is in it (pipemap:{...}), a table of a type that asks a server?"""
    return _SERVERS.search(spec) is not None


def table_types() -> list[str]:
    """What `postconf -m` lists."""
    return sorted(kind for kind in TYPES if kind not in EXTRAS or find_spec(EXTRAS[kind][1] or __name__))


def _open(spec: str, how: Options) -> Table:
    kind, colon, name = spec.partition(":")
    if not kind or not colon or not name:
        return SurrogateTable(spec, f'open dictionary: expecting "type:name" form instead of "{spec}"')
    factory = TYPES.get(kind)
    if factory is None:
        return SurrogateTable(spec, f"unsupported dictionary type: {kind}")
    return factory(name, how)
