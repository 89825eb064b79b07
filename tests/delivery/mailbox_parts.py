"""Queues, messages and settings for the tests of local and virtual."""

import asyncio
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from fastrelay.borders import Delivery, Envelope, QueuedMessage, Recipient
from fastrelay.delivery.mailbox_settings import LocalSettings, MailboxSettings, VirtualSettings
from fastrelay.rewrite._address import Address
from fastrelay.tables.maps import Maps

WIRE = b"From: a@x.example\r\nSubject: hello\r\n\r\nun courriel\r\n..dot\r\n"
FILE = b"From: a@x.example\nSubject: hello\n\nun courriel\n.dot\n"
LOCAL = LocalSettings(
    recipient_delimiter="+",
    owner_request_special=True,
    expand_owner_alias=False,
    prepend_delivered_header=("forward",),
)
VIRTUAL = VirtualSettings(recipient_delimiter="+", owner_request_special=True, virtual_minimum_uid=1)


def mailbox_settings(base="/nowhere", **given):
    values = {
        "myhostname": "host.example",
        "home_mailbox": "Maildir/",
        "mailbox_size_limit": 100_000,
        "virtual_mailbox_base": str(base),
        "virtual_mailbox_limit": 100_000,
        "virtual_minimum_uid": 1,
    }
    return MailboxSettings(**(values | given))


def make_delivery(
    *addresses, content=WIRE, sender=b"toot@cejf.example", transport=b"local", next_hop=b"", original=None
):
    recipients = [Recipient(address, address if original is None else original) for address in addresses]
    envelope = Envelope(sender, recipients, arrival=0.0)
    message = QueuedMessage(None, b"QUEUEID", envelope, [content], lambda: [content])
    return Delivery(message, transport, next_hop, list(range(len(addresses))), list(addresses))


class OneQueue:
    """A DestinationQueue with a list of deliveries."""

    transport = b""
    next_hop = b""

    def __init__(self, *deliveries):
        self.deliveries = list(deliveries)
        self.released = 0
        self.good = 0
        self.done = asyncio.Event()

    def take(self):
        return self.deliveries.pop(0) if self.deliveries else None

    def release(self):
        self.released += 1
        self.done.set()

    def succeeded(self):
        self.good += 1

    def failed(self, outcome):
        raise AssertionError(f"a local destination does not die: {outcome}")


def run(make_agent, *deliveries):
    """The outcomes of each delivery, as reported."""

    async def go():
        reports = []
        queue = OneQueue(*deliveries)
        agent = make_agent(lambda delivery, outcomes: reports.append(outcomes))
        agent.open_slot(queue)
        await asyncio.wait_for(queue.done.wait(), 60)
        await agent.close()
        assert queue.released == 1
        return reports

    return asyncio.run(go())


NOBODY = 65534


def _give_up_rights():
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def unprivileged(function, *args):
    """What `function` returns in a process that is not root's."""
    with ProcessPoolExecutor(1, get_context("fork"), _give_up_rights) as process:
        return process.submit(function, *args).result(60)


def maps(text):
    return Maps(text)


def at_origin(address):
    return address if address.domain else Address(address.local, b"origin.example")
