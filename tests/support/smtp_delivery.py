"""The parts around SmtpAgent for its tests: settings, a destination queue, deliveries, a scripted server.

The scripted server is real sockets on 127.0.0.1. A script is a coroutine that gets a Conversation; what it
does not do, the server does not do. `obliging` takes mail as any server would, with hooks for one refusal.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastrelay.borders import Delivery, Envelope, Outcome, QueuedMessage, Recipient
from fastrelay.delivery.dns import Resolver
from fastrelay.delivery.smtp import SmtpAgent
from fastrelay.delivery.smtp_settings import ResolverSettings, SmtpSettings
from fastrelay.tcp._poller import Poller
from support.relay import PATIENCE

BODY = b"Subject: hello\r\n\r\nbody\r\n..dot\r\n"

SMTP_DEFAULTS: dict[str, Any] = {
    "myhostname": "relay.test",
    "relayhost": "",
    "smtp_helo_name": "relay.test",
    "smtp_bind_address": "",
    "smtp_bind_address6": "",
    "smtp_bind_address_enforce": False,
    "smtp_tcp_port": "25",
    "smtp_always_send_ehlo": True,
    "smtp_never_send_ehlo": False,
    "smtp_skip_5xx_greeting": True,
    "smtp_skip_quit_response": True,
    "smtp_discard_ehlo_keywords": (),
    "smtp_line_length_limit": 998,
    "disable_mime_output_conversion": False,
    "smtp_mx_session_limit": 2,
    "smtp_min_data_rate": 500,
    "smtp_connect_timeout": 60.0,
    "smtp_helo_timeout": 60.0,
    "smtp_mail_timeout": 60.0,
    "smtp_rcpt_timeout": 60.0,
    "smtp_data_init_timeout": 60.0,
    "smtp_data_xfer_timeout": 60.0,
    "smtp_data_done_timeout": 60.0,
    "smtp_rset_timeout": 60.0,
    "smtp_quit_timeout": 60.0,
    "smtp_connection_cache_on_demand": True,
    "smtp_connection_cache_destinations": (),
    "smtp_connection_cache_time_limit": 60.0,
    "smtp_connection_reuse_time_limit": 300.0,
    "smtp_connection_reuse_count_limit": 0,
    "fastrelay_smtp_connection_limit": 100,
}

RESOLVER_DEFAULTS: dict[str, Any] = {
    "fastrelay_dns_servers": ("127.0.0.1:1",),
    "fastrelay_dns_timeout": 30.0,
    "fastrelay_mx_forbidden_networks": (),
    "myhostname": "relay.test",
    "inet_protocols": ("ipv4",),
    "disable_dns_lookups": False,
    "smtp_dns_support_level": "",
    "smtp_host_lookup": ("dns",),
    "smtp_tcp_port": "25",
    "smtp_mx_address_limit": 5,
    "smtp_address_preference": "any",
    "smtp_balance_inet_protocols": True,
    "smtp_randomize_addresses": True,
    "smtp_defer_if_no_mx_address_found": False,
    "ignore_mx_lookup_error": False,
}


def smtp_settings(**changes: Any) -> SmtpSettings:
    return SmtpSettings(**{**SMTP_DEFAULTS, **changes})


def resolver_settings(**changes: Any) -> ResolverSettings:
    return ResolverSettings(**{**RESOLVER_DEFAULTS, **changes})


def make_delivery(
    next_hop: bytes,
    *recipients: bytes,
    content: Sequence[bytes] | None = (BODY,),
    sender: bytes = b"sender@here.test",
    flags: int = 0,
    size: int = 0,
    **envelope: Any,
) -> Delivery:
    people = [Recipient(address) for address in recipients or (b"user@there.test",)]
    letter = Envelope(sender, people, time.time(), size or sum(map(len, content or ())), flags, **envelope)
    message = QueuedMessage(None, b"4ABC", letter, content, lambda: list(content or ()))
    indices = list(range(len(people)))
    return Delivery(message, b"smtp", next_hop, indices, [p.address for p in people])


class Destination:
    """A DestinationQueue with its own bookkeeping: what was taken, released, failed."""

    transport = b"smtp"

    def __init__(self, next_hop: bytes, deliveries: Sequence[Delivery] = ()) -> None:
        self.next_hop = next_hop
        self.ready = deque(deliveries)
        self.released = 0
        self.successes = 0
        self.failures: list[Outcome] = []
        self.done = asyncio.Event()

    def take(self) -> Delivery | None:
        return self.ready.popleft() if self.ready else None

    def release(self) -> None:
        self.released += 1
        self.done.set()

    def succeeded(self) -> None:
        self.successes += 1

    def failed(self, outcome: Outcome) -> None:
        self.failures.append(outcome)


class Reports:
    """Every report, in order; each delivery must come once, each of its recipients in it."""

    def __init__(self) -> None:
        self.all: list[tuple[Delivery, list[Outcome]]] = []

    def __call__(self, delivery: Delivery, outcomes: list[Outcome]) -> None:
        assert all(delivery is not earlier for earlier, _ in self.all), "reported twice"
        assert [o.recipient for o in outcomes] == delivery.recipients
        self.all.append((delivery, outcomes))

    @property
    def outcomes(self) -> list[Outcome]:
        return [outcome for _, outcomes in self.all for outcome in outcomes]


class Lab:
    """An agent and what it reported."""

    def __init__(self, resolver: dict[str, Any] | None = None, **settings: Any) -> None:
        self.reports = Reports()
        self.log: list[bytes] = []
        self.resolver = Resolver(resolver_settings(**(resolver or {})), log=self.log.append)
        self.agent = SmtpAgent(
            smtp_settings(**settings),
            self.reports,
            self.log.append,
            self.resolver,
            Poller(asyncio.get_running_loop()),
            sweep_interval=0.05,
        )

    async def deliver(self, *deliveries: Delivery, timeout: float = PATIENCE) -> list[Outcome]:
        """All of one destination through one slot."""
        queue = self.queue = Destination(deliveries[0].next_hop, deliveries)
        before = len(self.reports.all)
        self.agent.open_slot(queue)
        await asyncio.wait_for(queue.done.wait(), timeout)
        assert queue.released == 1
        assert len(self.reports.all) - before == len(deliveries)
        return [o for _, outcomes in self.reports.all[before:] for o in outcomes]

    async def close(self) -> None:
        await asyncio.wait_for(self.agent.close(), PATIENCE)


async def eventually(look: Callable[[], object]) -> None:
    """Until `look` returns something true."""
    async with asyncio.timeout(PATIENCE):
        while not look():
            await asyncio.sleep(0.01)


class Conversation:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def line(self) -> bytes:
        line = await self.reader.readline()
        if not line:
            raise ConnectionResetError
        return line.rstrip(b"\r\n")

    async def say(self, *lines: bytes) -> None:
        self.writer.write(b"".join(line + b"\r\n" for line in lines))
        await self.writer.drain()

    async def content(self) -> bytes:
        lines = []
        while True:
            line = await self.reader.readline()
            if not line:
                raise ConnectionResetError
            if line == b".\r\n":
                return b"".join(lines)
            lines.append(line)

    async def greet(self, *features: bytes, greeting: bytes = b"220 mx.test ESMTP") -> None:
        await self.say(greeting)
        assert (await self.line()).startswith((b"EHLO ", b"HELO "))
        lines = [b"mx.test", *features]
        await self.say(*[b"250-" + x for x in lines[:-1]], b"250 " + lines[-1])


Script = Callable[[Conversation], Awaitable[None]]


class ScriptedServer:
    def __init__(self, *scripts: Script, host: str = "127.0.0.1", port: int = 0) -> None:
        self.scripts = scripts  # one a connection, the last one for all that follow
        self.host, self.port = host, port
        self.connections = 0
        self.peers: list[str] = []
        self.messages: list[tuple[bytes, list[bytes], bytes]] = []
        self.commands: list[bytes] = []
        self.errors: list[BaseException] = []
        self.tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> ScriptedServer:
        self.server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self.server.sockets[0].getsockname()[1]
        self.next_hop = b"[%s]:%d" % (self.host.encode(), self.port)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.server.close()
        for task in list(self.tasks):
            task.cancel()
        if exc[0] is None and self.errors:
            raise self.errors[0]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = self.scripts[min(self.connections, len(self.scripts) - 1)]
        self.connections += 1
        self.peers.append(writer.get_extra_info("peername")[0])
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await script(Conversation(reader, writer))
        except Exception as error:
            self.errors.append(error)
        finally:
            self.tasks.discard(task)
            writer.close()

    def obliging(
        self,
        *features: bytes,
        greeting: bytes = b"220 mx.test ESMTP",
        answer: Callable[[bytes], bytes | None] = lambda command: None,
    ) -> Script:
        """Takes mail; `answer(command)` (b"." is the end of data) overrides a reply; b"" hangs up."""

        async def script(talk: Conversation) -> None:
            await talk.greet(*(features or (b"PIPELINING", b"SIZE 0", b"8BITMIME")), greeting=greeting)
            sender, recipients = b"", []
            while True:
                command = await talk.line()
                self.commands.append(command)
                verb = command[:4].upper()
                usual = b"250 2.1.0 Ok"
                if verb == b"MAIL":
                    sender, recipients = command, []
                elif verb == b"DATA":
                    usual = b"354 go" if recipients else b"554 5.5.1 no valid recipients"
                elif verb == b"QUIT":
                    await talk.say(b"221 2.0.0 Bye")
                    return
                reply = answer(command)
                if reply == b"":
                    return
                reply = usual if reply is None else reply
                if verb == b"RCPT" and reply.startswith(b"2"):
                    recipients.append(command)
                await talk.say(reply)
                if reply.startswith(b"421"):
                    return
                if verb == b"DATA" and reply.startswith(b"354"):
                    content = await talk.content()
                    reply = answer(b".")
                    if reply == b"":
                        return
                    if reply is None or reply.startswith(b"2"):
                        self.messages.append((sender, recipients, content))
                    await talk.say(b"250 2.0.0 Ok: queued as X" if reply is None else reply)

        return script
