"""postmap, postalias and newaliases as programs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tables_tools import Tools, needs_postmap, open_to_all

ALIASES = """\
# comment
postmaster: root
"quoted name": "a b"@x.com, foo
Foo:  bar,baz ,
  |"/bin/x y", :include:/foo
"|x": y
a@b: c
a%b: c
x,y: z
novalue:
: z
noname
dup: 1
dup: 2
paren(comment): val (c2) more
esc\\ aped: q
list: "/file name", \\user
empty: ""
sp ace: v
"a@b": at
addr: Foo Bar <foo@bar>, <x@y>;
semi: a;b
utf: é
[x]: y
k1: |/bin/x arg, a"b c"d
k2: esc\\ aped, x\\"y, tab\\	z
k3: "a\\"b\\\\c", [1.2.3.4 ], [a\\]b]
k4: (nested (c) x) y
k5: a.b@c.d, a . b, a@b <c>, <a>b
k8: "unterminated
k9: (unterm
k10: [unterm
k13: ,a,,b,
k14: x\0y
\0k15: z
k16\0: z
 \0continues nothing
"""


def without_time(listing: bytes) -> list[bytes]:
    return sorted(line for line in listing.splitlines() if not line.startswith(b"YP_LAST_MODIFIED"))


@needs_postmap
def test_postalias_makes_what_debians_makes(tools: Tools) -> None:
    tools.write("theirs", ALIASES)
    tools.write("mine", ALIASES)
    real = tools.postfix("lmdb:theirs", program="postalias")
    ours = tools.ours("lmdb:mine", program="postalias")
    assert ours.status == real.status == 0
    wanted = [line.replace("theirs", "mine") for line in real.err.splitlines() if "duplicate" not in line]
    assert [line for line in ours.err.splitlines() if "duplicate" not in line] == wanted
    assert 'mine, line 14: duplicate entry: "dup"' in ours.err
    listing = tools.postfix("-s", "lmdb:theirs", program="postalias").out
    assert without_time(tools.ours("-s", "lmdb:mine", program="postalias").out) == without_time(listing)
    assert without_time(tools.postfix("-s", "lmdb:mine", program="postalias").out) == without_time(listing)
    assert tools.ours("-q", "-", "mine", program="postalias", stdin=b"FOO\nx\n").out.startswith(
        b"FOO:\tbar, baz"
    )


def test_newaliases(tools: Tools) -> None:
    tools.write("aliases", "postmaster: root\n")
    assert tools.ours(program="newaliases").status == 0
    assert tools.ours("-q", "postmaster", "hash:aliases").out == b"root\n"


def test_create_query_change_delete(tools: Tools) -> None:
    tools.write("t", "a 1\nb 2\nA 3\n")
    made = tools.ours("t")
    assert (made.status, made.err) == (0, 'postmap: warning: t, line 3: duplicate entry: "a"\n')
    assert (tools.directory / "t.lmdb").exists()
    assert tools.ours("-q", "-", "t", stdin=b"A\nnone\nb").out == b"A\t1\nb\t2\n"
    assert tools.ours("-q", "none", "t").status == 1
    warned = tools.ours("-i", "t", stdin=b"c 3\na 9\n").err
    assert warned == 'postmap: warning: stdin, line 2: duplicate entry: "a"\n'
    assert tools.ours("-iw", "t", stdin=b"a 9\n").err == ""
    assert tools.ours("-s", "t").out == b"a\t1\nb\t2\nc\t3\n"
    assert tools.ours("-ir", "t", stdin=b"a 9\n").status == 0
    assert tools.ours("-q", "a", "t").out == b"9\n"
    assert [tools.ours("-d", "B", "t").status, tools.ours("-d", "b", "t").status] == [0, 1]
    assert tools.ours("-d", "-", "t", stdin=b"a\nc\nx\n").status == 0
    assert tools.ours("-s", "t").out == b""


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["t"], "open t: No such file or directory"),
        (["dbm:ours/main.cf"], "unsupported dictionary type: dbm"),
        (["static:ours/main.cf"], "unsupported dictionary type: static does not support bulk-mode creation."),
        (["proxy:hash:t"], "can't create maps via the proxy service"),
        (["-q", "a", "-s", "t"], "specify only one of -s or -q or -d"),
        (["-q", "a", "t"], "open database t.lmdb: No such file or directory"),
        (["-s", "static:a"], "table static:a: sequence operation is not supported"),
        (["-s", "fail:x"], "table fail:x: sequence error: Application error"),
        (["-d", "k", "static:x"], "table static:x: delete operation is not supported"),
        (["-c", "/nonexistent", "-q", "a", "t"], ""),
    ],
)
def test_fatal_errors_are_one_line_and_status_1(tools: Tools, args: list[str], message: str) -> None:
    answer = tools.ours(*args)
    assert answer.status == 1
    assert answer.err.startswith(f"postmap: fatal: {message}")
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize("args", [[], ["-Z", "t"], ["-q"]])
def test_usage(tools: Tools, args: list[str]) -> None:
    answer = tools.ours(*args)
    assert answer.status == 1
    assert "fatal: usage: postmap" in answer.err


def test_bad_lines_are_named_by_number_and_left_out(tools: Tools) -> None:
    tools.write("t", b"good 1\n\xff bad\nlonely\n" + b"end 2\n")
    answer = tools.ours("t")
    assert answer.status == 0
    assert [line.split(":")[2].split(",")[1] for line in answer.err.splitlines()] == [" line 2", " line 3"]
    assert tools.ours("-s", "t").out == b"end\t2\ngood\t1\n"


@pytest.mark.parametrize("program", ["postmap", "postalias"])
def test_a_key_that_no_table_can_have_leaves_the_table_as_it_is(tools: Tools, program: str) -> None:
    between = ": " if program == "postalias" else " "
    tools.write("t", f"good{between}1\n")
    assert tools.ours("t", program=program).status == 0
    for long in ("x" * 511, "\u00e9" * 300):
        tools.write("t", f"new{between}2\n\n{long}{between}y\n")
        answer = tools.ours("t", program=program)
        assert answer.status == 1
        assert answer.err.startswith(f"{program}: fatal: t, line 3: key is longer than 510 bytes: ")
        assert tools.ours("-q", "good", "t", program=program).out == b"1\n"
    added = tools.ours("-i", "t", program=program, stdin=f"new{between}2\n{'x' * 511}{between}y\n".encode())
    assert (added.status, tools.ours("-q", "new", "t", program=program).status) == (1, 1)
    assert added.err.startswith(f"{program}: fatal: stdin, line 2: key is longer")


def test_spilled_runs_make_the_same_table(tools: Tools) -> None:
    from fastrelay.tables import build

    def listing(budget: int) -> tuple[bytes, list[tuple[int, bytes]]]:
        path = tools.directory / f"t{budget}.lmdb"
        sorter = build.Sorter(str(tools.directory), budget)
        for i in range(9000):
            sorter.add(b"%d\0" % (i * 7919 % 6000), i, b"%d\0" % i)
        duplicates: list[tuple[int, bytes]] = []
        ownership = build.Ownership(0o644, None)
        build.build(
            str(path), sorter, build.Form(), ownership, lambda line, key: duplicates.append((line, key))
        )
        sorter.close()
        return tools.ours("-s", f"t{budget}").out, sorted(duplicates)

    assert listing(1 << 30) == listing(50_000)
    assert listing(50_000)[0].count(b"\n") == 6000


def test_a_build_that_fails_leaves_the_old_table(tools: Tools) -> None:
    tools.write("t", "a 1\n")
    tools.ours("t")
    script = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
    tools.write("t", "".join(f"k{i} {'v' * 400}\n" for i in range(500)))
    command = [sys.executable, "-c", script + SMALL_DISK, str(tools.directory / "ours")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tools.directory)
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("postmap: fatal: ")
    assert tools.ours("-s", "t").out == b"a\t1\n"
    assert [name for name in os.listdir(tools.directory) if name.startswith(".")] == []


SMALL_DISK = """
import signal, sys
from pathlib import Path
from fastrelay.admin import postmap
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
sys.exit(postmap.main(Path(sys.argv[1]), ["t"]))
"""


@pytest.mark.parametrize(
    ("source", "expected"), [(0o644, 0o644), (0o640, 0o640), (0o600, 0o600), (0o666, 0o644)]
)
def test_a_new_table_has_its_sources_mode(tools: Tools, source: int, expected: int) -> None:
    tools.write("t", "a 1\n").chmod(source)
    tools.ours("t")
    assert (tools.directory / "t.lmdb").stat().st_mode & 0o777 == expected
    (tools.directory / "t.lmdb").chmod(0o604)
    tools.ours("t")
    assert (tools.directory / "t.lmdb").stat().st_mode & 0o777 == 0o604  # an existing one keeps its own
    (tools.directory / "t.lmdb").unlink()
    tools.ours("-p", "t")
    assert (tools.directory / "t.lmdb").stat().st_mode & 0o777 == 0o644


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make files of others")
def test_owner_of_the_source(tools: Tools, tmp_path: Path) -> None:
    tools.write("t", "a 1\n")
    os.chown(tools.directory / "t", 65534, 65534)
    tools.ours("t")
    assert (tools.directory / "t.lmdb").stat().st_uid == 65534
    (tools.directory / "t.lmdb").unlink()
    tools.ours("-o", "t")
    assert (tools.directory / "t.lmdb").stat().st_uid == 0
    (tools.directory / "t.lmdb").unlink()
    open_to_all(tmp_path)
    tools.directory.chmod(0o777)
    tools.ours("t")  # in a directory that others can write to, the owner does the work
    assert (tools.directory / "t.lmdb").stat().st_uid == 65534
