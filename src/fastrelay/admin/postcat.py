"""postcat(1) -q: a queued message's envelope and contents, laid out as Postfix's postcat does.

The envelope's names are Postfix's; addresses are shown as they are stored, in external form.
"""

from __future__ import annotations

import base64
import io
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastrelay.admin.options import Options, client, is_queue_id
from fastrelay.master.control import Client, Item
from fastrelay.master.errors import FatalError

USAGE = (
    "usage: postcat [-b (body text)] [-c config_dir] [-d (decimal record type)] [-e (envelope)]"
    " [-h (header text)] [-r (record order)] -q queue_id..."
)
TYPES = {  # rec_type.h
    "message_size": 67,
    "message_arrival_time": 84,
    "sender": 83,
    "original_recipient": 79,
    "recipient": 82,
    "done_recipient": 68,
}
ATTRIBUTE, TEXT = 65, 78
CLIENT = ("client_name", "client_address", "helo_name", "protocol_name")


def main(config_dir: Path, args: list[str]) -> int:
    options = Options("postcat", config_dir, args, "bdehoqrs:", USAGE, 1)
    flags = {option[1] for option, _ in options.given}
    parts = flags & set("beh") or set("beh")
    if "q" not in flags:
        raise FatalError(f"messages are not in files of their own: give -q and queue ids. {USAGE}")
    if flags & set("os"):
        raise FatalError("messages are not in files of their own: there are no offsets (-o, -s)")
    relay = client(options.config_dir)
    for queue_id in options.operands:
        if not is_queue_id(queue_id):
            raise FatalError(f"bad mail queue ID: {queue_id}")
        _show(relay, queue_id, parts, "d" in flags)
    return 0


def _show(relay: Client, queue_id: str, parts: set[str], types: bool) -> None:
    """`types`: each line begins with its record's type in Postfix's queue file."""

    def put(kind: int, line: bytes) -> None:
        sys.stdout.buffer.write((b"%3d " % kind if types else b"") + line)

    items = relay.call("cat", id=queue_id)
    first = next(items, None)
    if first is None:
        raise FatalError(f"open queue file {queue_id}: No such file or directory")
    file = f"{first['state']}/{queue_id}"
    recipients, contents = _parts(items)
    markers = "e" in parts
    if markers:
        sys.stdout.buffer.write(f"*** ENVELOPE RECORDS {file} ***\n".encode())
        for line in envelope_lines(queue_id, first["envelope"] | {"recipients": recipients}):
            kind = TYPES.get(line.partition(":")[0], ATTRIBUTE)
            put(kind, line.encode(errors="surrogateescape") + b"\n")
        put(77, f"*** MESSAGE CONTENTS {file} ***\n".encode())
    for part, text in zip("hb", split_contents(contents), strict=True):
        if part in parts:
            for piece in io.BytesIO(text) if types else [text]:
                put(TEXT, piece)
    if markers:
        put(88, f"*** HEADER EXTRACTED {file} ***\n".encode())
        put(69, f"*** MESSAGE FILE END {file} ***\n".encode())


def _parts(items: Iterator[Item]) -> tuple[list[Item], bytes]:
    """All recipients, and the contents."""
    recipients: list[Item] = []
    contents: list[bytes] = []
    for item in items:
        recipients += item.get("recipients", ())
        contents.append(base64.b64decode(item.get("content", "")))
    return recipients, b"".join(contents)


def split_contents(wire: bytes) -> tuple[bytes, bytes]:
    """Header and body (from the first line that is no header line on) of stored contents, as local lines."""
    text = wire.replace(b"\r\n", b"\n")
    text = (b"\n" + text).replace(b"\n.", b"\n")[1:]  # stuffed dots
    at = 0
    while at < len(text):
        end = text.find(b"\n", at) + 1 or len(text)
        line = text[at:end]
        name = line.split(b":", 1)[0].rstrip(b" \t")
        folded = at > 0 and line[:1] in (b" ", b"\t")
        if not folded and not (b":" in line and name and all(33 <= byte <= 126 for byte in name)):
            break
        at = end
    return text[:at], text[at:]


def envelope_lines(queue_id: str, envelope: dict[str, Any]) -> Iterator[str]:
    recipients = envelope["recipients"]
    numbers = (envelope["size"], 0, len(recipients), 0, envelope["size"], 0)
    yield "message_size: " + " ".join(f"{number:15d}" for number in numbers)
    yield f"message_arrival_time: {time.ctime(envelope['arrival'])}"
    yield f"create_time: {time.ctime(envelope['arrival'])}"
    yield f"named_attribute: log_ident={queue_id}"
    if envelope.get("envid"):
        yield f"named_attribute: envelope_id={envelope['envid']}"
    yield f"sender: {envelope['sender']}"
    for name in CLIENT:
        if envelope.get(name):
            yield f"named_attribute: {name}={envelope[name]}"
    for recipient in recipients:
        if recipient.get("orcpt"):
            yield f"named_attribute: dsn_orig_rcpt={recipient['orcpt']}"
        if recipient.get("notify"):
            yield f"named_attribute: notify_flags={recipient['notify']}"
        yield f"original_recipient: {recipient.get('original') or recipient['address']}"
        yield f"{'done_recipient' if recipient.get('done') else 'recipient'}: {recipient['address']}"
