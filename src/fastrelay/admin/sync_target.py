"""The compiled types as sync-table sees them: where the file is, how it is made, what is in the old and in the new."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fastrelay.admin.compile_table import Builder
from fastrelay.tables import TableError, cdb, lmdb_table
from fastrelay.tables._cdb import CdbFile, CorruptFile
from fastrelay.tables._lmdb import LmdbFile
from fastrelay.tables.build import Form, build
from fastrelay.tables.cdb_build import build_cdb
from fastrelay.tables.table import fold_nothing, strerror

Get = Callable[[bytes], bytes | None]


@dataclass(frozen=True, slots=True)
class Target:
    """`existing()`: the entries of the table that serves, TableError when it cannot be read."""

    spec: str
    path: str
    form: Form
    make: Builder
    existing: Callable[[], Iterator[tuple[bytes, bytes]]]
    open_new: Callable[[str], Get]


def target_of(spec: str) -> Target:
    kind, _, name = spec.partition(":")
    if kind == "cdb":
        path = name + cdb.SUFFIX
        return Target(
            spec, path, Form(wanted_end=b""), build_cdb, lambda: _cdb_entries(spec, path), _open_cdb
        )
    path = name + lmdb_table.SUFFIX
    return Target(
        spec,
        path,
        Form(),
        build,
        lambda: _lmdb_entries(name),
        lambda made: LmdbFile(spec, os.fsencode(made), False, False, fold_nothing).get,
    )


def _lmdb_entries(name: str) -> Iterator[tuple[bytes, bytes]]:
    table = lmdb_table.LmdbTable(name, False, False)
    if table.problem is not None:
        raise TableError(table.label, table.problem)
    yield from table.items()


def _cdb_entries(spec: str, path: str) -> Iterator[tuple[bytes, bytes]]:
    try:
        for key, value in CdbFile(os.fsencode(path)).entries():
            yield key.removesuffix(b"\0"), value.removesuffix(b"\0")
    except OSError as error:
        raise TableError(spec, f"{path}: {strerror(error)}") from error
    except CorruptFile as error:
        raise TableError(spec, f"{path}: truncated or not a cdb file") from error


def _open_cdb(made: str) -> Get:
    return CdbFile(os.fsencode(made)).get
