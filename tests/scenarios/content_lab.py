"""Plays the content cases against a relay and notes what there is to compare: replies, log lines, what arrived."""

from __future__ import annotations

import re
import smtplib
from collections.abc import Sequence
from dataclasses import dataclass, field

from content_cases import CONFIGURATIONS, TABLES, Case

from support.keeping_sink import KeepingSink
from support.relay import PATIENCE, MailSystem, until

STAMP = re.compile(rb"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), [ \d]\d \w{3} \d{4} [\d:]{8} [-+]\d{4} \(\w+\)")


@dataclass
class Result:
    """`arrived` has (recipient, content), sorted by recipient; `log` what cleanup said of the message."""

    reply: str = ""
    log: list[str] = field(default_factory=list)
    arrived: list[tuple[str, bytes]] = field(default_factory=list)


def play(kind: type[MailSystem], configuration: str, cases: Sequence[Case]) -> tuple[list[Result], list[str]]:
    """The results, and the warnings that name no message."""
    with KeepingSink() as sink:
        main = {
            **CONFIGURATIONS[configuration],
            "relayhost": sink.next_hop,
            "append_dot_mydomain": "yes",
            "mydomain": "dom.test",
            "virtual_alias_domains": "",
            "mail_name": "Mail",
        }
        with kind(main, TABLES) as relay:
            return run(relay, sink, cases)


def run(relay: MailSystem, sink: KeepingSink, cases: Sequence[Case]) -> tuple[list[Result], list[str]]:
    results, names = [], []
    for number, case in enumerate(cases):
        reply, name = transmit(relay, f"case{number}@client.example", case)
        results.append(Result(reply.replace(name, "QID") if name else reply))
        names.append(name)
    until(lambda: all(is_over(relay.log(), number, name) for number, name in enumerate(names)), relay.log)
    until(lambda: len(re.findall(r": client=", relay.log())) == len(cases), relay.log)
    until(
        lambda: relay.log().count("disconnect from") > len(cases), relay.log
    )  # one more asked whether it is up
    loose = read_log(relay.log(), results)
    for kept in sink.messages:
        number = re.match(rb"<case(\d+)@", kept.sender)
        assert number, kept.sender
        content = normal(kept.content)
        results[int(number[1])].arrived += [(r.decode().split()[0], content) for r in kept.recipients]
    for result in results:
        result.arrived.sort()
    return results, loose


def transmit(relay: MailSystem, sender: str, case: Case) -> tuple[str, str]:
    """The reply to the final dot, and the queue id when it names one."""
    with smtplib.SMTP(relay.host, relay.port, local_hostname="client.test", timeout=PATIENCE) as client:
        client.ehlo()
        assert client.mail(sender, case.parameters)[0] == 250
        for recipient in case.recipients:
            assert client.rcpt(recipient)[0] == 250
        assert client.docmd("DATA")[0] == 354
        client.send(re.sub(rb"(?m)^\.", b"..", case.content) + b".\r\n")
        code, text = client.getreply()
    queued = re.search(r"queued as (\w+)", text.decode("latin1"))
    return f"{code} {text.decode('latin1')}", queued[1] if queued else ""


def is_over(log: str, number: int, name: str) -> bool:
    """Nothing more will be said of the message: it was refused, or is removed, held or discarded."""
    return not name or bool(re.search(rf"{name}: (removed|hold: |discard: )", log))


def read_log(log: str, results: list[Result]) -> list[str]:
    """Give the lines of cleanup to their messages; the rest are warnings about tables and actions."""
    owners, loose, order = {}, [], []
    for line in log.splitlines():
        if found := re.search(r"smtpd\[\d+\]: (\w+): client=", line):
            order.append(found[1])
            owners[found[1]] = len(order) - 1
    assert len(order) == len(results)
    for line in log.splitlines():
        if (found := re.search(r"cleanup\[\d+\]: (warning: )?(\w+): (.*)", line)) and found[2] in owners:
            text = (found[1] or "") + normal(found[3].encode("utf-8", "surrogateescape")).decode("latin1")
            results[owners[found[2]]].log.append(re.sub(r"\b[A-F0-9]{9,}\b", "QID", text))
            continue
        if found := re.search(r"cleanup\[\d+\]: (warning: .*)", line):
            text = normal(found[1].encode()).decode()
            loose.append(re.sub(r"/tmp/[\w-]+", "DIRECTORY", text))
    return sorted(loose)


def normal(text: bytes) -> bytes:
    """Without what differs from run to run: queue ids, dates."""
    text = STAMP.sub(b"DATE", text)
    text = re.sub(rb"<\d{14}\.\w+@", b"<STAMP@", text)
    return re.sub(rb"SMTP id \w+", b"SMTP id QID", text)
