"""A line in which mail waits for one thing at a time, and in which small jobs pass a big one.

A destination has two (what waits there are deliveries), a transport one (what waits are destinations that want
their first slot). A job is what one message has waiting in one line; a job of one item is the item itself, and a
line of nothing else is a plain FIFO. Postfix's preemption (SCHEDULER_README): of every `cost` items of the job at
the head, one lets others pass. All that stands in a line can be had at once, so that there are no blockers, and
the jobs that passed each other form one stack. Invariant: whatever comes, a job at the head takes at most
cost / (cost - 1) of its own time; jobs of one size leave in the order in which they came.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from fastrelay.qmgr.transport import Transport


# What lines without jobs share, as there is a line for every destination; nothing is ever put into these.
NONE_WAITING: dict[int, deque[Any]] = {}
NONE_BEGUN: list[Any] = []


class Item(Protocol):
    def waiting_since(self) -> float:
        """When the queue manager took the oldest message that it stands for."""


class Job:
    """Two or more items of one message in one line."""

    def __init__(self, items: list[Any], since: float, number: int, ahead: int) -> None:
        self.items = items[::-1]  # the next one is the last
        self.size = len(items)
        self.since = since
        self.number = number  # among the jobs of its line
        self.ahead = ahead  # items of their own that came before it, counted as Line._gone counts
        self.credit = 0  # items that left, less what those that passed were charged


class Line:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.singles: deque[Any] = deque()
        self.jobs = 0
        self.waiting = 0  # items, those of jobs included
        self._by_size: dict[int, deque[Job]] = NONE_WAITING  # not begun
        self._stack: list[Job] = NONE_BEGUN  # each passed the one below it, the last is the current one
        self._numbers = 0
        self._gone = 0  # items of their own that left while there were jobs

    def push(self, item: Item) -> None:
        self.singles.append(item)
        self.waiting += 1

    def push_job(self, items: list[Any], since: float) -> None:
        """What one message has for this line."""
        if len(items) == 1:
            self.push(items[0])
            return
        if self._by_size is NONE_WAITING:
            self._by_size, self._stack = {}, []
        self._numbers += 1
        job = Job(items, since, self._numbers, self._gone + len(self.singles))
        self._by_size.setdefault(job.size, deque()).append(job)
        self.jobs += 1
        self.waiting += job.size

    def pop(self) -> Any:
        """The line is not empty."""
        self.waiting -= 1
        if not self.jobs:
            return self.singles.popleft()
        current = self._stack[-1] if self._stack else self._head()
        if current is None:
            return self._pop_single()
        size = self._passing(current)
        if size:
            current.credit -= size * self._transport.settings.delivery_slot_cost
            if size == 1:
                return self._pop_single()
            current = self._begin(size)
        current.credit += 1
        item = current.items.pop()
        if not current.items:
            self._stack.pop()
            self._end_job()
        return item

    def messages(self) -> int:
        return len(self.singles) + self.jobs

    def waiting_since(self) -> float:
        """When the oldest of those that wait began to; the line is not empty."""
        times = [job.since for job in self._stack]
        times += [jobs[0].since for jobs in self._by_size.values()]
        if self.singles:
            times.append(self.singles[0].waiting_since())
        return min(times)

    def expel(self, is_over: Callable[[Any], bool]) -> Iterator[Any]:
        """Takes out the oldest of their kind while they are over; all items of a job are when one is."""
        while self.singles and is_over(self.singles[0]):
            self.waiting -= 1
            yield self._pop_single()
        for job in [*self._stack, *(job for jobs in self._by_size.values() for job in jobs)]:
            if is_over(job.items[-1]):
                self._remove(job)
                yield from job.items[::-1]

    # -- whose turn it is ------------------------------------------------------------------------

    def _head(self) -> Job | None:
        """The job that is first in order of arrival, begun; None: an item of its own is."""
        job = min((jobs[0] for jobs in self._by_size.values()), key=_number)
        if self.singles and self._gone < job.ahead:
            return None
        return self._begin(job.size)

    def _passing(self, current: Job) -> int:
        """The size of the job that passes the current one now; 0: none does.

        Of those that its credit will at last suffice for, the one that waited longest for each of its items.
        """
        settings = self._transport.settings
        cost = settings.delivery_slot_cost
        if current.credit <= 0 or cost < 2 or current.size < settings.minimum_delivery_slots * cost:
            return 0
        most = (len(current.items) + current.credit) // cost
        now = self._transport.clock()
        best, best_score = 0, 0.0
        if self.singles and most:
            best, best_score = 1, now - self.singles[0].waiting_since() + 1.0
        for size, jobs in self._by_size.items():
            if size > most:
                continue
            score = (now - jobs[0].since + 1.0) / size
            if score > best_score or (score == best_score and size < best):
                best, best_score = size, score
        needed = best * (100 - settings.delivery_slot_discount) / 100
        return best if current.credit // cost + settings.delivery_slot_loan >= needed else 0

    # -- who leaves ------------------------------------------------------------------------------

    def _begin(self, size: int) -> Job:
        jobs = self._by_size[size]
        job = jobs.popleft()
        if not jobs:
            del self._by_size[size]
        self._stack.append(job)
        return job

    def _remove(self, job: Job) -> None:
        if job in self._stack:
            self._stack.remove(job)
        else:
            jobs = self._by_size[job.size]
            jobs.remove(job)
            if not jobs:
                del self._by_size[job.size]
        self.waiting -= len(job.items)
        self._end_job()

    def _pop_single(self) -> Any:
        self._gone += 1
        return self.singles.popleft()

    def _end_job(self) -> None:
        self.jobs -= 1
        if not self.jobs:
            self._gone = self._numbers = 0


def _number(job: Job) -> int:
    return job.number
