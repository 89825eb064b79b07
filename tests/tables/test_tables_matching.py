"""Match lists, Maps and the small parsers under them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrelay.tables import (
    AddressMatcher,
    DomainMatcher,
    Maps,
    StringMatcher,
    TableError,
    open_table,
    table_types,
)
from fastrelay.tables._regex import EXTENDED, IGNORE_CASE, Pattern, PatternError
from fastrelay.tables.text import split_list
from reference.regex_reference import groups


@pytest.mark.parametrize(
    ("specs", "address", "expected"),
    [
        ("127.0.0.0/8 [::1]/128", "127.9.9.9", True),
        ("127.0.0.0/8 [::1]/128", "::1", True),
        ("127.0.0.0/8, [::1]/128", "128.0.0.1", False),
        ("!10.1.0.0/16, 10.0.0.0/8", "10.1.2.3", False),
        ("!10.1.0.0/16, 10.0.0.0/8", "10.2.2.3", True),
        ("10.0.0.0/8, !10.1.0.0/16", "10.1.2.3", True),
        ("!!10.0.0.0/8", "10.1.2.3", True),
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.10", False),
        ("[192.0.2.1]", "192.0.2.1", True),
        ("[2001:db8::]/32", "2001:0DB8:1::1", True),
        ("[2001:db8::/32]", "2001:db8:ffff::1", True),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("host.example", "192.0.2.1", False),
        ("", "127.0.0.1", False),
    ],
)
def test_addresses(specs: str, address: str, expected: bool) -> None:
    matcher = AddressMatcher(specs)
    assert matcher.matches(address) is expected
    assert matcher.matches(address.encode()) is expected  # from the cache


def test_addresses_from_files_and_tables(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.write_text("# a comment\n192.0.2.0/24, 198.51.100.7\n!203.0.113.9 203.0.113.0/24\n")
    table = tmp_path / "table"
    table.write_text("10.9.9.9 OK\nclient.example OK\n")
    matcher = AddressMatcher(f"!192.0.2.66 {inner} texthash:{table}")
    answers = {
        a: matcher.matches(a) for a in ("192.0.2.66", "192.0.2.1", "203.0.113.9", "203.0.113.8", "10.9.9.9")
    }
    assert list(answers.values()) == [False, True, False, True, True]
    assert matcher.matches(b"8.8.8.8", b"Client.Example")
    assert not matcher.matches(b"8.8.8.8", b"other.example")
    assert AddressMatcher(f"!{inner} 0.0.0.0/0").matches("192.0.2.5") is False


@pytest.mark.parametrize(
    "wrong", ["10.0.0.1/8", "10.0.0.0/33", "[::1", "/no/such/file", "dbm:/x", "2001:db8::/32", "!"]
)
def test_a_wrong_pattern_is_an_error_where_it_is_reached(wrong: str) -> None:
    matcher = AddressMatcher(f"192.0.2.1 {wrong}")
    assert matcher.matches("192.0.2.1")
    lengths = set()
    for _ in range(3):
        with pytest.raises(TableError) as caught:
            matcher.matches("192.0.2.2")
        lengths.add(len(caught.traceback))
    assert len(lengths) == 1, "an error that is raised again gathers what it has seen"


@pytest.mark.parametrize(
    ("specs", "parents", "domain", "expected"),
    [
        ("a.example b.example", True, b"A.Example", True),
        ("a.example", True, b"sub.a.example", True),
        ("a.example", False, b"sub.a.example", False),
        (".a.example", False, b"sub.a.example", True),
        (".a.example", False, b"a.example", False),
        (".a.example", True, b"a.example", False),
        ("!x.a.example .a.example", False, b"x.a.example", False),
        ("!x.a.example .a.example", False, b"y.a.example", True),
        ("inline:{a.example=1}", True, b"x.y.a.example", True),
        ("inline:{a.example=1}", False, b"x.a.example", False),
        ("inline:{.a.example=1}", False, b"x.a.example", True),
        ("a.example", True, b"xa.example", False),
        ("", True, b"a.example", False),
    ],
)
def test_domains(specs: str, parents: bool, domain: bytes, expected: bool) -> None:
    assert DomainMatcher(specs, parents).matches(domain) is expected


def test_strings_match_whole_only() -> None:
    matcher = StringMatcher(["a.example", "inline:{b.example=1}"])
    answers = [
        matcher.matches(name) for name in (b"A.example", b"x.a.example", b"b.example", b"x.b.example", b"")
    ]
    assert answers == [True, False, True, False, False]


def test_maps_ask_in_order_and_stop_at_an_error() -> None:
    maps = Maps("inline:{a=1}, fail:x static:last")
    assert maps.find(b"A") == b"1"
    with pytest.raises(TableError) as error:
        maps.find(b"b")
    assert error.value.warnings(b"b") == ['fail:x lookup error for "b"']
    assert Maps("inline:{ {a = x y}, b=2 } proxy:static:last").find(b"c") == b"last"
    assert not Maps("") and Maps([]).find(b"a") is None


def test_the_tutorials_unknown_type() -> None:
    maps = Maps("proxy:unix:passwd.byname dbm:/etc/postfix/lst-user")
    assert [table.problem for table in maps.tables] == [None, "unsupported dictionary type: dbm"]
    assert maps.find(b"root") is not None
    with pytest.raises(TableError) as error:
        maps.find(b"moi@mailtraining.example")
    assert error.value.warnings(b"moi@mailtraining.example") == [
        "dbm:/etc/postfix/lst-user is unavailable. unsupported dictionary type: dbm",
        'dbm:/etc/postfix/lst-user lookup error for "moi@mailtraining.example"',
    ]


def test_proxy_names_itself_in_errors() -> None:
    with pytest.raises(TableError, match="proxy:dbm:x: unsupported dictionary type: dbm"):
        open_table("proxy:dbm:x").get(b"k")


def test_a_text_table_that_appears_later_heals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = open_table(f"texthash:{tmp_path}/t")
    with pytest.raises(TableError, match="No such file"):
        table.get(b"a")
    (tmp_path / "t").write_text("a b\n")
    monkeypatch.setattr("fastrelay.tables.table.time.monotonic", lambda: 1e12)
    assert table.get(b"a") == b"b"


def test_table_types() -> None:
    local = "btree cidr environ fail hash inline internal lmdb pipemap proxy randmap regexp static texthash"
    assert {*local.split(), "unionmap", "unix"} <= set(table_types())
    assert table_types() == sorted(table_types())


@given(st.lists(st.text("ab={} ", max_size=9), max_size=6))
def test_lists_keep_braces_together(parts: list[str]) -> None:
    items = ["{" + part.replace("{", "").replace("}", "") + "}" for part in parts]
    assert split_list(", ".join(items)) == items


@given(st.text(r"ab(|)*+?.[^]\1{2}", max_size=12), st.text("abAB1.", max_size=10), st.booleans())
def test_patterns_agree_with_the_c_library(pattern: str, subject: str, fold: bool) -> None:
    flags = EXTENDED | (IGNORE_CASE if fold else 0)
    text, key = pattern.encode(), subject.encode()
    try:
        compiled = Pattern(text, flags, True)
    except PatternError:
        with pytest.raises(ValueError, match="regcomp"):
            groups(text, flags, key, 3)
        return
    assert compiled.groups(key, 3) == groups(text, flags, key, 3)
    assert compiled.matches(key) is (compiled.groups(key, 0) is not None)
