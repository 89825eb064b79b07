"""header_checks, mime_header_checks, nested_header_checks and body_checks for one message, as cleanup(8) has them.

smtpd/content.py makes ContentChecks at load, where any is configured, and an Inspection for each evaluation of
a message: HeaderCleaner shows it each header before it does anything with it, then the body is gone through.
An Inspection is pure: it collects what is to be logged and done, and is thrown away when a table must be
waited for. After REJECT, DISCARD and errors nothing more is looked at; after PASS and REDIRECT nothing is checked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

from fastrelay.cleanup._mime import Found, MimeScanner
from fastrelay.cleanup.actions import Action, Verb, read_action
from fastrelay.cleanup.content_type import ENCODING_NAMES, Encoding
from fastrelay.cleanup.rebuilt import Rebuilt

SHOWN = 200  # bytes of a header or line, in one line of the log
SHOWN_ERROR = 100
MIME_HEADERS = frozenset(
    {
        b"content-type",
        b"content-id",
        b"content-description",
        b"content-disposition",
        b"content-transfer-encoding",
        b"mime-version",
    }
)
STRUCTURE = (b"content-type", b"content-transfer-encoding")
MIME_ERRORS = {
    Found.TOO_DEEP: b"MIME nesting exceeds safety limit",
    Found.EIGHT_BIT_BODY: b"improper use of 8-bit data in message body",
    Found.WRONG_DOMAIN: b"invalid message/* or multipart/* encoding domain",
}
EIGHT_BIT_HEADER = b"improper use of 8-bit data in message header"
REASONS = (  # the first that holds is what the client hears
    MIME_ERRORS[Found.TOO_DEEP],
    EIGHT_BIT_HEADER,
    MIME_ERRORS[Found.EIGHT_BIT_BODY],
    MIME_ERRORS[Found.WRONG_DOMAIN],
)
ONLY_LOGGED = {Verb.WARN, Verb.INFO}


class Lookup(Protocol):
    """tables.Maps."""

    def find(self, key: bytes, /) -> bytes | None: ...


class Told(Protocol):
    """tables.TableError: an error with lines of its own for the log."""

    def warnings(self, key: bytes, /) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class CheckTables:
    """The tables of one class of checks and the parameter that names them."""

    title: bytes
    maps: Lookup


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentChecks:
    """What is configured. None: no such checks. `unavailable`: what a table raises that cannot answer."""

    header: CheckTables | None = None
    mime: CheckTables | None = None
    nested: CheckTables | None = None
    body: CheckTables | None = None
    scanner: MimeScanner | None  # None: nobody wants to know the structure
    report_eight_bit_header: bool
    header_size_limit: int
    unavailable: type[Exception]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the message is from, for the log."""

    queue_id: bytes
    client: bytes  # name[address]
    sender: bytes
    recipient: bytes  # the last one
    protocol: bytes
    helo: bytes


class Inspection:
    """`lines` has (is it a warning, text). `reason` begins with a DSN code; b"": it is not refused."""

    consequence: ClassVar[bytes] = b"message not accepted, try again later"  # of a table that cannot answer

    def __init__(self, checks: ContentChecks, origin: Origin) -> None:
        self.lines: list[tuple[bool, bytes]] = []
        self.reason = b""
        self.failed = False  # a table could not answer: 451, and nobody is told which
        self.discard = self.hold = False
        self.stopped = False  # nothing more is to be looked at
        self.filter = b""
        self.redirect = b""
        self.bcc: list[bytes] = []
        self.prepended: list[bytes] = []
        self.has_message_id = False
        self._checks = checks
        self._origin = origin
        self._checking = True
        self._mime_errors: set[bytes] = set()
        self._structure: list[tuple[bytes, bytes]] = []

    # What HeaderCleaner calls

    def header(self, text: bytes) -> bytes | None:
        """One header of the message, lines joined by LF; what is to be there instead, None: nothing.

        `prepended` has the headers that go before it.
        """
        self.prepended = []
        checks = self._checks
        name, _, value = text.partition(b":")
        name = name.lower()
        if name in STRUCTURE:
            self._structure.append((name, value))
        self._look_for_eight_bits(text)
        return self._check(checks.mime if name in MIME_HEADERS else checks.header, text, True)

    def message_id(self, resent: bool, value: bytes) -> None:
        self.has_message_id = self.has_message_id or not resent
        self._say(b"%bmessage-id=%b" % (b"resent-" if resent else b"", value))

    def end_of_header(self) -> None:
        if not self.has_message_id and not self.stopped:
            self._say(b"message-id=<>")

    # The body

    def body(self, body: bytes) -> bytes:
        """The body as it is to be stored; the same object when nothing changes."""
        if not self.stopped and self._checks.scanner is not None:
            body = self._go_through(self._checks.scanner, body)
        if self._mime_errors and not self.stopped:
            self.reason = b"5.6.0 " + next(reason for reason in REASONS if reason in self._mime_errors)
        return body

    def _go_through(self, scanner: MimeScanner, body: bytes) -> bytes:
        rebuilt = Rebuilt(body)
        done = 0
        for found, start, end in scanner.scan(self._structure, body):
            if found in MIME_ERRORS:
                encoding = found == Found.WRONG_DOMAIN
                text = ENCODING_NAMES[Encoding(start)] if encoding else unstuffed(body, start, end)
                self._mime_error(MIME_ERRORS[Found(found)], text)
                continue
            text = unstuffed(body, start, end)
            is_line = found == Found.LINE
            answer = self._check_place(found, text)
            if self.stopped:
                return body
            if answer is text and not self.prepended:
                continue
            rebuilt.keep(done, start)
            for line in self.prepended:
                rebuilt.add(wire_form(line, is_line))
            done = start
            if answer is not text:
                ends = body[end : end + 2] == b"\r\n"  # else it is a piece of a long line
                done = end + 2 if ends else end
                if answer is not None:
                    rebuilt.add(wire_form(answer, is_line) if ends else wire_form(answer, is_line)[:-2])
        if not done and not rebuilt:
            return body
        rebuilt.keep(done, len(body))
        return rebuilt.finish()

    # Inside

    def _check_place(self, found: int, text: bytes) -> bytes | None:
        """What is to be there instead: the same object when it stays."""
        if found == Found.LINE:
            return self._check(self._checks.body, text, False)
        shown = cut(text, self._checks.header_size_limit)
        self._look_for_eight_bits(shown)
        nested = found == Found.NESTED_HEADER
        answer = self._check(self._checks.nested if nested else self._checks.mime, shown, True)
        return text if answer is shown else answer

    def _check(self, tables: CheckTables | None, text: bytes, is_header: bool) -> bytes | None:
        self.prepended = []
        if tables is None or not self._checking or not text:
            return text
        try:
            value = tables.maps.find(text)
        except self._checks.unavailable as error:
            self._fail(tables, error, text)
            return text
        if value is None:
            return text
        action = self._read(value, tables.title, is_header)
        return self._act(action, text, b"header" if is_header else b"body")

    def _read(self, value: bytes, title: bytes, is_header: bool) -> Action:
        return read_action(value, title, is_header)

    def _act(self, action: Action, text: bytes, where: bytes) -> bytes | None:
        self.lines += [(True, warning) for warning in action.warnings]
        verb = action.verb
        if verb is Verb.DUNNO:
            return text
        if verb is Verb.IGNORE:
            return None
        if verb is not Verb.HOLD or not self.hold:
            self._log(verb.value, where, text, action.text)
        if verb is Verb.STRIP:
            return None
        if verb is Verb.REPLACE:
            return action.text
        if verb not in ONLY_LOGGED:
            self._effect(verb, action.text)
        return text

    def _effect(self, verb: Verb, text: bytes) -> None:
        if verb is Verb.HOLD:
            self.hold = True
        elif verb is Verb.FILTER:
            self.filter = text
        elif verb is Verb.BCC:
            self.bcc.append(text)
        elif verb is Verb.PREPEND:
            self.prepended.append(text)
        elif verb is Verb.REDIRECT:
            self.redirect = text
        elif verb is Verb.REJECT:
            self.reason = text
        elif verb is Verb.DISCARD:
            self.discard = True
        if verb in (Verb.REJECT, Verb.DISCARD):
            self.stopped = True
        if verb in (Verb.REJECT, Verb.DISCARD, Verb.PASS, Verb.REDIRECT):
            self._checking = False

    def _look_for_eight_bits(self, text: bytes) -> None:
        if self._checks.report_eight_bit_header and not text.isascii():
            self._mime_error(EIGHT_BIT_HEADER, text)

    def _mime_error(self, what: bytes, text: bytes) -> None:
        """Each is told once; the message is refused at its end, as Postfix does it."""
        if what in self._mime_errors:
            return
        self._mime_errors.add(what)
        origin = self._origin
        self._say(
            b"reject: mime-error %b: %b from %b; from=<%b> to=<%b>"
            % (what, text[:SHOWN_ERROR], origin.client, origin.sender, origin.recipient)
        )

    def _fail(self, tables: CheckTables, error: Exception, text: bytes) -> None:
        told: Callable[[bytes], list[str]] | None = getattr(error, "warnings", None)
        for line in told(text) if told is not None else ():
            self.lines.append((True, line.encode("utf-8", "replace")))
        problem = b"%b: %b map lookup problem -- %b" % (self._origin.queue_id, tables.title, self.consequence)
        self.lines.append((True, problem))
        self.failed = self.stopped = True

    def _log(self, action: bytes, where: bytes, text: bytes, more: bytes) -> None:
        origin = self._origin
        self._say(
            b"%b: %b %b from %b; from=<%b> to=<%b> proto=%b helo=<%b>%b"
            % (
                action,
                where,
                text[:SHOWN],
                origin.client,
                origin.sender,
                origin.recipient,
                origin.protocol,
                origin.helo,
                b": " + more if more else b"",
            )
        )

    def _say(self, text: bytes) -> None:
        self.lines.append((False, self._origin.queue_id + b": " + text))


def unstuffed(body: bytes, start: int, end: int) -> bytes:
    """The text of a place as the checks see it: no stuffed dot, lines joined by LF, `name:` without blanks."""
    if body[start : start + 1] == b"." and body[start - 1 : start] in (b"\n", b""):
        start += 1
    text = body[start:end]
    return text.replace(b"\r\n", b"\n") if b"\r" in text else text


def cut(text: bytes, limit: int) -> bytes:
    """A header without blanks before its colon, no longer than header_size_limit."""
    name, colon, value = text.partition(b":")
    return (name.rstrip(b" \t") + colon + value)[:limit]


def wire_form(text: bytes, is_line: bool) -> bytes:
    """A text of a table as it is stored: lines that go on a header begin with a blank, dots are stuffed."""
    lines = text.replace(b"\r", b" ").replace(b"\0", b" ").split(b"\n")
    if not is_line:
        lines[1:] = [line if line[:1] in (b" ", b"\t") else b"\t" + line for line in lines[1:]]
    return b"".join((b"." + line if line[:1] == b"." else line) + b"\r\n" for line in lines)
