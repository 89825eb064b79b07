"""smtp_header_checks and its family, and smtp_generic_maps for headers: contents as a server is told them.

GenericAgent asks it for each delivery where main.cf has any of them, and only there: the message's contents in
the queue stay as they are. Only what changes a line, or tells of it, is supported (header_checks(5)); the
evaluation is pure, so that a table can be waited for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from fastrelay.borders import Content
from fastrelay.cleanup._address_header import AddressHeaders
from fastrelay.cleanup.actions import BLANKS, VERBS, Action, Verb, read_action
from fastrelay.cleanup.checks import ContentChecks, Inspection, Origin, wire_form
from fastrelay.cleanup.header_rules import HEADER_RULES, Rule

SUPPORTED = {Verb.WARN, Verb.INFO, Verb.REPLACE, Verb.PREPEND, Verb.IGNORE, Verb.STRIP, Verb.DUNNO}
DEFERRED = b"delivery deferred"  # what follows when a table cannot answer
SHOWN = 60  # bytes of a header or line, in one line of the log
LOGICAL = re.compile(rb"[^\n]*\n(?:[ \t][^\n]*\n)*")  # a header with its continuation lines
Map = Callable[[bytes], bytes]


class SentInspection(Inspection):
    """An Inspection with the client's fewer actions and shorter log lines."""

    consequence = DEFERRED

    def _read(self, value: bytes, title: bytes, is_header: bool) -> Action:
        word = re.split(rb"[ \t]", value, maxsplit=1)[0].upper()
        if VERBS.get(word) not in SUPPORTED:
            return Action(Verb.DUNNO, b"", (b"unsupported command in %b map: %b" % (title, value),))
        return read_action(value, title, is_header)

    def _log(self, action: bytes, where: bytes, text: bytes, more: bytes) -> None:
        self._say(b"%b: %b %b%b" % (action, where, text[:SHOWN], b": " + more if more else b""))


class SentContents:
    """`checks` None: no checks; `generic` None: no maps."""

    def __init__(self, checks: ContentChecks | None, generic: Map | None) -> None:
        self._checks = checks
        self._addresses = None
        if generic is not None:
            self._addresses = AddressHeaders(complete=False, sender_map=generic, recipient_map=generic)

    def __bool__(self) -> bool:
        return self._checks is not None or self._addresses is not None

    def make(self, content: Content, queue_id: bytes) -> tuple[Content, Inspection | None]:
        """What is to be sent, and what is to be logged of it; `failed` there: nothing is to be sent."""
        whole = b"".join(content)
        header, rest = split_header(whole)
        inspection = None
        if self._checks is not None:
            inspection = SentInspection(self._checks, Origin(queue_id, b"", b"", b"", b"", b""))
        header = b"".join(self._headers(header, inspection))
        if inspection is not None and rest:
            rest = rest[:2] + inspection.body(rest[2:])
        return [header, rest] if rest else [header], inspection

    def _headers(self, block: bytes, inspection: Inspection | None) -> Iterator[bytes]:
        for found in LOGICAL.finditer(block):
            raw = found[0]
            rule = rule_of(
                raw
            )  # of what is stored: a replaced header is mapped as if it were that, as in Postfix
            if inspection is not None:
                text = raw[raw[:1] == b"." : -2].replace(b"\r\n", b"\n")
                answer = inspection.header(text)
                for line in inspection.prepended:
                    yield wire_form(line, False)
                if answer is None:
                    continue
                if answer is not text:
                    raw = wire_form(answer, False)
            yield self._mapped(raw, rule)

    def _mapped(self, raw: bytes, rule: int) -> bytes:
        if self._addresses is None or not rule & (Rule.SENDER | Rule.RECIPIENT):
            return raw
        name, _, value = raw.partition(b":")
        return (
            self._addresses.rewrite_header(name.rstrip(BLANKS), value[:-2], bool(rule & Rule.SENDER)) or raw
        )


def split_header(whole: bytes) -> tuple[bytes, bytes]:
    """The header's lines, and what follows them from the empty line on."""
    if whole.startswith(b"\r\n"):
        return b"", whole
    end = whole.find(b"\r\n\r\n")
    return (whole, b"") if end < 0 else (whole[: end + 2], whole[end + 2 :])


def rule_of(raw: bytes) -> int:
    return HEADER_RULES.get(raw.partition(b":")[0].rstrip(BLANKS).lower(), 0)
