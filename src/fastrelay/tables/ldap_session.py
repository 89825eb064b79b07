"""One connection to an LDAP server, for tables/ldap.py: asyncio has the network, libldap speaks the protocol.

asyncio resolves, connects, does TLS and counts bytes, so deadlines and bounds hold; python-ldap works in a
thread, on one end of a socket pair whose other end is pumped to the server. Nothing that libldap does can
block the loop, and closing the session ends at once whatever call its thread is in.
Why not bonsai 1.5.5: it holds the interpreter's lock while it connects, does TLS or waits for a bind (a mute
server stopped the loop for good), and its asyncio mode spins while it waits (65 % of a core, measured).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any, TypeVar, cast

import ldap

from fastrelay.tables.ldap_manners import Manners, Server
from fastrelay.tables.stream import BadReply, Disconnected, Endpoint, Stream, open_stream
from fastrelay.tables.threads import Threads

BYTES_OF_A_LOOKUP = 4_194_304  # what a server may send for one; libldap itself knows no bound
STARTTLS = bytes.fromhex("301d02010177188016") + b"1.3.6.1.4.1.1466.20037"  # RFC 4511 4.14.1
BROKEN = (ldap.SERVER_DOWN, ldap.CONNECT_ERROR, ldap.UNAVAILABLE, ldap.TIMEOUT)  # the session is over

Entry = dict[str, list[bytes]]
Handle = Any  # ldap.ldapobject.SimpleLDAPObject, which has no types
Result = TypeVar("Result")


class _Side(asyncio.Protocol):
    """One end of the pump; what it reads the other writes, no faster than that can."""

    def __init__(self, count: Callable[[int], None]) -> None:
        self.other: _Side
        self._transport: asyncio.Transport | None = None
        self._count = count

    @property
    def ended(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def end(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def hold(self, still: bool) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if still:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclasses

    def data_received(self, data: bytes) -> None:
        self._count(len(data))
        self.other.write(data)

    def pause_writing(self) -> None:
        self.other.hold(True)

    def resume_writing(self) -> None:
        self.other.hold(False)

    def connection_lost(self, exc: Exception | None) -> None:
        self.other.end()


class LdapSession:
    """Bound and ready; made by open_session. `run` lends libldap's handle to a function in a thread."""

    def __init__(self, manners: Manners, threads: Threads) -> None:
        self._manners = manners
        self._threads = threads
        self._near, self._far = _Side(lambda _: None), _Side(self._count)
        self._far.other, self._near.other = self._near, self._far
        self._received = 0
        self._handle: Handle | None = None

    @property
    def usable(self) -> bool:
        return self._handle is not None and not self._far.ended

    def close(self) -> None:
        """libldap's thread, if it is at work, finds the connection ended."""
        self._handle = None
        self._far.end()
        self._near.end()

    async def run(self, function: Callable[[Handle], Result]) -> Result:
        """function(handle) in a thread; Disconnected, BadReply, and what the function raises."""
        self._received = 0
        try:
            return await self._threads.run(function, self._handle)
        except BROKEN as error:
            if self._received > BYTES_OF_A_LOOKUP:
                raise BadReply("reply exceeds size limit") from error
            raise Disconnected(reason(error)) from error

    async def start(self) -> None:
        """Connect to the first server that can be reached, and bind."""
        transport = await self._connect()
        try:
            await self._attach(transport)
            await self.run(self._bind)
        except BaseException:
            transport.abort()
            self.close()
            raise

    def _count(self, size: int) -> None:
        self._received += size
        if self._received > BYTES_OF_A_LOOKUP:
            self.close()

    async def _connect(self) -> asyncio.Transport:
        servers = self._manners.servers
        for server in servers[:-1]:
            with contextlib.suppress(OSError, BadReply, Disconnected):
                async with asyncio.timeout(self._manners.timeout / len(servers)):
                    return await self._connect_to(server)
        return await self._connect_to(servers[-1])

    async def _connect_to(self, server: Server) -> asyncio.Transport:
        tls, place = self._manners.tls, server.endpoint
        stream = await open_stream(place, element_length, 65_536, tls if server.secure else None)
        if self._manners.start_tls and not server.secure:
            return await self._start_tls(stream, place)
        assert stream.transport is not None
        return stream.transport

    async def _start_tls(self, stream: Stream, place: Endpoint) -> asyncio.Transport:
        assert self._manners.tls is not None
        try:
            code = extended_result(await stream.ask(STARTTLS))
            if code != 0 or stream.transport is None:
                raise BadReply(f"Unable to set STARTTLS: {code}")
            name = place.host or None
            loop = asyncio.get_running_loop()
            secured = await loop.start_tls(stream.transport, stream, self._manners.tls, server_hostname=name)
        except BaseException:
            stream.close()
            raise
        assert secured is not None
        return secured

    async def _attach(self, transport: asyncio.Transport) -> None:
        """The pump, and libldap at its near end."""
        self._far.connection_made(transport)
        transport.set_protocol(self._far)
        near, theirs = socket.socketpair()
        near.setblocking(False)
        handle = ldap.initialize("ldap://server/", fileno=theirs.detach())
        await asyncio.get_running_loop().create_unix_connection(lambda: self._near, sock=near)
        how = self._manners
        handle.set_option(ldap.OPT_PROTOCOL_VERSION, how.version)
        handle.set_option(ldap.OPT_DEREF, how.dereference)
        handle.set_option(ldap.OPT_REFERRALS, int(how.chase_referrals))
        handle.set_option(ldap.OPT_NETWORK_TIMEOUT, how.timeout)
        handle.set_option(ldap.OPT_TIMEOUT, how.timeout)
        handle.set_option(ldap.OPT_RESTART, 1)
        self._handle = handle

    def _bind(self, handle: Handle) -> None:
        """In the thread."""
        how = self._manners
        if how.bind == "simple":
            handle.simple_bind_s(how.bind_dn, how.bind_pw)
        elif how.bind == "sasl":
            plain = f"{how.sasl_authz_id}\0{how.bind_dn}\0{how.bind_pw}"
            credentials = plain if how.sasl_mechanism == "PLAIN" else how.sasl_authz_id
            handle.sasl_bind_s("", how.sasl_mechanism, credentials)


async def open_session(manners: Manners, threads: Threads) -> LdapSession:
    session = LdapSession(manners, threads)
    await session.start()
    return session


def search(
    handle: Handle, base: str, scope: int, search_filter: str, attributes: list[str], size_limit: int
) -> list[Entry]:
    """In the thread: the entries; continuation references are left out. ldap.LDAPError."""
    number = handle.search_ext(base, scope, search_filter, attributes, sizelimit=size_limit)
    entries: list[Entry] = []
    while True:
        kind, found, *_ = handle.result4(number, 0)
        if kind == ldap.RES_SEARCH_RESULT:
            return entries
        if kind == ldap.RES_SEARCH_ENTRY:
            entries += [entry for _, entry in found]


def reason(error: ldap.LDAPError) -> str:
    """libldap's words: "49: Invalid credentials"."""
    told = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    return f"{told.get('result', '')}: {told.get('desc', type(error).__name__)}".removeprefix(": ")


def element_length(buffer: bytearray) -> int:
    """A Framing: of a BER element with its tag and length (X.690 8.1)."""
    if len(buffer) < 2:
        return 0
    if buffer[1] < 0x80:
        end = 2 + buffer[1]
    else:
        octets = buffer[1] & 0x7F
        if not 0 < octets <= 4:
            raise BadReply("malformed reply", buffer)
        if len(buffer) < 2 + octets:
            return 0
        end = 2 + octets + int.from_bytes(buffer[2 : 2 + octets], "big")
    if end > BYTES_OF_A_LOOKUP:
        raise BadReply("reply exceeds size limit")
    return end if len(buffer) >= end else 0


def extended_result(message: bytes) -> int:
    """The resultCode of the ExtendedResponse that answers STARTTLS (RFC 4511 4.12)."""
    body = _content(message, 0x30)
    if body[:3] != b"\x02\x01\x01":
        raise BadReply("malformed reply", message)
    response = _content(body[3:], 0x78)
    if response[:2] != b"\x0a\x01" or len(response) < 3:
        raise BadReply("malformed reply", message)
    return response[2]


def _content(element: bytes, tag: int) -> bytes:
    if len(element) < 2 or element[0] != tag:
        raise BadReply("malformed reply", element)
    return element[2 + (element[1] & 0x7F if element[1] & 0x80 else 0) :]
