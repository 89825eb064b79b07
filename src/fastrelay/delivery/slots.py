"""Run an agent's slots: take a delivery, deliver it, report it, until the queue has none; then release.

local, virtual, error and discard are each a coroutine function given to a SlotAgent, which is the
borders.Agent that the queue manager sees. An exception in there is our own fault: the slot's task ends
with it and the loop's exception handler hears of it, so that the worker ends loudly.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from fastrelay.borders import Content, Delivery, DestinationQueue, Outcome, QueuedMessage, Report, Status

Deliver = Callable[[Delivery], Awaitable[list[Outcome]]]


class ContentUnreadable(Exception):
    """The contents are damaged, or went with a message that was deleted meanwhile; the queue has told."""


def content_of(message: QueuedMessage) -> Content:
    """From memory or from the queue; a handler lets ContentUnreadable pass: its delivery is deferred."""
    if message.content is not None:
        return message.content
    try:
        return message.load()
    except Exception as error:  # the disk's or the record's: the environment, not ours
        raise ContentUnreadable(str(error)) from error


class SlotAgent:
    def __init__(self, deliver: Deliver, report: Report) -> None:
        self._handle = deliver
        self._report = report
        self._slots: set[asyncio.Task[None]] = set()

    def open_slot(self, queue: DestinationQueue) -> None:
        slot = asyncio.get_running_loop().create_task(self._run(queue))
        self._slots.add(slot)
        slot.add_done_callback(self._ended)

    async def close(self) -> None:
        """Wait for the deliveries under way; the caller's time limit cancels."""
        if self._slots:
            await asyncio.wait(self._slots)

    async def _run(self, queue: DestinationQueue) -> None:
        try:
            while (delivery := queue.take()) is not None:
                delivery.started = time.time()
                try:
                    outcomes = await self._handle(delivery)
                except ContentUnreadable:
                    outcomes = [
                        Outcome(index, Status.DEFERRED, b"4.3.0", b"queue file read error")
                        for index in delivery.recipients
                    ]
                self._report(delivery, outcomes)
                queue.succeeded()
        finally:
            queue.release()

    def _ended(self, slot: asyncio.Task[None]) -> None:
        self._slots.discard(slot)
        if not slot.cancelled():
            slot.result()
