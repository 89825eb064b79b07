"""What a room would choke on is refused when the configuration is read, not by workers that die again and again."""

import pytest

from fastrelay.config import ConfigError
from fastrelay.master import configuration, proxymap

MAIN = """\
compatibility_level = 3.6
inet_interfaces = 127.0.0.1
myhostname = mx.test
"""
MASTER = """\
127.0.0.1:25 inet n - n - - smtpd
local unix - n n - - local
relay unix - - n - - smtp
smtp unix - - n - - smtp{}
"""


def write(directory, line="", option=""):
    (directory / "main.cf").write_bytes(f"{MAIN}{line}\n".encode(errors="surrogateescape"))
    (directory / "master.cf").write_text(MASTER.format(option))
    return directory


@pytest.mark.parametrize(
    "line",
    [
        "fastrelay_dns_servers = garbage",
        "fastrelay_mx_forbidden_networks = 10.0.0.0/99",
        "proxy_interfaces = mx.test",
        "smtp_tcp_port = no-such-port",
        "undisclosed_recipients_header = foo",
        "message_drop_headers = " + 300 * "x",
        "inet_interfaces = no-such-host.invalid",
        "mail_name = Soci\udce9t\udce9",
        "myorigin = \udcff.test",
    ],
)
def test_refused(tmp_path, line):
    with pytest.raises(ConfigError, match=line.partition(" ")[0]):
        configuration.load(write(tmp_path, line))


def test_refused_in_master_cf(tmp_path):
    with pytest.raises(ConfigError, match="smtp_tcp_port"):
        configuration.load(write(tmp_path, option=" -o smtp_tcp_port=no-such-port"))


def test_taken(tmp_path):
    line = "fastrelay_dns_servers = 127.0.0.1:5353\nproxy_interfaces = 192.0.2.1\nsmtp_tcp_port = 2525"
    assert configuration.load(write(tmp_path, line)).directory == tmp_path


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("relayhost = [1.2.3.4", "relayhost = [1.2.3.4: bad next hop"),
        ("relayhost = host:99999", "relayhost = host:99999: bad network port"),
        ("relay_domains = x.test\nrelay_transport = smtp:[x]:no-such-port", "bad network port: no-such-port"),
        ("default_transport = uucp", "default_transport = uucp: master.cf has no such service"),
        ("virtual_mailbox_domains = x.test", "virtual_transport = virtual: master.cf has no such service"),
        ("home_mailbox = mbox", "home_mailbox = mbox: only a Maildir"),
        ("", "home_mailbox = : only a Maildir"),
    ],
)
def test_what_leads_nowhere_is_told(tmp_path, line, said):
    assert said in "\n".join(configuration.warnings(configuration.load(write(tmp_path, line))))


@pytest.mark.parametrize(
    "line", ["relayhost = [::1]:smtp", "relayhost = x.test", "home_mailbox = Maildir/", "mydestination ="]
)
def test_what_leads_somewhere_is_not(tmp_path, line):
    said = "\n".join(configuration.warnings(configuration.load(write(tmp_path, f"{line}\n"))))
    assert "relayhost" not in said and ("home_mailbox" in said) == line.startswith("relayhost")


@pytest.mark.parametrize(
    ("line", "option", "wanted"),
    [
        ("virtual_alias_maps = proxy:ldap:/x", "", True),
        ("virtual_alias_maps = pipemap:{hash:/x, proxy:tcp:127.0.0.1:1}", "", True),
        ("my = ldap\nvirtual_alias_maps = proxy:$my:/x", "", True),
        ("my = /etc/x", " -o smtp_generic_maps=proxy:sqlite:$my", True),
        ("my = proxy:${", "", False),
        ("virtual_alias_maps = proxy:hash:/x, ldap:/y", "", False),
        ("virtual_alias_maps = proxy: ldap:/y", "", False),
    ],
)
def test_who_needs_proxymap(tmp_path, line, option, wanted):
    assert proxymap.is_wanted(configuration.load(write(tmp_path, line, option))) is wanted


def test_a_domain_in_two_lists(tmp_path):
    line = "\n".join(
        [
            "mydestination = one.test two.test",
            "relay_domains = $mydestination, Three.test, !four.test",
            "virtual_alias_domains = ONE.test, three.test hash:/x /none four.test",
            "virtual_mailbox_domains = $virtual_alias_domains",
        ]
    )
    said = configuration.listed_twice(configuration.load(write(tmp_path, line)))
    assert said == [
        "do not list domain one.test in BOTH mydestination and virtual_alias_domains",
        "do not list domain one.test in BOTH mydestination and virtual_mailbox_domains",
        "do not list domain four.test in BOTH virtual_alias_domains and virtual_mailbox_domains",
        "do not list domain one.test in BOTH virtual_alias_domains and virtual_mailbox_domains",
        "do not list domain three.test in BOTH virtual_alias_domains and virtual_mailbox_domains",
        "do not list domain one.test in BOTH virtual_alias_domains and relay_domains",
        "do not list domain three.test in BOTH virtual_alias_domains and relay_domains",
        "do not list domain one.test in BOTH virtual_mailbox_domains and relay_domains",
        "do not list domain three.test in BOTH virtual_mailbox_domains and relay_domains",
    ]
    assert set(said) < set(configuration.warnings(configuration.load(write(tmp_path, line))))
