"""The `hosts` of pgsql: and mysql: tables: tried in random order, and the ones that failed lately last.

A host gets its share of the lookup's time, so that one that is silent leaves time for the others.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import TypeVar

from fastrelay.tables.remote import ServerProblem, reason_of
from fastrelay.tables.stream import Endpoint

REST_SECONDS = 60.0  # RETRY_CONN_INTV of Postfix
Connection = TypeVar("Connection")


@dataclass(slots=True)
class Host:
    """`uri`: all that there is to say, in the library's own form."""

    endpoint: Endpoint
    uri: str = ""
    rests_until: float = 0.0


def parse_host(text: str) -> Host:
    """host, host:port, inet:host:port, [address]:port, unix:/path or a postgresql: URI."""
    if text.startswith(("postgresql:", "postgres:")):
        return Host(Endpoint(host=re.sub(r"//[^@/]*@", "//", text)), uri=text)
    text = text.removeprefix("inet:").removeprefix("unix:")
    if text.startswith("/"):
        return Host(Endpoint(path=text))
    match = re.fullmatch(r"\[([^]]+)\](?::([0-9]+))?|([^:]+)(?::([0-9]+))?", text)
    if match is None:
        return Host(Endpoint(host=text))
    return Host(Endpoint(host=match[1] or match[3], port=match[2] or match[4] or ""))


class Hosts:
    """`kind` is for messages: `connect to pgsql server ...`."""

    def __init__(self, kind: str, specs: list[str], sockets_first: bool = False) -> None:
        self._kind = kind
        self._hosts = [parse_host(spec) for spec in specs or ["localhost"]]
        self._sockets_first = sockets_first

    async def connect(self, open_host: Callable[[Host], Awaitable[Connection]], seconds: float) -> Connection:
        """A connection to one of them; ServerProblem tells what the last one said."""
        problem = ""
        for host in self._order():
            try:
                async with asyncio.timeout(seconds / len(self._hosts)) as limit:
                    connection = await open_host(host)
                host.rests_until = 0.0
                return connection
            except Exception as error:
                host.rests_until = monotonic() + REST_SECONDS
                reason = "connection timed out" if limit.expired() else reason_of(error)
                problem = f"connect to {self._kind} server {_shown(host)}: {reason}"
        raise ServerProblem(problem)

    def _order(self) -> list[Host]:
        now = monotonic()
        hosts = random.sample(self._hosts, len(self._hosts))
        hosts.sort(key=lambda host: (host.rests_until > now, self._sockets_first and not host.endpoint.path))
        return hosts


def _shown(host: Host) -> str:
    endpoint = host.endpoint
    return endpoint.path or endpoint.host + (f":{endpoint.port}" if endpoint.port else "")
