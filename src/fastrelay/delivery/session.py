"""Opening an SMTP connection: connect, greeting, EHLO or HELO (RFC 5321 3.1, 3.2, 4.1.1.1), by aiosmtplib.

SmtpAgent awaits open_transport() for one server at a time and then hands the transport to a Dialogue.
STARTTLS and AUTH belong between EHLO and the return. Each stage has a total time limit, so that a server
which sends a byte a second is given up like a silent one (reliability O01). Bytes that the server sent
before it was asked end the connection here already (O14): aiosmtplib would pair or drop them.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import aiosmtplib
from aiosmtplib.errors import (
    SMTPConnectError,
    SMTPException,
    SMTPHeloError,
    SMTPResponseException,
    SMTPServerDisconnected,
)

from fastrelay.borders import Status
from fastrelay.delivery.mx import Server
from fastrelay.delivery.smtp_settings import SmtpSettings
from fastrelay.delivery.smtp_text import Failure, printable, reply_dsn
from fastrelay.tcp._poller import Poller
from fastrelay.tcp._stream import Stream

REPLY_LINE_LIMIT = 2048
REPLY_LINES = 100
GREETING = b"receiving the initial server greeting"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Peer:
    """A server in Postfix's forms: `name` is host[address], `relay` has the port too."""

    host: bytes
    name: bytes
    relay: bytes
    endpoint: tuple[str, int]

    @classmethod
    def of(cls, server: Server) -> Peer:
        host = server.host.encode("ascii", "replace")
        name = b"%s[%s]" % (host, server.address.encode("ascii"))
        return cls(host, name, b"%s:%d" % (name, server.port), (server.address, server.port))


@dataclass(frozen=True, slots=True)
class Features:
    """What EHLO offered and we use. `size` None: not offered; 0: no limit named (RFC 1870)."""

    pipelining: bool = False
    size: int | None = None
    eight_bit_mime: bool = False
    dsn: bool = False
    smtputf8: bool = False


class OpeningFailed(Exception):
    """No session with this server; `failure` would be the verdict if it were the last."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text.decode("ascii", "replace"))
        self.failure = failure


async def open_transport(
    settings: SmtpSettings,
    server: Server,
    next_hop: bytes,
    *,
    loop_detection: bool,
    log: Callable[[bytes], None],
    poller: Poller,
) -> tuple[Stream, Features]:
    """A Stream whose server waits for MAIL; the caller sets its own protocol before it awaits anything."""
    peer = Peer.of(server)
    sock = await _connect(settings, server, peer, log)
    smtp = aiosmtplib.SMTP(
        hostname=None, sock=sock, local_hostname=settings.smtp_helo_name, timeout=None, start_tls=False
    )
    try:
        greeting = await _stage(settings, smtp, peer, GREETING, smtp.connect())
        if loop_detection:
            _check_own_name(settings, greeting, peer, next_hop)
        features = await _say_hello(settings, smtp, peer, next_hop, greeting, loop_detection)
        transport = smtp.transport
        if transport is None or transport.is_closing():
            raise SMTPServerDisconnected("connection lost")
    except BaseException as error:
        _abort(smtp, sock)
        if isinstance(error, SMTPException):
            raise _lost(peer, b"performing the EHLO handshake") from error
        raise
    smtp.transport = smtp.protocol = None  # the library's part is over; no reference cycles stay behind
    try:
        return _take_over(poller, sock, transport), features
    except OSError as error:
        transport.abort()  # type: ignore[attr-defined]
        raise _no_means(peer, error) from error


def _take_over(poller: Poller, sock: socket.socket, transport: Any) -> Stream:
    """The connection goes on with a descriptor of our own; the loop's transport closes its one."""
    stream = Stream(poller, os.dup(sock.fileno()), None, transport.get_extra_info("peername"))
    transport.set_protocol(asyncio.Protocol())  # nobody is to hear of its end
    transport.abort()
    return stream


def _abort(smtp: aiosmtplib.SMTP, sock: socket.socket) -> None:
    if smtp.transport is not None:
        smtp.transport.abort()  # type: ignore[attr-defined]
    sock.close()  # a transport that has it keeps it open until it is done with it


async def _connect(
    settings: SmtpSettings, server: Server, peer: Peer, log: Callable[[bytes], None]
) -> socket.socket:
    """TCP connect within smtp_connect_timeout."""
    six = ":" in server.address
    try:
        sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        raise _no_means(peer, error) from error
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _bind(settings, sock, settings.smtp_bind_address6 if six else settings.smtp_bind_address, log)
        async with asyncio.timeout(settings.smtp_connect_timeout):
            await asyncio.get_running_loop().sock_connect(sock, (server.address, server.port))
    except TimeoutError as error:
        sock.close()
        raise _unreachable(peer, b"Connection timed out") from error
    except OSError as error:
        sock.close()
        raise _no_means(peer, error) from error
    except BaseException:
        sock.close()
        raise
    return sock


def _bind(settings: SmtpSettings, sock: socket.socket, address: str, log: Callable[[bytes], None]) -> None:
    """What cannot be bound is a warning, or with smtp_bind_address_enforce a reason to defer."""
    if not address:
        return
    try:
        sock.bind((address.strip("[]"), 0))
    except OSError as error:
        if settings.smtp_bind_address_enforce:
            raise
        log(f"warning: bind {address}: {error.strerror}".encode("ascii", "replace"))


async def _say_hello(
    settings: SmtpSettings,
    smtp: aiosmtplib.SMTP,
    peer: Peer,
    next_hop: bytes,
    greeting: aiosmtplib.SMTPResponse,
    loop_detection: bool,
) -> Features:
    """EHLO, and HELO for a server that does not know it."""
    wanted = settings.smtp_always_send_ehlo or "ESMTP" in greeting.message.split()
    if wanted and not settings.smtp_never_send_ehlo:
        try:
            reply = await _stage(settings, smtp, peer, b"performing the EHLO handshake", smtp.ehlo())
        except OpeningFailed as failed:
            refused = failed.__cause__
            if not isinstance(refused, SMTPHeloError) or refused.code == 421:
                raise
        else:
            if loop_detection:
                _check_own_name(settings, reply, peer, next_hop)
            return parse_features(smtp.esmtp_extensions, settings.smtp_discard_ehlo_keywords)
    await _stage(settings, smtp, peer, b"performing the HELO handshake", smtp.helo())
    return Features()


async def _stage(
    settings: SmtpSettings,
    smtp: aiosmtplib.SMTP,
    peer: Peer,
    doing: bytes,
    asked: Awaitable[aiosmtplib.SMTPResponse],
) -> aiosmtplib.SMTPResponse:
    """A question and its whole answer within smtp_helo_timeout; every way to fail in Postfix's words."""
    try:
        async with asyncio.timeout(settings.smtp_helo_timeout):
            reply = await asked
    except TimeoutError as error:
        text = b"conversation with " + peer.name + b" timed out while " + doing
        raise OpeningFailed(_deferred(b"4.4.2", text, peer)) from error
    except SMTPResponseException as error:
        raise _refused(settings, error, peer, doing) from error
    except (SMTPServerDisconnected, SMTPConnectError, OSError) as error:
        raise _lost(peer, doing) from error
    if len(reply.message) > REPLY_LINE_LIMIT and any(
        len(line) > REPLY_LINE_LIMIT for line in reply.message.split("\n")
    ):
        raise _protocol_error(peer, doing, b"reply line too long")
    if reply.message.count("\n") >= REPLY_LINES:
        raise _protocol_error(peer, doing, b"too many reply lines")
    if unread(smtp):
        raise _protocol_error(peer, doing, b"unexpected reply")
    return reply


def unread(smtp: aiosmtplib.SMTP) -> bytes:
    """What the server said beyond the reply that was asked for."""
    return bytes(smtp.protocol._buffer) if smtp.protocol is not None else b""


def parse_features(extensions: dict[str, str], discard: tuple[str, ...]) -> Features:
    """EHLO keywords; `extensions` has them in lower case."""
    ignored = {word.lower() for word in discard}
    offered = {word: value for word, value in extensions.items() if word not in ignored}
    size = offered.get("size")
    limit = None
    if size is not None:
        digits = size.strip()
        limit = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 20 else 0
    return Features(
        pipelining="pipelining" in offered,
        size=limit,
        eight_bit_mime="8bitmime" in offered,
        dsn="dsn" in offered,
        smtputf8="smtputf8" in offered,
    )


def _check_own_name(
    settings: SmtpSettings, reply: aiosmtplib.SMTPResponse, peer: Peer, next_hop: bytes
) -> None:
    """A server that calls itself by our name is ourselves (RFC 5321 6.3, Postfix's loop detection)."""
    words = reply.message.split(maxsplit=1)
    if words and words[0].lower() == settings.myhostname.lower():
        text = b"mail for " + printable(next_hop) + b" loops back to myself"
        raise OpeningFailed(Failure(Status.BOUNCED, b"5.4.6", text, peer.relay, peer.host))


def _deferred(dsn: bytes, text: bytes, peer: Peer, said: bytes = b"") -> Failure:
    return Failure(Status.DEFERRED, dsn, text, peer.relay, peer.host, said)


def _unreachable(peer: Peer, reason: bytes) -> OpeningFailed:
    text = b"connect to " + peer.relay + b": " + reason
    return OpeningFailed(Failure(Status.DEFERRED, b"4.4.1", text))


def _no_means(peer: Peer, error: OSError) -> OpeningFailed:
    """The network's reason, or our own: no descriptors, no memory."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return _unreachable(peer, reason.encode("ascii", "replace"))


def _lost(peer: Peer, doing: bytes) -> OpeningFailed:
    return OpeningFailed(_deferred(b"4.4.2", b"lost connection with " + peer.name + b" while " + doing, peer))


def _protocol_error(peer: Peer, doing: bytes, what: bytes) -> OpeningFailed:
    text = b"protocol error in reply from " + peer.name + b" while " + doing + b": " + what
    return OpeningFailed(_deferred(b"4.5.0", text, peer))


def _refused(settings: SmtpSettings, error: SMTPResponseException, peer: Peer, doing: bytes) -> OpeningFailed:
    """The server said no, or nothing that is SMTP."""
    if not 400 <= error.code <= 599:
        failed = _protocol_error(peer, doing, printable(error.message[:200].encode("utf-8", "replace")))
        if doing is GREETING and error.message.startswith("Malformed"):
            # not an SMTP server: Postfix waits until it hangs up
            failed = OpeningFailed(_deferred(b"4.4.2", failed.failure.text, peer))
        return failed
    words = printable(error.message[:REPLY_LINE_LIMIT].encode("utf-8", "surrogateescape"))
    said = b"%d %s" % (error.code, words)
    dsn = reply_dsn(error.code, words)
    status = Status.DEFERRED
    if error.code >= 500:
        if doing is GREETING and settings.smtp_skip_5xx_greeting:
            dsn = b"4" + dsn[1:]
        else:
            status = Status.BOUNCED
    text = b"host " + peer.name + b" refused to talk to me: " + said
    return OpeningFailed(Failure(status, dsn, text, peer.relay, peer.host, said))
