"""What users see of workers and their master under load: nothing answered 250 is lost, and no reload is felt.

A worker is killed without a chance to finish; a stop and a reload come in the middle of a stream of mail; a
table that postmap replaced is used at once, without a reload.
"""

import contextlib
import os
import re
import signal
import smtplib
import threading
import time
from collections import Counter

from scenario_parts import Telnet

from support.keeping_sink import KeepingSink
from support.relay import Fastrelay, until

NUMBER = re.compile(rb"^Subject: (\S+)\r$", re.M)


class Load:
    """Threads that send numbered messages until told to end; `accepted` are those that got their 250."""

    def __init__(self, relay: Fastrelay, sessions: int = 6, patient: bool = True) -> None:
        self.relay, self.patient = relay, patient
        self.accepted: list[bytes] = []
        self.broken = 0  # sessions that ended in the middle
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(sessions)]

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.ending.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive()

    def wait(self, count: int) -> None:
        until(
            lambda: len(self.accepted) >= count,
            lambda: f"{len(self.accepted)} accepted\n{self.relay.log()[-3000:]}",
        )

    def _run(self, thread: int) -> None:
        number = 0
        while not self.ending.is_set():
            try:
                with self.relay.smtp() as client:
                    client.ehlo()
                    while not self.ending.is_set():
                        number += 1
                        self._send(client, b"%d-%d" % (thread, number))
            except (OSError, smtplib.SMTPException):
                self.broken += 1
                time.sleep(0.02)

    def _send(self, client: smtplib.SMTP, name: bytes) -> None:
        if client.mail("a@client.test")[0] == 250 and client.rcpt("b@there.test")[0] == 250:
            code, text = client.data(b"Subject: " + name + b"\r\n\r\nbody\r\n")
            if code == 250:
                self.accepted.append(name)
                return
            raise smtplib.SMTPDataError(code, text)
        raise smtplib.SMTPServerDisconnected("refused")


def names(sink: KeepingSink) -> Counter[bytes]:
    return Counter(NUMBER.search(kept.header)[1] for kept in list(sink.messages))


def empty(relay: Fastrelay) -> bool:
    return relay.tool("mailq") == "Mail queue is empty\n"


def test_a_killed_worker_loses_nothing() -> None:
    """Twice: only what was under way (its 250 or its outcome not yet known) may come again."""

    def slowly(stage: str, argument: bytes) -> None:
        if stage in ("MAIL", "RCPT"):
            time.sleep(0.02)  # so that every kill meets deliveries under way

    with (
        KeepingSink(slowly) as sink,
        Fastrelay({"relayhost": sink.next_hop, "fastrelay_workers": 2}) as relay,
    ):
        with Load(relay) as load:
            for round in (1, 2, 3):
                load.wait(len(load.accepted) + 60)
                old = relay.worker_pids()
                os.kill(old[round % 2], signal.SIGKILL)
                until(lambda old=old: len(set(relay.worker_pids()) - set(old)) == 1, relay.troubles)
            load.wait(len(load.accepted) + 60)
        until(lambda: empty(relay), relay.log)
        got = names(sink)
        lost = set(load.accepted) - set(got)
        assert not lost, f"{len(lost)} of {len(load.accepted)} were answered 250 and did not arrive"
        repeated = {name: count for name, count in got.items() if count > 1}
        # a kill can only repeat what its worker had under way: 20 deliveries at a time, twice at most a kill
        assert len(repeated) <= 3 * 20
        assert all(count <= 4 for count in repeated.values())
        never_answered = set(got) - set(load.accepted)
        assert len(never_answered) <= 3 * len(load.threads)  # one a session and kill: the 250 was lost


def test_a_clean_stop_loses_and_repeats_nothing() -> None:
    with KeepingSink() as sink, Fastrelay({"relayhost": sink.next_hop, "fastrelay_workers": 2}) as relay:
        with Load(relay) as load:
            load.wait(200)
            relay.stop()
            relay.start()
            load.wait(len(load.accepted) + 50)
        until(lambda: empty(relay), relay.log)
        got = names(sink)
        assert set(load.accepted) <= set(got)
        assert not [name for name, count in got.items() if count > 1]
        assert set(got) == set(load.accepted)  # whoever was not answered knows that it was not taken


def test_a_reload_is_not_felt() -> None:
    with KeepingSink() as sink, Fastrelay({"relayhost": sink.next_hop, "fastrelay_workers": 2}) as relay:
        with Load(relay) as load:
            for size in (20000000, 30000000):
                load.wait(len(load.accepted) + 60)
                relay.write_main(message_size_limit=size)
                relay.reload()
            load.wait(len(load.accepted) + 60)
            with relay.smtp() as client:
                until(lambda: client.ehlo()[0] == 250)
                assert client.esmtp_features["size"] == "30000000"
        assert load.broken == 0
        until(lambda: empty(relay), relay.log)
        assert names(sink) == Counter(load.accepted)


def test_a_reload_holds_for_what_workers_keep() -> None:
    """The mailbox helper, the log and the queue read their settings once: a reload makes new ones."""
    user = os.geteuid() or 65534
    main = {
        "virtual_mailbox_domains": "v.test", "virtual_mailbox_maps": "inline:{u@v.test=u/}",
        "virtual_uid_maps": f"static:{user}", "virtual_gid_maps": f"static:{os.getegid() or user}",
        "virtual_minimum_uid": 1, "virtual_mailbox_base": "$config_directory/../first",
    }  # fmt: skip
    with Fastrelay(main) as relay:
        for name in ("first", "second"):
            (relay.directory / name).mkdir(mode=0o777)
            (relay.directory / name).chmod(0o777)
        for name, message_ids in (("first", "short"), ("second", "long")):
            queue_id = relay.send("a@client.test", "u@v.test")
            relay.wait_log(f"{queue_id}: removed")
            assert len(list((relay.directory / name).rglob("new/*"))) == 1
            assert queue_id.isupper() is (message_ids == "short")
            relay.write_main(
                virtual_mailbox_base="$config_directory/../second", enable_long_queue_ids="yes",
                syslog_name="other",
            )  # fmt: skip
            old = relay.worker_pids()
            relay.reload()
            if name == "first":
                until(
                    lambda old=old: relay.worker_pids() and not set(old) & set(relay.worker_pids()), relay.log
                )
                until(relay._answers, relay.log)
        relay.wait_log(r" other/smtpd\[")


def test_a_new_table_is_seen_without_reload() -> None:
    main = {
        "relay_domains": "there.test",
        "relay_recipient_maps": "hash:$config_directory/people",
        "fastrelay_workers": 2,
        "transport_maps": "hash:$config_directory/transport",
        "smtpd_soft_error_limit": 1000,
        "smtpd_hard_error_limit": 1000,
    }
    with KeepingSink() as one, KeepingSink() as two:
        relay = Fastrelay(
            main, {"people": "a@there.test OK\n", "transport": f"there.test smtp:{one.next_hop}\n"}
        )
        relay.tool("postmap", relay.etc / "people", relay.etc / "transport")
        with relay, Telnet(relay.host, relay.port) as session:
            session.reply()
            session.say("EHLO client.test")
            session.say("MAIL FROM:<me@client.test>")
            assert session.say("RCPT TO:<b@there.test>").startswith("550 5.1.1 ")
            relay.write("people", "a@there.test OK\nb@there.test OK\n")
            relay.write("transport", f"there.test smtp:{two.next_hop}\n")
            relay.tool("postmap", relay.etc / "people", relay.etc / "transport")
            until(lambda: session.say("RCPT TO:<b@there.test>").startswith("250 "), relay.log)
            assert session.say("DATA").startswith("354 ")
            session.type("Subject: x\r\n\r\nx")
            assert session.say(".").startswith("250 ")
            two.wait(1)
            assert not one.messages


def test_a_session_in_data_ends_with_the_stop() -> None:
    """It is told 421 or is cut off; what it had not ended is nowhere, and the stop does not wait for it."""
    with KeepingSink() as sink, Fastrelay({"relayhost": sink.next_hop}) as relay:
        with Telnet(relay.host, relay.port) as session:
            session.reply()
            for line in ("EHLO client.test", "MAIL FROM:<a@client.test>", "RCPT TO:<b@there.test>", "DATA"):
                session.say(line)
            session.type("Subject: never")
            relay.stop()
            assert "with force" not in relay.log()
            with contextlib.suppress(ConnectionError):
                assert session.reader.readline()[:3] in (b"421", b"")
        relay.start()
        assert empty(relay)
        assert not sink.messages
