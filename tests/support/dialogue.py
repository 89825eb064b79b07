"""SMTP conversations as text: the reader of *.dialogue files and the player that holds a server to them.
    == H-B02 RCPT before MAIL        a conversation; the greeting is expected without being written down
    set strict_rfc821_envelopes=yes  a parameter of this service (before the first `==`: of all in the file)
    differs need-helo                Postfix 3.7 does otherwise; the key of a row in docs/differences.md
    only whole                       ... in one piece (what one segment means matters), or `live`, or `bare`
    hello                            EHLO, its reply;  `transaction`: MAIL, RCPT and DATA up to the 354
    C: RCPT TO:<u@relay.example>     a line and its CRLF;  lines without an S between them are one write
    C< a\\rb\\x00{x*300}\\n            raw bytes with escapes;  {x*300} is x 300 times, in C: too
    C* 3: RCPT TO:<u{n}@a.example>   the line so many times, {n} counted from 1;  S* 3: likewise
    S: 250 2.0.0 Ok: queued as {id}  one line of a reply; {any} is anything;  S~ a regular expression
    -- nothing                       no reply may come;  -- closed: the server closes;  -- leave: the client does
    -- messages 1                    so many messages are in the queue then;  -- recipients u@relay.example ...
    -- stored \\r\\na b\\r\\n           the stored contents hold these bytes;  -- not stored: they do not
Unless the connection is closed, RSET and a transaction of its own follow: the two sides are still in step.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

HOST = "mx.local.example"
GREETING = f"220 {HOST} ESMTP Mail"
HELLO = rf"""
C: EHLO client.example
S: 250-{HOST}
S: 250-PIPELINING
S~ 250-SIZE \d+
S: 250-VRFY
S: 250-ETRN
S: 250-ENHANCEDSTATUSCODES
S: 250-8BITMIME
S: 250-DSN
S: 250-SMTPUTF8
S: 250 CHUNKING
"""
TRANSACTION = """
C: MAIL FROM:<a@sender.example>
S: 250 2.1.0 Ok
C: RCPT TO:<u@relay.example>
S: 250 2.1.5 Ok
C: DATA
S: 354 End data with <CR><LF>.<CR><LF>
"""
EPILOGUE = f"""
C: RSET
S: 250 2.0.0 Ok
{TRANSACTION}
C: Subject: still in step
C:
C: .
S: 250 2.0.0 Ok: queued as {{id}}
C: QUIT
S: 221 2.0.0 Bye
-- closed
"""
MACROS = {"hello": HELLO, "transaction": TRANSACTION}
ESCAPES = {"r": "\r", "n": "\n", "t": "\t", "0": "\0", "\\": "\\"}
CHUNKINGS = ("whole", "bytes", "ends", "blocks", "random")


@dataclass(frozen=True)
class Step:
    """One write, the lines of the replies to it, and what becomes of the connection."""

    sent: bytes
    replies: tuple[re.Pattern[bytes], ...] = ()
    then: str = ""  # "", nothing, closed, leave
    line: int = 0  # in the file


@dataclass(frozen=True)
class Conversation:
    name: str
    place: str
    steps: tuple[Step, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    differs: str = ""
    only: str = ""
    messages: int = 0
    recipients: tuple[bytes, ...] | None = None
    stored: tuple[bytes, ...] = ()
    not_stored: tuple[bytes, ...] = ()

    @property
    def is_closed(self) -> bool:
        return bool(self.steps) and self.steps[-1].then in ("closed", "leave")

    def __str__(self) -> str:
        return self.name


def load(path: Path) -> list[Conversation]:
    """All conversations of a file."""
    return list(Reader(path.name, path.read_text()).conversations())


@dataclass
class Reader:
    place: str
    text: str
    found: Conversation | None = None
    common: tuple[tuple[str, str], ...] = ()
    steps: list[Step] = field(default_factory=list)

    def conversations(self) -> Iterator[Conversation]:
        for number, line in enumerate(self.text.splitlines(), 1):
            if line.startswith("== "):
                yield from self.finish()
                self.found = Conversation(line[3:], f"{self.place}:{number}", settings=self.common)
                self.steps = [Step(b"", (exactly(GREETING),), line=number)]
            elif line and not line.startswith("#"):
                self.take(line, number)
        yield from self.finish()

    def finish(self) -> Iterator[Conversation]:
        if self.found is not None:
            yield replace(self.found, steps=tuple(self.steps))

    def take(self, line: str, number: int) -> None:
        word, _, rest = line.partition(" ")
        if word == "set":
            setting = tuple(part.strip() for part in rest.split("=", 1))
            if self.found is None:
                self.common += (setting,)
            else:
                self.change(settings=(*self.found.settings, setting))
        elif word in ("differs", "only"):
            self.change(**{word: rest})
        elif word in MACROS:
            for inner in MACROS[word].strip().splitlines():
                self.take(inner, number)
        elif word == "--":
            self.judge(*rest.split(" ", 1), number=number)
        elif word[0] in "CS":
            self.speak(line, number)
        else:
            raise ValueError(f"{self.place}:{number}: {line}")

    def change(self, **changes: object) -> None:
        self.found = replace(self.found, **changes)

    def judge(self, word: str, rest: str = "", number: int = 0) -> None:
        if word in ("nothing", "closed", "leave"):
            self.steps[-1] = replace(self.steps[-1], then=word)
        elif word == "messages":
            self.change(messages=int(rest))
        elif word == "recipients":
            self.change(recipients=tuple(rest.encode().split()))
        elif word == "stored":
            self.change(stored=(*self.found.stored, raw(rest)))
        elif word == "not" and rest.startswith("stored "):
            self.change(not_stored=(*self.found.not_stored, raw(rest[7:])))
        else:
            raise ValueError(f"{self.place}:{number}: {word}")

    def speak(self, line: str, number: int) -> None:
        kind, text, times = line[:2], line[3:], 1
        if kind[1] == "*":
            count, _, text = text.partition(": ")
            kind, times = kind[0] + ":", int(count)
        if kind == "C:" or kind == "C<":
            last = self.steps[-1]
            if last.replies or last.then:
                last = Step(b"", line=number)
                self.steps.append(last)
            data = b"".join(client_line(kind, text.replace("{n}", str(n + 1))) for n in range(times))
            self.steps[-1] = replace(last, sent=last.sent + data)
        else:
            pattern = exactly(text) if kind == "S:" else re.compile(text.encode())
            last = self.steps[-1]
            self.steps[-1] = replace(last, replies=last.replies + (pattern,) * times)


def client_line(kind: str, text: str) -> bytes:
    return raw(text) if kind == "C<" else repeated(text).encode() + b"\r\n"


def repeated(text: str) -> str:
    return re.sub(r"\{(.+?)\*(\d+)\}", lambda match: match[1] * int(match[2]), text)


def raw(text: str) -> bytes:
    """`\\r \\n \\t \\0 \\\\ \\xHH`; what is not escaped is UTF-8."""
    parts = re.split(r"(\\x[0-9a-f]{2}|\\.)", repeated(text))
    made = [
        bytes.fromhex(part[2:])
        if part[:2] == "\\x"
        else ESCAPES[part[1]].encode()
        if odd % 2
        else part.encode()
        for odd, part in enumerate(parts)
    ]
    return b"".join(made)


def exactly(text: str) -> re.Pattern[bytes]:
    pattern = re.escape(repeated(text)).replace(r"\{id\}", "[0-9A-F]{6,}").replace(r"\{any\}", ".*")
    return re.compile(pattern.encode())


EPILOGUE_STEPS = next(Reader("epilogue", f"== epilogue\n{EPILOGUE}").conversations()).steps[1:]


class Wire(Protocol):
    """The client's end of a connection."""

    def send(self, data: bytes) -> None: ...
    def lines(self, count: int) -> list[bytes]: ...  # fewer when the server closes or stays silent
    def is_quiet(self) -> bool: ...  # nothing more came
    def is_closed(self) -> bool: ...  # and nothing came before that
    def leave(self) -> None: ...


def play(conversation: Conversation, wire: Wire) -> None:
    """Raises AssertionError where the server does not answer as written."""
    steps = conversation.steps
    if not conversation.is_closed:
        steps += EPILOGUE_STEPS
    for step in steps:
        where = f"{conversation.place} {conversation.name}, line {step.line}: {step.sent[:200]!r}"
        wire.send(step.sent)
        got = wire.lines(len(step.replies))
        for index, pattern in enumerate(step.replies):
            assert index < len(got), f"{where}: no reply {pattern.pattern!r}, got {got[-3:]!r}"
            assert pattern.fullmatch(got[index]), f"{where}: got {got[index]!r}, wanted {pattern.pattern!r}"
        if step.then == "closed":
            assert wire.is_closed(), f"{where}: not closed"
        elif step.then == "leave":
            wire.leave()
        elif step.then == "nothing":
            assert wire.is_quiet(), f"{where}: a reply came"


def cut(data: bytes, chunking: str, seed: int = 0) -> list[bytes]:
    """The same bytes in the pieces in which they might arrive."""
    if chunking == "whole" or not data:
        return [data]
    if chunking == "bytes":
        return [data[i : i + 1] for i in range(len(data))]
    if chunking == "ends":
        return [piece for piece in re.split(rb"([\r\n.])", data) if piece]
    if chunking == "blocks":
        return [data[i : i + 2048] for i in range(0, len(data), 2048)]
    chance, pieces, at = random.Random(seed), [], 0
    while at < len(data):
        size = chance.choice((1, 2, 3, 7, 64, 1000, 4096))
        pieces.append(data[at : at + size])
        at += size
    return pieces
