"""postqueue(1) and mailq(1): list the queue, or have some of it tried now.

The listing comes from the workers piece by piece and is printed as it comes, in Postfix's text form or as
JSON lines, so that a queue of any length takes no memory here.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from fastrelay.admin.errors import UNAVAILABLE
from fastrelay.admin.options import Options, client, is_queue_id
from fastrelay.master.control import Client, ControlError, Item
from fastrelay.master.errors import FatalError

USAGE = "usage: postqueue -f | postqueue -i queueid | postqueue -j | postqueue -p | postqueue -s site"
STATUS = {"active": "*", "hold": "!"}
DOWN = "postqueue: warning: Mail system is down -- accessing queue directly"
NULL_SENDER = "MAILER-DAEMON"
REASON_COLUMN = 76
SHORT = ("%-11s %7d %20.20s %s", "-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------", 41)
LONG = ("%-17s %8d %19.19s %s", "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------", 47)


def main(config_dir: Path, args: list[str]) -> int:
    options = Options("postqueue", config_dir, args, "fi:jps:", USAGE, UNAVAILABLE)
    if len(options.given) != 1 or options.operands:
        raise FatalError(USAGE, UNAVAILABLE)
    option, value = options.given[0]
    relay = client(options.config_dir, DOWN)
    if option == "-p":
        return _listing(relay, options.config_dir)
    if option == "-j":
        return _json(relay)
    return _flush(relay, option, value)


def mailq(config_dir: Path, args: list[str]) -> int:
    """mailq takes no arguments that matter here; sendmail -bp by another name."""
    options = Options("mailq", config_dir, args, "", USAGE, UNAVAILABLE)
    return _listing(client(options.config_dir, DOWN), options.config_dir)


def _flush(relay: Client, option: str, value: str) -> int:
    if option == "-i" and not is_queue_id(value):
        raise FatalError(f'Cannot flush queue ID - invalid name: "{value}"', UNAVAILABLE)
    if option == "-s" and not value.strip("[]."):
        raise FatalError(f'Cannot flush mail queue - invalid destination: "{value}"', UNAVAILABLE)
    try:
        match option:
            case "-f":
                _exhaust(relay.call("flush"))
            case "-i":
                _exhaust(relay.call("flush_id", id=value))
            case "-s":
                _exhaust(relay.call("flush_site", site=value))
    except ControlError as error:
        raise FatalError(f"Cannot flush mail queue - {error}", UNAVAILABLE) from None
    return 0


def _exhaust(items: Iterator[Item]) -> None:
    for _ in items:
        pass


def _queue(relay: Client) -> Iterator[Item]:
    try:
        yield from relay.call("queue")
    except ControlError as error:
        raise FatalError(f"Queue report unavailable - {error}", UNAVAILABLE) from None


def _json(relay: Client) -> int:
    """One object a line, members and spelling as Postfix's `postqueue -j`."""
    previous: Item | None = None
    for item in _queue(relay):
        if previous is not None and previous["id"] == item["id"]:
            previous["recipients"] += item["recipients"]  # a long recipient list comes in pieces
            continue
        _print_json(previous)
        previous = item
    _print_json(previous)
    return 0


def _print_json(item: Item | None) -> None:
    if item is None:
        return
    recipients = [
        {"address": one["address"]} | ({"delay_reason": one["reason"]} if one.get("reason") else {})
        for one in item["recipients"]
    ]
    line = json.dumps(
        {
            "queue_name": item["state"],
            "queue_id": item["id"],
            "arrival_time": int(item["arrival"]),
            "message_size": item["size"],
            "forced_expire": item["forced_expire"],
            "sender": item["sender"] or NULL_SENDER,
            "recipients": recipients,
        },
        ensure_ascii=False,
    )
    _print(line.replace("\x7f", "\\u007f"))


def _listing(relay: Client, config_dir: Path) -> int:
    """The sendmail-style listing."""
    from fastrelay.config import read_main

    row, header, indent = LONG if read_main(config_dir).value("enable_long_queue_ids") else SHORT
    count = size = 0
    previous, reason = "", ""
    for item in _queue(relay):
        if item["id"] != previous:
            _print("" if previous else header)
            previous, reason = item["id"], ""
            count, size = count + 1, size + item["size"]
            when = time.ctime(item["arrival"])
            _print(
                row
                % (
                    item["id"] + STATUS.get(item["state"], "") + "#" * item["forced_expire"],
                    item["size"],
                    when,
                    item["sender"] or NULL_SENDER,
                )
            )
        for one in item["recipients"]:
            reason = _print_recipient(one, reason, indent)
    if count:
        _print("")
        _print(f"-- {size // 1024} Kbytes in {count} Request{'s' if count != 1 else ''}.")
    else:
        _print("Mail queue is empty")
    return 0


def _print_recipient(one: Item, previous_reason: str, indent: int) -> str:
    """The reason, when it is another one than the recipient's before, stands above the address."""
    reason: str = one.get("reason") or ""
    if reason and reason != previous_reason:
        _print(f"{' ' * (REASON_COLUMN - len(reason))}({reason})")
    _print(" " * indent + one["address"])
    return reason


def _print(line: str) -> None:
    """Mail may hold any byte: no control character reaches the terminal."""
    clean = line.translate(_HARMLESS) if not line.isprintable() else line
    sys.stdout.buffer.write(clean.encode(errors="surrogateescape") + b"\n")


_HARMLESS = {code: "?" for code in [*range(32), *range(127, 160)]}
