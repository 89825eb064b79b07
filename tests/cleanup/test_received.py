"""The Received header: Postfix's form, and nothing that a client says gets out of its place."""

from __future__ import annotations

import email.utils
import time

import pytest

from fastrelay.cleanup.received import CLIENTS, ReceivedHeader, mail_date, utc_stamp

NOW = 1795391223.7
WHO = b"c.example", b"unknown", b"127.0.0.1", b"SMTP"


def test_form(utc: None) -> None:
    header = ReceivedHeader(b"relay.lab.example", b"Postfix")
    client = b"c.example", b"localhost", b"127.0.0.1", b"ESMTP"
    assert header.make(client, b"DCA3B9840B4", b"r@y.example", NOW) == (
        b"Received: from c.example (localhost [127.0.0.1])\r\n"
        b"\tby relay.lab.example (Postfix) with ESMTP id DCA3B9840B4\r\n"
        b"\tfor <r@y.example>; Sun, 22 Nov 2026 23:47:03 +0000 (UTC)\r\n"
    )
    assert header.make(client, b"463E89840E1", b"", NOW) == (
        b"Received: from c.example (localhost [127.0.0.1])\r\n"
        b"\tby relay.lab.example (Postfix) with ESMTP id 463E89840E1;\r\n"
        b"\tSun, 22 Nov 2026 23:47:03 +0000 (UTC)\r\n"
    )


@pytest.mark.parametrize("hostile", [b"a\r\nX-Evil: 1", b"a b", b"\0\x1b[2J", b"\xff\xfe", b"x" * 5000])
def test_what_the_client_says_stays_in_its_place(hostile: bytes) -> None:
    header = ReceivedHeader(b"relay.lab.example", b"Postfix")
    client = hostile, hostile, b"::1", b"ESMTP"
    made = header.make(client, b"ID", b"", NOW)
    assert made.count(b"\r\n") == 3 and made.replace(b"\r\n", b"").replace(b"\t", b"").isascii()
    assert b"[IPv6:::1]" in made and len(made) < 800
    assert all(32 <= c < 127 for c in made.replace(b"\r\n", b"").replace(b"\t", b""))


def test_the_date_moves_with_the_clock(utc: None) -> None:
    header = ReceivedHeader(b"r", b"Postfix")
    header.make(WHO, b"ID", b"", NOW)
    assert (header.clock.date, header.clock.stamp) == (mail_date(NOW), b"20261122234703")
    header.make(WHO, b"ID", b"", NOW + 1)
    assert header.clock.date == b"Sun, 22 Nov 2026 23:47:04 +0000 (UTC)"


def test_another_helo_of_the_same_client_is_told_and_few_clients_are_kept(utc: None) -> None:
    header = ReceivedHeader(b"r", b"Postfix")
    for number in [*range(CLIENTS), 0, CLIENTS, 0]:
        made = header.make((b"h%d" % number, *WHO[1:]), b"ID", b"", NOW)
        assert made.startswith(b"Received: from h%d (unknown [127.0.0.1])" % number)
    assert len(header.begun) == 2


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu"])
def test_dates_parse_to_the_same_second(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        for now in (0.0, NOW, 1782000000.0):
            parsed = email.utils.parsedate_tz(mail_date(now).decode())
            assert parsed is not None and email.utils.mktime_tz(parsed) == int(now)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert utc_stamp(0) == b"19700101000000"
