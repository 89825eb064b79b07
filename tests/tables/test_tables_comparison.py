"""Hundreds of lookups in every local table type: stdout, exit status and complaints are those of Debian's postmap.

Where the two differ on purpose stands in DIFFERENT, with the reason.
"""

import os

import pytest
from comparison_tools import Run, meaning, run_ours, run_postfix
from tables_tools import Answer, Tools, needs_postmap

pytestmark = needs_postmap

TEXT = (
    b"""# comment
user@example.com  550 5.1.1  no such user
@example.net at
.example.org dot
example.org   OK
plain value with  blanks\x20
"quoted key" quoted
"back\\\\slash \\" q" escaped
Upper MixedCase
dup first
DUP second
tab\tseparated\tby\ttabs
continued a
  b
\tc
root: x
\xc3\xa9t\xc3\xa9 utf8
bad\xff latin
lonely
"unclosed x
dollar $1 $$ ${2} %s
long """
    + b"v" * 3000
    + b"\n"
    + b"k" * 400
    + b" longkey\nnul\0key x\nlast noeol"
)
TEXT_KEYS = b"""user@example.com USER@EXAMPLE.COM @example.net .example.org example.org EXAMPLE.org plain quoted upper
UPPER dup DUP tab continued root: root \xc3\xa9t\xc3\xa9 \xc3\x89T\xc3\x89 bad\xff bad lonely dollar long last nul
"unclosed # none x""".split()
TEXT_KEYS += [b"quoted key", b'back\\slash " q', b'"quoted key"', b"k" * 400, b"z" * 2000, b" plain"]

CIDR = b"""10.0.0.0/8 ten
10.1.0.0/16 never
!10.0.0.0/7 outside eleven
if 11.0.0.0/8
if !11.1.0.0/16
11.0.0.0/9 low
endif
11.1.2.3 one
endif
11.128.0.0/9  high  half\x20
2001:db8::/32 doc
[2001:db9::]/32 brackets
[2001:dba::1] bracket one
!2001::/16 not 2001
if fe80::/10
::/0 never either
endif
10.0.0.1/8 host bits
300.1.1.1 x
1.2.3.4/33 x
2001:db8::/129 x
nonsense
1.1.1.1
endif
if
if 9.9.9.9
8.8.8.8\tinside unclosed
"""
CIDR_KEYS = (
    b"10.0.0.0 10.255.255.255 10.1.2.3 9.255.255.255 11.0.0.0 11.1.2.3 11.1.2.4 11.127.255.255 11.128.0.0 12.0.0.0 "
    b"0.0.0.0 255.255.255.255 2001:db8::1 2001:DB8:FFFF::1 2001:db9::1 2001:dba::1 2001:dba::2 2002::1 fe80::1 :: "
    b"::1 ::ffff:10.0.0.1 ffff::ffff 10.0.0 10.0.0.1.1 010.0.0.1 1.2.3.4 9.9.9.9 8.8.8.8 host.example [10.0.0.1] "
    b"10.0.0.0/8 2001:db8::/32 1e1.0.0.1 ::1%lo \xff"
).split()

BOTH = rb"""/^foo(.*)$/	got $1 ${1} $(1) $$
/^(a)(b)?(c*)d$/ [$1][$2][$3]
!/^[a-z@.0-9 -]*$/ strange
if /^if-/
/inside/ in the block
if !/not/
/deep(er)?$/ deep:$1:
endif
!/^if-[a-m]/ second half
ENDIF
/^case$/i exact case
/^multi$/m multi
~^t/l~ tilde
|^pipe\|x| pipe
,^comma\.x$, comma
/^slash\/x$/ slash
/bad(/ x
/bad[/ x
/noclose
/^(k)$/ $2
/^k$/ $name
/^l$/ ${1
/^r$/ $1x
/^empty$/
/^cont/
  inued
!/neg$/ $1
unrecognized
endif
endif
/^u@(.*)\.example$/ 550 $(1): no
/^d.t$/ any
/^caf.$/ byte
/^caf..$/ two bytes
//all that is left
if /^open/ trailing
/x/ y
"""
REGEXP = (
    rb"""/^z(a|ab)(c|bcd)(d*)$/ posix:$1:$2:$3:
/a{2,3}b/x basic
/[[:upper:]]+[[:digit:]]/i class
/^two/!/two-three/ two
/^bs\wx/ word
/^x(y|)*z$/ empty branch
"""
    + BOTH
)
PCRE = (
    rb"""/^z(a|ab)(c|bcd)(d*)$/ perl:$1:$2:$3:
/^lazy(.+?)(x*)$/ [$1][$2]
/^un(g+)/U ungreedy $1
/^ext ended # no/x extended
/nchor/A anchored
/end$/E end only
/^dot.all$/s no dot all
/^(?!no)(?<name>look).*(?=ahead)/ around $1
/^\x{41}\x42(?i:c)\d+\p{Lu}?$/i hex
/^atomic(?>a|ab)c/ atomic
/^(?:(p)|(q))+$/ ($1)($2)
/^xx\y/ bad escape
/^X/X obsolete
"""
    + BOTH
)
PATTERN_KEYS = b"""foo foobar FOOBar abd abccd ad zabcd zabcdd zacd if-inside if-deep if-deeper if-notdeep if-zz if-aaa
case CASE multi t/l pipe|x comma.x slash/x k l r empty cont A1 a1 two two-three two-x bs1x xyyz xz lazyabcxx ungggg
extended nchor anchor theend dotxall lookxahead nolookahead ABc12 abc12 atomicabc atomicac pqp X xxy u@dot.example
U@DOT.EXAMPLE dat caf\xc3\xa9 cafe openx aab aaab ab a{2,3}b neg root ??? \xff""".split()
PATTERN_KEYS += [b"foo bar", b"foo  ", b"x" * 5000]

INLINE = "inline:{a=b, c=d e=, {k = v w} , {sp = { br } }, A=z, \u00e9=utf, x=y=z}"
NAMED = {
    "static:value": b"a b",
    "static:{ text with  blanks }": b"a \xff",
    "static:{}": b"a",
    "static:{ unclosed": b"a",
    "static:{a}b": b"a",
    "static: lead": b"a",
    INLINE: b"a A c e k sp x y \xc3\x89 \xc3\xa9 none",
    "inline:{}": b"a",
    "inline:{a}": b"a",
    "inline:a=b": b"a",
    "inline:{{a=b}x}": b"a",
    "inline:{a = b}": b"a",
    "inline:{ {a b = c} }": b"a",
    "environ:any": b"path PATH FRTEST frtest",
    "environ:bytes": b"frbytes FRBYTES",
    "cidr:{ {10.0.0.0/8 v\udcff}, {1.1.1.1 v} }": b"10.1.1.1",
    "inline:{a=b,b=v\udcff}": b"a b",
    "fail:x": b"a",
    "internal:x": b"a b",
    "unix:passwd.byname": b"root ROOT daemon nosuchuser \xff",
    "unix:group.byname": b"root adm nosuchgroup",
    "unix:other": b"a",
    "randmap:{one}": b"a b",
    "randmap:{{o n e}}": b"a",
    "randmap:{}": b"a",
    "randmap:one": b"a",
    "pipemap:{inline:{a=b,c=none}, inline:{b=c d=e}}": b"a A b c d",
    "pipemap:{inline:{ {a = B C} },regexp:{ {/^(B) (.)/ x$2y$1} } }": b"a b",
    "pipemap:{inline:{ {a = B C} },regexp:{ {/^(B) (.)/ x${2}y$1} } }": b"a A b",
    "pipemap:{regexp:{ {/^(.*)$/ $1} },environ:x}": b"PATH path",
    "pipemap:{static:x,fail:y}": b"a",
    "pipemap:{inline:{a=b},fail:y}": b"a",
    "pipemap:{inline:{b=c},fail:y}": b"a",
    "pipemap:{static:a,, static:b }": b"a",
    "pipemap:{}": b"a",
    "pipemap:static:a": b"a",
    "pipemap:{nocolon}": b"a",
    "pipemap:{dbm:x}": b"a",
    "pipemap:{lmdb:missing}": b"a",
    "pipemap:{inline:{}}": b"a",
    "unionmap:{inline:{a=b,c=d},inline:{a=e} static:s}": b"a c none",
    "unionmap:{inline:{a=b},inline:{c=d}}": b"a c none \xff",
    "unionmap:{inline:{ab=c}, regexp:{ {/^A(.)/ got$1} }}": b"AB ab",
    "unionmap:{regexp:{ {/^A(.)/ got$1} },inline:{ab=c}}": b"AB ab",
    "unionmap:{randmap:{x}, pcre:{ {/^A(.)/ got$1} }}": b"AB",
    "unionmap:{pipemap:{inline:{a=b},inline:{b=c}},unionmap:{static:1,static:2},randmap:{9}}": b"a b",
    "unionmap:{static:a,fail:b}": b"a",
    "unionmap:{inline:{a=}, inline:{a=x}, inline:{b=}}": b"a b",
    "unionmap:{inline:{a=x,b=,c=}, inline:{a=,b=,c=x}, inline:{a=y,b=}, static:{ }}": b"a b c d",
    "unionmap:{static:a}x": b"a",
    "unionmap:{ {static:a} }": b"a",
    "regexp:{ {/^f(o*)$/ got $1}, {/x/ y} }": b"foo x z",
    "regexp:{{/a/ b}}": b"a",
    "regexp:{/a/ b}": b"a",
    "regexp:missing": b"a",
    "pcre:{ {/^f(o*?)$/ got $1}, {/x{2}/ y}, {if /z/}, {/./ dot}, {endif} }": b"foo xx z a",
    "pcre:missing": b"a",
    "cidr:{ {10.0.0.0/8 ten} {!1.2.3.4 other} }": b"10.1.1.1 1.2.3.4 4.3.2.1",
    "cidr:missing": b"a",
    "cidr:directory": b"1.1.1.1",
    "texthash:missing": b"a",
    "texthash:directory": b"a",
    "lmdb:missing": b"a",
    "cdb:missing": b"a",
    "nosuch:x": b"a",
    "nocolon:": b"a",
    ":x": b"a",
}
DIFFERENT = {  # ours says so, theirs is silently an empty table
    "regexp:directory": "open directory: Is a directory",
    "pcre:directory": "open directory: Is a directory",
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tools:
    directory = tmp_path_factory.mktemp("comparison")
    directory.chmod(0o755)
    tools = Tools(directory)
    for name, content in (("text", TEXT), ("cidr", CIDR), ("regexp", REGEXP), ("pcre", PCRE)):
        tools.write(name, content)
    (directory / "directory").mkdir()
    for command in (tools.postfix, tools.ours):
        assert command("lmdb:text").status == 0
        assert command("cdb:text").status == 0
    return tools


def runs() -> list[Run]:
    """Whole streams of keys, and single lookups for their exit status."""
    found = []
    for kind, keys in (
        ("texthash", TEXT_KEYS),
        ("cidr", CIDR_KEYS),
        ("regexp", PATTERN_KEYS),
        ("pcre", PATTERN_KEYS),
    ):
        name = "text" if kind == "texthash" else kind
        found.append(Run(f"{kind}:{name}", b"-", b"\n".join(keys)))
        found.append(Run(f"{kind}:{name}", b"-", b"\n".join(keys) + b"\n", flags=("-f",)))
        found += [Run(f"{kind}:{name}", key) for key in [*keys[::4], b""]]
    for kind in ("hash", "btree", "lmdb", "cdb"):
        theirs = "cdb:text" if kind == "cdb" else "lmdb:text"
        found.append(Run(f"{kind}:text", b"-", b"\n".join(TEXT_KEYS), theirs))
        found.append(Run(f"{kind}:text", b"-", b"\n".join(TEXT_KEYS), theirs, ("-f",)))
        found += [Run(f"{kind}:text", key, theirs=theirs) for key in TEXT_KEYS[::6]]
    for table, keys_of in NAMED.items():
        found.append(Run(table, b"-", b"\n".join(keys_of.split())))
        found.append(Run(table, keys_of.split()[0]))
        found.append(Run(table, keys_of.split()[-1], flags=("-f",)))
    return found


def shown(run: Run, answer: Answer) -> tuple[str, bytes, bytes, int, bytes, list[str]]:
    table = run.theirs or run.table
    complaints = [line.replace(run.table, table).replace("hash:", "lmdb:") for line in meaning(answer)]
    return run.table, run.key, run.stdin[:60], answer.status, answer.out, complaints


def test_at_least_400_lookups_in_all_local_types(tables: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRTEST", "x y")
    monkeypatch.setitem(os.environb, b"FRBYTES", b"x\xff")  # type: ignore[misc]
    wanted = runs()
    lookups = sum(len(run.stdin.split(b"\n")) if run.key == b"-" else 1 for run in wanted)
    assert lookups >= 400
    kinds = {run.table.partition(":")[0] for run in wanted}
    local = (
        "btree cdb cidr environ fail hash inline internal lmdb pcre pipemap randmap regexp static texthash"
    )
    assert kinds >= {*local.split(), "unionmap", "unix"}
    real, mine = run_postfix(tables, wanted), run_ours(tables, wanted)
    different = [
        (ours, theirs)
        for run, one, other in zip(wanted, mine, real, strict=True)
        if (ours := shown(run, one)) != (theirs := shown(run, other))
    ]
    for pair in different:
        print(*(str(side)[:1500] for side in pair), "", sep="\n")  # pytest would cut them
    assert not different
    assert sum(answer.status == 0 for answer in mine) > 100 < sum(answer.status == 1 for answer in mine)


@pytest.mark.parametrize("table", DIFFERENT)
def test_what_is_said_where_postfix_says_nothing(tables: Tools, table: str) -> None:
    real, mine = tables.postfix("-q", "a", table), tables.ours("-q", "a", table)
    assert (real.status, real.err) == (1, "")
    assert (mine.status, mine.err) == (1, f"postmap: fatal: {DIFFERENT[table]}\n")
