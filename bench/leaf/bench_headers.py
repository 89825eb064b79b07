"""cleanup's leaves beside their slow twins: contents of 4 KB and 64 KB, a header, a message's recipients."""

from __future__ import annotations

import pathlib
import sys
from typing import Any

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests"))

from fastrelay.borders import Recipient
from fastrelay.cleanup._contents import ContentScanner
from fastrelay.cleanup._headers import HeaderCleaner
from fastrelay.cleanup._recipients import unique
from fastrelay.cleanup.received import ReceivedHeader
from reference import content_reference, headers_reference

HEADER = (
    b"Received: from a.example (a.example [192.0.2.1])\r\n\tby b.example (Postfix) with ESMTPS id 4C2F1\r\n"
    b"\tfor <r@y.example>; Sun, 22 Nov 2026 23:47:03 +0000 (UTC)\r\n"
    b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=a.example; s=s1;\r\n\tbh="
    + b"x" * 44
    + b";\r\n\tb="
    + b"y" * 172
    + b"\r\nFrom: A <a@a.example>\r\nTo: R <r@y.example>\r\nSubject: a subject of the usual length\r\n"
    b"Date: Sun, 22 Nov 2026 23:47:03 +0000\r\nMessage-ID: <1234567890@a.example>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n\r\n"
)
RECEIVED = b"Received: from c (localhost [127.0.0.1])\r\n\tby r (Postfix) with ESMTP id Q;\r\n\tdate\r\n"
DROPPED = [b"bcc", b"content-length", b"resent-bcc", b"return-path"]


def message(size: int) -> bytes:
    line = b"The quick brown fox jumps over the lazy dog, again and again, at night.\r\n"
    return HEADER + line * ((size - len(HEADER)) // len(line)) + b".\r\n"


def scan(scanner: ContentScanner, wire: bytes) -> bytes:
    scanner.clear()
    scanner.feed_data(wire)
    return scanner.hand_over_body()


@pytest.mark.parametrize("size", [4096, 65536])
def test_scan(benchmark: Any, size: int) -> None:
    benchmark(scan, ContentScanner(), message(size))


@pytest.mark.parametrize("size", [4096, 65536])
def test_scan_reference(benchmark: Any, size: int) -> None:
    benchmark(content_reference.read_data, message(size))


def test_clean(benchmark: Any) -> None:
    scanner = ContentScanner()
    scan(scanner, message(4096))
    cleaner = HeaderCleaner(DROPPED, 102400, b"", b"r")
    benchmark(cleaner.clean_header, scanner, RECEIVED)


def test_clean_reference(benchmark: Any) -> None:
    lines = HEADER.split(b"\r\n")[:-2]
    benchmark(
        headers_reference.clean, lines, True, received=RECEIVED, dropped=set(DROPPED), limit=102400, add=None
    )


def recipients(count: int) -> list[Recipient]:
    return [Recipient(b"user%d@y.example" % n, b"user%d@y.example" % n) for n in range(count)]


def unique_twin(given: list[Recipient]) -> list[Recipient]:
    seen: dict[tuple[bytes, bytes, bytes, int], Recipient] = {}
    for r in given:
        seen.setdefault((r.address.lower(), r.original.lower(), r.orcpt.lower(), r.notify), r)
    return list(seen.values())


@pytest.mark.parametrize("count", [1, 50, 1000])
def test_unique(benchmark: Any, count: int) -> None:
    benchmark(unique, recipients(count), 1000)


@pytest.mark.parametrize("count", [1, 50, 1000])
def test_unique_reference(benchmark: Any, count: int) -> None:
    benchmark(unique_twin, recipients(count))


def test_received(benchmark: Any) -> None:
    header = ReceivedHeader(b"relay.example", b"Postfix")
    client = header.client(b"c.example", b"localhost", b"127.0.0.1", b"ESMTP")
    benchmark(header.make, client, b"4C2F1", b"r@y.example", 1795391223.5)
