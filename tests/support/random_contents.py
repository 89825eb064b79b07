"""Configurations with header and body checks, and MIME messages for them, at random: the same for the same seed.

The patterns of the tables are words of which the messages are made, so that each check hits now and then.
"""

from __future__ import annotations

from collections.abc import Sequence

from support.differential import Mail, Plan
from support.random_rewriting import Dice, Maker

WORDS = ["alpha", "beta", "gamma", "delta", "eps", "zeta"]
PATTERNS = [
    *(f"/({word}.?.?.?)/" for word in WORDS),
    *["/^(X-[a-z]*): .*zeta/", "/(^--)/", "/(..)$/", "/^(Content-[a-z]*):/", "/^([a-z]+)$/", "/^(.)/"],
]
MILD = [  # they end nothing
    *[
        "WARN careful",
        "WARN",
        "INFO just $1",
        "INFO",
        "IGNORE",
        "STRIP",
        "STRIP it",
        "DUNNO",
        "OK",
        "PASS",
        "BCC copy@t.test",
        "BCC a@alias.test",
        "BCC",
    ],
    *[
        "PREPEND X-New: $1",
        "PREPEND bad",
        "PREPEND",
        "PREPEND X-A: 1$1",
        "PREPEND .dot",
        "UNKNOWN x",
        "REPLACE X-Other: $1",
        "REPLACE",
    ],
    *[
        "REPLACE plain $1",
        "REPLACE To: new@t.test",
        "REPLACE Message-Id: <new@x>",
        "REPLACE From: a b <c@t.test>",
        "REPLACE .dot",
    ],
    *[
        "REPLACE X-Beta: beta alpha",
        "REPLACE Subject: $1 .$1",
        "REPLACE Content-Type: multipart/mixed; boundary=bb",
    ],
    "PREPEND X-Long: " + "$1" * 26,
    "WARN " + "$1" * 2,
]
ACTIONS = [
    *MILD,
    *[
        "REJECT",
        "REJECT no $1",
        "REJECT 4.2.1 later",
        "REJECT 5.9.9 never",
        "DISCARD",
        "DISCARD gone $1",
        "HOLD",
        "HOLD look",
    ],
    *["FILTER smtp:ELSEWHERE", "FILTER bad", "REDIRECT other@t.test", "REDIRECT bad"],
]
KINDS = {"header": "header", "mime": "mime_header", "nested": "nested_header", "body": "body"}
LIMITS = (
    ("mime_boundary_length_limit", ["5", "70"], 0.2),
    ("mime_nesting_limit", ["2", "5"], 0.25),
    ("body_checks_size_limit", ["40", "200"], 0.3),
    ("line_length_limit", ["512"], 0.2),
    ("disable_mime_input_processing", ["yes"], 0.15),
    ("disable_mime_output_conversion", ["yes"], 0.15),
    ("strict_8bitmime", ["yes"], 0.1),
    ("strict_7bit_headers", ["yes"], 0.1),
    ("strict_8bitmime_body", ["yes"], 0.1),
    ("strict_mime_encoding_domain", ["yes"], 0.2),
    ("enable_original_recipient", ["no"], 0.1),
    ("duplicate_filter_limit", ["1"], 0.1),
    ("message_drop_headers", ["x-alpha, to, message-id"], 0.15),
    ("local_header_rewrite_clients", [""], 0.2),
    ("content_filter", ["smtp:ELSEWHERE"], 0.1),
    ("smtp_generic_maps", ["inline:{a@t.test=g@t.test}"], 0.2),
)
LINES = ["", ".", "..", ".alpha", "--", "--bb", "--cc--", "From alpha", "caf\xe9", " beta", "Subject: beta"]
FIELDS = [
    "X-Alpha",
    "X-b",
    "Subject",
    "To",
    "From",
    "Message-Id",
    "Content-Id",
    "Content-Description",
    "MIME-Version",
    "Received",
    "Date",
    "Resent-To",
]
MARKS = ["bb", "cc", "b b", "bbbb", "abcdefgh", "bb--"]


def content(seed: int, count: int = 30) -> Plan:
    dice = Dice(seed)
    maker = Maker(dice, {"myorigin": "origin.test", "virtual_alias_maps": "inline:{a@alias.test=b@t.test}"})
    for prefix, chance in (("", 0.75), ("smtp_", 0.5)):
        if dice.maybe(chance):
            checks(maker, prefix)
    for name, values, chance in LIMITS:
        maker.flag(name, values, chance)
    return Plan(f"content {seed}", maker.main, maker.tables, tuple(mail(dice) for _ in range(count)))


def checks(maker: Maker, prefix: str) -> None:
    dice = maker.dice
    for kind in KINDS.values():
        if dice.maybe(0.7):
            name = f"{prefix}{kind}_checks"
            maker.main[name] = f"regexp:$config_directory/{name}"
            maker.tables[name] = "".join(rule(dice) for _ in range(dice.randint(1, 7)))


def rule(dice: Dice) -> str:
    pattern = dice.choice(PATTERNS[: dice.choice([6, 9, 12])])
    return f"{pattern} {dice.choice(MILD if dice.maybe(0.6) else ACTIONS)}\n"


def mail(dice: Dice) -> Mail:
    sender = f"<{dice.choice('ab')}@t.test>{dice.choice(['', ' BODY=8BITMIME'])}"
    recipients = tuple(f"<{name}@t.test>" for name in dice.sample("abc", dice.randint(1, 2)))
    lines = [field(dice) for _ in range(dice.randint(0, 3))]
    return Mail(sender, recipients, "\r\n".join([*lines, *entity(dice, 0), ""]).encode("latin1"))


def text_line(dice: Dice) -> str:
    if dice.maybe(0.1):
        return dice.choice([*LINES, "x" * 600 + "alpha" + "y" * 1200])
    return " ".join(dice.choice([*WORDS, "plain", "text"]) for _ in range(dice.randint(1, 4)))


def field(dice: Dice) -> str:
    folded = "\r\n\t" + text_line(dice).strip() + "x" if dice.maybe(0.25) else ""
    return f"{dice.choice(FIELDS)}:{dice.choice([' ', ' ', '', '  '])}{text_line(dice)[:80].strip()}{folded}"


def entity(dice: Dice, depth: int) -> list[str]:
    """The lines of a part: its header, an empty line, its body."""
    lines = [field(dice) for _ in range(dice.randint(0, 2))]
    kind = dice.random()
    if kind < 0.35 and depth < 5:
        body = multipart(dice, depth, lines)
    elif kind < 0.5 and depth < 5:
        kinds = ["message/rfc822", "Message/RFC822; x=y", "message/partial", "message/global"]
        lines.append("Content-Type: " + dice.choice(kinds))
        body = entity(dice, depth + 1)
    else:
        if dice.maybe(0.3):
            lines.append("Content-Type: text/plain; charset=utf-8")
        body = [text_line(dice) for _ in range(dice.randint(0, 5))]
    if dice.maybe(0.15):
        encodings = ["7bit", "8bit", "base64", "quoted-printable", "binary", "x-odd"]
        lines.append("Content-Transfer-Encoding: " + dice.choice(encodings))
    return [*lines, *([] if dice.maybe(0.05) else [""]), *body]


def multipart(dice: Dice, depth: int, lines: list[str]) -> list[str]:
    """Puts a Content-Type among the lines of a header; the lines of the body."""
    mark = dice.choice(MARKS)
    form = dice.choice(parameters(mark))
    kind = dice.choice(["mixed", "mixed", "alternative", "digest", "MIXED "])
    at = dice.randint(0, len(lines))
    lines.insert(at, f"Content-Type: multipart/{kind};{dice.choice([' ', chr(13) + chr(10) + chr(9)])}{form}")
    body = [text_line(dice)] if dice.maybe(0.5) else []
    for _ in range(dice.randint(0, 3)):
        body += ["--" + mark + dice.choice(["", "", "", " ", "x"]), *entity(dice, depth + 1)]
    body += [f"--{mark}--"] if dice.maybe(0.8) else []
    return [*body, text_line(dice)] if dice.maybe(0.3) else body


def parameters(mark: str) -> Sequence[str]:
    plain = f"boundary={mark}"
    quoted, spaced = f'boundary="{mark}"', f"Boundary = {mark}"
    return [quoted, plain, spaced, f"x=y; {plain}", f"{plain}; boundary=zz", "", f"(c) {plain} (d)"]
