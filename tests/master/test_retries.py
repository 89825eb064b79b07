"""What cannot be done now: how often it is tried while it fails, and how soon once it works."""

from fastrelay.master.retries import BREATH, LAST, PORTION, Retries
from support.timers import Timers


class Work:
    """Things to be done, each of which fails while `broken`, and those of `poison` always."""

    def __init__(self) -> None:
        self.timers = Timers()
        self.retries = Retries(self.timers.call_later)  # type: ignore[arg-type]
        self.broken = True
        self.poison: set[int] = set()
        self.tried: list[tuple[float, int]] = []
        self.done: list[int] = []

    def do(self, number: int) -> None:
        self.tried.append((self.timers.now, number))
        if self.broken or number in self.poison:
            self.retries.add(lambda: self.do(number))
        else:
            self.done.append(number)
            self.retries.worked()


def test_while_it_fails_one_is_tried_at_a_time_and_ever_more_seldom() -> None:
    work = Work()
    for number in range(1000):
        work.do(number)
    work.tried.clear()
    work.timers.run(400)
    assert [time for time, _ in work.tried] == [5, 15, 35, 75, 135, 195, 255, 315, 375]
    assert [number for _, number in work.tried] == list(range(9))  # not always the same one


def test_one_that_works_brings_the_others_in_portions() -> None:
    work = Work()
    for number in range(1000):
        work.do(number)
    work.timers.run(76)
    work.broken = False
    work.timers.run(75 + LAST)
    assert len(work.done) == 1
    work.timers.run(75 + LAST + BREATH * 1.5)
    assert len(work.done) == 1 + PORTION
    work.timers.run(75 + LAST + 1)
    assert sorted(work.done) == list(range(1000))
    assert work.timers.pending == 0


def test_a_new_one_that_works_brings_them_at_once() -> None:
    work = Work()
    for number in range(30):
        work.do(number)
    work.timers.run(36)
    work.broken = False
    work.do(99)
    work.timers.run(37)
    assert sorted(work.done) == [*range(30), 99]


def test_one_that_always_fails_keeps_none_from_its_turn() -> None:
    work = Work()
    work.poison = {0, 1}
    for number in range(100):
        work.do(number)
    work.broken = False
    work.timers.run(60)
    assert sorted(work.done) == list(range(2, 100))
    before = len(work.tried)
    work.timers.run(60 + 10 * LAST)
    assert len(work.tried) - before <= 11
    work.poison.clear()
    work.timers.run(60 + 11 * LAST)
    assert sorted(work.done) == list(range(100))


def test_after_it_worked_the_first_pause_is_short_again() -> None:
    work = Work()
    work.do(0)
    work.timers.run(100)
    work.broken = False
    work.timers.run(200)
    assert work.done == [0]
    work.broken = True
    work.do(1)
    work.broken = False
    work.timers.run(205)
    assert work.done == [0, 1]
