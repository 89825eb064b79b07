"""cidr: the searched ranges answer as the rules one after the other."""

import ipaddress
import itertools
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastrelay.tables import open_table
from fastrelay.tables.cidr import CidrTable
from reference.cidr_reference import Line, lookup

NETWORKS = [
    *("0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/32"),
    *("10.1.2.2/31", "255.255.255.255/32", "0.0.0.0/32", "192.0.2.0/24", "::/0", "::/128", "2001:db8::/32"),
    *("2001:db8:1::/48", "2001:db8:1::5/128", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", "8000::/1"),
]
KEYS = sorted(
    {
        str(address + step)
        for network in map(ipaddress.ip_network, NETWORKS)
        for address in (network[0], network[-1])
        for step in (-1, 0, 1)
        if 0 <= int(address) + step < 1 << network.max_prefixlen
    }
)
LINES = st.lists(
    st.tuples(st.sampled_from(["", "", "", "if", "endif"]), st.booleans(), st.sampled_from(NETWORKS)),
    max_size=25,
)


def table_of(lines: list[Line], path: Path) -> CidrTable:
    text = ""
    for number, (word, negated, network) in enumerate(lines):
        sign = "!" if negated else ""
        text += {"if": f"if {sign}{network}", "endif": "endif", "": f"{sign}{network} v{number}"}[word] + "\n"
    path.write_text(text)
    table = open_table(f"cidr:{path}")
    assert isinstance(table, CidrTable)
    return table


@settings(max_examples=150, deadline=None)
@given(LINES)
@example(
    [("if", False, "10.0.0.0/8"), ("", True, "10.1.0.0/16"), ("endif", False, ""), ("", False, "10.1.2.0/24")]
)
@example([("if", True, "10.0.0.0/8"), ("", True, "0.0.0.0/0"), ("", True, "::/0"), ("", False, "::/0")])
def test_agrees_with_the_rules_one_after_the_other(tmp_path_factory: object, lines: list[Line]) -> None:
    path = tmp_path_factory.getbasetemp() / "cidr"  # type: ignore[attr-defined]
    table = table_of(lines, path)
    for key in KEYS:
        number = lookup(lines, key)
        assert table.get(key.encode()) == (None if number is None else b"v%d" % number), key


def test_a_large_table_is_few_stretches(tmp_path: Path) -> None:
    """Plain, negated and guarded rules in turn: all of them are one search."""
    lines: list[Line] = []
    for a, b in itertools.product(range(20), range(50)):
        lines += [
            ("if", False, f"10.{a}.0.0/16"),
            ("if", True, f"10.{a}.{b}.0/25"),
            ("", False, f"10.{a}.{b}.0/24"),
            ("endif", False, ""),
            ("endif", False, ""),
        ]
    table = table_of(lines, tmp_path / "t")
    assert len(table._starts[4]) <= 2 * 1000 + 1
    for key in ("10.3.7.9", "10.3.7.200", "10.19.49.129", "10.20.0.1", "9.255.255.255"):
        number = lookup(lines, key)
        assert table.get(key.encode()) == (None if number is None else b"v%d" % number)
