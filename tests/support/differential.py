"""The same messages through Debian's Postfix and through fastrelay on one configuration: what differs?

A Plan is a main.cf with its tables and messages; compare() plays it on both at once and gives a text for each
difference in replies, log lines, envelopes and contents. Made for plans that a seeded generator makes
(random_rewriting.py, random_contents.py). What a run alone decides (queue ids, times, ports) is taken out first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from support.keeping_sink import KeepingSink, Kept
from support.relay import Fastrelay, MailSystem, Postfix, until

SENDERS = 4  # at a time
LONGEST = 700  # of a line; Postfix ends one before 2000
NOT_OURS = re.compile("rewrite_addr: null address|non-UTF-8 key")
COMMON = {"smtpd_error_sleep_time": "0", "mail_name": "Mail", "notify_classes": ""}
MARK = b"mark-of-message-%d-"
DELIVERY = re.compile(
    r"\]: (\w+): (to=<.*?>,(?: orig_to=<.*?>,)? )relay=[^ ]*, .*?(dsn=[0-9.]+, status=\w+)( .*)?"
)
CLEANUP = re.compile(r"/cleanup\[\d+\]: (?:(warning: ))?(\w{8,}): (.*)")
WARNING = re.compile(r"/(?:cleanup|smtp|trivial-rewrite)\[\d+\]: (warning: .*)")
STAMP = re.compile(r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), [ \d]\d \w{3} \d{4} [\d:]{8} [-+]\d{4} \(\w+\)")


@dataclass(frozen=True)
class Mail:
    """`rcpt` may carry parameters behind the address: `<a@b> NOTIFY=NEVER`."""

    sender: str
    rcpt: tuple[str, ...]
    content: bytes


@dataclass(frozen=True)
class Plan:
    """`ordered`: what cleanup logs of a message is compared in its order.

    `exact`: rows own-8bit and bare-lf-sent of docs/differences.md count too.
    """

    name: str
    main: Mapping[str, str]
    tables: Mapping[str, str]
    mails: tuple[Mail, ...]
    ordered: bool = True
    exact: bool = False


@dataclass
class Seen:
    replies: list[str] = field(default_factory=list)
    cleanup: list[str] = field(default_factory=list)
    deliveries: list[str] = field(default_factory=list)
    arrived: list[str] = field(default_factory=list)


def play(kind: type[MailSystem], plan: Plan) -> tuple[list[Seen], list[str]]:
    """What was seen of each message, and the warnings that name none."""
    with KeepingSink() as sink, KeepingSink() as elsewhere:
        main = {
            "relayhost": sink.next_hop,
            "smtpd_error_sleep_time": "0",
            "mail_name": "Mail",
            "notify_classes": "",
            **plan.main,
        }
        places = {"SINK": sink.next_hop, "ELSEWHERE": elsewhere.next_hop}

        def fill_in(text: str) -> str:
            return re.sub("SINK|ELSEWHERE", lambda found: places[found[0]], text)

        tables = {name: fill_in(text) for name, text in plan.tables.items()}
        with kind({name: fill_in(str(value)) for name, value in main.items()}, tables) as relay:
            with ThreadPoolExecutor(SENDERS) as pool:
                try:
                    seen = list(pool.map(lambda each: send(relay, *each), enumerate(plan.mails)))
                except OSError as error:
                    raise AssertionError(
                        f"{plan}: {kind.__name__}: {error}: {relay.log()[-3000:]}"
                    ) from error
            ids = [queue_id for _, queue_id in seen]
            until(lambda: is_over(relay.log(), ids), lambda: f"{plan.name}: {relay.log()}")
            log = relay.log()
        found = [one for one, _ in seen]
        by_id = {queue_id: one for one, queue_id in seen if queue_id}
        hide = {f":{server.port}": ":PORT" for server in (sink, elsewhere)}
        for one in found:
            one.replies = [replace_all(reply, hide) for reply in one.replies]
        warnings = read_log(replace_all(log, hide), by_id)
        for place, server in (("", sink), ("elsewhere ", elsewhere)):
            for kept in server.messages:
                owner(kept.content, found, by_id).arrived.append(place + show(kept, plan.exact))
        for one in found:
            one.arrived.sort()
            one.deliveries.sort()
            if not plan.ordered:
                one.cleanup.sort()
        return found, warnings


def send(relay: MailSystem, number: int, mail: Mail) -> tuple[Seen, str]:
    seen = Seen()
    with relay.smtp() as client:
        client.ehlo()
        seen.replies.append(text_of(client.docmd(f"MAIL FROM:{mail.sender}")))
        for recipient in mail.rcpt:
            seen.replies.append(text_of(client.docmd(f"RCPT TO:{recipient}")))
        reply = client.docmd("DATA")
        if reply[0] == 354:
            marked = mail.content + MARK % number + b"\r\n"
            client.send(re.sub(rb"(?m)^\.", b"..", marked) + b".\r\n")
            reply = client.getreply()
        text = text_of(reply)
    queued = re.search(r"queued as (\w+)", text)
    seen.replies.append(re.sub(r"queued as \w+", "queued", text))
    return seen, queued[1] if queued else ""


def text_of(reply: tuple[int, bytes]) -> str:
    """Postfix shows an address in a refusal without its quotes."""
    return re.sub('<"(.*?)"@', r"<\1@", f"{reply[0]} {reply[1].decode('latin1')}")


def is_over(log: str, ids: list[str]) -> bool:
    """What came in is gone, held or put off, and so is what was made of it."""
    made = re.findall(r"notification: (\w+)", log)
    done = re.findall(r": (\w+): (?:removed|hold: |discard: |.*status=deferred)", log)
    return {*filter(None, ids), *made} <= set(done)


def read_log(log: str, by_id: Mapping[str, Seen]) -> list[str]:
    """Give the lines to their messages; the rest."""
    loose = []
    for line in log.splitlines():
        if (found := DELIVERY.search(line)) and (one := by_id.get(found[1])):
            to = "".join(f"<{fold(each)}> " for each in re.findall("<(.*?)>", found[2]))
            text = found[4] or ""
            if "status=sent" in found[3]:
                text = ""
            one.deliveries.append(f"{to}{found[3]}{text}")
        elif found := CLEANUP.search(line):
            if one := by_id.get(found[2]):
                one.cleanup.append(((found[1] or "") + normal(found[3]))[:LONGEST])
            elif found[1]:
                loose.append(found[1] + normal(found[3]))
        elif (found := WARNING.search(line)) and not NOT_OURS.search(line):
            loose.append(normal(found[1]))
    return sorted(loose)


def owner(content: bytes, found: list[Seen], by_id: Mapping[str, Seen]) -> Seen:
    """The message that it is, or one that is not looked at when nothing in it tells."""
    mark = re.search(rb"mark-of-message-(\d+)-", content)
    if mark is not None:
        return found[int(mark[1])]
    for queue_id, seen in by_id.items():
        if queue_id.encode() in content:
            return seen
    return Seen()


def show(kept: Kept, exact: bool) -> str:
    sender = fold(kept.sender.decode("latin1"))
    recipients = " ".join(sorted(fold(r.decode("latin1")) for r in kept.recipients))
    lines = kept.content if exact else kept.content.replace(b"\r\n", b"\n")
    if sender.startswith("<>"):  # notice-orcpt in docs/differences.md
        recipients = re.sub('ORCPT=rfc822;"(.*?)"@', r"ORCPT=rfc822;\1@", recipients)
    if sender.startswith("<>") and b"multipart/report" in lines:
        lines = b"(a notice)"
    sender = re.sub(r" SIZE=\d+" if exact else r" (SIZE=\d+|BODY=\w+)", "", sender)
    return f"{sender} -> {recipients}\n{normal(lines.decode('latin1'))}"


def fold(address: str) -> str:
    """Domains in lower case; ours are, Postfix keeps what the client wrote."""
    return re.sub("@[^> ]*", lambda found: found[0].lower(), address)


def normal(text: str) -> str:
    text = STAMP.sub("DATE", text)
    text = re.sub(r"<\d{14}\.\w+@", "<STAMP@", text)
    text = re.sub(r"/tmp/[\w-]+", "DIRECTORY", text)
    text = re.sub(r"\b[A-F0-9]{9,}\b", "QID", text)
    return re.sub(r"SMTP id \w+", "SMTP id QID", text)


def replace_all(text: str, words: Mapping[str, str]) -> str:
    for word, other in words.items():
        text = text.replace(word, other)
    return text


def compare(plan: Plan) -> list[str]:
    """What the two do differently, a text for each message."""
    with ThreadPoolExecutor(2) as pool:
        (theirs, their_warnings), (ours, our_warnings) = pool.map(
            lambda kind: play(kind, plan), (Postfix, Fastrelay)
        )
    different = []
    for mail, one, other in zip(plan.mails, theirs, ours, strict=True):
        if one != other:
            parts = [
                f"  {name}: Postfix {getattr(one, name)}\n  {name}: ours    {getattr(other, name)}"
                for name in ("replies", "cleanup", "deliveries", "arrived")
                if getattr(one, name) != getattr(other, name)
            ]
            different.append("\n".join([f"{mail}", *parts]))
    if their_warnings != our_warnings:
        only = (
            [w for w in their_warnings if w not in our_warnings],
            [w for w in our_warnings if w not in their_warnings],
        )
        different.append(f"warnings of Postfix alone: {only[0]}\n  of us alone: {only[1]}")
    return different
