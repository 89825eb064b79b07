"""A real smtpd service without processes or queue: the same parts that a worker wires, on a configuration in text.

`ReceiveLab` makes the service and keeps what it logs and what is submitted to it; `BareWire` plays a
dialogue against a bare ReceiveSession of that service, in any chunking.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastrelay._core import ReceiveSession
from fastrelay.borders import Content, Envelope
from fastrelay.config import Config, load, section
from fastrelay.log.printable import printable
from fastrelay.master.routing import Routing
from fastrelay.receive._session import Status
from fastrelay.smtpd import cleanup, restrictions
from fastrelay.smtpd.client_name import ClientNames
from fastrelay.smtpd.journal import Journal
from fastrelay.smtpd.service import Service, Surroundings
from fastrelay.smtpd.settings import SmtpdSettings

MAIN = {
    "compatibility_level": "3.6",
    "myhostname": "mx.local.example",
    "mydomain": "local.example",
    "mail_name": "Mail",
    "mydestination": "local.example, mx.local.example",
    "relay_domains": "relay.example",
    "mynetworks": "192.0.2.0/24",
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "local_recipient_maps": "",
    "alias_maps": "",
    "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
    "smtpd_forbid_bare_newline": "normalize",
    "smtpd_forbid_unauth_pipelining": "yes",
    "smtpd_peername_lookup": "no",
    "smtpd_error_sleep_time": "0",
}
NOW = 1_795_390_000.0
Done = Callable[[bytes | None], None]


def make_config(main: Mapping[str, str]) -> Config:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "main.cf").write_text("".join(f"{key} = {value}\n" for key, value in main.items()))
        (directory / "master.cf").write_text("")
        return load(directory)


class ReceiveLab:
    """While `hold` is set, commits wait for release()."""

    def __init__(self, main: Mapping[str, str] | None = None, loop: Any = None) -> None:
        self.config = make_config(MAIN | dict(main or {}))
        self.lines: list[tuple[bytes, bytes]] = []
        self.messages: list[tuple[int, Envelope, Content]] = []
        self.waiting: list[Done] = []
        self.hold = False
        self.room = True
        self._ids = itertools.count(0x51B8E4D1A2C30)
        self.settings = section(SmtpdSettings, self.config)
        self.journal = Journal(b"smtpd", self._line, self._warning)
        self.routing = Routing(self.config, self._error, self._warning)
        self.names = ClientNames(1)
        self.checks = restrictions.RecipientChecks(
            restrictions.Surroundings(
                self.settings, self.routing.resolver, self.routing.recipients, self.journal
            )
        )
        self.service = Service(self.settings, self._surroundings(loop or asyncio.new_event_loop()))

    def _surroundings(self, loop: Any) -> Surroundings:
        return Surroundings(
            loop=loop,
            journal=self.journal,
            rewriter=self.routing.rewriter,
            checks=self.checks,
            cleanup=cleanup.make(self.routing.envelope, self.settings.receive_override_options, self.journal),
            networks=self.routing.networks(self.settings.mynetworks),
            own_addresses=frozenset(),
            new_id=lambda now: next(self._ids),
            queue_name=lambda number: b"%X" % number,
            has_room=lambda size: self.room,
            submit=self._submit,
            names=self.names,
            open_table=self.routing.open,
        )

    def _submit(self, number: int, envelope: Envelope, content: Content, name: bytes, done: Done) -> None:
        assert name
        self.messages.append((number, envelope, content))
        if self.hold:
            self.waiting.append(done)
        else:
            done(None)

    def release(self, refusal: bytes | None = None) -> None:
        for done in self.waiting:
            done(refusal)
        self.waiting.clear()

    def _line(self, service: bytes, text: bytes) -> None:
        self.lines.append((service, printable(text)))

    def _warning(self, service: bytes, text: bytes) -> None:
        self._line(service, b"warning: " + text)

    def _error(self, service: bytes, text: bytes) -> None:
        self._line(service, b"error: " + text)

    @property
    def log(self) -> list[bytes]:
        return [text for _, text in self.lines]

    def session(self, address: str = "127.0.0.9", name: bytes = b"unknown") -> ReceiveSession:
        return ReceiveSession(self.service.rules, self.service.client(address, name), self.journal)


class BareWire:
    """The client's end of a bare session; what it writes arrives in pieces."""

    def __init__(self, session: ReceiveSession, pieces: Callable[[bytes], list[bytes]]) -> None:
        self.session, self._pieces = session, pieces
        self.messages: list[tuple[int, Envelope, Content]] = []
        self.largest_output = 0
        self._out = session.output()
        self._closed = False

    def send(self, data: bytes) -> None:
        for piece in self._pieces(data):
            self.settle(self.session.feed(piece, NOW))

    def settle(self, status: int) -> None:
        """Do what the shell does, at once."""
        while True:
            self._out += self.session.output()
            if status == Status.MESSAGE_READY:
                self.messages.append(self.session.take_message())
                status = self.session.committed(NOW)
            elif status == Status.DELAY:
                status = self.session.proceed(NOW)
            elif status == Status.WAIT:
                status = self.session.resume(asyncio.run(self.session.waiting), NOW)
            else:
                self._closed = self._closed or status == Status.CLOSE
                return

    def lines(self, count: int) -> list[bytes]:
        *found, rest = self._out.split(b"\r\n", count)
        self._out = rest if len(found) == count else b""
        return found

    def is_quiet(self) -> bool:
        return self._out == b""

    def is_closed(self) -> bool:
        return self._closed and self._out == b""

    def leave(self) -> None:
        self.session.abandon()
