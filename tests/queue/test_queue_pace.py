"""When the next batch begins: what makes mail wait for other mail, and that it never waits for long."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from fastrelay.queue.pace import ENOUGH, INTERVAL, Pace
from support.queue_lab import Lab, envelope

HOUR = 3600.0


class Around:
    """Timers that run when the test says so, and as many messages under way as it says."""

    def __init__(self) -> None:
        self.coming = 1
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.loop = asyncio.new_event_loop()  # its timers can be asked whether they were cancelled
        self.handles: list[asyncio.TimerHandle] = []

    def soon(self, call: Callable[[], None]) -> None:
        call()

    def later(self, delay: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        self.timers.append((delay, call))
        self.handles.append(self.loop.call_later(delay, call))
        return self.handles[-1]

    def pace(self, interval: float = HOUR) -> Pace:
        return Pace(self.soon, self.later, lambda: self.coming, interval)

    def busy_pace(self, interval: float = HOUR) -> Pace:
        """One whose last batch began just now, with a thousand messages."""
        pace = self.pace(interval)
        pace.began(1)
        pace.began(1000)
        return pace


def nothing() -> None:
    raise AssertionError("begun")


def test_a_batch_of_fast_mail_waits_for_more() -> None:
    around = Around()
    assert around.busy_pace().postpones(1, nothing)
    [(delay, _)] = around.timers
    assert HOUR - 60 < delay <= HOUR


def test_it_waits_only_while_somebody_sends() -> None:
    around = Around()
    around.coming = 0
    pace = around.busy_pace()
    assert not pace.postpones(1, nothing) and not around.timers
    around.coming = 2
    assert pace.postpones(1, nothing) and pace.postpones(1, nothing)
    assert len(around.timers) == 1
    around.coming = 0
    assert not pace.postpones(1, nothing)
    assert around.handles[0].cancelled()


def test_a_batch_that_holds_enough_waits_for_no_more() -> None:
    around = Around()
    assert not around.busy_pace().postpones(ENOUGH, nothing)
    pace = around.busy_pace()
    assert pace.postpones(1, nothing) and pace.postpones(ENOUGH - 1, nothing)
    assert not pace.postpones(ENOUGH, nothing)
    assert around.handles[0].cancelled()


def test_the_first_mail_after_a_silence_does_not_wait() -> None:
    around = Around()
    pace = around.busy_pace(interval=0.001)
    time.sleep(0.002)
    assert not pace.postpones(1, nothing)


def test_slow_mail_does_not_wait() -> None:
    """One message in a hundredth of a second: nobody would come while it waits."""
    around = Around()
    pace = around.pace(interval=0.0095)
    for _ in range(20):
        time.sleep(0.01)
        pace.began(1)
    assert not pace.postpones(1, nothing)


def test_when_the_time_has_come_it_begins() -> None:
    around = Around()
    pace = around.busy_pace()
    begun: list[bool] = []
    assert pace.postpones(1, lambda: begun.append(True))
    around.timers[0][1]()
    assert begun == [True]
    pace.began(5)
    assert pace.postpones(1, nothing) and len(around.timers) == 2


def test_a_batch_that_begins_otherwise_ends_the_wait() -> None:
    around = Around()
    pace = around.busy_pace()
    assert pace.postpones(1, nothing)
    pace.began(3)
    assert around.handles[0].cancelled()


def busy_lab(tmp_path: Path, around: Around) -> Lab:
    """A spool that has just begun a batch, with as much mail as a batch of fast mail has."""
    lab = Lab(tmp_path, pace=around.pace())
    around.coming = 0
    lab.store(envelope(), [b"x"])
    for _ in range(49):
        lab.append(envelope(), [b"x"])
    lab.answered(50)
    around.coming = 1
    return lab


def test_mail_that_waits_is_durable_once_its_time_has_come(tmp_path: Path) -> None:
    around = Around()
    lab = busy_lab(tmp_path, around)
    lab.append(envelope(), [b"x"])
    lab.append(envelope(), [b"x"])
    [(_, due)] = around.timers
    time.sleep(0.05)
    lab.spool.completed()
    assert len(lab.acked) == 50
    due()
    lab.answered(52)
    lab.stop()


def test_the_last_that_was_coming_begins_the_batch(tmp_path: Path) -> None:
    around = Around()
    lab = busy_lab(tmp_path, around)
    lab.append(envelope(), [b"x"])
    around.coming = 0
    lab.append(envelope(), [b"x"])
    lab.answered(52)
    assert len(around.timers) == 1 and around.handles[0].cancelled()
    lab.stop()


def test_enough_mail_begins_the_batch(tmp_path: Path) -> None:
    around = Around()
    lab = busy_lab(tmp_path, around)
    for _ in range(ENOUGH):
        lab.append(envelope(), [b"x"])
    lab.answered(50 + ENOUGH)
    assert len(around.timers) == 1 and around.handles[0].cancelled()
    lab.stop()


def test_a_stop_waits_for_nobody(tmp_path: Path) -> None:
    around = Around()
    lab = busy_lab(tmp_path, around)
    lab.append(envelope("stored"), [b"x"])
    assert around.timers and len(lab.acked) == 50
    begun = time.monotonic()
    lab.stop()
    assert len(lab.acked) == 51
    assert time.monotonic() - begun < 9  # well below what a stop waits for segments


def test_nobody_waits_for_long() -> None:
    assert INTERVAL <= 0.01
