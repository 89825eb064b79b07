"""Notices and what aliases send on, under the envelope that canonical and virtual maps make of it."""

import asyncio
from types import SimpleNamespace

import pytest

from fastrelay.borders import Envelope, Notify, Recipient
from fastrelay.master.own_mail import OwnMail, forwarded
from fastrelay.rewrite._address import Address
from fastrelay.rewrite.envelope import Mapped
from fastrelay.rewrite.mapping import MappingFailed, Trouble, Warnings
from fastrelay.tables.pending import Pending, recall

ENVELOPE = Envelope(b"", [Recipient(b"a@x.test", b"a@x.test")], 0.0, message_id=b"<m>", notice_of=7)


class Mapping:
    """An EnvelopeMapping that answers at once, later, or not."""

    maps, label = True, "late:"

    def __init__(self, how):
        self.how = how
        self.added_bcc = None

    def map(self, sender, recipients, add_bcc):
        self.added_bcc = add_bcc
        if self.how == "later" and recall(self, b"") is None:
            raise Pending({(self, b""): asyncio.ensure_future(self.answer())})
        warnings = Warnings()
        warnings.add(b"told")
        if self.how == "never":
            raise MappingFailed(Trouble.LOOKUP, warnings)
        twice = [Recipient(b"b@x.test", recipients[0].original)] * 2
        return Mapped(Address(b"s", b"x.test"), twice, warnings, [])

    async def answer(self):
        return b""


def make(how):
    log = []
    mapping = Mapping(how)
    own = OwnMail(
        lambda: mapping, SimpleNamespace(warning=lambda service, text: log.append((service, text))), lambda: 0
    )
    return own, mapping, log


@pytest.mark.parametrize("how", ["now", "later"])
def test_mapped(how):
    async def body():
        own, mapping, log = make(how)
        found = await own.map(ENVELOPE, b"ID")
        assert (found.sender, [r.address for r in found.recipients]) == (b"s@x.test", [b"b@x.test"])
        assert (found.message_id, found.notice_of) == (b"<m>", 7)
        assert mapping.added_bcc is False
        done = asyncio.Event()
        stored = []
        own.map_then(ENVELOPE, b"ID", lambda envelope: (stored.append(envelope), done.set()), done.set)
        await asyncio.wait_for(done.wait(), 60)
        assert stored == [found]
        assert log == [(b"cleanup", b"ID: told")] * 2

    asyncio.run(body())


def test_a_mapping_that_fails_is_told_and_tried_later():
    async def body():
        own, _, log = make("never")
        assert await own.map(ENVELOPE, b"ID") is None
        failed = []
        own.map_then(ENVELOPE, b"ID", failed.append, lambda: failed.append("later"))
        assert failed == ["later"]
        assert log == [(b"cleanup", b"ID: told")] * 2

    asyncio.run(body())


def test_nothing_is_asked_where_nothing_maps():
    own, mapping, _ = make("never")
    mapping.maps = False
    stored = []
    own.map_then(ENVELOPE, b"ID", stored.append, stored.clear)
    assert stored == [ENVELOPE]


@pytest.mark.parametrize(
    ("owner", "sender", "recipient"),
    [
        (b"", b"s@x.test", Recipient(b"m@x.test", b"list@x.test", b"rfc822;o", Notify.FAILURE)),
        (
            b"owner-list@x.test",
            b"owner-list@x.test",
            Recipient(b"m@x.test", b"m@x.test", b"", Notify.FAILURE),
        ),
    ],
)
def test_forwarded(owner, sender, recipient):
    notify = Notify.SUCCESS | Notify.FAILURE
    old = Envelope(
        b"s@x.test", [Recipient(b"list@x.test", b"list@x.test", b"rfc822;o", notify)], 1.0, size=10
    )
    new = forwarded(old, 0, [b"m@x.test"], owner, 2.0, 5)
    assert (new.sender, new.recipients, new.arrival, new.size) == (sender, [recipient], 2.0, 15)
