"""master.cf: columns, arguments, network names, and errors with file and line."""

from __future__ import annotations

import pytest
from config_parts import write_config
from hypothesis import given
from hypothesis import strategies as st

from fastrelay.config import ConfigError, check, load, section
from fastrelay.config.master_cf import parse_master

MASTER = """# service type  private unpriv  chroot  wakeup  maxproc command
smtp      inet  n  -  y  -  -  smtpd
  # a comment inside
  -o smtpd_timeout=10 -o { smtpd_banner = $myhostname hello there }
    -o smtpd_helo_required=$mine

127.0.0.1:10025 inet n n n - 5 smtpd -vosmtpd_recipient_limit=7
[::1]:2525 inet n - - - - smtpd
::1:smtps inet n - - - - smtpd
mail.example.com:submission inet n - - - 0 smtpd
qmgr unix n - n 300 1 qmgr
flush unix n - - 1000? 0 flush
maildrop unix - n n - - pipe flags=DRXhu user=vmail {argv = x} {-d ${recipient}}
post pass - - n - - smtpd
old fifo - - n - - pickup
log unix-dgram n - n - 1 postlogd
"""


@pytest.fixture
def services(tmp_path):
    directory = write_config(tmp_path, "mine=yes\ndefault_process_limit=42", MASTER)
    return {(service.name, service.type): service for service in load(directory).services}


def test_columns_and_defaults(services):
    smtp = services["smtp", "inet"]
    assert (smtp.private, smtp.unprivileged, smtp.chroot, smtp.wakeup, smtp.maxproc) == (
        False,
        True,
        True,
        0,
        42,
    )
    assert (smtp.command, smtp.host, smtp.port, smtp.line) == ("smtpd", "", 25, 2)
    flush, qmgr, drop = services["flush", "unix"], services["qmgr", "unix"], services["maildrop", "unix"]
    assert (flush.wakeup, flush.wakeup_when_used, flush.maxproc) == (1000, True, 0)
    assert (qmgr.wakeup, qmgr.wakeup_when_used, qmgr.maxproc) == (300, False, 1)
    assert (drop.private, drop.unprivileged, drop.chroot) == (True, False, False)
    assert drop.args == ("flags=DRXhu", "user=vmail", "argv = x", "-d ${recipient}")
    assert {kind for _, kind in services} == {"inet", "unix", "pass", "fifo", "unix-dgram"}


def test_overrides(services):
    assert services["smtp", "inet"].overrides == {
        "service_name": "smtp",
        "process_name": "smtpd",
        "smtpd_timeout": "10",
        "smtpd_banner": "$myhostname hello there",
        "smtpd_helo_required": "$mine",
    }
    injected = services["127.0.0.1:10025", "inet"]
    assert injected.args == ("-v", "-o", "smtpd_recipient_limit=7")
    assert injected.overrides["smtpd_recipient_limit"] == "7"


@pytest.mark.parametrize(
    ("name", "host", "port"),
    [
        ("127.0.0.1:10025", "127.0.0.1", 10025),
        ("[::1]:2525", "::1", 2525),
        ("::1:smtps", "::1", 465),
        ("mail.example.com:submission", "mail.example.com", 587),
    ],
)
def test_network_names(services, name, host, port):
    assert (services[name, "inet"].host, services[name, "inet"].port) == (host, port)


def test_last_entry_of_a_name_counts(tmp_path):
    directory = write_config(
        tmp_path, "", "smtp inet n - - - 1 smtpd\nsmtp unix - - - - - smtp\nsmtp inet n - - - 2 smtpd"
    )
    config = load(directory)
    assert [(service.name, service.type, service.maxproc) for service in config.services] == [
        ("smtp", "inet", 2),
        ("smtp", "unix", 100),
    ]
    assert check(config) == [f"{directory}/master.cf, line 3: overriding earlier entry: smtp inet"]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("smtp inet n - - -", 'missing "process_limit" field'),
        ("smtp foo n - - - - smtpd", 'type "foo": allowed: inet, unix'),
        ("smtp inet - - - - - smtpd", "an inet service cannot be private"),
        ("smtp inet n x - - - smtpd", 'unprivileged "x": allowed: y, n, -'),
        ("smtp inet n - yes - - smtpd", 'chroot "yes"'),
        ("smtp inet n - - 5x - smtpd", 'wakeup "5x"'),
        ("smtp inet n - - - -1 smtpd", 'process_limit "-1"'),
        ("smtp inet n - - - - -", "no default"),
        ("smtp inet n - - - - smtpd -o", "allowed: -o name=value"),
        ("smtp inet n - - - - smtpd -o ab", "missing '='"),
        ("smtp inet n - - - - smtpd -o {a=b", "not balanced"),
        ("smtp inet n - - - - smtpd -o {a=b}c", "not balanced"),
        ("smtp inet n - - - - smtpd -o {a b=c}", "missing '='"),
        ("nosuchport inet n - - - - smtpd", "unknown port"),
        ("host:70000 inet n - - - - smtpd", "unknown port"),
        ("[1.2.3.4:25 inet n - - - - smtpd", "bad hostname or network address"),
        ("a_b!:25 inet n - - - - smtpd", "bad hostname or network address"),
        (
            "smtp inet n - - - - smtpd -o smtpd_timeout=soon",
            "smtpd_timeout = soon: allowed: number with s, m",
        ),
        ("smtp inet n - - - - smtpd -o {smtpd_timeout=${x}", "not balanced"),
        ("smtp inet n - - - - smtpd -o smtpd_timeout=${x", "not balanced"),
        ("smtp inet n - - - - smtpd -o smtpd_timeout=$-", "empty name"),
        ("smtp inet n - - - - smtpd -o mine=often", "soft_bounce = often: allowed: yes or no"),
        (" smtp inet n - - - - smtpd", "must not start with whitespace"),
    ],
)
def test_errors_name_file_and_line(tmp_path, entry, said):
    directory = write_config(tmp_path, "mine = yes\nsoft_bounce = $mine", f"# comment\n\n{entry}\n")
    with pytest.raises(ConfigError) as caught:
        load(directory)
    text = str(caught.value)
    assert text.startswith(f"{directory}/master.cf, line 3: ")
    if "smtpd_timeout=${x" not in entry:
        assert said in text


@given(st.text(max_size=120), st.text(alphabet="smtp inet-nyo{}= ?1\n#", max_size=120))
def test_any_file_is_read_or_refused(text, likely):
    for tried in (text, likely, "smtp inet n - - - - smtpd " + likely):
        try:
            parse_master("master.cf", tried)
        except ConfigError as error:
            assert "\n" not in str(error)


def test_section_takes_the_overrides(services, tmp_path):
    from dataclasses import dataclass

    @dataclass(frozen=True, slots=True)
    class Room:
        smtpd_timeout: float
        smtpd_banner: str
        smtpd_helo_required: bool

    globals()["Room"] = Room
    config = load(tmp_path)
    overrides = services["smtp", "inet"].overrides
    assert section(Room, config, overrides) == Room(10.0, f"{config.text('myhostname')} hello there", True)
    assert section(Room, config).smtpd_timeout == 300.0
