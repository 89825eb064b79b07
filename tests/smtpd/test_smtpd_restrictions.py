"""Restriction lists as chains of callables: order, what each answers, tables that fail, lists that guard nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fastrelay.borders import Recipient
from fastrelay.config import section
from fastrelay.rewrite._address import Address
from fastrelay.smtpd import restrictions
from fastrelay.smtpd.settings import SmtpdSettings
from fastrelay.tables import TableError
from support.receive_lab import MAIN, ReceiveLab, make_config

OURS, THEIRS = (b"u", b"relay.example"), (b"u", b"outside.example")


def ask(lab: ReceiveLab, to: tuple[bytes, bytes], address: str = "127.0.0.9") -> bytes | None:
    answer = lab.checks(lab.session(address), candidate(to))
    return asyncio.run(answer) if asyncio.iscoroutine(answer) else answer


def candidate(to: tuple[bytes, bytes]) -> tuple[Recipient, Address]:
    address = Address(*to)
    return Recipient(address.external, address.external), address


def test_relay_only_for_mynetworks_and_our_domains() -> None:
    lab = ReceiveLab()
    assert ask(lab, OURS) is None
    assert ask(lab, (b"u", b"local.example")) is None
    assert ask(lab, THEIRS) == b"554 5.7.1 <u@outside.example>: Relay access denied"
    assert ask(lab, THEIRS, "192.0.2.7") is None


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        ("reject", b"554 5.7.1 <u@outside.example>: Recipient address rejected: Access denied"),
        ("defer", b"450 4.3.2 <u@outside.example>: Recipient address rejected: Try again later"),
        ("defer_unauth_destination", b"454 4.7.1 <u@outside.example>: Relay access denied"),
        ("permit, reject", None),
        (
            "permit_sasl_authenticated, reject_unauth_destination",
            b"554 5.7.1 <u@outside.example>: Relay access denied",
        ),
        (
            "PERMIT_MYNETWORKS Reject",
            b"554 5.7.1 <u@outside.example>: Recipient address rejected: Access denied",
        ),
        (
            "permit_auth_destination, defer",
            b"450 4.3.2 <u@outside.example>: Recipient address rejected: Try again later",
        ),
        ("reject_rbl_client zen.example, reject", b"451 4.3.5 Server configuration error"),
        ("permit, reject_rbl_client zen.example, reject", None),
    ],
)
def test_what_each_restriction_answers(words: str, refusal: bytes | None) -> None:
    assert ask(ReceiveLab({"smtpd_relay_restrictions": words}), THEIRS) == refusal


def test_reply_codes_are_set_in_main_cf() -> None:
    codes = {"relay_domains_reject_code": "450", "smtpd_relay_restrictions": "reject_unauth_destination"}
    assert ask(ReceiveLab(codes), THEIRS) == b"450 4.7.1 <u@outside.example>: Relay access denied"


def test_permit_ends_its_own_list_only() -> None:
    lab = ReceiveLab({"smtpd_recipient_restrictions": "reject"})
    assert ask(lab, THEIRS, "192.0.2.7") == (
        b"554 5.7.1 <u@outside.example>: Recipient address rejected: Access denied"
    )


def test_unknown_recipients() -> None:
    lab = ReceiveLab({"relay_recipient_maps": "inline:{ u@relay.example=x }"})
    assert ask(lab, OURS) is None
    assert ask(lab, (b"v", b"relay.example")) == (
        b"550 5.1.1 <v@relay.example>: Recipient address rejected: User unknown in relay recipient table"
    )


@pytest.mark.parametrize("broken", ["relay_recipient_maps", "relay_domains", "transport_maps", "mynetworks"])
def test_a_table_that_cannot_answer_is_no_answer(broken: str) -> None:
    """H-C26: 451, never 250 and never 5xx; and the log says why."""
    lab = ReceiveLab({broken: "fail:broken"})
    assert ask(lab, OURS) == b"451 4.3.0 <u@relay.example>: Temporary lookup failure"
    assert any(b"lookup error for" in line for line in lab.log), lab.log


def test_a_table_of_unknown_type_is_no_answer() -> None:
    """The tutorial's case."""
    lab = ReceiveLab({"relay_recipient_maps": "dbm:/etc/recipients"})
    assert ask(lab, OURS) == b"451 4.3.0 <u@relay.example>: Temporary lookup failure"
    assert any(b"unsupported dictionary type: dbm" in line for line in lab.log), lab.log


GONE = object()


class Slow:
    """A restriction that has to wait for its answer."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked = 0

    def __call__(self, session: Any, candidate: Any) -> Any:
        self.asked += 1
        return self.wait()

    async def wait(self) -> Any:
        await asyncio.sleep(0)
        if self.answer is GONE:
            raise TableError("remote:x", "gone")
        return self.answer


def test_no_coroutine_when_nothing_waits() -> None:
    lab = ReceiveLab()
    assert not asyncio.iscoroutine(lab.checks(lab.session(), candidate(OURS)))


AFTER_A_WAIT = [
    (None, OURS, None, 3),
    (None, THEIRS, b"554 5.7.1 <u@outside.example>: Relay access denied", 2),  # the third is not asked then
    (b"550 5.7.1 no", OURS, b"550 5.7.1 no", 3),
    (GONE, OURS, b"451 4.3.0 <u@relay.example>: Temporary lookup failure", 3),
]


@pytest.mark.parametrize(
    ("answer", "to", "said", "position"),
    [(*case, position) for *case, positions in AFTER_A_WAIT for position in range(positions)],
)
def test_the_chain_goes_on_after_a_wait(
    answer: Any, to: tuple[bytes, bytes], said: bytes | None, position: int
) -> None:
    """Wherever in the list it stands, the rest is still asked."""
    lab = ReceiveLab()
    first = list(lab.checks._chains[0])
    slow = Slow(answer)
    first.insert(position, slow)
    lab.checks._chains[0] = tuple(first)
    assert ask(lab, to) == said
    assert slow.asked == 1


def test_two_waits_in_one_chain_and_one_in_the_next() -> None:
    lab = ReceiveLab({"smtpd_recipient_restrictions": "permit_sasl_authenticated"})
    slow = Slow(None)
    lab.checks._chains = [(slow, *lab.checks._chains[0], slow), *((slow, *c) for c in lab.checks._chains[1:])]
    assert ask(lab, OURS) is None
    assert slow.asked == 1 + len(lab.checks._chains)


def refusal_of(relay: str, recipient: str) -> str:
    """What a start says of these lists; empty: they guard."""
    main = {"smtpd_relay_restrictions": relay, "smtpd_recipient_restrictions": recipient}
    try:
        restrictions.require_guard(section(SmtpdSettings, make_config(MAIN | main)))
    except restrictions.RestrictionError as refused:
        return str(refused)
    return ""


@pytest.mark.parametrize(
    "lists", [("permit_mynetworks", ""), ("", "permit"), ("", ""), ("check_x, permit", "defer_x")]
)
def test_lists_that_guard_nothing_are_refused(lists: tuple[str, str]) -> None:
    assert "specify at least one working instance of" in refusal_of(*lists)


@pytest.mark.parametrize("guard", sorted(restrictions.GUARDS))
def test_every_guard_is_enough_in_either_list(guard: str) -> None:
    for lists in ((guard, ""), ("permit_mynetworks", guard.upper())):
        assert refusal_of(*lists) == ""
