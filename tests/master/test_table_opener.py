"""What the log says of tables when they are opened."""

from pathlib import Path

from fastrelay.master.table_opener import TableOpener, opener_of_checks
from fastrelay.tables.options import NOWHERE, Options

Lines = list[tuple[str, bytes, bytes]]


def test_mistakes_and_problems_are_told_once(tmp_path: Path) -> None:
    said: Lines = []
    (tmp_path / "rules").write_text("/good/ DUNNO\n/bad\n")
    (tmp_path / "names").write_text("a 1\nA 2\n")
    opener = TableOpener(
        b"smtpd",
        lambda service, text: said.append(("error", service, text)),
        lambda service, text: said.append(("warning", service, text)),
        Options(),
    )
    for _ in range(2):
        assert opener(f"regexp:{tmp_path}/rules").get(b"good") == b"DUNNO"
        assert opener(f"texthash:{tmp_path}/names").get(b"a") == b"1"
        assert opener("dbm:x").problem
    where = f"{tmp_path}/".encode()
    assert said == [
        (
            "warning",
            b"smtpd",
            b'regexp map %brules, line 2: no closing regexp delimiter "/": skipping this rule' % where,
        ),
        ("warning", b"smtpd", b'%bnames, line 2: duplicate entry: "A"' % where),
        ("error", b"smtpd", b"unsupported dictionary type: dbm"),
    ]


def test_a_source_full_of_mistakes_does_not_fill_the_log(tmp_path: Path) -> None:
    said: list[bytes] = []
    (tmp_path / "names").write_text("lonely\n" * 1000)
    opener = TableOpener(b"smtpd", lambda service, text: None, lambda _, text: said.append(text), Options())
    assert opener(f"texthash:{tmp_path}/names").get(b"lonely") is None
    assert len(said) == 21
    assert said[-1] == b"texthash:%b/names: and 980 more of that kind" % str(tmp_path).encode()


def test_checks_are_asked_with_bytes_as_they_are(tmp_path: Path) -> None:
    said: Lines = []
    opener = opener_of_checks(
        lambda service, text: said.append(("error", service, text)),
        lambda service, text: said.append(("warning", service, text)),
        NOWHERE,
    )
    (tmp_path / "names").write_bytes(b"A\xff x\n")
    assert opener(f"texthash:{tmp_path}/names").get(b"A\xff") == b"x"
    assert opener("hash:none").problem
    assert said == [("error", b"cleanup", b"open database none.lmdb: No such file or directory")]
