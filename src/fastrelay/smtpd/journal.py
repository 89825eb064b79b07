"""What an smtpd service says in the mail log; the session and the checks call it, it formats and hands on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastrelay.log import lines
from fastrelay.log.lines import client as client_line
from fastrelay.log.lines import connect, disconnect, message_id
from fastrelay.receive._session import SessionJournal
from fastrelay.smtpd.client import Client
from fastrelay.tables import TableError

Line = Callable[[bytes, bytes], None]
LONGEST = 100  # of what a client sent, in one line of the log


class Journal(SessionJournal):
    """`line` and `warning` are the mail log's; `service` is what stands in `postfix/<service>[pid]`."""

    def __init__(self, service: bytes, line: Line, warning: Line) -> None:
        self._service = service
        self._line = line
        self._warning = warning

    def connected(self, client: Client) -> None:
        self._line(self._service, connect(client.name, client.address))

    def disconnected(self, session: Any) -> None:
        client = session.client
        self._line(self._service, disconnect(client.name, client.address, session.counts()))

    def lost(self, session: Any, reason: bytes) -> None:
        client = session.client
        where = session.last_verb
        if where == b"END-OF-MESSAGE" and reason == b"lost connection":
            return  # it is done, and need not have said QUIT
        self._line(self._service, lines.lost_connection(reason, where, client.name, client.address))

    def client_accepted(self, session: Any) -> None:
        client = session.client
        self._line(self._service, client_line(session.transaction.queue_id, client.name, client.address))

    def message_ids(self, session: Any, ids: list[tuple[bool, bytes]]) -> None:
        """(is it Resent-, value) of each header; a line without an id where no Message-Id is."""
        queue_id, plain = session.transaction.queue_id, False
        for resent, value in ids:
            plain = plain or not resent
            self._line(b"cleanup", (lines.resent_message_id if resent else message_id)(queue_id, value))
        if not plain:
            self._line(b"cleanup", message_id(queue_id, b"<>"))

    def reject(self, session: Any, where: bytes, reply: bytes, recipient: bytes | None) -> None:
        transaction, client = session.transaction, session.client
        text = lines.refusal(
            transaction.queue_id,
            b"reject",
            where,
            (client.name, client.address),
            reply,
            None if transaction.sender is None else transaction.sender.external,
            recipient if where == b"RCPT" else None,
            session.with_protocol(),
            session.helo or None,
        )
        self._line(self._service, text)

    def too_many_errors(self, session: Any) -> None:
        self.lost(session, b"too many errors")

    def pipelining(self, session: Any, verb: bytes, ahead: bytes) -> None:
        text = b"improper command pipelining after %b from %b: %b"
        self._line(self._service, text % (verb, self._who(session), escape(ahead[:LONGEST])))

    def not_smtp(self, session: Any, line: bytes) -> None:
        text = b"non-SMTP command from %b: %b" % (self._who(session), line[:LONGEST])
        self._warning(self._service, text)

    def malformed_bdat(self, session: Any, argument: bytes) -> None:
        queue_id = session.transaction.queue_id or lines.NOQUEUE
        text = b"%b: malformed BDAT command syntax from %b: BDAT%b"
        self._warning(self._service, text % (queue_id, self._who(session), argument[:LONGEST]))

    def bad_address(self, session: Any, verb: bytes, text: bytes) -> None:
        line = b"Illegal address syntax from %b in %b command: %b"
        self._warning(self._service, line % (self._who(session), verb, text[:LONGEST]))

    def chunk_too_big(self, session: Any) -> None:
        text = b"%b: BDAT request from %b exceeds message size limit"
        self._warning(self._service, text % (session.transaction.queue_id, self._who(session)))

    def no_flush(self, session: Any, domain: bytes) -> None:
        text = b"reject: ETRN %b... from %b" % (domain[:LONGEST], self._who(session))
        self._warning(self._service, text)

    def too_many_hops(self, session: Any) -> None:
        text = b"%b: message rejected: hopcount exceeded" % session.transaction.queue_id
        self._warning(b"cleanup", text)

    def too_big(self, session: Any) -> None:
        queue_id = session.transaction.queue_id
        text = b"%b: queue file size limit exceeded" % queue_id
        self._warning(b"cleanup", text)

    def table_failed(self, error: TableError, key: bytes) -> None:
        """The lines of Postfix: why a table cannot answer, and for which key."""
        if error.reason:
            text = f"{error.label} is unavailable. {error.reason}"
            self._warning(self._service, text.encode("utf-8", "replace"))
        label = error.label.encode("utf-8", "replace")
        self._warning(self._service, b'%b lookup error for "%b"' % (label, key[:LONGEST]))

    def cleanup_warnings(self, texts: list[bytes]) -> None:
        for text in texts:
            self._warning(b"cleanup", text)

    def cleanup_lines(self, lines: list[tuple[bool, bytes]]) -> None:
        """(is it a warning, text)."""
        for is_warning, text in lines:
            (self._warning if is_warning else self._line)(b"cleanup", text)

    def warning(self, text: bytes) -> None:
        self._warning(self._service, text)

    @staticmethod
    def _who(session: Any) -> bytes:
        return b"%b[%b]" % (session.client.name, session.client.address)


def escape(text: bytes) -> bytes:
    """Line ends that one can see, in one line: `NOOP\\r\\n`."""
    return text.replace(b"\\", b"\\\\").replace(b"\r", b"\\r").replace(b"\n", b"\\n")
