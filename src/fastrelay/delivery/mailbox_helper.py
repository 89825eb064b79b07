"""The mailbox helper: a root process beside each worker that writes mail as its owner.

`serve` is what master runs in a forked process; MailboxClient is the worker's end of the SOCK_SEQPACKET
pair. A request is one packet (HEAD, then the mailbox's name) with the finished file as a memfd; a child is
forked for each, finds the mailbox by the helper's own settings, becomes its owner and answers itself.

Invariant: the helper never opens a path with root's rights, unless root is the recipient, and each request
is answered once: a child that dies without an answer is answered for by its parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import socket
import struct
import sys
from dataclasses import dataclass
from typing import NoReturn

from fastrelay.delivery.mailbox_settings import MailboxSettings
from fastrelay.delivery.mailboxes import (
    Kind,
    Mailbox,
    Request,
    Result,
    deliver_as_owner,
    locate,
)
from fastrelay.delivery.maildir import MailboxProblem

HEAD = struct.Struct("!QBII")  # request number, kind, uid, gid
NUMBER = struct.Struct("!Q")
PACKET_LIMIT = 16_384
CHILD_LIMIT = 20  # deliveries at a time; also what a client may have outstanding
FAILED = Result(b"4.3.0", b"mail system error: mailbox helper failed")


@dataclass(frozen=True, slots=True)
class Child:
    pid: int
    number: int  # of the request that it answers
    end: int  # pidfd: readable when the child has ended


def serve(sock: socket.socket, settings: MailboxSettings) -> None:
    """Answer requests until the worker's end is closed, then wait for the children."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # master stops the worker, whose closed socket ends us
    os.umask(0o077)
    sock.setblocking(True)
    children: list[Child] = []
    open_end = True
    while open_end or children:
        listened = [sock.fileno()] if open_end and len(children) < CHILD_LIMIT else []
        ready, _, _ = select.select([*listened, *(child.end for child in children)], [], [])
        for child in [child for child in children if child.end in ready]:
            children.remove(child)
            _reap(sock, child)
        if sock.fileno() in ready:
            packet, files, _, _ = socket.recv_fds(sock, PACKET_LIMIT, 1)
            open_end = bool(packet)
            if packet:
                _take(sock, settings, packet, files, children)


def _take(
    sock: socket.socket, settings: MailboxSettings, packet: bytes, files: list[int], children: list[Child]
) -> None:
    """Start the child for one request, or answer that it cannot be."""
    number = NUMBER.unpack_from(packet)[0]
    try:
        pid = os.fork()
    except OSError:
        _send(sock, number, FAILED)
    else:
        if pid == 0:
            _run_child(sock, settings, packet, files)
        children.append(Child(pid, number, os.pidfd_open(pid)))
    finally:
        for fd in files:
            os.close(fd)


def _run_child(sock: socket.socket, settings: MailboxSettings, packet: bytes, files: list[int]) -> NoReturn:
    """Never returns into the helper's own loop, whatever happens."""
    status = 1
    try:
        number, kind, uid, gid = HEAD.unpack_from(packet)
        result = _deliver(settings, Request(Kind(kind), packet[HEAD.size :], uid, gid), files[0])
        sock.send(_encode(number, result))
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def _reap(sock: socket.socket, child: Child) -> None:
    """Collect a child that ended; answer for it when it could not."""
    _, status = os.waitpid(child.pid, 0)
    os.close(child.end)
    if status:
        _send(sock, child.number, FAILED)


def _send(sock: socket.socket, number: int, result: Result) -> None:
    with contextlib.suppress(ConnectionError):  # the worker is gone, and nobody waits for the answer
        sock.send(_encode(number, result))


def _deliver(settings: MailboxSettings, request: Request, fd: int) -> Result:
    """In the child: find the mailbox, become its owner, write."""
    try:
        mailbox = locate(request, settings)
    except MailboxProblem as problem:
        return Result(problem.dsn, problem.text, problem.warnings)
    _become(mailbox)
    with open(fd, "rb") as file:
        file.seek(0)
        return deliver_as_owner(mailbox, file.read(), settings)


def _become(mailbox: Mailbox) -> None:
    if mailbox.groups_of:
        os.initgroups(mailbox.groups_of, mailbox.gid)
    else:
        os.setgroups([mailbox.gid])
    os.setresgid(mailbox.gid, mailbox.gid, mailbox.gid)
    os.setresuid(mailbox.uid, mailbox.uid, mailbox.uid)


def _encode(number: int, result: Result) -> bytes:
    fields = [text.decode("latin1") for text in (result.dsn, result.text, *result.warnings)]
    return NUMBER.pack(number) + json.dumps(fields).encode()


def _decode(packet: bytes) -> tuple[int, Result]:
    dsn, text, *warnings = (field.encode("latin1") for field in json.loads(packet[NUMBER.size :]))
    return NUMBER.unpack_from(packet)[0], Result(dsn, text, tuple(warnings))


class MailboxClient:
    """The worker's end. When the helper is gone, everything is deferred."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._number = 0
        self._waiting: dict[int, asyncio.Future[Result]] = {}
        self._room = asyncio.Semaphore(CHILD_LIMIT)
        self._reading = False
        self._gone = False

    async def deliver(self, request: Request, data: bytes) -> Result:
        async with self._room:
            if self._gone:
                return FAILED
            loop = asyncio.get_running_loop()
            if not self._reading:
                loop.add_reader(self._sock.fileno(), self._read)
                self._reading = True
            self._number += 1
            number = self._number
            answer: asyncio.Future[Result] = loop.create_future()
            self._waiting[number] = answer
            try:
                fd = await loop.run_in_executor(None, make_memfd, data)
                self._send(number, request, fd)
                return await answer
            except OSError as error:
                reason = os.strerror(error.errno or 0).encode()
                return Result(b"4.3.0", b"mail system error: mailbox helper: " + reason)
            finally:
                self._waiting.pop(number, None)

    def close(self) -> None:
        if self._reading:
            asyncio.get_running_loop().remove_reader(self._sock.fileno())
        self._sock.close()

    def _send(self, number: int, request: Request, fd: int) -> None:
        try:
            packet = HEAD.pack(number, request.kind, request.uid, request.gid) + request.name
            socket.send_fds(self._sock, [packet], [fd])
        finally:
            os.close(fd)

    def _read(self) -> None:
        try:
            packet = self._sock.recv(PACKET_LIMIT)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if packet:
            number, result = _decode(packet)
            answer = self._waiting.get(number)
            if answer is not None and not answer.done():
                answer.set_result(result)
            return
        self._gone = True
        asyncio.get_running_loop().remove_reader(self._sock.fileno())
        self._reading = False
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_result(FAILED)


def make_memfd(data: bytes) -> int:
    fd = os.memfd_create("message", os.MFD_CLOEXEC)
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    return fd
