"""The same mail through Debian's Postfix and through fastrelay, and what both make of its envelope.

A Setup is a main.cf with its tables and a list of Cases; run() starts one relay with a sink behind it, sends
each case as one message, and gives back what was seen of each: replies, envelopes at the sink, to= and
orig_to= in the log; and of all, the warnings of cleanup. Equal results mean two relays that do the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from support.keeping_sink import KeepingSink, Kept
from support.relay import Fastrelay, MailSystem, Postfix, until

SENDERS = 4  # at a time
SUBJECT = b"Subject: case %d\r\n\r\nbody\r\n"
RECIPIENT = re.compile(r'("[^"]*"@\S+|\S+)(| .*)')
DELIVERY = re.compile(r"\]: (\w+): to=<(.*?)>,(?: orig_to=<(.*?)>,)? relay=.*, dsn=([0-9.]+), status=(\w+)")
CHILD = re.compile(r"(?:forwarded as|notification:) (\w+)")
WARNING = re.compile(r"/cleanup\[\d+\]: warning: (.*maps.*)")


@dataclass(frozen=True)
class Case:
    """`rcpt` may carry parameters behind the address: `a@b NOTIFY=NEVER`."""

    sender: str
    rcpt: tuple[str, ...]


def case(sender: str, *rcpt: str) -> Case:
    return Case(sender, rcpt)


@dataclass(frozen=True)
class Setup:
    name: str
    main: Mapping[str, object]
    tables: Mapping[str, str]
    cases: tuple[Case, ...]


@dataclass
class Seen:
    """What became of one case. Domains are in lower case, lists sorted."""

    replies: list[str] = field(default_factory=list)
    envelopes: list[tuple[str, list[str]]] = field(default_factory=list)
    log: list[str] = field(default_factory=list)


def run(kind: type[MailSystem], setup: Setup) -> tuple[list[Seen], list[str]]:
    """What was seen of each case, and the warnings of all."""
    with KeepingSink() as sink, KeepingSink() as elsewhere:
        main = {"relayhost": sink.next_hop, "smtpd_error_sleep_time": "0", **setup.main}
        main = {name: _fill_in(value, sink, elsewhere) for name, value in main.items()}
        with kind(main, setup.tables) as relay:
            with ThreadPoolExecutor(SENDERS) as pool:
                seen = list(pool.map(lambda each: _send(relay, *each), enumerate(setup.cases)))
            ids = {found.replies[-1].rpartition(" ")[2] for found in seen if found.replies[-1][:3] == "250"}
            until(lambda: _all_done(relay.log(), ids), relay.log)
            warnings = [re.sub(r"^[0-9A-F]{8,}: ", "", text) for text in WARNING.findall(relay.log())]
            sinks = {"": sink, "elsewhere: ": elsewhere}
            return [_look(found, number, relay, sinks) for number, found in enumerate(seen)], sorted(warnings)


def _all_done(log: str, ids: set[str]) -> bool:
    """What came in is gone, and so is what was made of it."""
    return all(f"{queue_id}: removed" in log for queue_id in ids | set(CHILD.findall(log)))


def _fill_in(value: object, sink: KeepingSink, elsewhere: KeepingSink) -> str:
    return str(value).replace("SINK", sink.next_hop).replace("ELSEWHERE", elsewhere.next_hop)


def _send(relay: MailSystem, number: int, case: Case) -> Seen:
    found = Seen()
    with relay.smtp() as client:
        client.ehlo()
        client.docmd(f"MAIL FROM:<{case.sender}>")
        for recipient in case.rcpt:
            match = RECIPIENT.fullmatch(recipient)
            assert match is not None
            found.replies.append(_text(client.docmd(f"RCPT TO:<{match[1]}>{match[2]}")))
        code, text = client.docmd("DATA")
        if code == 354:
            client.send(SUBJECT % number + b".\r\n")
            found.replies.append(_text(client.getreply()))
        else:
            found.replies.append(_text((code, text)))
    return found


def _text(reply: tuple[int, bytes]) -> str:
    """Postfix shows an address in a refusal without its quotes."""
    return re.sub('<"(.*?)"@', r"<\1@", f"{reply[0]} {reply[1].decode()}")


def _look(found: Seen, number: int, relay: MailSystem, sinks: Mapping[str, KeepingSink]) -> Seen:
    queue_id = found.replies[-1].rpartition(" ")[2]
    for name, to, original, dsn, status in DELIVERY.findall(relay.log()):
        if name == queue_id:
            found.log.append(f"to={_fold(to)} orig_to={_fold(original)} {dsn} {status}")
    found.log.sort()
    for name, sink in sinks.items():
        mine = [kept for kept in sink.messages if b"Subject: case %d\r\n" % number in kept.header]
        found.envelopes += [(name + sender, recipients) for sender, recipients in map(_envelope, mine)]
    found.envelopes.sort()
    found.replies[-1] = re.sub(r"queued as \w+", "queued", found.replies[-1])
    return found


def _envelope(kept: Kept) -> tuple[str, list[str]]:
    sender = re.match(rb"<(.*?)>(?: |$)", kept.sender)
    assert sender is not None, kept.sender
    return _fold(sender[1].decode()), sorted(_fold(x.decode().removeprefix("<")) for x in kept.recipients)


def _fold(address: str) -> str:
    """The domain in lower case; ORCPT and the like as they are."""
    head, space, tail = address.partition("> ")
    local, at, domain = head.rpartition("@")
    kind, orcpt, original = tail.partition("ORCPT=rfc822;")
    return local + at + domain.lower() + space + kind + orcpt + (_fold(original) if orcpt else "")


def compare(setup: Setup) -> list[str]:
    """What Postfix and we do differently, in lines."""
    with ThreadPoolExecutor(2) as pool:
        theirs, ours = pool.map(lambda kind: run(kind, setup), (Postfix, Fastrelay))
    different = [
        f"{case}\n  Postfix {one}\n  ours    {other}"
        for case, one, other in zip(setup.cases, theirs[0], ours[0], strict=True)
        if one != other
    ]
    if theirs[1] != ours[1]:
        different.append(f"Postfix warns {theirs[1]}\n  we      {ours[1]}")
    return different
