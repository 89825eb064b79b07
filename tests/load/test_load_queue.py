"""A long queue: what it takes of memory, and how soon a relay that starts with it delivers."""

import socket
import time

import pytest

from support.full_queue import Filler
from support.keeping_sink import KeepingSink
from support.process_memory import memory_of
from support.relay import Fastrelay, until
from support.waiting_time import waited_for_processor

WHOLE, SHORT = 200_000, 10_000
ALLOWED = 60 << 20  # bytes for WHOLE messages (docs/benchmarks.md)
WORKERS = 2
A_START = 12 << 20  # what a start with any queue leaves behind, beside the messages
SOON = 5.0  # seconds until the first delivery


def relay(**main: object) -> Fastrelay:
    common = {"fastrelay_workers": WORKERS, "fastrelay_queue_shards": 4, "fastrelay_segment_size": 64 << 20}
    return Fastrelay({**common, **main})


def settled_memory(house: Fastrelay) -> int:
    workers = until(lambda: len(found := house.worker_pids()) == WORKERS and found)
    before, now = 0, memory_of(*workers)
    while now > before + (1 << 20):  # it still reads its queue
        time.sleep(1.0)
        before, now = now, memory_of(*workers)
    return now


def fill(house: Fastrelay, count: int, size: int, deferred_for: float = 0.0) -> None:
    filler = Filler(house.spool / "fastrelay", 4)
    filler.fill(count, size, deferred_for)
    filler.close()


def grown(next_hop: str, count: int, deferred_for: float) -> int:
    with relay(relayhost=next_hop) as empty:
        before = settled_memory(empty)
    full = relay(relayhost=next_hop)
    fill(full, count, 1000, deferred_for)
    with full:
        found = settled_memory(full) - before
        if count == SHORT:
            said = full.tool("mailq")[-100:]
            assert f" in {count} Requests." in said, said
    print(f"{count} messages: {found / 2**20:.1f} MiB more, {found / count:.0f} bytes each")
    return found


@pytest.fixture
def hung():
    """A next hop that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as server:
        yield f"[127.0.0.1]:{server.getsockname()[1]}"


def test_load_queued_messages_cost_little_memory(hung):
    assert grown(hung, SHORT, 3600.0) < ALLOWED * SHORT // WHOLE + A_START


@pytest.mark.soak
@pytest.mark.parametrize("deferred_for", [0.0, 3600.0], ids=["not-tried", "deferred"])
def test_load_a_long_queue_fits_into_memory(hung, deferred_for):
    assert WHOLE * 100 < grown(hung, WHOLE, deferred_for) < ALLOWED


def first_delivery(count: int) -> tuple[float, float]:
    """(seconds from the start to the first delivery, those of them in which others had the processors)."""
    with KeepingSink() as sink:
        house = relay(relayhost=sink.next_hop)
        fill(house, count, 4096)
        begun = time.monotonic()
        with house:
            house.wait_log(r"status=sent")
            took = time.monotonic() - begun
            assert house.process is not None
            others = max(map(waited_for_processor, house.worker_pids()))
            others += waited_for_processor(house.process.pid)
    print(f"{count} messages: the first is delivered after {took:.1f} s, {others:.1f} s of it others'")
    return took, others


def test_load_a_relay_that_starts_with_mail_delivers_it_soon():
    took, others = first_delivery(SHORT)
    assert took - others < SOON


@pytest.mark.soak
def test_load_a_relay_that_starts_with_a_long_queue_delivers_soon():
    took, others = first_delivery(WHOLE)
    assert took - others < SOON
