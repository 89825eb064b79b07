"""The queue tools on a live relay whose next hop puts everything off, and the queue over a stop and a start."""

import json
import re
from collections.abc import Iterator

import pytest

from support.keeping_sink import KeepingSink
from support.relay import Fastrelay, until

LATER = b"450 4.2.0 come back"


class Office:
    """Deferred mail for user0..user3@there.test; `names` are their queue ids."""

    def __init__(self, relay: Fastrelay, sink: KeepingSink) -> None:
        self.relay, self.sink = relay, sink
        self.names = [self.send(f"user{number}@there.test") for number in range(4)]

    def send(self, address: str) -> str:
        queue_id = self.relay.send("a@client.test", address)
        self.relay.wait_log(rf"{queue_id}: to=<{address}>.*status=deferred")
        return queue_id

    def listing(self) -> dict[str, str]:
        """Queue id -> queue name, as postqueue -j tells."""
        entries = [json.loads(line) for line in self.relay.tool("postqueue", "-j").splitlines()]
        return {entry["queue_id"]: entry["queue_name"] for entry in entries}

    def arrived(self) -> list[str]:
        words = [kept.recipients[0].split()[0].decode() for kept in self.sink.messages]
        return sorted(word.strip("<>").partition("@")[0] for word in words)


def put_off(stage: str, argument: bytes) -> bytes | None:
    return LATER if stage == "RCPT" else None


@pytest.fixture(scope="module")
def parts() -> Iterator[tuple[Fastrelay, KeepingSink]]:
    with KeepingSink() as sink, Fastrelay({"relayhost": sink.next_hop}) as relay:
        yield relay, sink


@pytest.fixture
def office(parts: tuple[Fastrelay, KeepingSink]) -> Iterator[Office]:
    relay, sink = parts
    sink.reply = put_off
    sink.messages.clear()
    yield Office(relay, sink)
    relay.tool("postsuper", "-d", "ALL")


def test_hold_release_requeue_delete(office: Office) -> None:
    relay, sink, (first, second, third, fourth) = office.relay, office.sink, office.names
    assert office.listing() == dict.fromkeys(office.names, "deferred")

    relay.tool("postsuper", "-h", first)
    relay.wait_log(rf"{first}: placed on hold")
    assert office.listing()[first] == "hold"
    assert re.search(rf"^{first}! ", relay.tool("postqueue", "-p"), re.M)

    relay.tool("postsuper", "-d", second)
    relay.wait_log(rf"{second}: removed")
    assert set(office.listing()) == {first, third, fourth}

    sink.reply = None
    relay.tool("postsuper", "-r", third)
    relay.wait_log(rf"{third}: to=<user2@there\.test>.*status=sent")
    relay.tool("postqueue", "-f")
    relay.wait_log(rf"{fourth}: to=<user3@there\.test>.*status=sent")
    assert office.listing() == {first: "hold"}  # neither a flush nor time moves what is held
    assert office.arrived() == ["user2", "user3"]

    relay.tool("postsuper", "-H", first)
    relay.wait_log(rf"{first}: released from hold")
    relay.tool("postqueue", "-f")
    relay.wait_log(rf"{first}: to=<user0@there\.test>.*status=sent")
    until(lambda: relay.tool("mailq") == "Mail queue is empty\n", relay.log)
    assert office.arrived() == ["user0", "user2", "user3"]


def test_one_message_is_flushed_alone(office: Office) -> None:
    office.sink.reply = None
    office.relay.tool("postqueue", "-i", office.names[1])
    office.sink.wait(1)
    until(
        lambda: set(office.listing()) == {n for n in office.names if n != office.names[1]}, office.relay.log
    )
    assert office.arrived() == ["user1"]


def test_postcat_shows_a_queued_message(office: Office) -> None:
    shown = office.relay.tool("postcat", "-q", office.names[0])
    assert "user0@there.test" in shown
    assert "a@client.test" in shown
    assert "Subject: hello" in shown
    assert "\nbody\n" in shown


def test_all_are_deleted(office: Office) -> None:
    office.relay.tool("postsuper", "-d", "ALL")
    assert office.relay.tool("mailq") == "Mail queue is empty\n"


def test_an_unknown_queue_id_is_an_error(office: Office) -> None:
    done = office.relay.run_tool("postcat", "-q", "0123456789ABCDEF")
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert done.stderr.startswith(b"postcat: fatal: ")


def test_the_queue_survives_a_stop(office: Office) -> None:
    """What was deferred, held and flushed before is so after; then all is delivered, once."""
    relay, first = office.relay, office.names[0]
    relay.tool("postsuper", "-h", first)
    before = relay.tool("postqueue", "-j")
    relay.stop()
    stopped = relay.run_tool("postqueue", "-p")
    assert b"Traceback" not in stopped.stderr
    relay.start()
    assert sorted(relay.tool("postqueue", "-j").splitlines()) == sorted(before.splitlines())
    office.sink.reply = None
    relay.tool("postsuper", "-H", first)
    relay.tool("postqueue", "-f")
    office.sink.wait(4)
    until(lambda: relay.tool("mailq") == "Mail queue is empty\n", relay.log)
    assert office.arrived() == ["user0", "user1", "user2", "user3"]


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_the_queue_of_a_stopped_relay_is_read_and_repaired(office: Office, end: str) -> None:
    """Without a start: a postmaster looks, holds and deletes first."""
    relay, (first, second, third, fourth) = office.relay, office.names
    before = relay.tool("postqueue", "-j")
    if end == "stop":
        relay.stop()
    else:
        assert relay.process is not None
        relay.process.kill()
        relay.process.wait(60)
        until(lambda: not relay.run_tool("postqueue", "-j").returncode, relay.log)  # its workers have gone
    try:
        listing = relay.run_tool("postqueue", "-j")
        assert sorted(listing.stdout.decode().splitlines()) == sorted(before.splitlines())
        assert listing.stderr == b"postqueue: warning: Mail system is down -- accessing queue directly\n"
        assert "Subject: hello" in relay.tool("postcat", "-q", first)
        held = relay.run_tool("postsuper", "-h", first, "-d", second)
        assert b"Placed on hold: 1 message" in held.stderr and b"Deleted: 1 message" in held.stderr
        relay.tool("postsuper", "-h", third)
        relay.tool("postsuper", "-H", third)
        assert office.listing() == {first: "hold", third: "incoming", fourth: "deferred"}
        refused = relay.run_tool("postqueue", "-f")
        assert (refused.returncode, refused.stderr) == (
            69, b"postqueue: fatal: Cannot flush mail queue - mail system is down\n",
        )  # fmt: skip
    finally:
        relay.start()
    assert office.listing()[first] == "hold" and second not in office.listing()
    office.sink.reply = None
    relay.tool("postsuper", "-H", first)
    relay.tool("postqueue", "-f")
    office.sink.wait(3)
    assert office.arrived() == ["user0", "user2", "user3"]


def test_postcat_shows_each_of_many_recipients(parts: tuple[Fastrelay, KeepingSink]) -> None:
    relay, sink = parts
    sink.reply = put_off
    addresses = [f"user{number}@many.test" for number in range(450)]
    name = relay.send("a@client.test", addresses)
    shown = relay.tool("postcat", "-q", name)
    assert re.findall(r"^recipient: (.*)$", shown, re.M) == addresses
    relay.tool("postsuper", "-d", name)
