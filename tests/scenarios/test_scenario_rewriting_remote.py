"""Rewriting by tables that answer late, or not, and what is stored of it when the relay is killed."""

import threading

import pytest

from support.keeping_sink import KeepingSink
from support.relay import PATIENCE, Fastrelay, alive, until
from support.scripted_server import ScriptedServer

ANSWERS = {
    b"a@t.test": b"200 b@t.test,c@t.test\n",
    b"s@c.test": b"200 sender@c.test\n",
    b"sick@t.test": b"400 out of order\n",
    b"late@t.test": b"200 after-all@t.test\n",
}


def key(request):
    return request.strip().removeprefix(b"get ").replace(b"%40", b"@")


@pytest.fixture
def server():
    gate = threading.Event()

    def answer(request):
        asked = key(request)
        if asked == b"late@t.test":
            gate.wait(60)
        return ANSWERS.get(asked, b"500 not found\n")

    with ScriptedServer(answer) as server:
        server.gate = gate
        yield server


def envelopes(sink):
    return [(kept.sender.split()[0], sorted(r.split()[0] for r in kept.recipients)) for kept in sink.messages]


def test_tables_that_answer_later(server):
    told = {b"b@t.test": b"200 told@t.test\n"}
    with (
        KeepingSink() as sink,
        ScriptedServer(lambda request: told.get(key(request), b"500 not found\n")) as generic,
        Fastrelay(
            {
                "relayhost": sink.next_hop,
                "virtual_alias_maps": f"tcp:{server.address}",
                "virtual_alias_domains": "",
                "sender_canonical_maps": f"tcp:{server.address}",
                "smtp_generic_maps": f"tcp:{generic.address}",
            }
        ) as relay,
    ):
        relay.send("s@c.test", ["a@t.test", "z@t.test"])
        sink.wait(1)  # two at once may overtake each other
        relay.send("", ["z@t.test"])
        sink.wait(2)
        assert envelopes(sink) == [
            (b"<sender@c.test>", [b"<c@t.test>", b"<told@t.test>", b"<z@t.test>"]),
            (b"<>", [b"<z@t.test>"]),
        ]
        with relay.smtp() as late:
            late.ehlo()
            late.docmd("MAIL FROM:<x@c.test>")
            late.send("RCPT TO:<late@t.test>\r\n")
            relay.send("x@c.test", "z@t.test")  # others are not kept waiting
            server.gate.set()
            assert late.getreply()[0] == 250
            assert late.data(b"Subject: late\r\n\r\n")[0] == 250
        sink.wait(4)
        assert (b"<x@c.test>", [b"<after-all@t.test>"]) in envelopes(sink)
        relay.wait_log(r"to=<b@t.test>, orig_to=<a@t.test>.*status=sent")


def test_a_table_that_fails_is_a_temporary_error(server):
    main = {
        "virtual_alias_maps": f"tcp:{server.address}",
        "virtual_alias_domains": "",
        "relayhost": "[127.0.0.1]:9",
    }
    main |= {"smtpd_reject_unlisted_recipient": "no", "smtpd_error_sleep_time": "0"}
    with Fastrelay(main) as relay, relay.smtp() as client:
        client.ehlo()
        client.docmd("MAIL FROM:<x@c.test>")
        assert client.docmd("RCPT TO:<sick@t.test>")[0] == 250
        client.docmd("DATA")
        client.send(b"Subject: x\r\n\r\n.\r\n")
        assert client.getreply() == (451, b"4.3.0 Error: queue file write error")
        relay.wait_log(r"cleanup\[\d+\]: warning: tcp:.* lookup error")
        problem = (
            "virtual_alias_maps map lookup problem for sick@t.test -- message not accepted, try again later"
        )
        relay.wait_log(rf"cleanup\[\d+\]: warning: \w+: {problem}$")
        assert client.docmd("MAIL FROM:<x@c.test>")[0] == 250  # the session goes on


def test_a_generic_table_that_fails_defers(server):
    main = {"relayhost": "[127.0.0.1]:9", "smtp_generic_maps": f"tcp:{server.address}"}
    with Fastrelay(main) as relay:
        relay.send("x@c.test", "sick@t.test")
        relay.wait_log(
            r"smtp\[\d+\]: warning: .*smtp_generic_maps map lookup problem for sick@t.test -- delivery deferred"
        )
        relay.wait_log(r"to=<sick@t.test>.*dsn=4.3.0, status=deferred \(smtp_generic_maps lookup error\)")


def test_what_is_stored_is_the_expansion():
    """The relay is killed; when it comes back its tables are others, and the mail goes where it was to go."""
    refusing = [True]

    def refuse(stage, _argument):
        return b"450 4.2.0 later" if stage == "RCPT" and refusing[0] else None

    main = {"virtual_alias_maps": "texthash:$config_directory/virtual", "virtual_alias_domains": "v.test"}
    main |= {"sender_canonical_maps": "inline:{s@c.test=t@c.test}", "minimal_backoff_time": "300s"}
    with (
        KeepingSink(reply=refuse) as sink,
        Fastrelay(main | {"relayhost": sink.next_hop}, {"virtual": "a@v.test b@t.test c@t.test\n"}) as relay,
    ):
        relay.send("s@c.test", "a@v.test")
        relay.wait_log(r"to=<c@t.test>, orig_to=<a@v.test>.*status=deferred")
        workers = relay.worker_pids()
        relay.process.kill()
        relay.process.wait(PATIENCE)
        until(lambda: not any(map(alive, workers)))
        relay.write("virtual", "other@v.test nobody@t.test\n")
        refusing[0] = False
        relay.write_main(sender_canonical_maps="")
        relay.start()
        until(lambda: relay.tool("flush") == "" and sink.messages, relay.log)
        assert envelopes(sink) == [(b"<t@c.test>", [b"<b@t.test>", b"<c@t.test>"])]
