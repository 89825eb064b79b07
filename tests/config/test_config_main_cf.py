"""main.cf as a file: what is a line, what is an error, and that no error is a traceback."""

from __future__ import annotations

import os

import pytest
from config_parts import postconf, write_config
from hypothesis import given
from hypothesis import strategies as st

from fastrelay.config import ConfigError, check, load, read
from fastrelay.config.logical_lines import split_quoted
from fastrelay.config.main_cf import parse_main

FORMS = """# comment
compatibility_level = 3.6
mynetworks = 10.0.0.0/8,
   # a comment in the middle
\t192.168.0.0/16

  1.2.3.4
  # mydestination = not this
myhostname=mail.example.com
  \t
mydestination\t= $myhostname  =  x
relay_domains =
smtpd_banner = $myhostname $$ ESMTP
relayhost = [first]
relayhost = [second]:25
"""


def test_lines_are_read_as_postfix_reads_them(tmp_path):
    directory = write_config(tmp_path, FORMS)
    names = ["mynetworks", "myhostname", "mydestination", "relay_domains", "smtpd_banner", "relayhost"]
    config = read(directory)
    assert [" ".join(config.main[name].split()) for name in names] == postconf(directory, "-h", *names)
    assert [" ".join(config.text(name).split()) for name in names] == postconf(directory, "-xh", *names)


def test_duplicates_are_warned_of(tmp_path):
    directory = write_config(tmp_path, FORMS)
    assert check(load(directory)) == [
        f"{directory}/main.cf, line 15: overriding earlier entry: relayhost=[first]"
    ]


@pytest.mark.parametrize(
    ("main", "line", "said"),
    [
        ("a = 1\nnonsense\n", 2, "missing '=' after the parameter name"),
        ("my host = x", 1, "missing '='"),
        ("\n\n= value", 3, "missing parameter name"),
        ("  myhostname = x\n", 1, "must not start with whitespace"),
        ("a=1\n\nsmtpd_timeout = 5x\n", 3, "smtpd_timeout = 5x: allowed: number with s, m, h, d or w"),
        ("soft_bounce = maybe", 1, "soft_bounce = maybe: allowed: yes or no"),
        ("message_size_limit = 1M", 1, "message_size_limit = 1M: allowed: number, at least 0"),
        ("message_size_limit = -1", 1, "at least 0"),
        ("smtpd_recipient_limit = 0", 1, "at least 1"),
        ("smtpd_recipient_limit = 99999999999", 1, "allowed: number"),
        ("bounce_size_limit =", 1, "bounce_size_limit =: allowed"),
        ("myhostname = a..b", 1, "a valid hostname"),
        ("queue_directory =", 1, "anything but the empty value"),
        ("smtpd_forbid_bare_newline = perhaps", 1, "one of normalize, reject, yes, note, no"),
        ("inet_protocols = ipx", 1, "all, ipv4, ipv6"),
        ("compatibility_level = new", 1, "compatibility"),
        ("x = $y\ny = maybe\nsoft_bounce = $x", 3, "soft_bounce = maybe"),
        ("mynetworks = ${foo", 1, '"{" without "}"'),
        ("\nvirtual_maps = ${oui", 2, ' =: "{" without "}"'),
        ("notify_classes = bounce, everything", 1, "any of bounce, 2bounce"),
        (
            "smtp_destination_recipient_limit = many",
            1,
            "smtp_destination_recipient_limit = many: allowed: number",
        ),
        ("\x00 = \x1b[2J", 1, "?"),
    ],
)
def test_errors_name_file_line_and_what_is_allowed(tmp_path, main, line, said):
    directory = write_config(tmp_path, main)
    if main.startswith("\x00"):
        assert "\x1b" not in "".join(check(load(directory)))
        return
    with pytest.raises(ConfigError) as caught:
        load(directory)
    text = str(caught.value)
    assert text.startswith(f"{directory}/main.cf, line {line}: ")
    assert said in text
    assert "\n" not in text


@pytest.mark.parametrize("name", ["main.cf", "master.cf"])
def test_file_that_cannot_be_read(tmp_path, name):
    directory = write_config(tmp_path, "")
    (directory / name).unlink()
    with pytest.raises(ConfigError, match=rf"{name}: cannot be read: No such file"):
        load(directory)
    (directory / name).mkdir()
    with pytest.raises(ConfigError, match=rf"{name}: cannot be read: Is a directory"):
        load(directory)
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "nowhere")


def test_bytes_that_are_not_utf8_are_refused_where_they_are_read(tmp_path):
    """Comments and parameters that nobody reads may hold them: postconf shows them as they are."""
    directory = write_config(tmp_path, b"# caf\xe9\nmine = caf\xe9\n")
    assert os.fsencode(load(directory).main["mine"]) == b"caf\xe9"
    for line, allowed in ((b"relayhost = caf\xe9", "UTF-8 text"), (b"myhostname = caf\xe9", "UTF-8 text")):
        (directory / "main.cf").write_bytes(line + b"\n")
        with pytest.raises(ConfigError, match=rf"= caf\?: allowed: {allowed}"):
            load(directory)


def test_compatibility_level_chooses_defaults(tmp_path):
    for level in ("", "compatibility_level = 0", "compatibility_level = 2", "compatibility_level = 3.6"):
        directory = write_config(tmp_path, level)
        names = ["append_dot_mydomain", "relay_domains", "smtpd_relay_restrictions", "mynetworks_style"]
        names += ["smtputf8_enable", "smtpd_relay_before_recipient_restrictions"]
        config = load(directory)
        assert [config.text(name) for name in names] == postconf(directory, "-xh", *names)


@pytest.mark.parametrize("main", ["", "mydomain = example.org", "myhostname = single", "myhostname = a.b.c"])
def test_host_and_domain_defaults_are_postfixs(tmp_path, main):
    directory = write_config(tmp_path, main)
    config = load(directory)
    names = ["myhostname", "mydomain", "myorigin", "mydestination", "local_transport"]
    assert [config.text(name) for name in names] == postconf(directory, "-xh", *names)


@given(st.text(max_size=200))
def test_any_file_is_read_or_refused(text):
    try:
        settings, _ = parse_main("main.cf", text)
    except ConfigError as error:
        assert "\n" not in str(error)
    else:
        assert all(name.strip() and setting.line for name, setting in settings.items())


def test_lists_split_outside_of_braces():
    text = "a, b\tinline:{k=v, l=w}  {x y},, static:{ no } c}"
    assert split_quoted(text) == ["a", "b", "inline:{k=v, l=w}", "{x y}", "static:{ no }", "c}"]


def test_parameters_of_a_table_in_main_cf_are_no_strangers(tmp_path):
    text = (
        "transport_maps = proxy:pgsql:ways\nways_hosts = db\nways_query = SELECT 1\nothers_query = SELECT 2\n"
    )
    warnings = check(load(write_config(tmp_path, text)))
    assert [line for line in warnings if "ways_" in line] == []
    assert [line for line in warnings if "unknown parameter: others_query" in line]
