"""fastrelay postmap: compile, query, list and change lookup tables, as postmap(1) does.

Flags, messages and exit statuses are Postfix's; postalias shares everything but the source's syntax.
The compiled file is always `name.lmdb`, whole and new (compile_table.py).
"""

from __future__ import annotations

import contextlib
import getopt
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import lmdb

from fastrelay import config
from fastrelay.admin.compile_table import Builder, Fatal, Reader, Reading, Rights, compile_source
from fastrelay.admin.errors import say
from fastrelay.admin.file_values import content_of, pack, unpack
from fastrelay.admin.table_waiter import TableWaiter
from fastrelay.master.table_surroundings import table_surroundings
from fastrelay.tables import Table, TableError, cdb, open_table, proxy
from fastrelay.tables.build import BuildError, Form, build, delete, ownership_of, table_lock, update
from fastrelay.tables.cdb_build import build_cdb
from fastrelay.tables.lmdb_table import SUFFIX, LmdbTable
from fastrelay.tables.options import TableSettings
from fastrelay.tables.registry import COMPILED_TYPES, TYPES
from fastrelay.tables.remote import RemoteTable
from fastrelay.tables.source import read_entries
from fastrelay.tables.table import Fold, choose_fold, is_utf8, strerror
from fastrelay.tables.text import printable

if TYPE_CHECKING:
    from fastrelay.admin.table_changer import TableChanger

# types whose values postmap -F reads from files when it opens them; the others hold what postmap -F stored
TEXT_TYPES = ("cidr", "inline", "pcre", "randmap", "regexp", "static", "texthash")

ONLY_WHOLE = "a cdb table is only made whole, from its source"


@dataclass(frozen=True, slots=True)
class Program:
    """What tells postmap and postalias apart."""

    name: str
    flags: str
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
    force_utf8: bool = False
    files: bool = False
    headers: bool = False
    body: bool = False
    mime: bool = False
    verbose: bool = False
    rights: Rights = field(default_factory=Rights)
    form: Form = field(default_factory=Form)


POSTMAP = Program(
    "postmap",
    "bc:d:fFhimnNopq:rsuUvw",
    "[-bfFhimnNoprsuUvw] [-c config_dir] [-d key] [-q key] [map_type:]file...",
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
        configuration = read_configuration(config_dir)
        messages = (options.headers or options.body) and not options.force_utf8
        options.utf8 = options.utf8 and configuration.text("smtputf8_enable") == "yes" and not messages
        default = configuration.text("default_database_type")
        specs = [spec if ":" in spec else f"{default}:{spec}" for spec in maps]
        status = Tool(program, options, configuration).run(specs)
        sys.stdout.flush()
        return status
    except (Fatal, config.ConfigError) as error:
        sys.stdout.flush()
        say(program.name, f"fatal: {error}")
        return 1


def read_configuration(config_dir: Path) -> config.Config:
    """main.cf; where there is none, that is what is said, and where else it could be."""
    try:
        return config.read_main(config_dir)
    except config.ConfigError as error:
        path = config_dir / "main.cf"
        if path.exists():
            raise
        reason = "Not a directory" if config_dir.is_file() else "No such file or directory"
        raise Fatal(f"open {path}: {reason} (-c config_dir or MAIL_CONFIG name another place)") from error


def _parse(program: Program, config_dir: Path, args: list[str]) -> tuple[Options, list[str], Path]:
    options = Options()
    usage = Fatal(f"usage: {program.name} {program.usage}")
    try:
        flags, maps = getopt.getopt(args, program.flags)
    except getopt.GetoptError as error:
        what = "option requires an argument" if "requires" in error.msg else "invalid option"
        say(program.name, f"{what} -- '{error.opt}'")
        raise usage from error
    for flag, value in flags:
        if flag == "-c":
            config_dir = Path(value).absolute()
        else:
            _set(program, options, flag, value)
    keys_of_messages = options.headers or options.body or options.mime
    if keys_of_messages and options.query != "-":
        raise Fatal('specify -b -h or -m only with "-q -"')
    if options.mime and not (options.headers or options.body):
        say(program.name, "warning: ignoring -m option without -b or -h")
    if not maps:
        raise usage
    return options, maps, config_dir


_SWITCHES = {
    "-b": "body",
    "-F": "files",
    "-h": "headers",
    "-i": "incremental",
    "-m": "mime",
    "-U": "force_utf8",
    "-v": "verbose",
}


def _set(program: Program, options: Options, flag: str, value: str) -> None:
    taken = options.query is not None or options.remove is not None
    if (flag in ("-d", "-q") and (taken or options.listing)) or (flag == "-s" and taken):
        spelled = "-s or -q or -d" if flag == "-s" and program is POSTMAP else "-s -q or -d"
        raise Fatal(f"specify only one of {spelled}")
    form, rights = options.form, options.rights
    match flag:
        case "-d":
            options.remove = value
        case "-q":
            options.query = value
        case "-s":
            options.listing = True
        case "-f":
            options.fold = False
        case "-N" | "-n":
            options.form = Form(form.duplicates, b"\0" if flag == "-N" else b"")
        case "-o":
            options.rights = Rights(False, rights.save_mode)
        case "-p":
            options.rights = Rights(rights.as_owner, False)
        case "-r" | "-w":
            options.form = Form("replace" if flag == "-r" else "ignore", form.wanted_end)
        case "-u":
            options.utf8 = False
        case _:
            setattr(options, _SWITCHES[flag], True)


class Tool:
    """One run of the program."""

    def __init__(self, program: Program, options: Options, configuration: config.Config) -> None:
        self._program = program
        self._options = options
        self._configuration = configuration
        self._fold: Fold = choose_fold(options.fold, options.utf8)
        convert = pack if options.files else None
        self._reading = Reading(program.read, options.fold, options.utf8, convert, self.warn)
        self._tables: dict[str, Table] = {}
        self._waiter = TableWaiter()

    def run(self, specs: list[str]) -> int:
        options = self._options
        if options.remove is not None:
            keys = self._keys(options.remove)
            with self._waiter:
                return 0 if self._delete(specs, list(keys)) else 1
        if options.query is not None:
            with self._waiter:
                return 0 if self._query(specs, options.query) else 1
        if options.listing:
            with self._waiter:
                self._list(specs[0])
            return 0
        for spec in specs:
            self._create(spec)
        return 0

    def warn(self, text: str) -> None:
        say(self._program.name, f"warning: {text}")

    def tell(self, text: str) -> None:
        """For -v."""
        if self._options.verbose:
            say(self._program.name, text)

    def _keys(self, argument: str) -> list[bytes]:
        """For -d."""
        if argument != "-":
            return [os.fsencode(argument)]
        return [line.removesuffix(b"\n").partition(b"\0")[0] for line in sys.stdin.buffer]

    def _query(self, specs: list[str], argument: str) -> bool:
        """Was one of the keys found?"""
        if argument != "-":
            return self._answer(specs, [os.fsencode(argument)], b"")
        how, between = self._options, self._program.listed
        if not how.headers and not how.body:
            return any([self._answer_text(specs, text) for text in _texts(sys.stdin.buffer)])
        from fastrelay.admin.message_keys import message_keys

        keys = message_keys(sys.stdin.buffer, self._configuration, how.headers, how.body, how.mime)
        return self._answer(specs, keys, between)

    def _answer_text(self, specs: list[str], text: bytes) -> bool:
        """Answer the keys in a text of lines; those of one LMDB table all at once, where nothing is special."""
        if len(specs) == 1 and not self._options.files:
            table = self._tables.get(specs[0]) or self._open(specs[0])
            found = table.answers(text, self._program.listed) if isinstance(table, LmdbTable) else None
            if found is not None:
                sys.stdout.buffer.write(found)
                return bool(found)
        lines = text.removesuffix(b"\n").split(b"\n")
        return self._answer(specs, (line.partition(b"\0")[0] for line in lines), self._program.listed)

    def _answer(self, specs: list[str], keys: Iterable[bytes], between: bytes) -> bool:
        """Show each key's first value, behind the key and `between` when that is something."""
        found = False
        write = sys.stdout.buffer.write
        for key in keys:
            for spec in specs:
                value = self._ask(spec, key)
                if value is None:
                    continue
                if not value:
                    self._warn_empty(spec, key)
                write(key + between + value + b"\n" if between else value + b"\n")
                found = True
                break
        return found

    def _ask(self, spec: str, key: bytes) -> bytes | None:
        table = self._tables.get(spec) or self._open(spec)
        if self._options.utf8 and not is_utf8(key):
            problem = "malformed UTF-8 or invalid codepoint"
            self.warn(f'{spec}: non-UTF-8 key "{printable(key)}": {problem}')
            return None
        try:
            value = self._waiter.get(table, key)
            return value if value is None or not self._options.files else self._content(spec, key, value)
        except TableError as error:
            raise Fatal(f"table {spec}: query error: {error.reason}") from error

    def _content(self, spec: str, key: bytes, value: bytes) -> bytes:
        """postmap -F: what is in the files that the value is of."""
        try:
            content = content_of(value) if spec.partition(":")[0] in TEXT_TYPES else unpack(value)
        except ValueError as error:
            raise TableError(spec, f"key {printable(key)}: {error}: {printable(value)}") from error
        return content.partition(b"\0")[0]

    def _open(self, spec: str) -> Table:
        """The table, opened once; one that cannot be used ends the program."""
        self.tell(f"dict_open: {spec}")
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
        try:
            for key, value in self._entries(spec):
                if not key:
                    self.warn(f"table {spec}: empty lookup key value is not allowed")
                elif not value:
                    self._warn_empty(spec, key)
                shown = self._listed_content(spec, key, value) if self._options.files else value
                if shown is not None:
                    sys.stdout.buffer.write(key + self._program.listed + shown + b"\n")
        except TableError as error:
            what = error.reason if error.reason.endswith("supported") else f"sequence error: {error.reason}"
            raise Fatal(f"table {spec}: {what}") from error

    def _entries(self, spec: str) -> Iterator[tuple[bytes, bytes]]:
        """Of a table of proxy: only those of the one that proxywrite has, as Postfix has no way to list it."""
        if not spec.startswith("proxy:"):
            return self._waiter.items(self._open(spec))
        settings = config.section(TableSettings, self._configuration)
        if proxy.strip(spec) not in proxy.approved(settings.proxy_write_maps):
            raise Fatal("can't sequence maps via the proxy service")
        return self._changer(spec).entries()

    def _listed_content(self, spec: str, key: bytes, value: bytes) -> bytes | None:
        """An entry that cannot be decoded is complained about and left out."""
        try:
            return self._content(spec, key, value)
        except TableError as error:
            self.warn(f"table {error}")
            return None

    def _delete(self, specs: list[str], keys: list[bytes]) -> bool:
        folded = [key for key in map(self._fold, keys) if key is not None]
        found = False
        for spec in specs:
            kind, _, name = spec.partition(":")
            if kind not in COMPILED_TYPES:
                found |= self._delete_entries(spec, folded)
                continue
            if kind == "cdb":
                raise Fatal(f"{spec}: {ONLY_WHOLE}")
            path = name + SUFFIX
            with self._errors(path), table_lock(path):
                found |= delete(path, folded, ownership_of(path, None, False, False))
        return found

    def _delete_entries(self, spec: str, keys: list[bytes]) -> bool:
        """In a table of a server (memcache, redis), or in one that the proxywrite process has."""
        if spec.partition(":")[0] not in TYPES:
            raise Fatal(f"unsupported dictionary type: {spec.partition(':')[0]}")
        if spec.startswith("fail:"):
            raise Fatal(f"table {spec}: delete error: Application error")
        if not spec.startswith("proxy:"):
            table = self._open(spec)
            if not isinstance(table, RemoteTable) or not table.writable:
                raise Fatal(f"table {spec}: delete operation is not supported")
        try:
            return self._changer(spec).delete(keys)
        except TableError as error:
            raise Fatal(f"table {spec}: delete error: {error.reason}") from error

    def _changer(self, spec: str) -> TableChanger:
        """Ended with the program."""
        from fastrelay.admin.table_changer import TableChanger  # brings asyncio: not for the quick runs

        how = self._options
        try:
            changer = TableChanger(spec, self._configuration, self.warn, self._waiter, how.fold, how.utf8)
        except TableError as error:
            raise Fatal(error.reason) from error
        self._waiter.at_end(changer.close)
        return changer

    def _put_entries(self, spec: str) -> None:
        """Through the proxywrite process."""
        form, entries = self._options.form, self._reading.entries(sys.stdin.buffer, "stdin")
        duplicate = self._duplicate if form.duplicates == "warn" else None
        with self._waiter:
            try:
                self._changer(spec).put(entries, form.duplicates == "replace", duplicate)
            except TableError as error:
                raise Fatal(f"table {spec}: write error: {error.reason}") from error

    def _create(self, spec: str) -> None:
        kind, _, name = spec.partition(":")
        if kind == "proxy":
            if not self._options.incremental:
                raise Fatal("can't create maps via the proxy service")
            self._put_entries(spec)
            return
        if not self._options.incremental and not os.access(name, os.R_OK):
            self._fail_to_open(name)
        if kind == "fail":
            self._write_to_fail(spec, name)
            return
        if kind not in COMPILED_TYPES:
            unable = " does not support bulk-mode creation." if kind in TYPES else ""
            raise Fatal(f"unsupported dictionary type: {kind}{unable}")
        if kind == "cdb" and self._options.incremental:
            raise Fatal(f"{spec}: {ONLY_WHOLE}")
        begun, path = time.monotonic(), name + (cdb.SUFFIX if kind == "cdb" else SUFFIX)
        with self._errors(path):
            if self._options.incremental:
                self._update(path)
            else:
                options = self._options
                if kind == "cdb":
                    form = Form(options.form.duplicates, options.form.wanted_end or b"")
                    make: Builder = build_cdb
                else:
                    form, make = options.form, build
                signatures = self._program.signatures(form, self._configuration)
                compile_source(name, path, self._reading, form, options.rights, signatures, make)
        self.tell(f"{path}: {os.stat(path).st_size} bytes in {time.monotonic() - begun:.1f} s")

    def _write_to_fail(self, spec: str, name: str) -> None:
        """A fail: table takes no entry."""
        with (
            contextlib.nullcontext(sys.stdin.buffer)
            if self._options.incremental
            else open(name, "rb") as source
        ):
            for _ in self._reading.entries(source, name):
                raise Fatal(f"table {spec}: write error: Application error")

    def _fail_to_open(self, name: str) -> None:
        try:
            os.close(os.open(name, os.O_RDONLY))
        except OSError as error:
            raise Fatal(f"open {name}: {strerror(error)}") from error

    def _update(self, path: str) -> None:
        entries = self._reading.entries(sys.stdin.buffer, "stdin")
        with table_lock(path):
            ownership = ownership_of(path, None, False, False)
            update(path, entries, self._options.form, ownership, self._duplicate)

    def _duplicate(self, line: int, key: bytes) -> None:
        self.warn(f'stdin, line {line}: duplicate entry: "{printable(key)}"')

    @contextlib.contextmanager
    def _errors(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Fatal(f"open database {path}: {strerror(error)}") from error
        except (lmdb.Error, BuildError) as error:
            raise Fatal(f"database {path}: {error}") from error


def _texts(source: BinaryIO) -> Iterator[bytes]:
    """The source in pieces of whole lines, as they come."""
    parts: list[bytes] = []
    while chunk := source.read1(1 << 18):  # type: ignore[attr-defined]  # BinaryIO knows no read1
        head, newline, rest = chunk.rpartition(b"\n")
        if newline:
            yield b"".join([*parts, head, newline])
            parts = []
        if rest:
            parts.append(rest)
    if parts:
        yield b"".join(parts)
