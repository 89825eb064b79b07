"""What a worker does with stored mail that cannot be read, and with agents that a reload has replaced."""

import asyncio
from types import SimpleNamespace

from fastrelay.borders import Envelope, Outcome, QueuedMessage, Recipient, Status
from fastrelay.bounce import DELAY, FAILURE, SUCCESS, BounceSettings
from fastrelay.master.notifier import Notifier
from fastrelay.master.own_mail import OwnMail
from fastrelay.master.retries import Retries
from fastrelay.master.transports import ReplaceableAgent
from fastrelay.queue._format import CorruptRecord
from fastrelay.queue.files import Files
from support.keeping_sink import KeepingSink
from support.queue_lab import Lab
from support.relay import Fastrelay
from support.timers import Timers

LATER = b"451 4.3.0 later"


def test_no_notice_about_damaged_contents():
    """The queue has set the message aside; its pass ends, and the worker goes on."""

    def read(*_):
        raise CorruptRecord("one of its frames is damaged")

    settled = []
    settings, spool = SimpleNamespace(bounce_size_limit=9), SimpleNamespace(read_content=read)
    notifier = Notifier(settings, spool, None, None, None, None, settled.append, None)
    envelope = Envelope(b"s@x.test", [Recipient(b"a@x.test", b"a@x.test")], 0.0, 9)
    message = SimpleNamespace(envelope=envelope, content=None, entry=None)
    notifier.notify(message, [(0, Outcome(0, Status.BOUNCED, b"5.1.1", b"unknown"))])
    assert settled == [message]


def test_of_a_large_message_the_header_is_read_and_kept(tmp_path):
    """As many notices as wait for the disk, that many messages would be in memory."""
    reads = []

    class Counting(Files):
        def pread(self, fd, size, offset):
            reads.append(size)
            return super().pread(fd, size, offset)

    lab = Lab(tmp_path, files=Counting(), fastrelay_segment_size=16 << 20)
    body = [b"Subject: large\r\n", b"\r\n" + b"x" * 5_000_000 + b"\r\n"]
    entry = lab.store(Envelope(b"s@x.test", [Recipient(b"a@x.test")], 0.0, 5_000_020), body)
    notifier = Notifier(SimpleNamespace(bounce_size_limit=50_000), lab.spool, *[None] * 6)
    message = SimpleNamespace(envelope=lab.spool.read_envelope(entry), content=None, entry=entry)
    reads.clear()
    for template in (FAILURE, DELAY, SUCCESS):
        assert notifier._content(message, template) == [b"Subject: large\r\n"]
    assert sum(reads) < 3 * 2_200_000  # frames are of up to a megabyte, and a read is as long
    notifier.settings.bounce_size_limit = 0
    assert notifier._content(message, SUCCESS) == [b"Subject: large\r\n"]
    assert b"".join(notifier._content(message, FAILURE)) == b"".join(body)


def test_postcat_of_a_damaged_message():
    with KeepingSink() as sink, Fastrelay({"relayhost": sink.next_hop}) as relay:
        sink.reply = lambda stage, argument: LATER if stage == "RCPT" else None
        name = relay.send(content=b"Subject: x\r\n\r\nto-be-damaged\r\n")
        relay.wait_log(rf"{name}: .*status=deferred")
        workers = relay.worker_pids()
        for path in relay.spool.rglob("*.seg"):
            with open(path, "r+b") as segment:
                at = segment.read().find(b"to-be-damaged")
                if at >= 0:
                    segment.seek(at)
                    segment.write(b"T")
        shown = relay.run_tool("postcat", "-q", name)
        assert shown.returncode != 0
        relay.wait_log("is damaged")
        assert relay.tool("mailq") == "Mail queue is empty\n"
        assert relay.worker_pids() == workers


def test_a_stop_waits_for_the_agents_of_before_a_reload():
    """What they are sending has no record yet: it would be sent again."""

    class Busy:
        def __init__(self):
            self.done = asyncio.Event()

        async def close(self):
            await self.done.wait()

    async def test():
        old, new = Busy(), Busy()
        agent = ReplaceableAgent(old)
        agent.replace(new)
        assert agent.current is new
        new.done.set()
        closing = asyncio.ensure_future(agent.close())
        await asyncio.sleep(0.02)
        assert not closing.done()
        old.done.set()
        await asyncio.wait_for(closing, 60)

    asyncio.run(test())


def test_one_copy_for_the_postmaster_however_often_the_disk_is_full():
    """The notice is tried again until there is room; the copy goes with the one that is stored."""

    class Disk:
        notices, copies, room = 0, 0, False

        def new_id(self, now, beside=0):
            return 1

        def append_notice(self, number, envelope, content, settles, done):
            self.notices += 1
            done("entry" if self.room else None)

        def append(self, number, envelope, content, done):
            self.copies += 1
            done("entry")

    class Log:
        def line(self, service, text):
            pass

    disk, timers, settled = Disk(), Timers(), []
    settings = BounceSettings(
        _2bounce_notice_recipient="postmaster",
        bounce_notice_recipient="postmaster",
        bounce_size_limit=50000,
        delay_notice_recipient="postmaster",
        delay_warning_time=0.0,
        double_bounce_sender="double-bounce",
        enable_long_queue_ids=False,
        mail_name="Postfix",
        maximal_queue_lifetime=432000.0,
        myhostname="mx.test",
        myorigin="mx.test",
        notify_classes=("bounce",),
    )
    notifier = Notifier(
        settings,
        disk,
        Log(),
        lambda number: b"ID",
        OwnMail(lambda: SimpleNamespace(maps=False), Log(), lambda: 0),
        lambda *args: None,
        settled.append,
        Retries(timers.call_later),
    )
    envelope = Envelope(b"s@x.test", [Recipient(b"a@x.test", b"a@x.test")], 0.0)
    message = QueuedMessage(SimpleNamespace(message_id=1), b"OLD", envelope, [b"Subject: x\r\n\r\n"], None)
    notifier.notify(message, [], [Outcome(0, Status.DEFERRED, b"4.4.1", b"later")])
    # delayed mail goes on, what it frees is needed
    assert (disk.notices, settled, timers.pending) == (1, [message], 0)
    disk.notices, settled[:] = 0, []
    notifier.notify(message, [(0, Outcome(0, Status.BOUNCED, b"5.1.1", b"unknown"))])
    timers.run(5)
    assert (disk.notices, disk.copies, settled) == (2, 0, [])
    disk.room = True
    timers.run(15)
    assert (disk.notices, disk.copies, settled, timers.pending) == (3, 1, [message], 0)
