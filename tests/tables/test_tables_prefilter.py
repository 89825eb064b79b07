"""The prefilter of regexp: and pcre: never changes an answer: what it says of patterns holds for every match."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pcre2 import LibraryError

from fastrelay.tables import open_table
from fastrelay.tables._literals import LiteralIndex, live_objects
from fastrelay.tables._regex import EXTENDED, IGNORE_CASE, Pattern, PatternError
from fastrelay.tables.known import Known
from fastrelay.tables.literals import of_perl, of_posix
from fastrelay.tables.pcre import CASELESS, DOTALL, PcrePattern
from fastrelay.tables.rules import RuleTable
from reference.literals_reference import find

KEYS = st.text("aAbBc@.-1\n", max_size=14).map(str.encode)
COMMON = [
    "a",
    "ab",
    "B",
    "c@b",
    ".",
    "[ab]",
    "[^a]",
    "[]a]",
    "[a-c]",
    "[[:alpha:]]",
    r"\.",
    "^",
    "$",
    "-",
    "@",
]
POSIX = [*COMMON, r"\1", r"\b", r"\<", r"\w", r"\'", r"[\.]", "a\\a", "{", "x", "[[.a.]b]", "()"]
PERL = [
    *COMMON,
    *(
        r"\1",
        r"\b",
        r"\d",
        r"\x61",
        r"\x{62}",
        r"\xc",
        r"[\]a]",
        r"[a\x62]",
        r"\n",
        r"\N",
        r"\z",
        r"\R",
        "(?i)",
        "(?-i)",
    ),
    *(
        "(?=a)",
        "(?!b)",
        "(?<=a)",
        "(?<!b)",
        "(?#a(b)",
        "(?:ab)",
        "(?>a|ab)",
        "(?P<n>b)",
        "(?|a|b)",
        r"\Qa*\E",
        "(?R)?",
    ),
    *(
        "(?i:a)",
        "{",
        "{,2}",
        "a{1",
        "a}",
        "(*F)",
        "(?(1)a|b)",
        r"\p{L}",
        r"\101",
        r"\07",
        "[[:^alpha:]]",
        "[[:a]",
    ),
]
REPEATS = ["", "", "", "*", "+", "?", "{2}", "{0,1}", "{1,}", "{0}", "{1,2}"]


def patterns(atoms: list[str], repeats: list[str]) -> st.SearchStrategy[bytes]:
    def nest(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        sequence = st.lists(inner, max_size=4).map("".join)
        group = st.builds("({}){}".format, sequence, st.sampled_from(repeats))
        return group | st.builds("{}|{}".format, sequence, sequence) | sequence

    atom = st.builds("{}{}".format, st.sampled_from(atoms), st.sampled_from(repeats))
    return st.recursive(atom, nest, max_leaves=8).map(str.encode)


POSIX_PATTERNS = patterns(POSIX, REPEATS)
PERL_PATTERNS = patterns(PERL, [*REPEATS, "*?", "++", "??", "{1,2}?"])


def check(known: Known | None, match: list[bytes] | None, key: bytes) -> None:
    if known is None or match is None:
        return
    for texts in known.sets():
        assert any(text in key.lower() for text in texts), (known, key)
    if known.exact is not None:
        assert match[0].lower() in known.exact


@settings(max_examples=200, deadline=None)
@given(POSIX_PATTERNS, st.lists(KEYS, min_size=6, max_size=12), st.booleans())
def test_what_is_known_of_posix_patterns(pattern: bytes, keys: list[bytes], fold: bool) -> None:
    try:
        compiled = Pattern(pattern, EXTENDED | (IGNORE_CASE if fold else 0), True)
    except PatternError:
        return
    for key in keys:
        check(of_posix(pattern), compiled.groups(key, 0), key)


@settings(max_examples=200, deadline=None)
@given(PERL_PATTERNS, st.lists(KEYS, min_size=6, max_size=12), st.booleans())
def test_what_is_known_of_perl_patterns(pattern: bytes, keys: list[bytes], fold: bool) -> None:
    try:
        compiled = PcrePattern(pattern, DOTALL | (CASELESS if fold else 0))
        for key in keys:
            check(of_perl(pattern), compiled.groups(key, 0), key)
    except LibraryError:
        return


@pytest.mark.parametrize(
    ("pattern", "sets"),
    [
        (b"^foo@example\\.com$", {b"foo@example.com"}),
        (b"^(.*)-LIST@(a|b)\\.example$", {b"-list@a.example", b"-list@b.example"}),
        (b"^user[0-9]+@example", {b"@example"}),
        (b"[Vv]iagra|cialis", {b"viagra", b"cialis"}),
        (b"colou?r", {b"color", b"colour"}),
        (b"^Subject:.*(make) +money", {b"subject:"}),
    ],
)
def test_the_useful_text_is_found(pattern: bytes, sets: set[bytes]) -> None:
    for known in (of_posix(pattern), of_perl(pattern)):
        assert known is not None
        assert frozenset(sets) in known.sets()


@pytest.mark.parametrize(
    "pattern",
    [
        b"a(*ACCEPT)bcd",
        b"a\\Qb.c\\E",
        b"(?x)a b",
        b"(a)(?(1)b|c)",
        b"ab{,3}c",
        b"\\x41{foo",
        b"(?1)(abc)",
        b"[a\\c]]b",
    ],
)
def test_unusual_perl_is_not_read(pattern: bytes) -> None:
    assert of_perl(pattern) is None


def table(kind: str, lines: list[bytes]) -> RuleTable:
    text = ",".join("{" + line.decode() + "}" for line in lines)
    made = open_table(f"{kind}:{{{text}}}")
    assert isinstance(made, RuleTable)
    return made


LINES = st.lists(
    st.tuples(st.sampled_from(["", "", "", "!", "if ", "if !", "endif"]), POSIX_PATTERNS, st.integers(0, 99)),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["regexp", "pcre"]), LINES, st.lists(KEYS, min_size=5, max_size=20))
@example("regexp", [("if ", b"a", 1), ("", b"ab", 2), ("endif", b"", 3), ("", b"b", 4)], [b"ab", b"b", b"a"])
def test_a_table_answers_as_its_plain_loop(
    kind: str, lines: list[tuple[str, bytes, int]], keys: list[bytes]
) -> None:
    rules = []
    for word, pattern, number in lines:
        if b"{" in pattern or b"\\" in pattern:  # they would end the inline rule
            pattern = b"ab+c?"
        value = b"" if word.startswith("if") else b" %d" % number
        rules.append(b"endif" if word == "endif" else word.encode() + b"/" + pattern + b"/" + value)
    filler = [b"/filler%d[0-9]/ f" % i for i in range(12)]  # so that there is a prefilter
    tested = table(kind, rules + filler)
    for key in [*keys, b"filler77"]:
        assert tested.get(key) == tested._loop(key)


PAIRS = st.lists(st.tuples(st.text("abc@\xff", min_size=2, max_size=9), st.integers(0, 50)), max_size=60)


@given(PAIRS, st.text("abcABC@\xff", max_size=40), st.integers(1, 40))
def test_the_index_agrees_with_its_twin(pairs: list[tuple[str, int]], key: str, times: int) -> None:
    encoded = [(text.encode("latin-1"), number) for text, number in pairs]
    index = LiteralIndex(encoded)
    for subject in (key.encode("latin-1"), key.encode("latin-1") * times, b"", b"a"):
        assert index.find(subject) == find(encoded, subject)


def test_a_text_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="too short"):
        LiteralIndex([(b"a", 1)])


def test_a_large_table_tries_few_rules() -> None:
    tested = table(
        "regexp", [b"/^user%d(x)*@customer%d[.]example$/ v%d" % (i, i % 7, i) for i in range(3000)]
    )
    assert tested._prefilter is not None
    assert tested.get(b"USER2999@customer3.example") == b"v2999"
    assert len(tested._prefilter.rules(b"user2999@customer3.example")) < 8
    assert tested.get(b"user3000@customer3.example") is None


def test_the_librarys_version_shows() -> None:
    """Where Debian's 10.42 and the binding's library part ways, docs/differences.md says so."""
    assert PcrePattern(b"^a{,2}$", 0).matches(b"aa")
    tested = table("pcre", [b"/^a.c$/ any", b"/a\\Cc/ x"])
    assert tested.get(b"abc") == b"any"
    assert [line.rpartition(", ")[2][:31] for line in tested.warnings] == ["line 2: error in regex at offse"]


def test_nothing_is_left_behind() -> None:
    before = live_objects()
    for count in (0, 3, 500):
        LiteralIndex([(b"text%d" % number, number) for number in range(count)]).find(b"text3")
    assert live_objects() == before
