"""What several scenarios need: a DNS server beside the test, a conversation line by line, notices as read."""

from __future__ import annotations

import asyncio
import contextlib
import email
import email.policy
import os
import socket
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

from support.dns_server import DnsServer
from support.relay import PATIENCE

IS_ROOT = os.geteuid() == 0


@contextlib.contextmanager
def dns(zone: dict[str, Any], ttl: int = 1) -> Iterator[DnsServer]:
    """The authoritative server on a loop of its own; `zone` may change while it runs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = DnsServer(zone, ttl)
    asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(PATIENCE)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.__aexit__(), loop).result(PATIENCE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()


class Telnet:
    """A line goes out, its whole reply comes back as text, lines joined by newlines."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), PATIENCE)
        self.reader = self.socket.makefile("rb")

    def __enter__(self) -> Telnet:
        return self

    def __exit__(self, *exc: object) -> None:
        self.reader.close()
        self.socket.close()

    def reply(self) -> str:
        lines = []
        while not lines or lines[-1][3:4] == b"-":
            lines.append(self.reader.readline())
        return b"".join(lines).decode().replace("\r\n", "\n").rstrip("\n")

    def say(self, line: str) -> str:
        self.type(line)
        return self.reply()

    def type(self, line: str) -> None:
        self.socket.sendall(line.encode() + b"\r\n")


class Notice:
    """A delivery status notification, read with Python's email package (RFC 3464)."""

    def __init__(self, content: bytes) -> None:
        message = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        self.message = message
        assert message.get_content_type() == "multipart/report", content
        assert message.get_param("report-type") == "delivery-status"
        parts = list(message.iter_parts())
        self.text = parts[0].get_content()
        assert parts[1].get_content_type() == "message/delivery-status"
        groups = parts[1].get_payload()
        self.about, self.recipients = groups[0], groups[1:]
        self.returned = parts[2]
