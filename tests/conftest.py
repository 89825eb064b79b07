"""What all tests share: tests/ on sys.path for tests/reference and tests/support, and the debug build's leak check."""

import gc
import importlib
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

COUNTED = [
    "fastrelay._core",
    "fastrelay.cleanup._headers",
    "fastrelay.rewrite._address",
    "fastrelay.tables._lmdb",
    "fastrelay.tables._regex",
    "fastrelay.queue._record",
    "fastrelay.delivery._dialogue",
]


def live() -> dict[str, int]:
    """Live objects of each compiled module; all zero in a release build."""
    gc.collect()
    return {name: importlib.import_module(name).live_objects() for name in COUNTED}


@pytest.fixture(autouse=os.environ.get("FASTRELAY_DEBUG") == "1")
def no_leaks(request: pytest.FixtureRequest):
    """In a debug build a test ends with as many compiled objects as it began with.

    A module that keeps some on purpose says why in KEEPS_OBJECTS.
    """
    before = live()
    yield
    after = live()
    leaked = {name: after[name] - before[name] for name in COUNTED if after[name] > before[name]}
    assert not leaked or getattr(request.module, "KEEPS_OBJECTS", ""), f"live objects left: {leaked}"
