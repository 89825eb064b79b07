"""Imports, before the fork, all that a worker may import later: it may not be able to read the files any more.

Python's library, this package and its dependencies can lie where mail_owner may not go (a home directory,
a chroot). Codecs, DNS record types and thread pools are imported by their libraries at first use.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterable
from types import ModuleType

from fastrelay.tables.registry import EXTRAS

PACKAGES = ("asyncio", "concurrent.futures", "dns", "encodings", "fastrelay")
MODULES = ("aiosmtplib", "stringprep", "traceback", "unicodedata", "uvloop")
FOREIGN = (
    *(f"fastrelay.tables.{kind}" for kind in EXTRAS),
    "fastrelay.admin",
    "asyncio.__main__",
    "asyncio.windows_",
    "dns.win32util",
    "encodings.mbcs",
    "encodings.oem",
)


def everything(kinds: Iterable[str] = ()) -> None:
    """`kinds`: the table types of EXTRAS that the configuration names."""
    for name in PACKAGES:
        _import_below(importlib.import_module(name))
    for name in MODULES:
        importlib.import_module(name)
    for kind in kinds:
        try:
            importlib.import_module(f"fastrelay.tables.{kind}")
        except ImportError:
            continue  # opening the table tells it


def _import_below(package: ModuleType) -> None:
    for found in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if found.name.startswith(FOREIGN) or found.name.endswith("__main__"):
            continue
        try:
            module = sys.modules.get(found.name) or importlib.import_module(found.name)
        except ImportError:
            continue  # an option of a library whose own dependency is not installed: nothing here uses it
        if found.ispkg:
            _import_below(module)
