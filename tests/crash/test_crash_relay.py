"""A whole relay under load, killed; the clients' own list of 250s compared with what the sink got."""

from __future__ import annotations

import os
import random
import signal

import pytest
from crash_parts import (
    InFlight,
    TimedSink,
    are_free,
    family,
    gone,
    held_shards,
    kill,
    queued_labels,
    shards_of,
)

from support.ledger import Senders, missing
from support.relay import Fastrelay, until

WINDOW = 2.0  # seconds
VICTIMS = ("worker", "worker", "master", "worker", "worker", "all")


def strike(relay: Fastrelay, victim: str, senders: Senders, chance: random.Random, flying: InFlight) -> None:
    """Kill, look at what is left in the queue, and see the relay come back."""
    assert relay.process is not None
    until(lambda: len(relay.worker_pids()) == 2, relay.troubles)
    os.kill(relay.process.pid, signal.SIGSTOP)  # it starts nobody meanwhile
    pids, shards = family(relay), shards_of(relay.spool)
    if victim == "worker":
        worker = chance.choice(relay.worker_pids())
        shards = held_shards(relay.spool, worker)
        when = kill([worker])
    else:
        when = kill(pids[:1] if victim == "master" else pids)
        gone(relay, pids)
    until(lambda: are_free(relay.spool, shards), relay.troubles)  # when the last thread is gone
    slowest = senders.longest_wait()
    queued, problems = queued_labels(relay.spool, shards)
    assert problems == []
    flying.killed(when, queued, slowest)
    if victim != "worker":
        relay.start()
        return
    os.kill(relay.process.pid, signal.SIGCONT)
    relay.wait_log(rf"pid {worker} killed by signal 9")
    until(lambda: len(relay.worker_pids()) == 2, relay.troubles)


def rounds(count: int, seed: int) -> None:
    chance = random.Random(seed)
    print(f"seed {seed}")
    with TimedSink() as sink, Fastrelay({"relayhost": sink.next_hop, "fastrelay_workers": 2}) as relay:
        flying = InFlight(sink, WINDOW)
        with Senders(relay.host, relay.port, seed=seed) as senders:
            for i in range(count):
                senders.wait(chance.randrange(20, 200))
                strike(relay, VICTIMS[i % len(VICTIMS)], senders, chance, flying)
            senders.wait(50)
        until(lambda: not missing(senders.answered, sink.came), relay.troubles)
        relay.stop()
        left, problems = queued_labels(relay.spool, shards_of(relay.spool))
        assert problems == [] and left == set()
        assert "panic" not in relay.log()
    print(f"{flying.check()}, {len(senders.answered)} answered, {len(senders.unknown)} without an answer")
    assert all(len(sizes) == 1 for sizes in sink.bodies.values())
    assert set(sink.came) <= {*senders.answered, *senders.unknown}


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
