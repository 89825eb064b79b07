"""unix:passwd.byname and unix:group.byname: the system's accounts, a value being the line of the file.

"No such account" is an answer; an error of the name service (NSS) is a TableError.
"""

from __future__ import annotations

import grp
import pwd
from collections.abc import Callable

from fastrelay.tables.table import Fold, Table, TableError, strerror


def _passwd(name: str) -> str:
    user = pwd.getpwnam(name)
    return ":".join(str(part) for part in user)  # the fields are in the file's order


def _group(name: str) -> str:
    group = grp.getgrnam(name)
    return f"{group.gr_name}:{group.gr_passwd}:{group.gr_gid}:{','.join(group.gr_mem)}"


_SOURCES: dict[str, Callable[[str], str]] = {"passwd.byname": _passwd, "group.byname": _group}


class UnixTable(Table):
    type = "unix"

    def __init__(self, name: str, fold: Fold) -> None:
        super().__init__(name)
        self._fold = fold
        self._source = _SOURCES.get(name)
        if self._source is None:
            self.problem = f"unknown table: {self.label}"

    def get(self, key: bytes) -> bytes | None:
        if self._source is None:
            raise TableError(self.label, f"unknown table: {self.label}")
        folded = self._fold(key)
        if folded is None or b"\0" in folded:
            return None
        try:
            return self._source(folded.decode(errors="surrogateescape")).encode(errors="surrogateescape")
        except KeyError:
            return None
        except OSError as error:
            raise TableError(self.label, strerror(error), unavailable=False) from error
