"""The slow obvious twin of qmgr/line.py: SCHEDULER_README's job list, searched from its head each time."""

from dataclasses import dataclass


@dataclass
class Job:
    items: list
    since: float
    size: int
    slots_available: int = 0
    begun: bool = False


class Line:
    def __init__(self, cost, loan, discount, minimum):
        self.cost, self.loan, self.discount, self.minimum = cost, loan, discount, minimum
        self.jobs = []

    def push(self, items, since):
        self.jobs.append(Job(list(items), since, len(items)))

    def pop(self, now):
        current = self._preempt(self.jobs[0], now)
        current.begun = True
        current.slots_available += 1
        item = current.items.pop(0)
        if not current.items:
            self.jobs.remove(current)
        return item

    def _preempt(self, current, now):
        if self.cost < 2 or current.slots_available <= 0 or current.size < self.minimum * self.cost:
            return current
        most = (len(current.items) + current.slots_available) // self.cost
        candidates = [job for job in self.jobs if not job.begun and job.size <= most]
        if not candidates:
            return current
        best = max(candidates, key=lambda job: ((now - job.since + 1) / job.size, -job.size))
        got = current.slots_available // self.cost + self.loan
        if got < best.size * (100 - self.discount) / 100:
            return current
        current.slots_available -= best.size * self.cost
        self.jobs.remove(best)
        self.jobs.insert(0, best)
        return best
