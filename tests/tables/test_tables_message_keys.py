"""postmap -q - with -h, -b and -m cuts a message into the keys that Debian's postmap has."""

import random
from pathlib import Path

import pytest
from tables_tools import Tools, needs_postmap

from fastrelay.admin.message_keys import Message

ENCODINGS = ["base64", "(c) quoted-printable", "8bit", "x-unknown", ""]
STARTS = [
    'Content-Type: multipart/mixed; boundary="bb"',
    "Content-Type: multipart/mixed; boundary=cc",
    "content-type: MULTIPART/digest; (c) boundary = cc",
]
LINES = [
    *(
        "From: a@b",
        "X-Y : z",
        " continued",
        "\tcontinued",
        "text",
        "--bb",
        "--bb",
        "--bb--",
        "--cc",
        "--cc",
        "--cc--",
    ),
    *("--cc trailing", "--b", ": novalue", "A:", "bad name: x", "café: x"),
    *(
        f"Content-Type: message{subtype}"
        for subtype in ("", "/rfc822", "/partial", "/external-body", "/global", "/x")
    ),
    "Content-Type: text/plain; boundary=cc",
    "Content-Type: multipart/mixed;",
    " boundary=bb",
    "Content-Transfer-Encoding: base64",
    "Content-Transfer-Encoding: 8bit",
    "Content-Transfer-Encoding: quoted-printable (x)",
    "Content-Transfer-Encoding: x-unknown",
    "Content-Type: multipart/mixed (c; boundary=cc); boundary = (d) cc; x=y",
    'Content-Type: multipart/alternative; charset=x; boundary="b\\b"',
    'Content-Type: multipart/x;boundary="";',
    "Content-Type: multipart / mixed ; boundary=bb bb",
]


def mine(lines: list[str], flags: str) -> bytes:
    pieces = Message("m" in flags, 102400, 100, 2048).pieces(line.encode() for line in lines)
    return b"".join(key + b"\tx\n" for header, key in pieces if ("h" if header else "b") in flags)


@needs_postmap
@pytest.mark.parametrize("flags", ["h", "b", "hb", "hm", "bm", "hbm"])
def test_keys_of_messages_are_postfixs(tools: Tools, flags: str) -> None:
    dice = random.Random(flags)
    for _ in range(30):
        lines = dice.choices([*LINES, "", "", "", *STARTS], k=dice.randint(1, 25))
        if dice.random() < 0.2:
            lines = [f"Content-Transfer-Encoding: {dice.choice(ENCODINGS)}", "", "From: inner", "", *lines]
            lines = [f"Content-Type: message/{dice.choice(['rfc822', 'global', 'partial'])}", *lines]
        if dice.random() < 0.7:
            lines = [dice.choice(STARTS), "", *lines]
        message = "\n".join(lines).encode() + b"\n"
        real = tools.postfix(f"-{flags}", "-q", "-", "static:x", stdin=message)
        assert mine(lines, flags) == real.out, message.decode()


@needs_postmap
def test_limits_are_postfixs(tools: Tools) -> None:
    deep = [
        text for i in range(120) for text in (f"Content-Type: multipart/x; boundary=b{i}.", "", f"--b{i}.")
    ]
    deep += [text for i in range(119, 90, -1) for text in (f"--b{i}.", "A: b", " c", "")]
    long = ["A: " + "x" * 102_390, *[" " + "y" * 50] * 5, "B: c", " " + "y" * 103_000, " z"]
    long += ["C: d", f"Content-Type: multipart/x; boundary={'b' * 3000}", "", "--" + "b" * 2048, "X: y"]
    for lines in (deep, long):
        real = tools.postfix(
            "-hbm", "-q", "-", "static:x", stdin="".join(f"{line}\n" for line in lines).encode()
        )
        assert mine(lines, "hbm") == real.out


@needs_postmap
def test_as_a_program(tools: Tools, tmp_path: Path) -> None:
    """UTF-8 is not required of a message's lines, but with -U it is."""
    tools.write("all", "/(.*)/ [$1]\n")
    message = b"X: \xe9\nY: y\n z\n\nb\xe9\n"
    for flags in ("-h", "-b", "-hbm", "-hbU"):
        real = tools.postfix(flags, "-q", "-", "regexp:all", stdin=message)
        ours = tools.ours(flags, "-q", "-", "regexp:all", stdin=message)
        assert (ours.status, ours.out, ours.err) == (real.status, real.out, real.err)
    for args in (["-h", "-q", "x", "regexp:all"], ["-b", "-s", "regexp:all"], ["-m", "lmdb:all"]):
        assert tools.ours(*args).err == tools.postfix(*args).err
    real, ours = (
        run("-m", "-q", "-", "static:x", stdin=b"A: b\n c\n") for run in (tools.postfix, tools.ours)
    )
    assert (ours.status, ours.out) == (real.status, real.out) == (0, b"A: b\tx\n c\tx\n")
    assert ours.err == real.err
