"""Log lines as Postfix 3.7 wrote them, and its way with numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrelay.log import lines


def format_tv(seconds: float) -> bytes:
    """Two significant digits, at most two behind the point; integer arithmetic in microseconds."""
    micro = round(seconds * 1_000_000)
    unit = 10_000 if micro < 1_000_000 else 100_000 if micro < 10_000_000 else 1_000_000
    rounded = (micro + unit // 2) // unit * unit
    text = b"%d.%06d" % divmod(rounded, 1_000_000)
    return text.rstrip(b"0").rstrip(b".")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, b"0"),
        (0.004, b"0"),
        (0.006, b"0.01"),
        (0.03, b"0.03"),
        (0.1, b"0.1"),
        (0.57, b"0.57"),
        (0.996, b"1"),
        (1.0, b"1"),
        (1.24, b"1.2"),
        (9.97, b"10"),
        (18.4, b"18"),
        (300.2, b"300"),
        (432000.7, b"432001"),
        (-3.0, b"0"),
    ],
)
def test_delay(seconds: float, text: bytes) -> None:
    assert lines.delay_text(seconds) == text


@given(st.integers(0, 200_000_000).filter(lambda n: n % 10_000 != 5_000 and n % 100_000 != 50_000))
def test_delay_equals_reference(micro: int) -> None:
    assert lines.delay_text(micro / 1_000_000) == format_tv(micro / 1_000_000)


def test_sessions() -> None:
    assert lines.connect(b"localhost", b"127.0.0.1") == b"connect from localhost[127.0.0.1]"
    assert lines.disconnect(b"localhost", b"127.0.0.1", b" rcpt=3/4 quit=1 commands=4/5") == (
        b"disconnect from localhost[127.0.0.1] rcpt=3/4 quit=1 commands=4/5"
    )
    assert lines.lost_connection(b"lost connection", b"CONNECT", b"localhost", b"127.0.0.1") == (
        b"lost connection after CONNECT from localhost[127.0.0.1]"
    )


def test_messages() -> None:
    assert (
        lines.client(b"DCA3B9840B4", b"localhost", b"127.0.0.1")
        == b"DCA3B9840B4: client=localhost[127.0.0.1]"
    )
    assert lines.message_id(b"Q", b"<a@b>") == b"Q: message-id=<a@b>"
    assert lines.message_id(b"Q", b"") == b"Q: message-id="
    assert lines.resent_message_id(b"Q", b"<rr@x>") == b"Q: resent-message-id=<rr@x>"
    assert lines.queue_active(b"DCA3B9840B4", b"s@x.example", 310, 1) == (
        b"DCA3B9840B4: from=<s@x.example>, size=310, nrcpt=1 (queue active)"
    )
    assert lines.removed(b"Q") == b"Q: removed"
    assert lines.expired(b"Q", b"s@x") == b"Q: from=<s@x>, status=expired, returned to sender"
    assert lines.sender_notice(b"A", b"B") == b"A: sender non-delivery notification: B"
    assert lines.postmaster_notice(b"A", b"B") == b"A: postmaster non-delivery notification: B"
    assert lines.notice_discarded(b"A") == b"A: undeliverable postmaster notification discarded"


def test_delivery() -> None:
    assert lines.delivery(
        b"B41919847AD",
        b"bad@z.example",
        b"al@y.example",
        b"127.0.0.1[127.0.0.1]:43335",
        1,
        (0.012, 0.011, 0.0, 0.05),
        b"5.1.1",
        b"bounced",
        b"host 127.0.0.1[127.0.0.1] said: 550 no",
    ) == (
        b"B41919847AD: to=<bad@z.example>, orig_to=<al@y.example>, relay=127.0.0.1[127.0.0.1]:43335, "
        b"delay=0.07, delays=0.01/0.01/0/0.05, dsn=5.1.1, "
        b"status=bounced (host 127.0.0.1[127.0.0.1] said: 550 no)"
    )
    same = lines.delivery(b"Q", b"a@x", b"A@X", b"none", 3, (0, 0, 0, 0), b"4.4.1", b"deferred", b"t")
    assert same == (
        b"Q: to=<a@x>, relay=none, conn_use=3, delay=0, delays=0/0/0/0, dsn=4.4.1, status=deferred (t)"
    )


def test_refusals() -> None:
    client = (b"localhost", b"127.0.0.1")
    reply = b"554 5.7.1 <a@b>: Relay access denied"
    assert lines.refusal(b"", b"reject", b"RCPT", client, reply, b"", b"a@b", b"ESMTP", b"c.example") == (
        b"NOQUEUE: reject: RCPT from localhost[127.0.0.1]: 554 5.7.1 <a@b>: Relay access denied; "
        b"from=<> to=<a@b> proto=ESMTP helo=<c.example>"
    )
    assert lines.refusal(b"Q", b"reject", b"CONNECT", client, b"421 4.3.2 no", None, None, b"SMTP", None) == (
        b"Q: reject: CONNECT from localhost[127.0.0.1]: 421 4.3.2 no; proto=SMTP"
    )
