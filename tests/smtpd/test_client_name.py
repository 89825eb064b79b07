"""Client names: verified against the hosts file, and bounded when the name server is slow."""

import asyncio
import threading

from fastrelay.smtpd import client_name
from fastrelay.smtpd.client_name import UNKNOWN, ClientNames


def test_loopback_has_its_name_and_is_then_known():
    async def go():
        names = ClientNames()
        assert names.known("127.0.0.1") is None
        found = await names.find("127.0.0.1")
        known = names.known("127.0.0.1")
        names.close()
        return found, known

    assert asyncio.run(go()) == (b"localhost", b"localhost")


def test_a_slow_name_server_makes_no_endless_line(monkeypatch):
    """Lookups that nobody answers: those above the limit are told `unknown` at once."""
    answered = threading.Event()
    monkeypatch.setattr(client_name, "WAITING_LIMIT", 5)
    monkeypatch.setattr(client_name, "look_up", lambda address: answered.wait(60) and UNKNOWN)

    async def go():
        names = ClientNames(threads=2)
        waiting = [asyncio.create_task(names.find(f"192.0.2.{n}")) for n in range(5)]
        await asyncio.sleep(0)
        late = await asyncio.wait_for(names.find("192.0.2.200"), 30)
        answered.set()
        first = await asyncio.gather(*waiting)
        names.close()
        return late, first

    assert asyncio.run(go()) == (UNKNOWN, [UNKNOWN] * 5)
