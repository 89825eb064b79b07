"""Lookups that must wait: Pending, and ask(), which runs a function again when what it lacked is known.

A lookup is synchronous: table.get(key). A remote table whose answer is not in its cache starts the lookup
and raises Pending; all code up to an edge (smtpd's checks, the queue manager's activation, agents, tools)
lets that pass, and the edge has called ask(). So a function that is asked must be pure: it is run again
from the start, and finds one answer more each time.

Invariant: an answer that came since ask() was called holds for that whole evaluation, whatever its time to
live and however full the cache is. So each round knows at least one answer more than the one before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from fastrelay.tables.table import Table, TableError

ROUNDS = 1000  # of one evaluation; what needs more is no configuration but a loop

Result = TypeVar("Result")
Item = TypeVar("Item")
Question = tuple[Table, bytes]
Answer = bytes | TableError | None  # what a lookup ends with: errors are values until somebody asks
Answers = dict[Question, Answer]

_evaluation: Answers = {}  # of the evaluation that is running; the loop's thread alone evaluates


class Pending(Exception):
    """The answers to `questions` are under way: each has a task that ends with an Answer, never an error."""

    def __init__(self, questions: dict[Question, asyncio.Task[Answer]]) -> None:
        super().__init__(", ".join(table.label for table, _ in questions))
        self.questions = questions


def recall(table: Table, key: bytes) -> tuple[Answer] | None:
    """For remote tables: the answer that came since the evaluation began, in a tuple; None: there is none."""
    question = (table, key)
    return (_evaluation[question],) if question in _evaluation else None


def ask(function: Callable[..., Result], *args: Any) -> Result | Awaitable[Result]:
    """function(*args), or, when a table must be waited for, a coroutine that ends with it."""
    try:
        return function(*args)
    except Pending as pending:
        return again(pending, function, *args)


async def answer(function: Callable[..., Result], *args: Any) -> Result:
    """ask() for a caller that is a coroutine anyway."""
    try:
        return function(*args)
    except Pending as pending:
        questions = pending.questions
    return await _evaluate(questions, function, args)


def again(pending: Pending, function: Callable[..., Result], *args: Any) -> Awaitable[Result]:
    """For an edge that has called function(*args) itself and got `pending`."""
    return _evaluate(pending.questions, function, args)


def ask_each(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """function(item) of each item, inside an evaluation: all lookups start before one Pending is raised."""
    results: list[Result] = []
    questions: dict[Question, asyncio.Task[Answer]] = {}
    for item in items:
        try:
            results.append(function(item))
        except Pending as pending:
            questions |= pending.questions
    if questions:
        raise Pending(questions)
    return results


async def _evaluate(
    questions: dict[Question, asyncio.Task[Answer]], function: Callable[..., Result], args: tuple[Any, ...]
) -> Result:
    answers: Answers = {}
    for _ in range(ROUNDS):
        await asyncio.wait(questions.values())  # leaves the lookups alone when the one who asked has gone
        answers.update((question, task.result()) for question, task in questions.items())
        try:
            return _run(answers, function, args)
        except Pending as pending:
            questions = pending.questions
    table = next(iter(questions))[0]
    raise TableError(table.label, f"more than {ROUNDS} lookups for one answer", unavailable=False)


def _run(answers: Answers, function: Callable[..., Result], args: tuple[Any, ...]) -> Result:
    global _evaluation
    before, _evaluation = _evaluation, answers
    try:
        return function(*args)
    finally:
        _evaluation = before
