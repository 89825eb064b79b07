"""What a sender is told when mail cannot be delivered, and when it is not told.

A refusal makes one notice (RFC 3464) that a mail program can read; the null sender gets none; a temporary
failure is kept and shown with its reason until the next try; an expired message is returned; two relays that
send mail to each other stop by the hop count.
"""

import json
import re
from collections.abc import Callable, Iterator

import pytest
from scenario_parts import IS_ROOT, Notice

from support.keeping_sink import KeepingSink, Kept
from support.ports import free_port
from support.relay import Fastrelay, MailSystem, Postfix, until


def refusing(*codes: tuple[bytes, bytes]) -> Callable[[str, bytes], bytes | None]:
    """Replies to RCPT by what the address contains."""

    def reply(stage: str, argument: bytes) -> bytes | None:
        return next((text for part, text in codes if stage == "RCPT" and part in argument), None)

    return reply


@pytest.fixture(scope="module")
def parts() -> Iterator[tuple[Fastrelay, KeepingSink]]:
    with KeepingSink() as sink, Fastrelay({"relayhost": sink.next_hop}) as relay:
        yield relay, sink


@pytest.fixture
def relay(parts: tuple[Fastrelay, KeepingSink]) -> Iterator[Fastrelay]:
    parts[1].messages.clear()
    yield parts[0]
    parts[0].tool("postsuper", "-d", "ALL")


@pytest.fixture
def sink(parts: tuple[Fastrelay, KeepingSink]) -> Iterator[KeepingSink]:
    yield parts[1]
    parts[1].reply = None


def notices(sink: KeepingSink) -> list[Kept]:
    return [kept for kept in sink.messages if kept.sender.split()[0] == b"<>"]


@pytest.mark.skipif(not IS_ROOT, reason="Postfix must be started by root")
@pytest.mark.parametrize(
    ("kind", "orcpt"), [(Postfix, b"x+20y+2B@client.test"), (Fastrelay, b'"x+20y+2B"@client.test')]
)
def test_the_orcpt_of_a_notice_is_an_address(kind: type[MailSystem], orcpt: bytes) -> None:
    """With its quotes, as the address of its RCPT has them; Postfix leaves them out there, and nowhere else."""
    with (
        KeepingSink(reply=refusing((b"nobody", b"550 5.1.1 no"))) as sink,
        kind({"relayhost": sink.next_hop}) as relay,
    ):
        relay.send('"x y+"@client.test', "nobody@there.test")
        assert sink.wait(1)[0].recipients == [b'<"x y+"@client.test> ORCPT=rfc822;' + orcpt]


def test_a_refusal_makes_one_notice(relay: Fastrelay, sink: KeepingSink) -> None:
    reply = refusing(
        (b"nobody", b"550 5.1.1 <nobody@there.test>: no such user"), (b"full", b"552 5.2.2 mailbox full")
    )
    sink.reply = reply
    people = ["nobody@there.test", "full@there.test", "b@there.test"]
    with relay.smtp() as client:
        client.ehlo()
        client.sendmail(
            "a@client.test",
            people,
            b"From: me <a@client.test>\r\nSubject: lost\r\n\r\nbody\r\n",
            ["ENVID=E99"],
        )
    until(lambda: notices(sink), relay.log)
    relay.wait_log(r"sender non-delivery notification")
    until(lambda: relay.tool("mailq") == "Mail queue is empty\n", relay.log)
    (kept,) = notices(sink)
    assert [recipient.split()[0] for recipient in kept.recipients] == [b"<a@client.test>"]
    check_notice(Notice(kept.content))


def check_notice(notice: Notice) -> None:
    assert notice.message["To"] == "a@client.test"
    assert notice.message["From"].addresses[0].addr_spec == "MAILER-DAEMON@relay.test"
    assert notice.message["Auto-Submitted"] == "auto-replied"
    assert notice.message["Subject"] == "Undelivered Mail Returned to Sender"
    assert notice.about["Reporting-MTA"] == "dns; relay.test"
    assert notice.about["Original-Envelope-Id"] == "E99"
    assert notice.about["Arrival-Date"]
    first, second = notice.recipients
    assert first["Final-Recipient"] == "rfc822; nobody@there.test"
    assert first["Original-Recipient"] == "rfc822;nobody@there.test"
    assert (first["Action"], first["Status"]) == ("failed", "5.1.1")
    assert first["Remote-MTA"] == "dns; 127.0.0.1"
    assert first["Diagnostic-Code"] == "smtp; 550 5.1.1 <nobody@there.test>: no such user"
    assert second["Final-Recipient"] == "rfc822; full@there.test"
    assert (second["Action"], second["Status"]) == ("failed", "5.2.2")
    assert "no such user" in notice.text
    assert notice.returned.get_content_type() == "message/rfc822"
    (original,) = notice.returned.get_payload()
    assert original["Subject"] == "lost"
    assert original.get_payload() == "body\r\n"


def test_the_null_sender_is_told_nothing(relay: Fastrelay, sink: KeepingSink) -> None:
    sink.reply = refusing((b"", b"550 5.1.1 no"))
    queue_id = relay.send("", "nobody@there.test")
    relay.wait_log(rf"{queue_id}: to=<nobody@there\.test>, .*status=bounced")
    relay.wait_log(rf"{queue_id}: removed")
    assert relay.tool("mailq") == "Mail queue is empty\n"
    assert f"{queue_id}: sender non-delivery notification" not in relay.log()
    assert not sink.messages


def test_notify_never_is_told_nothing(relay: Fastrelay, sink: KeepingSink) -> None:
    sink.reply = refusing((b"", b"550 5.1.1 no"))
    with relay.smtp() as client:
        client.ehlo()
        assert client.mail("a@client.test")[0] == 250
        assert client.rcpt("b@there.test", ["NOTIFY=NEVER"])[0] == 250
        queue_id = client.data(b"Subject: x\r\n\r\nx\r\n")[1].decode().rpartition(" ")[2]
    relay.wait_log(rf"{queue_id}: to=<b@there\.test>, .*status=bounced")
    relay.wait_log(rf"{queue_id}: removed")
    assert relay.tool("mailq") == "Mail queue is empty\n"
    assert not sink.messages


def test_a_temporary_failure_waits_for_the_flush(relay: Fastrelay, sink: KeepingSink) -> None:
    sink.reply = refusing((b"", b"450 4.2.0 come back"))
    queue_id = relay.send("a@client.test", "b@there.test")
    relay.wait_log(
        rf"{queue_id}: to=<b@there\.test>, relay=127\.0\.0\.1\[127\.0\.0\.1\]:{sink.port}, delay=\S+, delays=\S+, "
        r"dsn=4\.2\.0, status=deferred \(host 127\.0\.0\.1\[127\.0\.0\.1\] said: 450 4\.2\.0 come back "
        r"\(in reply to RCPT TO command\)\)"
    )
    listing = relay.tool("mailq")
    assert re.search(
        rf"^{queue_id} +\d+ \w{{3}} \w{{3}} [ \d]\d \d\d:\d\d:\d\d  a@client\.test$", listing, re.M
    )
    assert "said: 450 4.2.0 come back (in reply to RCPT TO command))" in listing
    assert listing.splitlines()[-1].endswith(" in 1 Request.")
    sink.reply = None
    relay.tool("postqueue", "-f")
    sink.wait(1)
    relay.wait_log(rf"{queue_id}: removed")


def test_mail_that_expires_is_returned() -> None:
    """maximal_queue_lifetime = 0: one try, and the message comes back as expired."""
    with (
        KeepingSink(refusing((b"there", b"450 4.2.0 come back"))) as sink,
        Fastrelay({"relayhost": sink.next_hop, "maximal_queue_lifetime": 0}) as relay,
    ):
        queue_id = relay.send("a@client.test", "b@there.test")
        until(lambda: notices(sink), relay.log)
        relay.wait_log(
            rf"qmgr\[\d+\]: {queue_id}: from=<a@client\.test>, status=expired, returned to sender$"
        )
        (recipient,) = Notice(notices(sink)[0].content).recipients
        assert (recipient["Action"], recipient["Status"]) == ("failed", "4.2.0")
        assert recipient["Final-Recipient"] == "rfc822; b@there.test"
        until(lambda: relay.tool("mailq") == "Mail queue is empty\n", relay.log)


def test_a_loop_of_two_relays_ends_with_one_notice() -> None:
    """Each hop adds a Received: line; above hopcount_limit the mail is refused and its sender told."""
    ports = free_port(), free_port()
    common = {"hopcount_limit": 10, "transport_maps": "texthash:$config_directory/transport"}
    with KeepingSink() as sink:
        one, two = (
            Fastrelay(
                {**common, "myhostname": name},
                {"transport": f"loop.test smtp:[127.0.0.1]:{other}\nclient.test smtp:{sink.next_hop}\n"},
                port=own,
            )
            for name, own, other in (("one.test", *ports), ("two.test", *reversed(ports)))
        )
        with one, two:
            one.send("a@client.test", "b@loop.test")
            (kept,) = sink.wait(1)
            for relay in (one, two):
                until(lambda relay=relay: relay.tool("mailq") == "Mail queue is empty\n", relay.log)
            assert len(sink.messages) == 1
    (recipient,) = Notice(kept.content).recipients
    assert (recipient["Action"], recipient["Status"]) == ("failed", "5.4.0")
    assert "too many hops" in recipient["Diagnostic-Code"]
    assert kept.content.count(b"\r\nReceived: from ") == 9  # the tenth is one too many


def test_the_json_listing_tells_the_reason(relay: Fastrelay, sink: KeepingSink) -> None:
    sink.reply = refusing((b"", b"450 4.2.0 come back"))
    queue_id = relay.send("a@client.test", ["b@there.test", "c@there.test"])
    relay.wait_log(r"to=<c@there\.test>.*status=deferred")
    (line,) = until(
        lambda: [x for x in relay.tool("postqueue", "-j").splitlines() if '"deferred"' in x], relay.log
    )
    entry = json.loads(line)
    assert (entry["queue_name"], entry["queue_id"], entry["sender"]) == (
        "deferred",
        queue_id,
        "a@client.test",
    )
    assert [r["address"] for r in entry["recipients"]] == ["b@there.test", "c@there.test"]
    assert all("450 4.2.0 come back" in r["delay_reason"] for r in entry["recipients"])
