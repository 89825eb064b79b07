"""Contents as a file: wire form to LF lines, with the lines that final delivery puts on top.

local and virtual use it. The prepended lines are mail_copy(3)'s: Return-Path, X-Original-To, Delivered-To.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from fastrelay.borders import Content, Envelope


def to_file(content: Content) -> bytes:
    """Dots unstuffed (RFC 5321 4.5.2) and CRLF as LF; a CR or LF by itself stays."""
    wire = b"".join(content)
    if wire[:1] == b".":
        wire = wire[1:]
    return wire.replace(b"\r\n.", b"\r\n").replace(b"\r\n", b"\n")


def delivery_header(envelope: Envelope, original: bytes, address: bytes) -> bytes:
    """The lines on top of a mailbox file."""
    lines = [b"Return-Path: <" + envelope.sender + b">"]
    if original:
        lines.append(b"X-Original-To: " + original)
    lines.append(b"Delivered-To: " + address)
    return b"".join(line + b"\n" for line in lines)


async def make_file(envelope: Envelope, recipient: int, address: bytes, content: Content) -> bytes:
    """The whole file for one recipient, made in a thread: contents may be large."""
    original = envelope.recipients[recipient].original
    top = delivery_header(envelope, original, address)
    return top + await asyncio.get_running_loop().run_in_executor(None, to_file, content)


def was_delivered_to(content: Content, address: bytes) -> bool:
    """Is there a Delivered-To: of this address in the header? Then forwarding came round in a loop."""
    wanted = address.lower()
    return any(
        line[:13].lower() == b"delivered-to:" and line[13:].strip(b" \t").lower() == wanted
        for line in header_lines(content)
    )


def header_lines(content: Content) -> Iterator[bytes]:
    """The header's lines, without their ends; folded lines come in parts."""
    rest = b""
    for piece in content:
        *lines, rest = (rest + piece).split(b"\r\n")
        for line in lines:
            if not line:
                return
            yield line
