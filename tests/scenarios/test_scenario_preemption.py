"""A list and singles through one slow next hop: Postfix and fastrelay deliver them in the same order."""

import threading

import pytest
from scenario_parts import IS_ROOT

from support.keeping_sink import KeepingSink
from support.relay import PATIENCE, Fastrelay, Postfix, until

DELIVERIES, SINGLES = 40, 5
BOTH = [
    Fastrelay,
    pytest.param(Postfix, marks=pytest.mark.skipif(not IS_ROOT, reason="it starts as root only")),
]


def delivery_order(system, cost):
    """A letter each delivery, L for one of the list's and S for a single; the singles come while the first is stuck."""
    arrived, gate = threading.Event(), threading.Event()

    def reply(stage, argument):
        if stage == "MAIL":
            arrived.set()
            assert gate.wait(PATIENCE)

    settings = {
        "default_delivery_slot_cost": cost,
        "smtp_destination_concurrency_limit": 1,
        "smtp_destination_recipient_limit": 10,
        "initial_destination_concurrency": 1,
    }
    with (
        KeepingSink(reply, extensions=(b"PIPELINING",)) as sink,
        system({**settings, "relayhost": sink.next_hop}) as relay,
    ):
        relay.send("list@client.test", [f"u{n}@there.test" for n in range(10 * DELIVERIES)])
        assert arrived.wait(PATIENCE)
        for n in range(SINGLES):
            relay.send("single@client.test", f"v{n}@there.test")
        until(lambda: relay.log().count("nrcpt=1 (queue active)") == SINGLES, relay.log)
        gate.set()
        until(lambda: len(sink.messages) == DELIVERIES + SINGLES, relay.log)
        singles = [m.recipients[0] for m in sink.messages if len(m.recipients) == 1]
        assert singles == [b"<v%d@there.test>" % n for n in range(SINGLES)]
        return "".join("L" if len(message.recipients) == 10 else "S" for message in sink.messages)


@pytest.mark.parametrize("system", BOTH)
def test_singles_pass_the_list_at_the_price_of_five(system):
    """The first on loan, the others each time that five of the list's have paid the last one's debt."""
    assert delivery_order(system, 5) == "LS" + "LLLLLS" * (SINGLES - 1) + "L" * (DELIVERIES - 21)


@pytest.mark.parametrize("system", BOTH)
def test_without_preemption_they_wait_for_the_list(system):
    assert delivery_order(system, 0) == "L" * DELIVERIES + "S" * SINGLES
