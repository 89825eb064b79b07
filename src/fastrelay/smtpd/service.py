"""One smtpd service of master.cf in one worker: its rules, its connections, and the sweep over them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from fastrelay.borders import Content, Envelope
from fastrelay.cleanup.received import ReceivedHeader
from fastrelay.receive._rules import SessionRules
from fastrelay.rewrite.address import Rewriter, mender
from fastrelay.smtpd.cleanup import Cleanup
from fastrelay.smtpd.client import Client
from fastrelay.smtpd.client_name import UNKNOWN, ClientNames
from fastrelay.smtpd.connection import Connection
from fastrelay.smtpd.content import ContentCheck, HeaderMaps, header_addresses
from fastrelay.smtpd.journal import Journal
from fastrelay.smtpd.local_clients import LocalClients
from fastrelay.smtpd.restrictions import RecipientChecks
from fastrelay.smtpd.settings import SmtpdSettings
from fastrelay.tables import AddressMatcher, Maps, TableError, open_table
from fastrelay.tables.maps import Opener
from fastrelay.tables.pending import ask
from fastrelay.wire.extensions import ehlo_reply

Submit = Callable[[int, Envelope, Content, bytes, Callable[[bytes | None], None]], None]
SWEEP = 1.0  # seconds
KEPT_CLIENTS = 4096
MEMORY_SWEEPS = 0.9  # of fastrelay_content_memory_limit, above which MAIL gets 452


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a service is handed by the worker."""

    loop: asyncio.AbstractEventLoop
    journal: Journal
    rewriter: Rewriter
    checks: RecipientChecks
    cleanup: Cleanup | None = None
    content: ContentCheck | None = None
    header_maps: HeaderMaps | None = None
    networks: AddressMatcher
    own_addresses: frozenset[bytes]
    new_id: Callable[[float], int]
    queue_name: Callable[[int], bytes]
    has_room: Callable[[int], bool]
    submit: Submit
    names: ClientNames
    open_table: Opener = open_table


class Service:
    def __init__(self, settings: SmtpdSettings, around: Surroundings) -> None:
        self.settings = settings
        self.now = monotonic()  # of the last sweep: to ask the clock at each command costs too much
        self.timeout = settings.smtpd_timeout + SWEEP  # no command is cut short for that
        self.min_data_rate = settings.smtpd_min_data_rate
        self.forbids_early_input = settings.smtpd_forbid_unauth_pipelining
        self.loop = around.loop
        self.journal = around.journal
        self.submit = around.submit
        self._around = around
        self._names = around.names
        self._looks_up_names = settings.smtpd_peername_lookup
        self._disk_has_room = around.has_room
        self._limit = settings.fastrelay_smtpd_connection_limit
        self._connections: set[Connection] = set()
        self._memory_is_tight = False
        self._forbidden = ForbiddenCommands(
            settings.smtpd_forbidden_commands, around.journal, around.open_table
        )
        self._local_clients = LocalClients(
            settings.local_header_rewrite_clients, around.own_addresses, around.journal, around.open_table
        )
        self._clients: dict[str, Client] = {}
        self._keeps_clients = not self._local_clients.has_tables and all(
            table.constant for table in around.networks.tables
        )
        self.rules = self._make_rules()

    def _make_rules(self) -> SessionRules:
        settings, around, clients = self.settings, self._around, self._local_clients
        without = {word.upper().encode() for word in settings.smtpd_discard_ehlo_keywords}
        if not settings.smtputf8_enable:
            without.add(b"SMTPUTF8")
        if settings.disable_vrfy_command:
            without.add(b"VRFY")
        return SessionRules(
            settings,
            ehlo_reply=ehlo_reply(settings.myhostname.encode(), settings.message_size_limit, without),
            checks=(None, clients.check if clients.can_fail else None, around.checks, None, None),
            new_id=around.new_id,
            queue_name=around.queue_name,
            has_room=self.has_room,
            rewrite=around.rewriter.envelope,
            received=ReceivedHeader(settings.myhostname.encode(), settings.mail_name.encode()),
            is_forbidden=self._forbidden,
            header_addresses=header_addresses(settings, around.header_maps),
            content=around.content,
            cleanup=around.cleanup,
            mend=mender(settings.resolve_numeric_domain, settings.resolve_null_domain, settings.myhostname),
        )

    def factory(self) -> Connection:
        return Connection(self)

    # What a connection asks

    def admit(self, connection: Connection) -> bool:
        """May it stay? fastrelay_smtpd_connection_limit."""
        if len(self._connections) >= self._limit:
            return False
        self._connections.add(connection)
        return True

    def forget(self, connection: Connection) -> None:
        self._connections.discard(connection)

    def known_name(self, address: str) -> bytes | None:
        return self._names.known(address) if self._looks_up_names else UNKNOWN

    async def find_name(self, address: str) -> bytes:
        return await self._names.find(address)

    def client(self, address: str, name: bytes) -> Client:
        """One for all its sessions while nothing can change what is known of it. Raises Pending."""
        client = self._clients.get(address)
        if client is None or client.name != name:
            client = Client(name, address.encode(), self._around.networks)
            self._local_clients.note(client)
            if self._keeps_clients and client.is_clear:
                if len(self._clients) >= KEPT_CLIENTS:
                    self._clients.clear()
                self._clients[address] = client
        return client

    def has_room(self, size: int) -> bool:
        return not self._memory_is_tight and self._disk_has_room(size)

    # What the worker asks

    def sweep(self) -> None:
        """Once a second: deadlines of whole commands and replies, and the memory that contents take."""
        now = self.now = monotonic()
        holders: list[tuple[int, Connection]] = []
        for connection in list(self._connections):
            if connection.deadline < now:
                connection.expire()
            elif connection.session is not None and connection.session.buffered:
                holders.append((connection.session.buffered, connection))
        limit = self.settings.fastrelay_content_memory_limit
        if limit:
            self._bound_memory(holders, limit)

    def _bound_memory(self, holders: list[tuple[int, Connection]], limit: int) -> None:
        """No new mail when it gets tight; above the limit the greediest go, but for one that may be that large."""
        buffered = sum(size for size, _ in holders)
        self._memory_is_tight = buffered > limit * MEMORY_SWEEPS
        if buffered <= limit:
            return
        holders.sort(key=lambda holder: -holder[0])
        for size, connection in holders[1:]:
            if buffered <= limit:
                break
            if connection.session is not None and connection.session.in_content():
                buffered -= size
                connection.run_short()

    def shut_down(self) -> None:
        for connection in list(self._connections):
            connection.shut_down()

    @property
    def connection_count(self) -> int:
        return len(self._connections)


class Entrance:
    """What a listener calls for each connection; a reload puts the new service in."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def __call__(self) -> Connection:
        return Connection(self.service)


class ForbiddenCommands:
    """smtpd_forbidden_commands: words, and tables that are asked for the word that the client sent."""

    def __init__(self, specs: Sequence[str], journal: Journal, opener: Opener) -> None:
        self._journal = journal
        self._words = frozenset(spec.upper().encode() for spec in specs if ":" not in spec)
        self._maps = Maps([spec for spec in specs if ":" in spec], opener)

    def __call__(self, word: bytes) -> bool | Awaitable[bool]:
        return word.upper() in self._words or word[-1:] == b":" or ask(self._is_listed, word)

    def _is_listed(self, word: bytes) -> bool:
        """A table that cannot answer ends no session, as with Postfix."""
        try:
            return self._maps.find(word) is not None
        except TableError as error:
            self._journal.table_failed(error, word)
            return False
