"""An authoritative DNS server on 127.0.0.1, UDP and TCP on one port, for tests.

    async with DnsServer({"there.test": ["MX 10 mx1.there.test.", "A 127.0.0.1"]}) as dns: ... dns.address

A name's value may also be "SERVFAIL", "REFUSED", "SILENT", or ("SLOW", seconds, records). What is not there
is NXDOMAIN. CNAMEs are followed inside the zone, as a resolver's answer shows them.
"""

from __future__ import annotations

import asyncio
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

UDP_LIMIT = 1232


class DnsServer:
    def __init__(self, zone: dict[str, Any], ttl: int = 300) -> None:
        self.zone = zone
        self.ttl = ttl
        self.queries: list[tuple[str, str]] = []

    async def __aenter__(self) -> DnsServer:
        loop = asyncio.get_running_loop()
        for _ in range(20):  # one port number for both; the second may be taken
            self.tcp = await asyncio.start_server(self._serve_tcp, "127.0.0.1", 0)
            self.port = self.tcp.sockets[0].getsockname()[1]
            try:
                self.udp, _ = await loop.create_datagram_endpoint(
                    lambda: _Udp(self), local_addr=("127.0.0.1", self.port)
                )
            except OSError:
                self.tcp.close()
                continue
            self.address = f"127.0.0.1:{self.port}"
            return self
        raise OSError("no free port for UDP and TCP")

    async def __aexit__(self, *exc: object) -> None:
        self.udp.close()
        self.tcp.close()

    async def answer(self, wire: bytes, limit: int = 65535) -> bytes | None:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        self.queries.append((name, dns.rdatatype.to_text(question.rdtype)))
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA | dns.flags.RA
        records = self.zone.get(name)
        if isinstance(records, tuple):
            await asyncio.sleep(records[1])
            records = records[2]
        if records == "SILENT":
            return None
        if isinstance(records, str):
            response.set_rcode(dns.rcode.from_text(records))
        elif not self._fill(response, name, question.rdtype):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response.to_wire(max_size=limit) if limit == 65535 else _truncate(response, limit)

    def _fill(self, response: dns.message.Message, name: str, kind: int) -> bool:
        for _ in range(30):
            if name not in self.zone:
                return False
            target = ""
            records = self.zone[name]
            for record in records[2] if isinstance(records, tuple) else records:
                type_name, _, data = record.partition(" ")
                if type_name == "CNAME":
                    target = data.rstrip(".")
                if type_name == "CNAME" or dns.rdatatype.from_text(type_name) == kind:
                    rrset = dns.rrset.from_text(name + ".", self.ttl, "IN", type_name, data)
                    found = response.get_rrset(
                        response.answer, rrset.name, dns.rdataclass.IN, rrset.rdtype, create=True
                    )
                    found.update_ttl(self.ttl)
                    found.add(rrset[0])
            if not target:
                return True
            name = target
        return True

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            size = int.from_bytes(await reader.readexactly(2), "big")
            wire = await self.answer(await reader.readexactly(size))
            if wire is not None:
                writer.write(len(wire).to_bytes(2, "big") + wire)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def _truncate(response: dns.message.Message, limit: int) -> bytes:
    wire = response.to_wire()
    if len(wire) <= limit:
        return wire
    response.answer.clear()
    response.flags |= dns.flags.TC
    return response.to_wire()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self.server = server
        self.tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        task = asyncio.get_running_loop().create_task(self._reply(data, address))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _reply(self, data: bytes, address: Any) -> None:
        wire = await self.server.answer(data, UDP_LIMIT)
        if wire is not None and not self.transport.is_closing():
            self.transport.sendto(wire, address)
