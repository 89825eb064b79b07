"""Rewriting main.cf: `postconf -e`. Comments and order stay; the file is replaced in one step.

As Postfix does: every line that sets the name gets the new value, a name that is not set is added at
the end. A reader sees the old file or the new one, also after a crash.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from fastrelay.config.errors import ConfigError
from fastrelay.config.logical_lines import BLANKS, read_text, split_setting


def parse_edits(settings: Iterable[str]) -> dict[str, str]:
    """`name=value` arguments as a mapping."""
    edits = dict[str, str]()
    for text in settings:
        if "\n" in text:
            raise ConfigError("postconf", 0, text, None, "an edit cannot have more than one line")
        setting = split_setting(text)
        if isinstance(setting, str):
            raise ConfigError("postconf", 0, text, None, setting)
        edits[setting[0]] = setting[1]
    return edits


def edit_main(directory: Path, edits: Mapping[str, str]) -> None:
    """Put settings into a directory's main.cf."""
    path = (directory / "main.cf").resolve()
    replace_file(path, edit_text(read_text(path), edits))


def edit_text(text: str, edits: Mapping[str, str]) -> str:
    """The new text of a main.cf."""
    lines, left, dropping = list[str](), dict(edits), False
    for line in text.removesuffix("\n").split("\n") if text else []:
        if not line.strip(BLANKS) or line.lstrip(BLANKS).startswith("#"):
            lines.append(line)
            continue
        if line[0] not in BLANKS:
            name = line.partition("=")[0].strip(BLANKS)
            dropping = name in edits
            if dropping:
                left.pop(name, None)
                lines.append(f"{name} = {edits[name]}")
        if not dropping:
            lines.append(line)
    lines += [f"{name} = {value}" for name, value in left.items()]
    return "".join(f"{line}\n" for line in lines)


def replace_file(path: Path, text: str) -> None:
    """Write beside, sync, rename; owner and mode stay."""
    try:
        old = path.stat()
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with open(descriptor, "wb") as new:
                os.fchmod(new.fileno(), old.st_mode & 0o7777)
                with contextlib.suppress(PermissionError):  # an ordinary user's file becomes the user's own
                    os.fchown(new.fileno(), old.st_uid, old.st_gid)
                new.write(text.encode("utf-8", "surrogateescape"))
                new.flush()
                os.fsync(new.fileno())
            os.rename(name, path)
        except BaseException:
            os.unlink(name)
            raise
        _sync_directory(path.parent)
    except OSError as error:
        raise ConfigError(os.fspath(path), allowed=f"cannot be rewritten: {error.strerror}") from None


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
