"""Random sources of cidr:, regexp: and pcre: tables answer, and complain, as Debian's postmap does."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import pytest
from tables_tools import Tools, needs_postmap

from fastrelay.tables import open_table

SOURCES = 40  # of each type
CIDR_KEYS = [
    "10.0.0.1",
    "10.1.2.3",
    "127.0.0.1",
    "128.0.0.0",
    "192.0.0.1",
    "255.255.255.255",
    "0.0.0.0",
    "::1",
    "2001:db8::5",
    "fe80::1",
    "::ffff:1.2.3.4",
    "1.2.3.4",
    "10.0.0",
    "x",
    "2001:DB8::1",
    "1.1.1.1",
    "[::1]",
]
RULE_KEYS = [
    "a",
    "b",
    "ab",
    "foo",
    "FOO",
    "bar",
    "xfoo",
    "aa",
    "A",
    "x",
    "xy",
    "y",
    "a.b",
    "/",
    "abab",
    "aab",
    "abc",
    "foobar",
    ".",
]
NETWORKS = [
    "::1",
    "2001:db8::",
    "fe80::1",
    "::",
    "2001:db8::/32",
    "::ffff:1.2.3.4",
    "[::1]",
    "[10.0.0.0]/8",
    "[10.0.0.0/8]",
    "1.2.3.4]",
]
MASKS = ["0", "1", "8", "08", "16", "24", "31", "32", "33", "64", "128", "129", "", "x", "-1", "+8"]
ATOMS = [
    r"a",
    r"b",
    r"foo",
    r"^x",
    r"y$",
    r".",
    r"a*",
    r"(a)(b)",
    r"(foo|bar)",
    r"[a-c]+",
    r"a{2}",
    r"\.",
    r"\/",
    r"(",
    r"[",
    r"x|y",
    r"^$",
    r"A",
    r"\1",
    r"(a*)+",
    r"a\b",
    r"\<a",
    r"$",
    r"^",
    r"(b)?",
]
RESULTS = ["r", "$1", "${1}x$2", "$$", "$(1)", "$3", "$1 $1"]
ENDS = ["endif", "ENDIF", "endif x", "endif#"]


def network(dice: random.Random) -> str:
    parts = [str(dice.choice([0, 1, 10, 127, 128, 192, 255, 256])) for _ in range(dice.choice([4, 4, 4, 3]))]
    text = ".".join(parts) if dice.random() < 0.6 else dice.choice(NETWORKS)
    if "/" not in text and dice.random() < 0.6:
        text += "/" + dice.choice(MASKS)
    return dice.choice(["", "", "", "", "!", "!!", "! ", "! !"]) + text


def cidr_line(dice: random.Random) -> str:
    kind = dice.random()
    if kind < 0.15:
        return (
            dice.choice(["if ", "IF ", "if", "if\t", "  if "]) + network(dice) + dice.choice(["", " extra"])
        )
    if kind < 0.3:
        return dice.choice(ENDS)
    if kind < 0.35:
        return dice.choice(["# c", "", " cont", "x", "iffy y", "endifx z", "10.0.0.1"])
    return network(dice) + dice.choice([" ", "\t", "  ", ""]) + dice.choice(["OK", "a b c", "", "$1"])


def rule_line(dice: random.Random) -> str:
    pattern = "".join(dice.choices(ATOMS, k=dice.randint(1, 3)))
    mark = dice.choice("///!|#")
    text = (
        dice.choice(["", "", "", "!", "!!", "! "])
        + mark
        + pattern
        + mark
        + dice.choice(["", "", "i", "m", "x", "q"])
    )
    kind = dice.random()
    if kind < 0.15:
        return "if " + text + dice.choice(["", " z"])
    if kind < 0.3:
        return dice.choice(ENDS)
    return text + dice.choice([" ", "\t"]) + dice.choice(RESULTS)


def about(errors: str) -> list[str]:
    """Which lines are complained about, and which sources; the texts of both are compared elsewhere."""
    return re.findall(r"line \d+|must not start", errors)


@needs_postmap
@pytest.mark.parametrize(
    ("kind", "make", "keys"),
    [("cidr", cidr_line, CIDR_KEYS), ("regexp", rule_line, RULE_KEYS), ("pcre", rule_line, RULE_KEYS)],
)
def test_random_sources(
    tools: Tools, kind: str, make: Callable[[random.Random], str], keys: list[str]
) -> None:
    dice = random.Random(kind)
    asked = "".join(f"{key}\n" for key in keys).encode()
    for _ in range(SOURCES):
        source = "".join(f"{make(dice)}\n" for _ in range(dice.randint(1, 12)))
        path = tools.write("t", source)
        theirs = tools.postfix("-q", "-", f"{kind}:{path}", stdin=asked)
        table = open_table(f"{kind}:{path}")
        found = [(key.encode(), table.get(key.encode())) for key in keys]
        out = b"".join(b"%b\t%b\n" % (key, value) for key, value in found if value is not None)
        assert out == theirs.out, source
        assert about("\n".join(table.warnings)) == about(theirs.err), source
