"""Every table type answers as Debian's `postmap -q`: the same values for many keys, the same exit status."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from tables_tools import Tools, needs_postmap

pytestmark = needs_postmap

SOURCE = """\
# a comment
foo bar baz
FOO second
"quoted key" value of it
"with \\" quote" x
"unbalanced x
key\\ escaped v
User@Example.COM   550 5.1.1  no such user
é@exämple.org  utf
STRASSE s
straße sharp
lonely
tab\tseparated\t value\t
continued first
   second
\t third
# comment between
   fourth

alias: looks like an alias
.example.org dot
@example.net at
dollar $1 $$ %s
"""

CIDR = """\
192.168.1.1	host
192.168.0.0/16  net  with  spaces
!10.0.0.0/8 notten
10.1.2.3/8 bad
1.2.3 bad
[2001:db8::1] v6
2001:db8::/32 net6
[2001:db9::]/32 x
[2001:dba::/32] y
![2001:db8::]/29 outside
if 10.0.0.0/8
10.1.0.0/16 tenone
if !10.2.0.0/16
10.0.0.0/8 ten-not-two
endif
10.2.9.9 inner
endif
10.2.0.0/16 ten-two
ENDIF
if 1.2.3.4 x
2.2.2.2
3.3.3.3/33 x
010.0.0.1 octal
::ffff:1.2.3.4 mapped
!!11.0.0.0/8 twice
0.0.0.0/0 all four
"""

REGEXP = """\
/^foo(.*)$/	got $1 ${1} $(1) $$
/^bar(.)(.)?/i  b=$2.
/^z(a|ab)(c|bcd)(d*)$/ posix:$1:$2:$3:
/(x|xy)(yz?|z)+q/ longest:$1:$2:
if /^if-/
/inside/ in the block
if !/not/
/deep(er)?$/ deep:$1:
endif
!/^if-[a-m]/ second half
endif
!/[a-z0-9]/ no letters
/^case$/i exact case
/nl$/m multi
/a{2,3}b/x basic
/^(ab)*\\1$/ back:$1:
~^t/l~ tilde
|^pipe\\|x| pipe
/bad[/ x
/^(a)$/ $2
/^k$/ $foo
/^l$/ ${1
/^m$/ $
/^empty$/
/^two/!/two-three/ two
!/^q/ $1
nonsense
endif
/[[:upper:]]+[[:digit:]]/i class
/^caf.$/ byte
/^caf..$/ two bytes
/.*@(.*)\\.example$/ 550 $(1): no
"""

WORDS = """\
foo FOO Foo bar BAR "quoted|key" quoted "unbalanced key\\ key user@example.com USER@EXAMPLE.COM
é@exämple.org É@EXÄMPLE.ORG strasse STRASSE straße STRAßE lonely tab continued alias alias: .example.org
example.org @example.net dollar # comment x 192.168.1.1 192.168.255.255 192.169.0.0 10.0.0.0 10.1.1.1
10.2.0.1 10.2.9.9 10.3.0.1 11.1.1.1 1.2.3.4 01.2.3.4 1.2.3 255.255.255.255 2001:db8::1 2001:DB8:0::1
2001:db8::2 2001:db9::1 2001:dba::ffff 2001:dbf::1 ::ffff:1.2.3.4 ::1 :: [10.1.1.1] 8.0.0.1 1.2.3.4.5
g::1 foobar foo$ barx barxy BARX baRxy zabcd zabcdd zacd xyzq xyyzq xyzzq xq if-inside if-deep if-deeper
if-notdeep if-nothing if-z if-aaa ??? case CASE nl aab aaab a{2,3}b a{2,3} abab ab abababab t/l pipe|x
pipe a k l m empty two two-three two-x q A1 a1 café cafe cafés u@d.example %s $1 ( ) [ ] \\ / root ROOT
daemon nobody nosuchuser adm sudo PATH HOME path e i ei longkeylongkeylongkey
"""
KEYS = WORDS.split()
KEYS = [key.replace("|", " ") if key.startswith('"') else key for key in KEYS] + [
    "quoted key",
    "a b",
    "x" * 600,
    "x" * 511,
]


def compare(
    tools: Tools, table: str, theirs: str | None = None, keys: list[str] = KEYS, flags: str = ""
) -> int:
    """Both tools on a stream of keys: how many they find. Their complaints are not compared."""
    stream = "\n".join(keys).encode() + b"\n"
    flag = [f"-{flags}"] if flags else []
    real = tools.postfix(*flag, "-q", "-", theirs or table, stdin=stream)
    mine = tools.ours(*flag, "-q", "-", table, stdin=stream)
    assert mine.out.splitlines() == real.out.splitlines()
    assert mine.status == real.status
    return len(mine.out.splitlines())


@pytest.mark.parametrize("flags", ["", "f"])
@pytest.mark.parametrize("maker", ["postfix", "ours"])
@pytest.mark.parametrize("end", ["-N", "-n"])
def test_compiled_by_either_read_by_both(tools: Tools, maker: str, end: str, flags: str) -> None:
    tools.write("table", SOURCE)
    made = getattr(tools, maker)(end, "lmdb:table")
    assert made.status == 0, made.err
    compare(tools, "lmdb:table", flags=flags)
    if not flags:
        compare(tools, "hash:table", "lmdb:table")
        compare(tools, "btree:table", "lmdb:table")
    assert sorted(tools.ours("-s", "lmdb:table").out.splitlines()) == sorted(
        tools.postfix("-s", "lmdb:table").out.splitlines()
    )


NAMED = [
    "static:value",
    "static:{ a value }",
    "static:{ a value",
    "inline:{foo=bar, x=y}",
    "inline:{ {foo = a b c} , FOO=2 {quoted key = x} }",
    "inline:{foo=}",
    "inline:{}",
    "inline:{ }",
    "inline:foo=bar",
    "inline:{foo}",
    "inline:{{foo=bar}x=y}",
    "inline:{{foo = bar} x}",
    "unix:passwd.byname",
    "unix:group.byname",
    "unix:shadow.byname",
    "environ:x",
    "environ:",
    "fail:x",
    "dbm:/nowhere",
    "nocolon:",
    "lmdb:missing",
    "texthash:missing",
    "regexp:missing",
    "cidr:missing",
    "regexp:{ {/^f(o*)$/ got $1}, {/x/ y} }",
    "regexp:{/x/ y}",
    "cidr:{ {10.0.0.0/8 ten} {1.2.3.4 one} }",
]


UNFOLDED = ["environ:x", "inline:{foo=bar, X=y}", "unix:passwd.byname", "static:value"]


def test_every_type_from_its_name(tools: Tools) -> None:
    """All at once: Debian's tool sleeps a second before it dies of an error."""
    cases = [(table, "") for table in NAMED] + [(table, "f") for table in UNFOLDED]
    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(compare, tools, table, flags=flags) for table, flags in cases]
        found = [done.result() for done in running]
    assert len(found) == len(cases) and sum(found) > len(KEYS)


def test_texthash(tools: Tools) -> None:
    tools.write("table", SOURCE)
    compare(tools, "texthash:table")
    assert sorted(tools.ours("-s", "texthash:table").out.splitlines()) == sorted(
        tools.postfix("-s", "texthash:table").out.splitlines()
    )


def test_cidr(tools: Tools) -> None:
    tools.write("table", CIDR)
    assert compare(tools, "cidr:table") > 5


def test_regexp(tools: Tools) -> None:
    tools.write("table", REGEXP)
    compare(tools, "regexp:table")
    assert tools.ours("-q", "zacd", "regexp:table").out == b"posix:a:c:d:\n"


@pytest.mark.parametrize(("name", "content"), [("cidr", CIDR), ("texthash", SOURCE)])
def test_complaints_are_the_same(tools: Tools, name: str, content: str) -> None:
    tools.write("table", content)
    real = tools.postfix("-q", "nothing", f"{name}:table")
    mine = tools.ours("-q", "nothing", f"{name}:table")
    assert mine.err.splitlines() == real.err.splitlines()
    assert "line " in mine.err


ONE_KEY = [
    ("static:value", b"\xff"),
    ("inline:{a=b}", b"\xff\xfe"),
    ("inline:{a=}", b"a"),
    ("static:value", b""),
    ("regexp:{ {/^$/ nothing} {/./ y} }", b""),
    ("regexp:{ {/^a$/ } }", b"a"),
    ("regexp:{ {/./ y} }", b"\xff"),
    ("cidr:{ {0.0.0.0/0 y} }", b""),
    ("inline:{a=b}", b""),
    ("fail:x", b"k"),
    ("nosuch:x", b"k"),
    ("unix:passwd.byname", b"root"),
    ("lmdb:missing", b"k"),
    ("inline:{a=b}", b"c"),
]


def compare_one(tools: Tools, table: str, key: bytes) -> int:
    real = tools.postfix("-q", key, table)
    mine = tools.ours("-q", key, table)
    assert (mine.status, mine.out) == (real.status, real.out), (table, key)
    if "fatal" in real.err:
        assert mine.err == real.err
    return mine.status


def test_one_key_and_its_exit_status(tools: Tools) -> None:
    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(compare_one, tools, table, key) for table, key in ONE_KEY]
        assert {done.result() for done in running} == {0, 1}
