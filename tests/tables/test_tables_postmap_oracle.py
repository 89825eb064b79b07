"""postmap, postalias and newaliases beside Debian's: the same output, the same exit status, the same complaints."""

import re
from pathlib import Path

import pytest
from tables_tools import Answer, Tools, needs_postmap

pytestmark = needs_postmap

SOURCE = b"""\
# comment
  leading whitespace
good 1
\xff bad
lonely
"unbalanced x
"a b" q
a\\ b v
A:b: c
alias: x
dup 1
DUP 2
\\ x
nul\0x y
k v\0w
"q"uoted v
val   \t trail  \r
caf\xc3\xa9 \xff
STRASSE s
stra\xc3\x9fe sharp
a"b c"d e
k5 "q"
trailing\\
cont first
  second
# between
\tthird

nonl 5"""
FILES = b"a one, two\nb one\nc\nd nofile\ne binary\ng directory\nh one one\n"


def create(tools: Tools, source: bytes, *flags: str, program: str = "postmap") -> tuple[Answer, Answer]:
    """Both make a table of the same text, in directories of their own, so that messages agree."""
    answers = []
    for name, run in (("theirs", tools.postfix), ("mine", tools.ours)):
        folder = tools.directory / name
        folder.mkdir(exist_ok=True)
        tools.write(f"{name}/t", source)
        answers.append(run(*flags, f"lmdb:{folder}/t", program=program))
    return answers[0], answers[1]


def told(answer: Answer) -> list[str]:
    """Its complaints; ours about duplicates have a line number, about lines that are left out say so."""
    text = re.sub(r"\S+/(theirs|mine)/t", "t", answer.err)
    text = text.replace("lmdb:t: dup", "t: dup").replace(" -- ignoring this line", "")
    return sorted(re.sub(r"t, line \d+: dup", "t: dup", text).splitlines())


def listing(tools: Tools, name: str, *flags: str) -> bytes:
    return tools.postfix(*flags, "-s", f"lmdb:{tools.directory}/{name}/t").out


@pytest.mark.parametrize("flags", [[], ["-u"], ["-f"], ["-fu"], ["-r"], ["-w"], ["-n"], ["-N"], ["-oprw"]])
def test_a_source_of_all_kinds_of_lines(tools: Tools, flags: list[str]) -> None:
    real, ours = create(tools, SOURCE, *flags)
    assert ours.status == real.status == 0
    assert told(ours) == told(real)
    assert listing(tools, "mine") == listing(tools, "theirs")
    mine = tools.ours("-s", f"lmdb:{tools.directory}/mine/t")
    assert mine.out == listing(tools, "theirs")


def test_postmap_i_complains_as_debians(tools: Tools) -> None:
    create(tools, b"dup 1\n")
    for flags in (["-i"], ["-iw"], ["-ir"], ["-iu"]):
        real = tools.postfix(*flags, f"lmdb:{tools.directory}/theirs/t", stdin=SOURCE)
        ours = tools.ours(*flags, f"lmdb:{tools.directory}/mine/t", stdin=SOURCE)
        assert ours.status == real.status == 0
        assert sorted(re.sub("stdin, line [0-9]+: dup", "t: dup", line) for line in told(ours)) == told(real)
        assert listing(tools, "mine") == listing(tools, "theirs")


def test_values_from_files(tools: Tools) -> None:
    tools.write("one", "first")
    tools.write("two", "second\n")
    tools.write("binary", b"a\0b\xff")
    (tools.directory / "directory").mkdir()
    real, ours = create(tools, FILES, "-F")
    assert (ours.status, told(ours)) == (real.status, told(real))
    assert listing(tools, "mine") == listing(tools, "theirs")
    assert tools.ours("-F", "-s", f"lmdb:{tools.directory}/mine/t").out == listing(tools, "theirs", "-F")
    tools.write("plain", "good notb64!\nok Zmlyc3Q=\n")
    tools.postfix("lmdb:plain")
    tools.write("rules", "/a/ one\n")
    asked = [["-s", "lmdb:plain"], ["-q", "ok", "lmdb:plain"], ["-q", "good", "lmdb:plain"]]
    asked += [
        ["-q", "xa", "regexp:rules"],
        ["-q", "a", "static:{one two}"],
        ["-q", "a", "inline:{{a=one, two}}"],
    ]
    asked += [["-q", "none", "inline:{a=one}"], ["-q", "x", "static:nofile"]]
    for args in asked:
        real, ours = tools.postfix("-F", *args), tools.ours("-F", *args)
        assert (ours.status, ours.out) == (real.status, real.out), args
        assert bool(ours.err) == bool(real.err), args


def test_streams_of_plain_keys(tools: Tools) -> None:
    """Those go through the compiled reader of whole texts; a key that is not ASCII, through the other."""
    keys = [f"key{i}" for i in range(3000)]
    tools.write("t", "".join(f"{key} value of {key} \u00e9\n" for key in keys[::2]) + f"{'x' * 510} long\n")
    assert tools.ours("lmdb:t").status == 0
    odd = ["KEY8", " key8", "key8 ", "key8\r", "x" * 510, "x" * 511, "x" * 600, "\tkey8", "key8\0x"]
    for last in ("key10", "key10\n", "key\u00e9\n"):
        stream = "".join(f"{key}\n" for key in [*keys, *odd]) + last
        real = tools.postfix("-q", "-", "lmdb:t", stdin=stream.encode())
        ours = tools.ours("-q", "-", "lmdb:t", stdin=stream.encode())
        assert (ours.status, ours.out) == (real.status, real.out)
    assert tools.ours("-q", "-", "lmdb:t", stdin=b"none\n\n").status == 1
    assert tools.ours("-q", "-", "lmdb:missing", stdin=b"").status == 1


SAME = """\
-Z x|-q|-q a -d b x|-q a -s x|-s -q a x|-q a -q b x|-s -s inline:{a=b}|-i -q a inline:{a=b}|-r -w inline:{a=b}
-q a nosuch:t|-s nosuch:t|-d a nosuch:t|-q a static|-q a static:|nosuch:missing|missing|nodir/missing
static:postfix/main.cf|regexp:postfix/main.cf|fail:postfix/main.cf|proxy:lmdb:t|-s proxy:lmdb:t|-i static:t|-i fail:t
-d a static:t|-d a fail:t|-s static:t|-s fail:t|-q a fail:t|-q a lmdb:missing|-s lmdb:missing|-q a -- inline:{a=b}
-q a inline:{a=b} -f|-h -q x static:a|-m -s static:a|-b lmdb:t|-vq|-c|-q|-qx inline:{x=y}|-q x inline:{x=y} static:z"""


@pytest.mark.parametrize("line", SAME.split("\n"))
def test_arguments_and_errors(tools: Tools, line: str) -> None:
    cases = [case.split() for case in line.split("|")]
    for case, real in zip(cases, tools.postfix_each(cases), strict=True):
        ours = tools.ours(*case)
        assert (ours.status, ours.out) == (real.status, real.out), case
        assert ours.err == real.err, case


def test_deleting(tools: Tools) -> None:
    create(tools, b"a 1\nb 2\nc 3\n")
    for args, stdin in ((["-d", "A"], b""), (["-d", "a"], b""), (["-d", "-"], b"B\nx\n"), (["-d", "-"], b"")):
        real = tools.postfix(*args, f"lmdb:{tools.directory}/theirs/t", stdin=stdin)
        ours = tools.ours(*args, f"lmdb:{tools.directory}/mine/t", stdin=stdin)
        assert (ours.status, ours.err) == (real.status, real.err)
        assert listing(tools, "mine") == listing(tools, "theirs")


POSTALIAS = (
    "|-Z x|-s -q a x|-F lmdb:t|-h lmdb:t|-q nope lmdb:aliases|-q Foo lmdb:aliases|-d x static:a|missing"
)


def test_postalias_arguments(tools: Tools) -> None:
    tools.write("aliases", "foo: bar\n")
    tools.postfix("lmdb:aliases", program="postalias")
    cases = [case.split() for case in POSTALIAS.split("|")]
    for case, real in zip(cases, tools.postfix_each(cases, "postalias"), strict=True):
        ours = tools.ours(*case, program="postalias")
        assert (ours.status, ours.out, ours.err) == (real.status, real.out, real.err), case


NEWALIASES = "|-oA{0}/other|-oA{0}/missing|-oA|foo|-Z|-C|-C {0}|-bi -I|-v foo"


@pytest.mark.parametrize("case", NEWALIASES.split("|"))
def test_newaliases_arguments(tools: Tools, case: str) -> None:
    tools.write("aliases", "postmaster: root\n")
    tools.write("other", "other: root\n")
    args = case.format(tools.directory).split()
    real, ours = (run(*args, program="newaliases") for run in (tools.postfix, tools.ours))
    made = {path.name for path in tools.directory.glob("*.lmdb")}
    assert made == ({"aliases.lmdb"} if ours.status == 0 and "other" not in case else {"other.lmdb"} & made)
    assert ours.status == real.status
    wanted = list(dict.fromkeys(real.err.splitlines()))  # getopt says it twice there
    assert [line.partition(" (-c config_dir or")[0] for line in ours.err.splitlines()] == wanted


def test_one_configuration_file_is_enough(tools: Tools, tmp_path: Path) -> None:
    bare, empty = tmp_path / "bare", tmp_path / "empty"
    for folder in (bare, empty):
        folder.mkdir()
    (bare / "main.cf").write_text("default_database_type = lmdb\n")
    tools.write("t", "a 1\n")
    assert tools.ours("-c", str(bare), "t").status == 0
    assert tools.ours("-c", str(bare), "-q", "a", "t").out == b"1\n"
    answer = tools.ours("-c", str(empty), "-q", "a", "t")
    assert answer.status == tools.postfix("-c", str(empty), "-q", "a", "t").status == 1
    assert answer.err.startswith(
        f"postmap: fatal: open {empty}/main.cf: No such file or directory (-c config_dir"
    )
