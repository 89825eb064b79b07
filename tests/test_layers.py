"""The walls of the house: which room may know which, read from imports and cimports (DESIGN.md 3)."""

import ast
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "fastrelay"
LANGUAGE = {"wire", "cleanup", "rewrite"}
EVERYBODY = {"borders", "version", "_bytes", "errors"}
MAY_IMPORT = {
    "borders": set(),
    "version": set(),
    "wire": set(),
    "cleanup": set(),
    "rewrite": set(),
    "tables": set(),
    "queue": set(),
    "tcp": set(),
    "log": set(),
    "config": {"tables"},  # postconf lists the table types
    "receive": LANGUAGE,
    "_core": LANGUAGE | {"receive"},
    "qmgr": {"tables", "queue", "log"},
    "bounce": LANGUAGE | {"log"},
    "smtpd": LANGUAGE | {"_core", "receive", "tables", "queue", "log", "tcp"},
    "delivery": LANGUAGE | {"tables", "queue", "log", "tcp"},
}
KNOWS_ALL = {"master", "admin", "__main__", "load"}
NO_WORLD = {"socket", "asyncio", "os", "time", "selectors", "threading", "subprocess", "uvloop"}
CLOCK_READERS = {"time": {"time.localtime", "time.gmtime", "time.strftime"}}  # of a time passed in


def rooms():
    for path in sorted(SOURCE.rglob("*.py*")):
        if path.suffix in {".py", ".pyx", ".pxd"} and "__pycache__" not in path.parts:
            first = path.relative_to(SOURCE).parts[0]
            yield first.split(".")[0], path


def imports(path):
    """Names of modules that a file imports or cimports."""
    text = path.read_text()
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{path}: relative import"
                yield node.module
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
    else:
        for match in re.finditer(
            r"^\s*(?:from\s+([\w.]+)\s+c?import\s+(.*)|c?import\s+([\w.]+))", text, re.M
        ):
            yield match[1] or match[3]
            if match[1] == "fastrelay":
                yield from (f"fastrelay.{name.strip()}" for name in match[2].strip("()").split(","))


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_a_room_knows_only_those_below_it(room):
    wrong = []
    for name, path in rooms():
        if name != room:
            continue
        for module in imports(path):
            parts = module.split(".")
            if parts[0] == "fastrelay" and len(parts) > 1:
                other = parts[1]
                if (
                    other != room
                    and other not in EVERYBODY | MAY_IMPORT[room]
                    and (SOURCE / other).exists()
                    | (SOURCE / f"{other}.py").exists()
                    | (SOURCE / f"{other}.pyx").exists()
                ):
                    wrong.append(f"{path.relative_to(SOURCE)} imports {module}")
    assert not wrong


def test_every_room_has_its_place_in_the_table():
    known = set(MAY_IMPORT) | KNOWS_ALL | EVERYBODY | {"__init__"}
    assert {name for name, _ in rooms()} <= known


@pytest.mark.parametrize("room", sorted(LANGUAGE | {"_core", "receive"}))
def test_the_languages_know_no_world(room):
    wrong = []
    for name, path in rooms():
        if name == room:
            text = path.read_text()
            for module in imports(path):
                top = module.split(".")[0]
                if top in NO_WORLD and top not in CLOCK_READERS:
                    wrong.append(f"{path.relative_to(SOURCE)} imports {module}")
            if re.search(r"\btime\.(time|monotonic|perf_counter|sleep)\b", text):
                wrong.append(f"{path.relative_to(SOURCE)} reads a clock")
            if re.search(r"(?<![\w.])open\(", text):
                wrong.append(f"{path.relative_to(SOURCE)} opens a file")
    assert not wrong


def test_config_is_read_by_master_and_admin_alone():
    wrong = [
        f"{path.relative_to(SOURCE)} imports {module}"
        for name, path in rooms()
        if name not in KNOWS_ALL | {"config"}
        for module in imports(path)
        if module.startswith("fastrelay.config")
    ]
    assert not wrong


def test_no_include_and_no_star():
    for _, path in rooms():
        if path.suffix in {".pyx", ".pxd"}:
            text = path.read_text()
            assert not re.search(r"^\s*include\s", text, re.M), path
            assert "cimport *" not in text, path
