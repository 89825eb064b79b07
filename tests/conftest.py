"""What all tests share: tests/ on sys.path for tests/reference and tests/support, and the debug build's leak check."""

import gc
import importlib
import os
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

LONG_FIRST = {"crash", "load", "scenarios", "test_imports.py"}

# The same examples in every run, for a run that fails must fail again; `make soak` looks for others.
SLOW_MACHINE = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
settings.register_profile("same", derandomize=True, **SLOW_MACHINE)
settings.register_profile("random", print_blob=True, **SLOW_MACHINE)
settings.load_profile("same")

COUNTED = [
    "fastrelay.receive._session",
    "fastrelay.cleanup._contents",
    "fastrelay.cleanup._headers",
    "fastrelay.rewrite._address",
    "fastrelay.tables._lmdb",
    "fastrelay.tables._regex",
    "fastrelay.queue._entry",
    "fastrelay.queue._record",
    "fastrelay.delivery._dialogue",
    "fastrelay.delivery._replies",
    "fastrelay.delivery._transaction",
    "fastrelay.log._line",
    "fastrelay.tcp._stream",
]


def pytest_configure() -> None:
    """A compiled module hides its source: tests of yesterday's are worth nothing."""
    package = Path(importlib.import_module("fastrelay").__file__ or "").parent
    for built in package.rglob("*.so"):
        for suffix in (".pyx", ".py", ".pxd"):
            source = built.parent / (built.name.partition(".")[0] + suffix)
            if source.exists() and source.stat().st_mtime > built.stat().st_mtime:
                pytest.exit(
                    f"{source.relative_to(package)} is newer than what was compiled of it: make build", 2
                )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with long tests begin first, so that no process is left alone with one at the end."""
    items.sort(key=lambda item: not LONG_FIRST & set(item.path.parts))


def live() -> dict[str, int]:
    """Live objects of each compiled module; all zero in a release build."""
    gc.collect()
    return {name: importlib.import_module(name).live_objects() for name in COUNTED}


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch):
    """The local time is UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


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
