"""Typed values, a room's section, a transport's own parameters."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from config_parts import write_config

from fastrelay.config import ConfigError, load, section
from fastrelay.config.declaration import choice, integer, names, size, text, time, yes_no


@dataclass(frozen=True, slots=True)
class Room:
    myhostname: str
    mydestination: tuple[str, ...]
    mynetworks: tuple[str, ...]
    smtpd_banner: str
    queue_run_delay: float
    maximal_queue_lifetime: float
    message_size_limit: int
    soft_bounce: bool
    smtpd_forbid_bare_newline: str
    recipient_delimiter: str
    smtpd_hard_error_limit: int
    smtp_destination_recipient_limit: int
    _2bounce_notice_recipient: str
    second: str = field(metadata={"parameter": "2bounce_notice_recipient"})


MAIN = """compatibility_level = 3.6
myhostname = mail.example.com
mynetworks = 10.0.0.0/8, cidr:{{1.2.3.0/24 ok}}
queue_run_delay = 2m
maximal_queue_lifetime = 4
message_size_limit = 5000000000
soft_bounce = YES
recipient_delimiter = +-
2bounce_notice_recipient = root
lmtp_destination_recipient_limit = 3
default_destination_concurrency_limit = 17
"""


@pytest.fixture
def config(tmp_path):
    return load(write_config(tmp_path, MAIN))


def test_section_fills_every_type(config):
    assert section(Room, config) == Room(
        myhostname="mail.example.com",
        mydestination=("mail.example.com", "localhost.example.com", "localhost"),
        mynetworks=("10.0.0.0/8", "cidr:{{1.2.3.0/24 ok}}"),
        smtpd_banner="mail.example.com ESMTP fastrelay",
        queue_run_delay=120.0,
        maximal_queue_lifetime=345600.0,
        message_size_limit=5_000_000_000,
        soft_bounce=True,
        smtpd_forbid_bare_newline="normalize",
        recipient_delimiter="+-",
        smtpd_hard_error_limit=20,
        smtp_destination_recipient_limit=50,
        _2bounce_notice_recipient="root",
        second="root",
    )


def test_section_under_stress(config):
    room = section(Room, config, {"stress": "yes", "queue_run_delay": "1"})
    assert (room.smtpd_hard_error_limit, room.queue_run_delay) == (1, 1.0)


def test_bad_override_of_the_caller_is_a_config_error(config):
    with pytest.raises(ConfigError, match="queue_run_delay = soon"):
        section(Room, config, {"queue_run_delay": "soon"})


def test_field_that_is_not_declared_is_our_mistake(config):
    @dataclass(frozen=True)
    class Bad:
        no_such_parameter: int

    Bad.__annotations__["no_such_parameter"] = int
    with pytest.raises(TypeError, match="no_such_parameter is not declared"):
        section(Bad, config)


def test_for_transport(config):
    assert config.for_transport("lmtp", "destination_recipient_limit") == 3
    assert config.for_transport("smtp", "destination_recipient_limit") == 50
    assert config.for_transport("local", "destination_recipient_limit") == 1
    assert config.for_transport("local", "destination_concurrency_limit") == 2
    assert config.for_transport("elsewhere", "destination_concurrency_limit") == 17
    assert config.for_transport("smtp", "initial_destination_concurrency") == 5
    assert config.for_transport("smtp", "destination_rate_delay") == 0.0
    assert config.for_transport("smtp", "destination_concurrency_positive_feedback") == "1"


def test_workers_and_ports(config, tmp_path):
    assert config.workers >= 1
    (tmp_path / "main.cf").write_text("fastrelay_workers = 3\nknown_tcp_ports = mail=also=2500\n")
    other = load(tmp_path)
    assert other.workers == 3
    assert [other.port(name) for name in ("mail", "also", "smtp", "77", "65536", "nosuch", "")] == [
        2500, 2500, 25, 77, None, None, None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("parameter", "given", "value"),
    [
        (yes_no("x", "", ""), "No", False),
        (integer("x", "", ""), " 12 ", 12),
        (integer("x", "", "", minimum=-5), "-5", -5),
        (size("x", "", ""), "9223372036854775", 9223372036854775),
        (time("x", "", ""), "90", 90.0),
        (time("x", "", "", unit="d"), "2", 172800.0),
        (time("x", "", "", unit="d"), "2H", 7200.0),
        (time("x", "", ""), "1w", 604800.0),
        (time("x", "", ""), "3 m", 180.0),
        (names("x", "", ""), "a, {b c} d", ("a", "{b c}", "d")),
        (names("x", "", ""), "", ()),
        (text("x", "", ""), "any thing", "any thing"),
        (choice("x", "", ("a", "b"), ""), "B", "b"),
    ],
)
def test_conversion(parameter, given, value):
    assert parameter.convert(given) == value
    assert type(parameter.convert(given)) is type(value)


@pytest.mark.parametrize(
    ("parameter", "given"),
    [
        (yes_no("x", "", ""), ""),
        (yes_no("x", "", ""), "true"),
        (integer("x", "", ""), "0x10"),
        (integer("x", "", ""), "1_000"),
        (integer("x", "", ""), "١"),
        (integer("x", "", ""), "1" * 5000),
        (integer("x", "", "", maximum=3), "4"),
        (time("x", "", ""), "5 5"),
        (time("x", "", ""), "-5s"),
        (time("x", "", ""), "5y"),
        (time("x", "", ""), "1.5h"),
        (time("x", "", "", minimum=1), "0"),
        (choice("x", "", ("a", "b"), ""), "c"),
        (text("x", "", "", pattern="a+"), "b"),
    ],
)
def test_conversion_refuses(parameter, given):
    with pytest.raises(ValueError, match="allowed: "):
        parameter.convert(given)
