"""Configurations that rewrite addresses, and messages for them, at random: the same for the same seed.

Addresses, keys and values are drawn from small pools, so that tables hit, chain and loop often. What is a row of
docs/differences.md is left out: envelope addresses have just one form, no table leads to an empty local part.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from support.differential import Mail, Plan

DOMAINS = [
    "t.test",
    "local.test",
    "alias.test",
    "h.mas.test",
    "mas.test",
    "old.test",
    "origin.test",
    "relay.test",
    "u.test",
]
USERS = [
    "a",
    "b",
    "c",
    "l",
    "root",
    "postmaster",
    "mailer-daemon",
    "owner-l",
    "l-request",
    "a+x",
    "a-y",
    "b+x-y",
    "c+",
    "A",
    "B.c",
]
ODD = [
    '"a b"@t.test',
    '"a+x y"@t.test',
    "a%b@local.test",
    "t.test!a@local.test",
    "a@[127.0.0.1]",
    '"a@t.test"@local.test',
    "_x@t.test",
    "a@-t.test",
    "a/b@t.test",
    "c%d%e@local.test",
    "x!y!z@local.test",
]
ODD_IN_HEADERS = [
    *ODD,
    *[
        "a",
        "b+x",
        "a@t",
        "A@T.TEST",
        "a%t.test",
        "t.test!b",
        "a@b@t.test",
        "a.b.@t.test",
        '"a"@t.test',
        "a@t.test.",
    ],
]
ODD_VALUES = [
    '"a b"@t.test',
    "<>",
    "Name <a@t.test>",
    "a@t.test (c)",
    "a b",
    "a@t",
    "a%t.test",
    "t.test!b",
    "list: a@t.test, b@t.test;",
    "a@t.test.",
    "é@t.test",
    "a@[127.0.0.1]",
    "@x.test:a@t.test",
    "a@@t.test",
    "a@b@t.test",
    '"a',
    "a\\ b@t.test",
    "<a@t.test",
]
ODD_HEADER_VALUES = ["<>", '""', "", "undisclosed-recipients:;", "()", "a@", "@t.test", "<a>", '"a"']
CLASSES = ["envelope_sender", "envelope_recipient", "header_sender", "header_recipient"]
EXTENSIONS = ["canonical", "virtual", "alias", "forward", "include", "generic"]
FLAGS = [
    "append_dot_mydomain",
    "swap_bangpath",
    "allow_percent_hack",
    "resolve_dequoted_address",
    "resolve_null_domain",
    "resolve_numeric_domain",
    "enable_original_recipient",
    "always_add_missing_headers",
    "allow_untrusted_routing",
]
NAMES = [
    "From",
    "To",
    "Cc",
    "Sender",
    "Reply-To",
    "Errors-To",
    "Return-Receipt-To",
    "Apparently-To",
    "Mail-Followup-To",
    "Disposition-Notification-To",
    "Resent-From",
    "Resent-To",
    "Resent-Cc",
    "Resent-Sender",
    "Resent-Reply-To",
    "Subject",
    "X-To",
    "Delivered-To",
]
OTHERS = [  # a header that is dropped is not mapped first
    *[
        "Bcc: hidden@away.test",
        "Resent-Bcc: hidden@away.test",
        "Return-Path: <hidden@away.test>",
        "Content-Length: 5",
    ],
    *[
        "Message-ID: <m@x.test>",
        "Message-Id:<n@x.test>",
        "Resent-Message-ID: <r@x.test>",
        "Message-ID: broken <",
        "Message-ID:",
    ],
    "resent-message-id :  <q@x>",
    "Date: Mon, 23 Nov 2026 01:00:00 +0000",
    "Resent-Date: Mon, 23 Nov 2026 01:00:00 +0000",
    "Received: from x by y; z",
    "Subject:\r\n folded\r\n\tagain",
    "X-Long: " + "x" * 200,
]
PIECES = [
    "(c)",
    "(c (d))",
    "Name",
    '"A. B"',
    "<",
    ">",
    ",",
    ";",
    ":",
    "g:",
    "@",
    '"',
    "\\",
    "(",
    ")",
    "[",
    "]",
    ".",
    "!",
    "%",
    " ",
    "\t",
    "\r\n ",
    "é",
    "=?utf-8?q?x?=",
    "@x.test:",
    "@t.test",
    "<>",
]


class Dice(random.Random):
    def maybe(self, chance: float) -> bool:
        return self.random() < chance

    def some(self, pool: Sequence[str], most: int = 3) -> str:
        return ", ".join(self.sample(list(pool), self.randint(1, min(len(pool), most))))


class Maker:
    """A main.cf and its tables in the making."""

    def __init__(self, dice: Dice, main: dict[str, str]) -> None:
        self.dice, self.main = dice, main
        self.tables: dict[str, str] = {}

    def maps(self, name: str, chance: float, make: Callable[[], str]) -> None:
        if self.dice.maybe(chance):
            rows = {key(self.dice).lower(): make() for _ in range(self.dice.randint(1, 14))}
            self.tables[name] = "".join(f"{left}  {right}\n" for left, right in rows.items())
            self.main[name] = f"texthash:$config_directory/{name}"

    def flag(self, name: str, values: Sequence[str], chance: float = 0.4) -> None:
        if self.dice.maybe(chance):
            self.main[name] = self.dice.choice(list(values))


def rewriting(seed: int, count: int = 24) -> Plan:
    dice = Dice(seed)
    maker = Maker(
        dice,
        {
            "mydestination": "local.test, localhost",
            "myorigin": dice.choice(["origin.test", "$myhostname", "local.test"]),
            "mydomain": "dom.test",
            "local_recipient_maps": "",
            "local_transport": "smtp:SINK",
            "relay_transport": "smtp:SINK",
            "virtual_alias_domains": dice.choice(["alias.test", "alias.test, u.test", ""]),
            "relay_domains": "relay.test",
            "virtual_alias_recursion_limit": dice.choice(["5", "20", "1000"]),
            "virtual_alias_expansion_limit": dice.choice(["10", "30", "200"]),
        },
    )
    map_addresses(maker)
    add_and_route(maker)
    maker.flag("local_header_rewrite_clients", ["", "permit_mynetworks", "static:all"])
    maker.flag("remote_header_rewrite_domain", ["remote.invalid"])
    maker.flag("undisclosed_recipients_header", ["To: undisclosed-recipients:;", ""], 0.3)
    maker.flag("header_address_token_limit", ["10", "30"], 0.1)
    for name in FLAGS:
        maker.flag(name, ["yes", "no"], 0.3)
    mails = [
        Mail(sender(dice), tuple(recipient(dice) for _ in range(dice.randint(1, 4))), message(dice))
        for _ in range(count)
    ]
    return Plan(f"rewriting {seed}", maker.main, maker.tables, tuple(mails), ordered=False)


def map_addresses(maker: Maker) -> None:
    dice = maker.dice
    maker.flag("recipient_delimiter", ["+", "-", "+-", ".+", ""], 0.8)
    maker.flag("owner_request_special", ["no"], 0.3)
    maker.flag("propagate_unmatched_extensions", ["", dice.some(EXTENSIONS, 6)], 0.5)
    for name, chance in (("canonical", 0.5), ("sender_canonical", 0.3), ("recipient_canonical", 0.3)):
        maker.maps(f"{name}_maps", chance, lambda: value(dice, most=2))
        pool = [word for word in CLASSES if name.removesuffix("canonical").rstrip("_") in word]
        maker.flag(f"{name}_classes", [dice.some(pool, 4)], 0.3)
    if dice.maybe(0.4):
        maker.main["masquerade_domains"] = dice.some(
            ["mas.test", "!h.mas.test", "test", "!mas.test", "T.test", "local.test"]
        )
        maker.flag("masquerade_exceptions", ["root", "root, a", "a+x"], 0.5)
        maker.flag("masquerade_classes", [dice.some(CLASSES, 4)], 0.5)
    maker.maps("virtual_alias_maps", 0.6, lambda: value(dice, most=4))
    maker.maps("smtp_generic_maps", 0.4, lambda: away(dice))


def add_and_route(maker: Maker) -> None:
    dice = maker.dice
    maker.flag("always_bcc", ["bcc@t.test", "a", "a+x@t.test"], 0.2)
    maker.maps("sender_bcc_maps", 0.2, lambda: plain(dice))
    maker.maps("recipient_bcc_maps", 0.2, lambda: plain(dice))
    maker.flag("empty_address_recipient", ["nobody", "x@t.test"], 0.2)
    maker.maps("relocated_maps", 0.2, lambda: dice.choice(["new@x.test", "far away", "a@b", "gone"]))
    hops = ["ELSEWHERE", "SINK", "DUNNO", "dunno"]
    maker.maps("sender_dependent_relayhost_maps", 0.2, lambda: dice.choice(hops))
    routes = ["smtp:ELSEWHERE", "error:5.7.1 no", "error:no", "discard:"]
    by_sender = [*routes, "smtp:", "smtp", "DUNNO"]
    maker.maps("sender_dependent_default_transport_maps", 0.2, lambda: dice.choice(by_sender))
    maker.maps("transport_maps", 0.3, lambda: dice.choice([*routes, ":ELSEWHERE", "discard:quietly"]))


# Addresses


def plain(dice: Dice) -> str:
    return f"{dice.choice(USERS)}@{dice.choice(DOMAINS)}"


def path(dice: Dice) -> str:
    """An envelope address that has just one form (docs/differences.md: canonical-form)."""
    if dice.maybe(0.15):
        return dice.choice(ODD)
    user, at, domain = plain(dice).partition("@")
    return (user.upper() if dice.maybe(0.05) else user) + at + domain


def in_header(dice: Dice) -> str:
    if dice.maybe(0.15):
        return dice.choice(ODD_IN_HEADERS)
    return plain(dice).upper() if dice.maybe(0.05) else plain(dice)


def key(dice: Dice) -> str:
    kind = dice.random()
    if kind < 0.12:
        return "@" + dice.choice(DOMAINS)
    if kind < 0.22:
        return dice.choice(USERS)
    if kind < 0.26:
        return dice.choice(['"a b"@t.test', "a@t", '"a+x y"@t.test', "<>"])
    user, _, domain = plain(dice).partition("@")
    return f"{user.partition('+')[0] if dice.maybe(0.5) else user}@{domain}"


def value(dice: Dice, most: int) -> str:
    kind = dice.random()
    if kind < 0.1:
        return "@" + dice.choice(DOMAINS)
    if kind < 0.16:
        return dice.choice(USERS)
    if kind < 0.24:
        return dice.choice(ODD_VALUES)
    return ", ".join(plain(dice) for _ in range(1 if kind < 0.7 else dice.randint(1, most)))


def away(dice: Dice) -> str:
    """One that no table maps: what maps to itself is a row of docs/differences.md (generic-same)."""
    user = dice.choice(USERS)
    return dice.choice(
        [f"{user}@g.test", "@g.test", '"g g"@g.test', "Name <a@g.test>", "g%g.test", "g@g.test, h@g.test"]
    )


# Messages


def sender(dice: Dice) -> str:
    return "<>" if dice.maybe(0.12) else f"<{path(dice)}>"


def recipient(dice: Dice) -> str:
    parameters = [
        " NOTIFY=NEVER",
        " NOTIFY=FAILURE,DELAY",
        " ORCPT=rfc822;o@t.test",
        " NOTIFY=DELAY ORCPT=rfc822;o+2Bp@t.test",
    ]
    return f"<{path(dice)}>" + (dice.choice(parameters) if dice.maybe(0.1) else "")


def mailbox(dice: Dice) -> str:
    one = in_header(dice)
    form = dice.random()
    if form < 0.35:
        return one
    if form < 0.6:
        return f"Name N. <{one}>"
    if form < 0.88:
        quoted = f'"Quoted, N" <{one}>'
        return dice.choice(
            [f"{one} (comment)", quoted, f"group: {one}, {in_header(dice)};", f"<@x.test,@y.test:{one}>"]
        )
    if form < 0.92:
        return dice.choice([*ODD_HEADER_VALUES, "x" * 80 + "@t.test"])
    return "".join(dice.choice([*PIECES, in_header(dice)]) for _ in range(dice.randint(1, 9)))


def header(dice: Dice) -> str:
    if dice.maybe(0.25):
        return dice.choice(OTHERS)
    name = dice.choice(NAMES[:7] if dice.maybe(0.6) else NAMES)
    if dice.maybe(0.1):
        name = dice.choice([name.upper(), name.lower(), name + " ", name + "\t"])
    joint = dice.choice([", ", ", ", ",", ",\r\n ", ",\r\n\t", " "])
    values = joint.join(mailbox(dice) for _ in range(dice.choice([1, 1, 1, 2, 3, 6])))
    return f"{name}:{dice.choice([' ', ' ', '', '  '])}{values}"


def message(dice: Dice) -> bytes:
    lines = [header(dice) for _ in range(dice.randint(0, 8))]
    if dice.maybe(0.04):
        lines.insert(0, dice.choice(["From x y", ">From z", " blank first", "no header"]))
    text = "\r\n".join([*lines, ""]) + "\r\n"
    return (text + dice.choice(["body\r\n", ".dots\r\n", "", "\r\n", "é\r\n"])).encode()
