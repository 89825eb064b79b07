"""Notices of success and delay, beside Debian's Postfix: the same ones, of the same recipients, with the same fields.

Both systems get the same mail and the same answers from their next hops, one of which knows DSN and one does not.
"""

import contextlib
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from scenario_parts import IS_ROOT, Notice

from support.keeping_sink import EXTENSIONS, KeepingSink, Kept
from support.relay import PATIENCE, Fastrelay, MailSystem, Postfix, until

PLAIN = tuple(word for word in EXTENSIONS if word != b"DSN")
MAIN = {
    "mail_name": "Postfix",
    "transport_maps": "texthash:$config_directory/transport",
    "virtual_alias_maps": "texthash:$config_directory/virtual",
    "virtual_alias_domains": "alias.test",
    "alias_maps": "texthash:$config_directory/aliases",
    "mydestination": "local.test, relay.test",
    "local_recipient_maps": "",
    "home_mailbox": "Maildir/",
    "local_transport": "local:$myhostname",
    "2bounce_notice_recipient": "twice@there.test",
    "delay_notice_recipient": "late@there.test",
    "bounce_notice_recipient": "bounce@there.test",
    "queue_run_delay": "1s",
    "minimal_backoff_time": "1s",
    "maximal_backoff_time": "1s",
}
FILES = {
    "virtual": "one@alias.test x@there.test\nmany@alias.test x@there.test, y@dsn.test\n"
    "self@there.test self@there.test\ncase@there.test Case@there.test\nlocal@alias.test many@local.test\n",
    "aliases": "one u@there.test\nmany u@there.test, v@dsn.test\n"
    "owned u@there.test, v@there.test\nowner-owned boss@there.test\n",
}
SUCCESS = ["NOTIFY=SUCCESS"]
SYSTEMS = [Fastrelay, Postfix]
QUEUE_ID = re.compile(r"\b[0-9A-F]{8,}\b")


class Lab:
    """Both systems, each with two next hops of its own: `plain` for everything, `dsn` for dsn.test."""

    def __init__(self, stack: contextlib.ExitStack, kind: type[MailSystem], **main: object) -> None:
        self.later = True
        self.plain = stack.enter_context(KeepingSink(self._reply, PLAIN))
        self.dsn = stack.enter_context(KeepingSink(self._reply))
        transport = f"dsn.test smtp:{self.dsn.next_hop}\ngone.test discard:gone\n"
        settings = {**MAIN, "relayhost": self.plain.next_hop, **main}
        self.system = stack.enter_context(kind(settings, {**FILES, "transport": transport}))

    def _reply(self, stage: str, argument: bytes) -> bytes | None:
        if stage == "RCPT" and b"bad" in argument:
            return b"550 5.1.1 no such user"
        return b"450 4.2.0 come back" if stage == "RCPT" and b"later" in argument and self.later else None

    def send(self, sender: str, recipients: list[tuple[str, list[str]]], *options: str) -> str:
        with self.system.smtp() as client:
            client.ehlo()
            assert client.mail(sender, options)[0] == 250
            for address, notify in recipients:
                assert client.rcpt(address, notify)[0] == 250
            text = client.data(b"From: <a@client.test>\r\nSubject: hello\r\n\r\nbody\r\n")[1]
        return text.decode().rpartition(" ")[2]

    def is_idle(self) -> bool:
        return self.system.tool("postqueue", "-p") == "Mail queue is empty\n"

    def until_idle(self) -> None:
        """Postfix puts a message that it finds locked into incoming, and looks there after 300 s or when told."""
        told = time.monotonic()

        def look() -> bool:
            nonlocal told
            if time.monotonic() > told + 5:
                told = time.monotonic()
                self.system.tool("postqueue", "-f")
            return self.is_idle()

        until(look, self.system.log)

    def notices(self) -> list[Kept]:
        found = [kept for kept in self.plain.messages if b"multipart/report" in kept.content]
        return sorted(found, key=lambda kept: (kept.recipients, kept.content))

    def said(self) -> Counter[str]:
        """What bounce(8) says in the log of each message, without the names."""
        lines = re.findall(r"/bounce\[\d+\]: (.*)$", self.system.log(), re.M)
        return Counter(
            QUEUE_ID.sub("ID", line) for line in lines if "template" not in line and "bounce(5)" not in line
        )

    def told(self) -> Counter[object]:
        return Counter(facts(kept, self) for kept in self.notices())


def facts(kept: Kept, lab: Lab) -> object:
    """Everything that a notice says but names, ports, times and the order of its recipients."""
    notice = Notice(kept.content)
    message = notice.message
    ports = {str(lab.plain.port): "PLAIN", str(lab.dsn.port): "DSN"}

    def neutral(text: str) -> str:
        text = re.sub(r"\d{5}\b", lambda found: ports.get(found[0], found[0]), re.sub(r"\s+", " ", text))
        return re.sub(r"\d\d:\d\d:\d\d", "TIME", QUEUE_ID.sub("ID", text)).strip()

    def fields(group: object) -> tuple[tuple[str, str], ...]:
        return tuple((name, neutral(value)) for name, value in group.items())  # type: ignore[attr-defined]

    words, *people = re.split(r"(?:\A\s*|\n\n)<", notice.text.replace("\r\n", "\n"))
    return (
        kept.sender.split()[0],
        tuple(each.split()[0] for each in kept.recipients),
        tuple((name, str(message[name])) for name in ("From", "To", "Subject", "Auto-Submitted")),
        words.strip(),
        frozenset(map(neutral, people)),
        fields(notice.about),
        frozenset(map(fields, notice.recipients)),
        (notice.returned.get_content_type(), notice.returned["Content-Description"]),
    )


def compare(work: Callable[[Lab], None], **main: object) -> tuple[Lab, Lab]:
    """Both do the work; what they tell is the same. The last answers are Postfix's."""
    with contextlib.ExitStack() as stack:
        ours, theirs = (Lab(stack, kind, **main) for kind in SYSTEMS)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(work, (ours, theirs)))
        for lab in (ours, theirs):
            lab.until_idle()
        assert ours.told() == theirs.told()
        return ours, theirs


@pytest.fixture
def relay() -> Iterator[Lab]:
    with contextlib.ExitStack() as stack:
        yield Lab(stack, Fastrelay, delay_warning_time="1s", maximal_backoff_time="300s")


needs_root = pytest.mark.skipif(not IS_ROOT, reason="Postfix needs root")


@needs_root
def test_success_is_told_as_postfix_does() -> None:
    people = [
        ("b@there.test", [*SUCCESS, "ORCPT=rfc822;orig+2Bx@there.test"]),
        ("c@there.test", ["NOTIFY=SUCCESS,FAILURE,DELAY"]),
        ("bad@there.test", ["NOTIFY=SUCCESS,FAILURE"]),
        ("later@there.test", SUCCESS),
        *(
            (address, SUCCESS)
            for address in ("d@dsn.test", "one@alias.test", "self@there.test", "case@there.test")
        ),
        ("many@alias.test", ["NOTIFY=SUCCESS,DELAY"]),
        *(
            (address, SUCCESS)
            for address in ("local@alias.test", "one@local.test", "owned@local.test", "e@gone.test")
        ),
        ("silent@there.test", []),
        ("never@there.test", ["NOTIFY=NEVER"]),
    ]

    def work(lab: Lab) -> None:
        lab.send("a@client.test", people, "ENVID=E+2B99", "RET=FULL")
        until(lambda: len(lab.notices()) == 2, lab.system.log)
        lab.later = False

    ours, theirs = compare(work)
    assert len(ours.notices()) == 3
    assert ours.said() == theirs.said()
    asked = sorted(each for kept in ours.dsn.messages for each in kept.recipients)
    assert asked == sorted(each for kept in theirs.dsn.messages for each in kept.recipients)
    assert b"<d@dsn.test> ORCPT=rfc822;d@dsn.test NOTIFY=SUCCESS" in asked


@needs_root
def test_of_notices_the_postmaster_hears_if_at_all() -> None:
    def work(lab: Lab) -> None:
        lab.send("", [("x@there.test", SUCCESS)])
        lab.send("", [("bad@there.test", []), ("many@alias.test", SUCCESS)])
        lab.send("double-bounce@relay.test", [("x@there.test", SUCCESS)])

    ours, theirs = compare(work, notify_classes="2bounce")
    assert ours.said() == theirs.said() and len(ours.notices()) == 3


@needs_root
def test_delay_is_told_as_postfix_does() -> None:
    people = [
        ("later1@there.test", []),
        ("later2@there.test", ["NOTIFY=DELAY"]),
        ("later3@there.test", ["NOTIFY=FAILURE"]),
        ("later4@dsn.test", ["NOTIFY=FAILURE,DELAY"]),
        ("later5@dsn.test", []),
    ]

    def work(lab: Lab) -> None:
        first = lab.send("a@client.test", people, "ENVID=E99")
        second = lab.send("b@client.test", [("later1@there.test", ["NOTIFY=FAILURE"])])
        lab.send("", [("later1@there.test", [])])
        lab.system.wait_log(f"{first}: sender delay notification")
        for queue_id in (first, second):
            lab.system.wait_log(f"{queue_id}: postmaster delay notification")
        seen = lab.system.log().count("status=deferred")
        until(lambda: lab.system.log().count("status=deferred") > seen + 7, lab.system.log)  # all once more
        lab.later = False

    ours, theirs = compare(
        work,
        delay_warning_time="1s",
        maximal_queue_lifetime="36h",
        confirm_delay_cleared="yes",
        notify_classes="delay",
    )
    assert ours.said() == theirs.said()
    subjects = Counter(str(Notice(kept.content).message["Subject"]) for kept in ours.notices())
    assert subjects == {
        "Delayed Mail (still being retried)": 1,
        "Postmaster Warning: Delayed Mail": 2,
        "Successful Mail Delivery Report": 1,
    }


def test_a_delay_is_told_once_whatever_ends_in_between(relay: Lab) -> None:
    """A stop and a killed worker: the message stays, its notice is not repeated."""
    system = relay.system
    assert isinstance(system, Fastrelay)
    queue_id = relay.send("a@client.test", [("later@there.test", [])])
    system.wait_log(rf"{queue_id}: sender delay notification")
    until(lambda: len(relay.notices()) == 1, system.log)
    system.stop()
    system.start()
    try_again(system, queue_id)
    (worker,) = system.worker_pids()
    os.kill(worker, signal.SIGKILL)
    until(lambda: system.worker_pids() not in ([], [worker]), system.troubles)
    try_again(system, queue_id)
    relay.later = False
    until(lambda: system.tool("postqueue", "-f") or relay.is_idle(), system.log)
    assert len(relay.notices()) == 1
    mail = [kept.recipients for kept in relay.plain.messages if kept.sender.startswith(b"<a@")]
    assert mail == [[b"<later@there.test>"]]


@pytest.mark.parametrize("kind", [Fastrelay, pytest.param(Postfix, marks=needs_root)])
def test_a_message_that_waits_for_its_notice_is_listed(kind: type[MailSystem]) -> None:
    """A table that cannot answer keeps its notice out of the queue: whoever looks finds it, hold works."""
    gate = threading.Event()

    def reply(stage: str, argument: bytes) -> bytes | None:
        if stage == "MAIL":
            assert gate.wait(PATIENCE)
        return b"550 5.1.1 nobody" if stage == "RCPT" else None

    with KeepingSink(reply) as sink, kind({"relayhost": sink.next_hop}) as system:
        queue_id = system.send("a@client.test", "b@there.test")
        system.write_main(virtual_alias_maps="hash:/nonexistent/table")
        system.reload()
        gate.set()
        system.wait_log("status=bounced")
        until(lambda: re.search(rf"^{queue_id}\*? .* a@client.test$", system.tool("postqueue", "-p"), re.M))
        assert system.tool("postqueue", "-p").endswith("\n\n-- 0 Kbytes in 1 Request.\n")
        assert '"recipients": []' in system.tool("postqueue", "-j")
        system.tool("postsuper", "-h", queue_id)
        assert f"\n{queue_id}! " in system.tool("postqueue", "-p")


def try_again(system: Fastrelay, queue_id: str) -> None:
    """Until the message was tried once more, and put back."""
    tried = f"{queue_id}: to="
    before = system.log().count(tried)
    until(lambda: system.run_tool("postqueue", "-f") and system.log().count(tried) > before, system.log)
    until(lambda: queue_id + "*" not in system.tool("mailq"), system.log)
