"""What a disk may hold after a power cut: a model fed with a recorded run, and an enumerator of its states.

What was written is certain once a sync of that file returned; a name (made, changed, removed) once a sync of its
directory did. Until then any 512-byte sector may be there or not, or half, in any order, and any name likewise.
record() runs a program under strace; Model.take() follows the calls; states() lists what a cut now may leave.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512
CALLS = "openat,pwritev,pwritev2,pwrite64,write,fsync,fdatasync,renameat,renameat2,unlinkat,mkdirat,linkat,ftruncate"
DATA = {"pwritev", "pwritev2", "pwrite64", "write", "fsync", "fdatasync", "ftruncate"}
LINE = re.compile(r"(\d+) +(?:<\.\.\. (\w+) resumed>|(\w+)\()(.*)", re.S)
TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
PATH = re.compile(r"\d+<((?:\\x[0-9a-f]{2})*)>")
Names = dict[str, dict[str, int]]  # directory -> name -> inode


@dataclass(frozen=True)
class Call:
    """`begins` and `ends`: one call may be two events, when threads overlap."""

    name: str
    arguments: str
    begins: bool
    ends: bool

    def paths(self) -> list[str]:
        return [decode(text) for text in PATH.findall(self.arguments)]

    def texts(self) -> list[bytes]:
        return [bytes.fromhex(text.replace("\\x", "")) for text in TEXT.findall(self.arguments)]


def decode(text: str) -> str:
    return bytes.fromhex(text.replace("\\x", "")).decode()


def record(command: Sequence[str], trace: Path, environment: Mapping[str, str]) -> list[Call]:
    strace = ["strace", "-f", "-y", "-xx", "-s", "100000000", "-o", str(trace), "-e", f"trace={CALLS}"]
    subprocess.run([*strace, *command], env=environment, stdout=subprocess.PIPE, check=True, timeout=250)
    return parse(trace.read_text())


def parse(text: str) -> list[Call]:
    """The calls in the order of their events; one that failed has done nothing, and is left out whole."""
    calls: list[Call | None] = []
    under_way: dict[str, tuple[str, str, int]] = {}
    for line in text.splitlines():
        found = LINE.match(line)
        if not found:
            continue
        thread, resumed, name, rest = found.groups()
        failed = rest.rpartition("= ")[2].startswith("-")
        if resumed:
            name, arguments, begun = under_way.pop(thread)
            assert not (failed and name in DATA), line[-200:]  # what such a one leaves is not in the model
            if failed:
                calls[begun] = None
            else:
                calls.append(Call(name, arguments, False, True))
        elif rest.endswith("<unfinished ...>"):
            under_way[thread] = (name, rest, len(calls))
            calls.append(Call(name, rest, True, False))
        elif not failed:
            calls.append(Call(name, rest, True, True))
    return [call for call in calls if call is not None]


@dataclass
class File:
    durable: bytes = b""
    pending: list[tuple[int, bytes]] = field(default_factory=list)  # (offset, bytes), in order


@dataclass(frozen=True)
class NameChange:
    """`inode` 0: the name goes; `source`: it comes from another name of the same directory."""

    directory: str
    name: str
    inode: int
    source: str = ""

    def apply(self, names: Names) -> None:
        directory = names.setdefault(self.directory, {})
        if self.source:
            if self.source in directory:
                directory[self.name] = directory.pop(self.source)
        elif self.inode:
            directory[self.name] = self.inode
        else:
            directory.pop(self.name, None)


@dataclass
class State:
    """Directories, and the contents of the files in them."""

    names: Names
    contents: dict[int, bytes]

    def write(self, root: Path) -> None:
        for directory, entries in self.names.items():
            (root / directory).mkdir(parents=True, exist_ok=True)
            for name, inode in entries.items():
                if inode > 0:
                    (root / directory / name).write_bytes(self.contents[inode])

    def key(self) -> int:
        names = repr(sorted((directory, sorted(found.items())) for directory, found in self.names.items()))
        inodes = sorted(inode for found in self.names.values() for inode in found.values() if inode > 0)
        return hash((names, *[self.contents[inode] for inode in inodes]))


@dataclass
class Model:
    """The disk under `root`. `lies`: syncs that do nothing, to see that the enumerator would notice."""

    root: str
    lies: frozenset[str] = frozenset()
    files: dict[int, File] = field(default_factory=dict)
    durable_names: Names = field(default_factory=lambda: {"": {}})
    pending_names: list[NameChange] = field(default_factory=list)
    now: Names = field(default_factory=lambda: {"": {}})  # as the processes see it
    said: list[bytes] = field(default_factory=list)  # on the standard output
    syncing: dict[str, tuple[int, int]] = field(default_factory=dict)

    def take(self, call: Call) -> bool:
        """Has it changed what a cut may leave, or what was said?"""
        if call.name in ("fsync", "fdatasync"):
            return self._sync(call)
        if not call.begins:
            return False
        if call.name == "write":
            if call.arguments.startswith("1<"):
                self.said += call.texts()[0].splitlines()
                return True
            return False
        paths = [self._inside(path) for path in call.paths()]
        if not paths or paths[0] is None:
            return False
        return bool(getattr(self, f"_{call.name}")(paths[0], call))

    def _inside(self, path: str) -> str | None:
        if path == self.root:
            return ""
        return path.removeprefix(self.root + "/") if path.startswith(self.root + "/") else None

    def _inode(self, path: str) -> int:
        directory, _, name = path.rpartition("/")
        return self.now.get(directory, {}).get(name, 0)

    def _change(self, change: NameChange) -> bool:
        change.apply(self.now)
        self.pending_names.append(change)
        return True

    def _openat(self, directory: str, call: Call) -> bool:
        if "O_CREAT" not in call.arguments:
            return False
        inode = len(self.files) + 1
        self.files[inode] = File()
        return self._change(NameChange(directory, call.texts()[0].decode(), inode))

    def _mkdirat(self, directory: str, call: Call) -> bool:
        name = call.texts()[0].decode()
        self.now[name] = {}
        return self._change(NameChange(directory, name, -1))

    def _renameat(self, directory: str, call: Call) -> bool:
        old, new = (text.decode() for text in call.texts())
        inode = self.now[directory][old]
        return self._change(NameChange(directory, new, inode, old))

    def _unlinkat(self, directory: str, call: Call) -> bool:
        return self._change(NameChange(directory, call.texts()[0].decode(), 0))

    def _pwritev(self, path: str, call: Call) -> bool:
        offset = int(re.search(r"\], \d+, (\d+)", call.arguments)[1])  # type: ignore[index]
        self.files[self._inode(path)].pending.append((offset, b"".join(call.texts())))
        return True

    _pwritev2 = _pwritev

    def _sync(self, call: Call) -> bool:
        path = self._inside(call.paths()[0])
        if path is None:
            return False
        is_directory = path in self.now
        if call.begins:
            count = len(self.pending_names) if is_directory else len(self.files[self._inode(path)].pending)
            self.syncing[path] = (count, 0)
        if not call.ends or ("directory" if is_directory else call.name) in self.lies:
            return False
        count, _ = self.syncing.pop(path)
        if is_directory:
            self._sync_directory(path, count)
        else:
            file = self.files[self._inode(path)]
            for offset, data in file.pending[:count]:
                file.durable = patched(file.durable, offset, data)
            del file.pending[:count]
        return True

    def _sync_directory(self, path: str, count: int) -> None:
        certain = [change for change in self.pending_names[:count] if change.directory == path]
        for change in certain:
            change.apply(self.durable_names)
        self.pending_names = [change for change in self.pending_names if change not in certain]

    def states(self, chance: random.Random, most: int) -> Iterator[State]:
        """What a cut now may leave, `most` of it at most: the extremes first, then any."""
        sectors = list(self._sectors())
        choices = list(
            itertools.product(
                name_choices(self.pending_names, chance),
                data_choices(len(sectors), chance, max(6, most // 8)),
            )
        )
        if len(choices) > most:
            choices = choices[:2] + chance.sample(choices[2:], most - 2)
        for names, (kept, torn) in choices:
            contents = {inode: file.durable for inode, file in self.files.items()}
            for place in kept:
                inode, offset, data = sectors[place]
                contents[inode] = patched(
                    contents[inode], offset, data[: SECTOR // 2] if place == torn else data
                )
            found: Names = {directory: dict(entries) for directory, entries in self.durable_names.items()}
            for change in names:
                change.apply(found)
            yield State(found, contents)

    def _sectors(self) -> Iterator[tuple[int, int, bytes]]:
        for inode, file in self.files.items():
            for offset, data in file.pending:
                for start in range(0, len(data), SECTOR):
                    yield inode, offset + start, data[start : start + SECTOR]


def patched(old: bytes, offset: int, data: bytes) -> bytes:
    if len(old) < offset:
        old += bytes(offset - len(old))
    return old[:offset] + data + old[offset + len(data) :]


def name_choices(pending: list[NameChange], chance: random.Random) -> list[list[NameChange]]:
    if len(pending) <= 3:
        return [
            list(some)
            for size in range(len(pending), -1, -1)
            for some in itertools.combinations(pending, size)
        ]
    some = [[change for change in pending if chance.random() < 0.5] for _ in range(4)]
    return [pending, [], *(pending[:size] for size in range(1, len(pending))), *some]


def data_choices(count: int, chance: random.Random, places: int) -> list[tuple[list[int], int]]:
    """(sectors that are there, the one of them that is torn or -1): all, none, prefixes, one more or less, any."""
    every = list(range(count))
    found: list[tuple[list[int], int]] = [(every, -1), ([], -1)]
    if not count:
        return found[:1]
    few = [0, 1, count - 2, count - 1]
    picked = every if count <= places + 2 else sorted({*few, *chance.sample(every, places)})
    for place in picked:
        found += [
            (every[:place], -1),
            ([place], -1),
            (every[:place] + every[place + 1 :], -1),
            (every[: place + 1], place),
        ]
        found.append(([i for i in every if chance.random() < 0.5], -1))
    return found


def clear(directory: Path) -> None:
    for path, names, files in os.walk(directory, topdown=False):
        for name in files:
            os.unlink(os.path.join(path, name))
        for name in names:
            os.rmdir(os.path.join(path, name))
