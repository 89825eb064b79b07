"""The shell around ReceiveSession: one asyncio protocol a client connection.

Bytes go into the session, replies go out, and what its Status asks is done: wait for a check, make the
message durable, hold a reply back, close. There is no timer here: the service sweeps all connections once
a second, and `deadline` holds for a whole command or reply, not for a single read (DESIGN.md 5).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

import cython

from fastrelay._core import ReceiveSession
from fastrelay.receive._session import Status
from fastrelay.tables.pending import Pending, again
from fastrelay.tcp._stream import Protocol
from fastrelay.wire import replies

if not cython.compiled:  # else that of _clock.pxd
    from time import time

if TYPE_CHECKING:
    from fastrelay.smtpd.client import Client
    from fastrelay.smtpd.service import Service

NEED_DATA, WAIT, MESSAGE_READY, DELAY, CLOSE = (int(s) for s in Status)


class Connection(Protocol):
    """asyncio.Protocol's methods; a Stream calls data_received as a C function."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._transport: Any = None
        self._task: asyncio.Task[None] | None = None
        self._paused = False
        self._stalled = False
        self._early = b""
        self._ended = False
        self.session: ReceiveSession | None = None
        self.deadline = 0.0  # monotonic seconds

    # Events of the transport

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._extend()
        service = self._service
        if not service.admit(self):
            self._transport.write_last(replies.r421_too_many_connections(service.rules.myhostname) + b"\r\n")
            return
        host = self._transport.peername[0]
        address = host[7:] if host.startswith("::ffff:") and "." in host else host
        name = service.known_name(address)
        if name is None:
            self._task = service.loop.create_task(self._find_name(address))
        else:
            self._greet(address, name)

    def data_received(self, data: bytes) -> None:
        session = self.session
        if session is None:
            self._early = data
            self._pause()
            return
        if session.is_waiting():  # it has spoken ahead: the session keeps this much, and no more
            self._pause()
            session.feed(data, time())  # what the session waits for is already on its way
            return
        if session.in_content():
            self._extend_content(len(data))
        self._act(session.feed(data, time()))

    def eof_received(self) -> bool:
        """A client that has only closed its sending side still gets the reply that it waits for."""
        self._ended = True
        return self.session is not None and self.session.is_waiting()

    def pause_writing(self) -> None:
        """Too many replies are unsent (the stream's limit): the client is not read."""
        self._stalled = True
        self._pause()

    def resume_writing(self) -> None:
        self._stalled = False
        if self.session is not None and not self.session.is_waiting():
            self._resume()

    def connection_lost(self, exc: Exception | None) -> None:
        session = self.session
        self._service.forget(self)
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if session is None:
            return
        if session.is_open():
            self._service.journal.lost(session, b"lost connection")
            session.abandon()
        self._service.journal.disconnected(session)

    # What the service asks

    def expire(self) -> None:
        """The deadline has passed."""
        session = self.session
        if session is None or self._transport.is_closing() or self._transport.get_write_buffer_size():
            self._transport.abort()
            return
        if session.is_waiting():  # for us, not for the client
            self._extend()
            return
        self._service.journal.lost(session, b"timeout")
        session.refuse(replies.r421_timeout(self._service.rules.myhostname))
        self._close()

    def run_short(self) -> None:
        """There is no memory for its contents: it may come again later."""
        assert self.session is not None
        self._service.journal.lost(self.session, b"insufficient memory")
        self.session.refuse(replies.R421_STORAGE_FULL)
        self._close()

    def shut_down(self) -> None:
        """The relay stops: idle clients are told, a message that is being committed gets its answer."""
        session = self.session
        if session is None:
            self._transport.abort()
        elif session.is_open() and not session.is_waiting():
            session.refuse(replies.r421_shutting_down(self._service.rules.myhostname))
            self._close()

    # Inside

    async def _find_name(self, address: str) -> None:
        name = await self._service.find_name(address)
        self._task = None
        if not self._transport.is_closing():
            self._greet(address, name)

    async def _meet(self, pending: Pending, address: str, name: bytes) -> None:
        found = await again(pending, lambda: self._service.client(address, name))
        self._task = None
        if not self._transport.is_closing():
            self._open(found)

    def _greet(self, address: str, name: bytes) -> None:
        service = self._service
        try:
            client = service.client(address, name)
        except Pending as pending:  # a table of mynetworks, for local_header_rewrite_clients
            self._task = service.loop.create_task(self._meet(pending, address, name))
            return
        self._open(client)

    def _open(self, client: Client) -> None:
        service = self._service
        session = self.session = ReceiveSession(service.rules, client, service.journal)
        service.journal.connected(client)
        if service.forbids_early_input and (self._early or self._has_unread_input()):
            service.journal.pipelining(session, b"CONNECT", self._early)
            session.output()
            session.refuse(replies.R554_SYNCHRONIZATION)
            self._close()
            return
        self._transport.write(session.output())
        if self._early:
            self._act(session.feed(self._early, time()))

    def _has_unread_input(self) -> bool:
        """Has the client spoken before the greeting?"""
        return bool(self._transport.unread())

    def _act(self, status: int) -> None:
        session = self.session
        assert session is not None
        if status == DELAY:
            self._pause()
            self._service.loop.call_later(self._service.settings.smtpd_error_sleep_time, self._after_delay)
            return
        if status == CLOSE:
            self._close()
            return
        out = session.output()
        if out:
            self._transport.write(out)
            self._extend()
        if status == NEED_DATA:
            if self._ended:
                self._close()
            elif self._paused and not self._stalled:
                self._resume()
        elif status == MESSAGE_READY:
            self._submit(session)
        else:  # WAIT
            self._pause()
            self._task = self._service.loop.create_task(self._wait(session.waiting))

    def _submit(self, session: ReceiveSession) -> None:
        message_id, envelope, content = session.take_message()
        self._service.submit(message_id, envelope, content, session.transaction.queue_id, self._committed)

    def _committed(self, refusal: bytes | None) -> None:
        """The message is durable: now, and only now, the 250. Or it cannot be: `refusal`."""
        session = self.session
        if session is not None and session.is_open():
            self._act(session.committed(time(), refusal))

    async def _wait(self, answer: Awaitable[bytes | None]) -> None:
        refusal = await answer
        self._task = None
        if self.session is not None and self.session.is_open():
            self._act(self.session.resume(refusal, time()))

    def _after_delay(self) -> None:
        if self.session is not None and self.session.is_open():
            self._act(self.session.proceed(time()))

    def _pause(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def _close(self) -> None:
        assert self.session is not None
        self._extend()
        self._transport.write_last(self.session.output())

    def _extend(self) -> None:
        self.deadline = self._service.now + self._service.timeout

    def _extend_content(self, size: int) -> None:
        """smtpd_min_data_rate: the deadline of DATA moves with the bytes that came, not with time."""
        latest = self._service.now + self._service.timeout
        extended = self.deadline + size / self._service.min_data_rate
        self.deadline = extended if extended < latest else latest
