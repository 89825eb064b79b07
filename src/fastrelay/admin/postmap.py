"""fastrelay postmap: compile, query, list and change lookup tables, as postmap(1) does.

Flags, messages and exit statuses are Postfix's; postalias shares everything but the source's syntax.
The compiled file is always `name.lmdb`, whole and new (tables/build.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import getopt
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import lmdb

from fastrelay import config
from fastrelay.master.table_surroundings import table_surroundings
from fastrelay.tables import Table, TableError, open_table
from fastrelay.tables.build import BuildError, Form, Sorter, build, delete, key_problem, ownership_of, update
from fastrelay.tables.lmdb_table import SUFFIX
from fastrelay.tables.pending import answer
from fastrelay.tables.registry import COMPILED_TYPES, TYPES
from fastrelay.tables.remote import RemoteTable
from fastrelay.tables.source import Entries, read_entries
from fastrelay.tables.table import Fold, choose_fold, strerror
from fastrelay.tables.text import printable

Reader = Callable[[Iterable[bytes], Entries], Iterator[tuple[int, bytes, bytes]]]


class Fatal(Exception):
    """Ends the program with a message and status 1."""


@dataclass(frozen=True, slots=True)
class Program:
    """What tells postmap and postalias apart."""

    name: str
    usage: str
    read: Reader
    listed: bytes  # between key and value in listings
    signatures: Callable[
        [Form, config.Config], list[tuple[bytes, bytes]]
    ]  # entries as stored that every table gets


@dataclass(slots=True)
class Options:
    """The flags that were given."""

    query: str | None = None
    remove: str | None = None
    listing: bool = False
    incremental: bool = False
    fold: bool = True
    utf8: bool = True
    as_owner: bool = True
    save_mode: bool = True
    form: Form = field(default_factory=Form)


POSTMAP = Program(
    "postmap",
    "[-fhinNoprsuvw] [-c config_dir] [-d key] [-q key] [map_type:]file...",
    read_entries,
    b"\t",
    lambda form, configuration: [],
)


def main(config_dir: Path, args: list[str]) -> int:
    return run(POSTMAP, config_dir, args)


def run(program: Program, config_dir: Path, args: list[str]) -> int:
    """Do what the arguments say; the exit status."""
    try:
        options, maps, config_dir = _parse(program, config_dir, args)
        configuration = config.load(config_dir)
        options.utf8 = options.utf8 and configuration.text("smtputf8_enable") == "yes"
        default = configuration.text("default_database_type")
        specs = [spec if ":" in spec else f"{default}:{spec}" for spec in maps]
        tool = Tool(program, options, configuration)
        try:
            status = tool.run(specs)
        finally:
            tool.close()
        sys.stdout.flush()
        return status
    except (Fatal, BuildError, config.ConfigError) as error:
        sys.stdout.flush()
        print(f"{program.name}: fatal: {error}", file=sys.stderr)
        return 1


def _parse(program: Program, config_dir: Path, args: list[str]) -> tuple[Options, list[str], Path]:
    options = Options()
    duplicates, end = "warn", b"\0"
    try:
        flags, maps = getopt.getopt(args, "c:d:fiNnopq:rsuvw")
    except getopt.GetoptError as error:
        print(f"{program.name}: {error}", file=sys.stderr)
        raise Fatal(f"usage: {program.name} {program.usage}") from error
    for flag, value in flags:
        match flag:
            case "-c":
                config_dir = Path(value)
            case "-d" | "-q" | "-s" if (
                options.query is not None or options.remove is not None or options.listing
            ):
                raise Fatal("specify only one of -s -q or -d")
            case "-d":
                options.remove = value
            case "-q":
                options.query = value
            case "-s":
                options.listing = True
            case "-f":
                options.fold = False
            case "-i":
                options.incremental = True
            case "-N" | "-n":
                end = b"\0" if flag == "-N" else b""
            case "-o":
                options.as_owner = False
            case "-p":
                options.save_mode = False
            case "-r" | "-w":
                duplicates = "replace" if flag == "-r" else "ignore"
            case "-u":
                options.utf8 = False
    if not maps:
        raise Fatal(f"usage: {program.name} {program.usage}")
    options.form = Form(duplicates, end)
    return options, maps, config_dir


class Tool:
    """One run of the program."""

    def __init__(self, program: Program, options: Options, configuration: config.Config) -> None:
        self._program = program
        self._options = options
        self._configuration = configuration
        self._fold: Fold = choose_fold(options.fold, options.utf8)
        self._tables: dict[str, Table] = {}
        self._waiter = asyncio.Runner()  # its loop is made at the first question to a server

    def run(self, specs: list[str]) -> int:
        options = self._options
        if options.remove is not None:
            keys = self._keys(options.remove)
            return 0 if self._delete(specs, list(keys)) else 1
        if options.query is not None:
            return 0 if self._query(specs, options.query) else 1
        if options.listing:
            self._list(specs[0])
        else:
            for spec in specs:
                self._create(spec)
        return 0

    def close(self) -> None:
        """End the connections to servers."""
        for table in self._tables.values():
            if isinstance(table, RemoteTable):
                self._waiter.run(table.close())
        self._waiter.close()

    def warn(self, text: str) -> None:
        print(f"{self._program.name}: warning: {text}", file=sys.stderr)

    def _keys(self, argument: str) -> Iterator[bytes]:
        if argument != "-":
            yield os.fsencode(argument)
            return
        for line in sys.stdin.buffer:
            yield line.removesuffix(b"\n")

    def _query(self, specs: list[str], argument: str) -> bool:
        found = False
        for key in self._keys(argument):
            for spec in specs:
                value = self._ask(spec, key)
                if value is None:
                    continue
                if not value:
                    self._warn_empty(spec, key)
                listed = key + self._program.listed + value if argument == "-" else value
                sys.stdout.buffer.write(listed + b"\n")
                found = True
                break
        return found

    def _ask(self, spec: str, key: bytes) -> bytes | None:
        try:
            table = self._open(spec)
            return self._waiter.run(answer(table.get, key)) if table.remote else table.get(key)
        except TableError as error:
            raise Fatal(f"table {spec}: query error: {error.reason}") from error

    def _open(self, spec: str) -> Table:
        """The table, opened once; one that cannot be used ends the program."""
        table = self._tables.get(spec)
        if table is None:
            around = table_surroundings(self._configuration, self.warn)
            table = open_table(spec, fold=self._options.fold, utf8=self._options.utf8, around=around)
            for text in table.warnings:
                self.warn(text)
            if table.problem is not None:
                raise Fatal(table.problem)
            self._tables[spec] = table
        return table

    def _warn_empty(self, spec: str, key: bytes) -> None:
        self.warn(f"table {spec}: key {printable(key)}: empty string result is not allowed")
        self.warn(f"table {spec} should return NO RESULT in case of NOT FOUND")

    def _list(self, spec: str) -> None:
        if spec.startswith("proxy:"):
            raise Fatal("can't sequence maps via the proxy service")
        table = self._open(spec)
        try:
            for key, value in table.items():
                if not key:
                    self.warn(f"table {spec}: empty lookup key value is not allowed")
                elif not value:
                    self._warn_empty(spec, key)
                sys.stdout.buffer.write(key + self._program.listed + value + b"\n")
        except TableError as error:
            what = error.reason if error.reason.endswith("supported") else f"sequence error: {error.reason}"
            raise Fatal(f"table {spec}: {what}") from error

    def _delete(self, specs: list[str], keys: list[bytes]) -> bool:
        folded = [key for key in map(self._fold, keys) if key is not None]
        found = False
        for spec in specs:
            kind, _, name = spec.partition(":")
            if kind not in COMPILED_TYPES:
                if kind not in TYPES:
                    raise Fatal(f"unsupported dictionary type: {kind}")
                raise Fatal(f"table {spec}: delete operation is not supported")
            path = name + SUFFIX
            with self._errors(path):
                found |= delete(path, folded, ownership_of(path, None, False, False))
        return found

    def _create(self, spec: str) -> None:
        kind, _, name = spec.partition(":")
        if kind == "proxy":
            raise Fatal("can't create maps via the proxy service")
        if kind not in COMPILED_TYPES:
            unable = " does not support bulk-mode creation." if kind in TYPES else ""
            raise Fatal(f"unsupported dictionary type: {kind}{unable}")
        if self._options.incremental:
            self._update(name + SUFFIX)
            return
        with self._open_source(name) as source:
            self._compile(source, name)

    def _open_source(self, name: str) -> IO[bytes]:
        try:
            return open(name, "rb")
        except OSError as error:
            raise Fatal(f"open {name}: {strerror(error)}") from error

    def _compile(self, source: Iterable[bytes], name: str) -> None:
        path = name + SUFFIX
        status = os.stat(name)
        ownership = ownership_of(path, status, self._options.as_owner, self._options.save_mode)
        directory = os.path.dirname(path) or "."
        with _rights(status, directory, self._options.as_owner), self._errors(path):
            sorter = Sorter(directory)
            try:
                end = self._options.form.end
                for line, key, value in self._entries(source, name):
                    sorter.add(key + end, line, value + end)
                for key, value in self._program.signatures(self._options.form, self._configuration):
                    sorter.add(key, 0, value)
                build(
                    path,
                    sorter,
                    self._options.form,
                    ownership,
                    lambda line, key: self._duplicate(name, line, key),
                )
            finally:
                sorter.close()

    def _update(self, path: str) -> None:
        ownership = ownership_of(path, None, False, False)
        entries = ((key, value) for _, key, value in self._entries(sys.stdin.buffer, "stdin"))
        with self._errors(path):
            update(path, entries, self._options.form, ownership, lambda key: self._duplicate(path, 0, key))

    def _entries(self, source: Iterable[bytes], name: str) -> Iterator[tuple[int, bytes, bytes]]:
        """The source's entries, keys folded; what cannot be stored is complained about."""
        for line, key, value in self._program.read(source, Entries(name, self._options.utf8, self.warn)):
            folded = self._fold(key)
            if folded is None:
                continue
            problem = key_problem(folded)
            if problem is not None:
                self.warn(f"{name}, line {line}: {problem}")
            elif not folded:
                self.warn(f"{name}, line {line}: empty lookup key is not allowed -- ignoring this line")
            else:
                yield line, folded, value

    def _duplicate(self, name: str, line: int, key: bytes) -> None:
        where = f"{name}, line {line}" if line else name
        self.warn(f'{where}: duplicate entry: "{printable(key)}"')

    @contextlib.contextmanager
    def _errors(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Fatal(f"open database {path}: {strerror(error)}") from error
        except lmdb.Error as error:
            raise Fatal(f"database {path}: {error}") from error


@contextlib.contextmanager
def _rights(source: os.stat_result, directory: str, as_owner: bool) -> Iterator[None]:
    """Work as the source's owner, as Postfix does, where others than root could play tricks with the files.

    In a directory that only root can write to, root does the work: the owner could not make a file there.
    """
    folder = os.stat(directory)
    safe = folder.st_uid == 0 and folder.st_mode & 0o022 == 0
    if not as_owner or os.geteuid() != 0 or source.st_uid == 0 or safe:
        yield
        return
    groups, group = os.getgroups(), os.getegid()
    os.setgroups([source.st_gid])
    os.setegid(source.st_gid)
    os.seteuid(source.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)
