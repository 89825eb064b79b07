"""docs/differences.md is true: every marked dialogue has its row, and every row names a test that is there."""

import re
from pathlib import Path

from support.dialogue import load

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
ROW = re.compile(r"^\| (?P<key>[a-z0-9-]+) \|.*\| (?P<test>[^|]+) \|$", re.M)
ROWS = [(m["key"], m["test"]) for m in ROW.finditer((PROJECT / "docs" / "differences.md").read_text())]
CONVERSATIONS = [conversation for path in HERE.glob("*.dialogue") for conversation in load(path)]


def test_keys_are_unique() -> None:
    keys = [key for key, _ in ROWS]
    assert len(keys) == len(set(keys)) > 30


def test_every_marked_dialogue_has_a_row_that_names_its_file() -> None:
    marked = {(c.differs, c.place.split(":")[0]) for c in CONVERSATIONS if c.differs}
    rows = dict(ROWS)
    for key, file in marked:
        assert f"`{file}`" in rows[key], key


def test_every_row_names_a_test() -> None:
    for key, test in ROWS:
        if ".dialogue`" in test:
            file, name = re.fullmatch(r"`(\S+)` (.+)", test).groups()
            named = [c for c in CONVERSATIONS if c.place.startswith(file + ":") and c.name.startswith(name)]
            assert named, (key, test)
        else:
            path, function = re.fullmatch(r"`(\S+)::(\w+)`", test).groups()
            assert re.search(rf"def {function}\(", (PROJECT / path).read_text()), (key, test)
