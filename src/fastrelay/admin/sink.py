"""`fastrelay sink`: a server that takes mail, counts it, keeps it if told to, and misbehaves if told to."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastrelay.admin import load_options
from fastrelay.admin.errors import say
from fastrelay.load import script as scripts
from fastrelay.load.keep import MaildirKeeper
from fastrelay.load.scripted import ScriptedConnection
from fastrelay.load.sink import EHLO, Sink, SinkConnection
from fastrelay.master.errors import FatalError

BACKLOG = 4096
GRACE = 2.0  # seconds that clients get to say QUIT after the last message
HELP = """\
STAGE is one of connect, helo, mail, rcpt, data, content, dot, quit; with /TEXT only commands with TEXT in
them count (for dot: the message's addresses). A rule is for every time, or `:30` for 30 per cent of them,
`:every 3`, `:first 2`. The first rule that applies is followed. For instance:
  --reply 'rcpt/nobody@=550 5.1.1 No such user' --reply 'dot=451 4.3.0 Try later:first 2' --drop data:10
In a script FILE each line is an option without its dashes: reply dot=452 4.3.1 Full:every 5
Kept messages have X-Envelope-Helo, X-Envelope-From and X-Envelope-To header lines on top.
"""


def main(config_dir: Path, args: list[str]) -> int:
    options = _parser().parse_args(args)
    return load_options.run(serve(options, make_script(options)))


def _parser() -> load_options.Parser:
    parser = load_options.Parser(prog="fastrelay sink", description=__doc__, epilog=HELP)
    add = parser.add_argument
    add("--listen", type=load_options.address, default=("127.0.0.1", 2526), metavar="HOST:PORT",
        help="default 127.0.0.1:2526; port 0 takes a free one; the address is printed")  # fmt: skip
    add("--maildir", type=Path, metavar="DIR", help="keep the messages there")
    add("--raw", action="store_true", help="keep CRLF line ends in the Maildir")
    add("--count", action="store_true", help="print the counts at the end")
    add("--progress", action="store_true", help="print the counts every second, on standard error")
    add("--json", action="store_true", help="address and counts as JSON lines (means --count)")
    add("--max-messages", type=load_options.positive, default=0, metavar="N", help="end after N messages")
    add("--ehlo", action="append", nargs="+", metavar="KEYWORD",
        help=f"announce these (a KEYWORD may have parameters in quotes) for {' '.join(EHLO)}")  # fmt: skip
    add("--script", type=Path, metavar="FILE")
    _rules(add)
    return parser


def _rules(add: Any) -> None:
    """What may stand in a script too."""
    kind = load_options.kind
    add("--reply", type=kind(scripts.parse_reply), action="append", default=[],
        metavar="STAGE[/TEXT]=REPLY[:WHEN]")  # fmt: skip
    add("--drop", type=kind(scripts.parse_drop), action="append", default=[], metavar="STAGE[/TEXT][:WHEN]",
        help="close the connection there")  # fmt: skip
    add("--latency", type=kind(scripts.parse_latency), action="append", default=[],
        metavar="[STAGE=]MS|MIN-MAX|exp:MEAN", help="milliseconds until a reply leaves")  # fmt: skip
    add("--tarpit", type=load_options.amount, metavar="BYTES_PER_S", help="read and reply as slowly as that")


def make_script(options: argparse.Namespace) -> scripts.Script:
    """The command line's rules, then the file's."""
    script = scripts.Script()
    for given in [options, *_read_script(options.script)]:
        for rule in given.reply + given.drop:
            script.add(rule)
        script.latency.update(given.latency)
        script.tarpit = given.tarpit or script.tarpit
    return script


def _read_script(path: Path | None) -> list[argparse.Namespace]:
    parser = load_options.Parser(prog="fastrelay sink", add_help=False)
    _rules(parser.add_argument)
    found = []
    for number, line in enumerate(path.read_text().splitlines() if path else [], 1):
        option, _, value = line.strip().partition(" ")
        if not option or option.startswith("#"):
            continue
        try:
            found.append(parser.parse_args([f"--{option}={value.strip()}"]))
        except FatalError as error:
            raise FatalError(f"{path}, line {number}: {str(error).split(' (see ')[0]}") from None
    return found


async def serve(options: argparse.Namespace, script: scripts.Script) -> int:
    keep = MaildirKeeper(options.maildir.absolute(), options.raw) if options.maildir else None
    ehlo = EHLO if options.ehlo is None else tuple(word for words in options.ehlo for word in words if word)
    sink = Sink(keep, ehlo, options.max_messages, lambda text: say("sink", f"error: {text}"))
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    make = (lambda: ScriptedConnection(sink, script)) if script else (lambda: SinkConnection(sink))
    server = await loop.create_server(make, *options.listen, backlog=BACKLOG)
    where = load_options.show(server.sockets[0].getsockname())
    print(json.dumps({"listening": where}) if options.json else f"listening on {where}", flush=True)
    ticker = loop.create_task(_progress(sink)) if options.progress else None
    await _until_end(sink, ended)
    if ticker:
        ticker.cancel()
    server.close()
    for connection in list(sink.open):
        connection.close()
    if options.json:
        print(json.dumps(asdict(sink.counts)))
    elif options.count:
        print(sink.counts)
    return 0


async def _until_end(sink: Sink, ended: asyncio.Event) -> None:
    """A signal, or the last message and then its client's QUIT."""
    waits = [asyncio.ensure_future(event.wait()) for event in (ended, sink.full)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    deadline = asyncio.get_running_loop().time() + GRACE
    while sink.open and not ended.is_set() and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.01)


async def _progress(sink: Sink) -> None:
    """Over one line on a terminal, else line by line."""
    end, messages = ("\r" if sys.stderr.isatty() else "\n"), 0
    while True:
        await asyncio.sleep(1)
        rate, messages = sink.counts.messages - messages, sink.counts.messages
        print(f"{sink.counts} ({rate}/s, {len(sink.open)} open)", end=end, file=sys.stderr, flush=True)
