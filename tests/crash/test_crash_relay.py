"""A whole relay under load, killed; the clients' own list of 250s compared with what the sink got."""

from __future__ import annotations

import os
import random

import pytest
from crash_parts import TimedSink, family, gone, kill, queued_labels, shards_of

from support.ledger import Senders, missing
from support.relay import Fastrelay, until

W2 = 5.0  # seconds around a kill in which a delivery may not be recorded: 20 ms and two commits, and a slow sink
VICTIMS = ("worker", "worker", "master", "worker", "worker", "all")


def strike(relay: Fastrelay, victim: str, chance: random.Random) -> float:
    """Kill and see it come back; when it was."""
    pids = family(relay)
    if victim == "worker":
        worker = chance.choice(relay.worker_pids())
        when = kill([worker])
        relay.wait_log(rf"pid {worker} killed by signal 9")
        until(lambda: len(relay.worker_pids()) == 2, relay.troubles)
        return when
    when = kill(pids[:1] if victim == "master" else pids)
    gone(relay, pids)
    relay.start()
    return when


def rounds(count: int, seed: int) -> None:
    chance = random.Random(seed)
    print(f"seed {seed}")
    kills: list[float] = []
    with TimedSink() as sink, Fastrelay({"relayhost": sink.next_hop, "fastrelay_workers": 2}) as relay:
        with Senders(relay.host, relay.port, seed=seed) as senders:
            for i in range(count):
                senders.wait(chance.randrange(20, 200))
                kills.append(strike(relay, VICTIMS[i % len(VICTIMS)], chance))
            senders.wait(50)
        until(lambda: not missing(senders.answered, sink.came), relay.troubles)
        relay.stop()
        left, problems = queued_labels(relay.spool, shards_of(relay.spool))
        assert problems == [] and left == set()
        assert "panic" not in relay.log()
    assert all(len(sizes) == 1 for sizes in sink.bodies.values())
    repeated = sink.repeated()
    print(f"{len(kills)} kills, {len(senders.answered)} answered, {len(repeated)} repeated,"
          f" {len(senders.unknown)} without an answer")  # fmt: skip
    for label, times in repeated.items():
        for first in times[:-1]:
            assert any(abs(when - first) < W2 for when in kills), (label, times, kills)


def test_killed_at_random_moments_under_load() -> None:
    rounds(6, int.from_bytes(os.urandom(3), "big"))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
def test_killed_many_times(seed: int) -> None:
    rounds(60, seed)


def stops(count: int, seed: int) -> None:
    """Stop and start under load: nothing is lost, and nothing comes twice."""
    chance = random.Random(seed)
    print(f"seed {seed}")
    with TimedSink() as sink, Fastrelay({"relayhost": sink.next_hop, "fastrelay_workers": 2}) as relay:
        with Senders(relay.host, relay.port, seed=seed) as senders:
            for _ in range(count):
                senders.wait(chance.randrange(50, 150))
                relay.stop()
                relay.start()
            senders.wait(50)
        until(lambda: not missing(senders.answered, sink.came), relay.troubles)
        relay.stop()
        assert queued_labels(relay.spool, shards_of(relay.spool)) == (set(), [])
        assert "fatal" not in relay.log() and "panic" not in relay.log()
    assert sink.repeated() == {}
    assert set(sink.came) <= {*senders.answered, *senders.unknown}


def test_clean_stops_under_load_lose_and_repeat_nothing() -> None:
    stops(2, int.from_bytes(os.urandom(3), "big"))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(5))
def test_many_clean_stops(seed: int) -> None:
    stops(40, seed)
