"""Each recipient once, in order: Postfix's key, its limit."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from fastrelay.borders import Notify, Recipient
from fastrelay.cleanup._recipients import unique

ADDRESSES = st.sampled_from([b"a@x", b"A@x", b"a@X", b"b@x", b"", b"ab@x", b"\xc3\xa9@x", b"\xc3\x89@x"])
RECIPIENTS = st.builds(
    Recipient, ADDRESSES, ADDRESSES, st.sampled_from([b"", b"rfc822;a@x"]), st.sampled_from([0, 1, 6])
)


def twin(recipients: list[Recipient]) -> list[Recipient]:
    seen = set()
    kept = []
    for r in recipients:
        key = (r.address.lower(), r.original.lower(), r.orcpt.lower(), r.notify)
        if key not in seen:
            seen.add(key)
            kept.append(r)
    return kept


@given(st.lists(RECIPIENTS, max_size=40))
@settings(max_examples=300, deadline=None)
def test_equals_reference(recipients: list[Recipient]) -> None:
    assert [id(r) for r in unique(recipients, 1000)] == [id(r) for r in twin(recipients)]


def test_postfix_folds_the_whole_address() -> None:
    """Postfix 3.7 delivers r@y R@y r@Y r@y once."""
    recipients = [Recipient(a, a) for a in (b"r@y.example", b"R@y.example", b"r@Y.example", b"r@y.example")]
    assert unique(recipients, 1000) == recipients[:1]


def test_what_the_client_asked_for_makes_a_difference() -> None:
    recipients = [
        Recipient(b"a@x", b"a@x", b"", Notify.NEVER),
        Recipient(b"a@x", b"a@x", b"", Notify.FAILURE),
    ]
    recipients += [Recipient(b"a@x", b"alias@x"), Recipient(b"a@x", b"a@x", b"rfc822;o")]
    assert unique(recipients, 1000) == recipients


def test_above_the_limit_nothing_is_remembered_and_nothing_lost() -> None:
    recipients = [Recipient(b"u%d@x" % n) for n in range(10)]
    assert unique(recipients + recipients, 4) == recipients + recipients[4:]
    assert unique(recipients + recipients, 0) == recipients
