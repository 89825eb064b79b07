"""`fastrelay source`: makes load for a mail server and says how it bore it."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from fastrelay.admin import load_options
from fastrelay.load.messages import Files, MadeUp, find_files
from fastrelay.load.source import Load, Messages, Plan
from fastrelay.master.errors import FatalError

MAX_SIZE = 1 << 30
MAX_SESSIONS = 20000
HELP = """\
Exit status 0 only when everything was accepted. With --files each file is sent once unless --messages says
otherwise. With --rate, messages start at their time if a session is free. In --from, %d is the message's
number; in --to, the recipient's. A ledger gets a line `UUID QUEUEID` for each accepted message, before it is
counted; the message has the UUID in its X-Fastrelay-Source header.
"""


def main(config_dir: Path, args: list[str]) -> int:
    options = _parser().parse_args(args)
    addresses = resolve(options.target, options.allow_remote)
    messages, plan = make_plan(options)
    if options.ledger is None:
        return load_options.run(send(options, plan, messages, addresses, None))
    ledger = os.open(options.ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        return load_options.run(
            send(options, plan, messages, addresses, lambda uuid, queue_id: _note(ledger, uuid, queue_id))
        )
    finally:
        os.close(ledger)


def _parser() -> load_options.Parser:
    parser = load_options.Parser(prog="fastrelay source", description=__doc__, epilog=HELP)
    add, natural, positive = parser.add_argument, load_options.natural, load_options.positive
    add("target", type=load_options.address, metavar="HOST:PORT")
    add("--sessions", type=positive, default=1, metavar="N", help="connections at a time")
    add("--messages", type=positive, metavar="N", help="default 1, or until the duration is over")
    add("--rate", type=load_options.amount, default=0.0, metavar="PER_S", help="messages a second, at most")
    add("--per-connection", type=natural, default=0, metavar="N", help="messages a connection, 0 = all")
    add("--pipelining", action="store_true", help="MAIL, RCPT and DATA in one go, if announced")
    add("--size", type=size, default=(4096, 4096), metavar="BYTES|MIN-MAX", help="default 4096")
    add("--recipients", type=positive, default=1, metavar="N", help="for each message")
    add("--from", dest="sender", default="source@example.org", metavar="ADDRESS")
    add("--to", default="sink@example.com", metavar="ADDRESS")
    add("--helo", default="localhost.localdomain", metavar="NAME")
    add("--files", nargs="+", action="extend", metavar="FILE|DIR|MAILDIR",
        help="send these; put them after HOST:PORT")  # fmt: skip
    add("--duration", type=load_options.amount, default=0.0, metavar="SECONDS")
    add(
        "--timeout", type=load_options.amount, default=60.0, metavar="SECONDS", help="for a reply, default 60"
    )
    add("--ledger", type=Path, metavar="FILE", help="append what was accepted")
    add("--json", action="store_true", help="the report as JSON")
    add("--allow-remote", action="store_true", help="send to a host that is not this one")
    return parser


@load_options.kind
def size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,12})(?:-(\d{1,12}))?", text)
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if not low <= high <= MAX_SIZE:
        raise ValueError(f"'{text}': want BYTES or MIN-MAX, up to {MAX_SIZE}")
    return low, high


def make_plan(options: argparse.Namespace) -> tuple[Messages, Plan]:
    to = options.to
    if options.recipients > 1 and "%d" not in to:
        local, at, domain = to.rpartition("@")
        to = f"{local}%d@{domain}" if at else f"{to}%d"
    for text in (options.sender, to, options.helo):
        if not text.isprintable() or " " in options.helo:
            raise FatalError(f"'{text}': blanks and control characters cannot be sent")
    low, high = options.size
    messages: Messages = MadeUp(low, high, options.helo)
    count = options.messages or (0 if options.duration else 1)
    if options.files:
        paths = find_files(options.files)
        if not paths:
            raise FatalError(f"no messages in {' '.join(options.files)}")
        messages = Files(paths, options.ledger is not None)
        count = options.messages or (0 if options.duration else len(paths))
    sessions = min(options.sessions, count or options.sessions)
    if sessions > MAX_SESSIONS:
        raise FatalError(f"{sessions} sessions: {MAX_SESSIONS} is the most")
    return messages, Plan(
        sessions, count, options.rate, options.per_connection, options.pipelining, options.recipients,
        options.sender, to, options.helo, options.duration, options.timeout,
    )  # fmt: skip


def resolve(target: tuple[str, int], allow_remote: bool) -> list[tuple[str, int]]:
    """The addresses to connect to: those that were looked at, whatever the name says a moment later."""
    try:
        found = socket.getaddrinfo(*target, type=socket.SOCK_STREAM)
    except OSError as error:
        raise FatalError(f"{target[0]}: {error.strerror}") from None
    hosts = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
    remote = [host for host in hosts if not ipaddress.ip_address(host.partition("%")[0]).is_loopback]
    if remote and not allow_remote:
        raise FatalError(
            f"{load_options.show(target)} is not this host ({remote[0]}): a load generator pointed at a "
            "stranger is an attack; if the server is yours, say --allow-remote"
        )
    return [(host, target[1]) for host in hosts[:1]]


def _note(ledger: int, uuid: bytes, queue_id: bytes) -> None:
    os.write(ledger, b"%b %b\n" % (uuid, queue_id))


async def send(
    options: argparse.Namespace,
    plan: Plan,
    messages: Messages,
    addresses: list[tuple[str, int]],
    acknowledge: Callable[[bytes, bytes], None] | None,
) -> int:
    load = Load(plan, messages, acknowledge)
    interrupted: list[int] = []

    def interrupt(number: int) -> None:
        interrupted.append(number)
        load.stop()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt, number)
    bar = loop.create_task(_progress(load)) if sys.stderr.isatty() else None
    report = await load.run(addresses)
    if bar:
        bar.cancel()
        print(end="\r\x1b[K", file=sys.stderr, flush=True)
    print(json.dumps(report.as_json()) if options.json else report)
    return 128 + interrupted[0] if interrupted else 0 if report.good else 1


async def _progress(load: Load) -> None:
    """One line on a terminal, written over itself."""
    plan, report = load.plan, load.report
    while True:
        await asyncio.sleep(0.2)
        seconds = time.monotonic() - load.begun
        share = max(
            report.started / plan.messages if plan.messages else 0.0,
            seconds / plan.duration if plan.duration else 0.0,
        )
        filled = int(min(share, 1.0) * 30)
        print(
            f"\r[{'#' * filled:30s}] {share:4.0%}  {report.accepted} accepted, {report.failed} failed, "
            f"{report.accepted / seconds:.0f}/s \x1b[K",
            end="", file=sys.stderr, flush=True,
        )  # fmt: skip
