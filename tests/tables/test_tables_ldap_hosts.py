"""ldap: tables whose answer is on another server: referrals as Debian's postmap has them, and hosts that are dead."""

import socket

import pytest
from ldap_tools import ADMIN, LDIF, entry, table_file
from remote_tools import ERROR, ask_ours, compare
from tables_tools import Tools, needs_postmap

from support.remote_servers import Slapd

pytest.importorskip(
    "ldap", reason="python-ldap is not here: apt-get install libldap-dev libsasl2-dev, then make"
)

FAR = (
    "dn: dc=test\nobjectClass: dcObject\nobjectClass: organization\no: test\ndc: test\n\n"
    "dn: ou=far,dc=test\nobjectClass: organizationalUnit\nou: far\n\n"
) + entry("cn=faraway,ou=far,dc=test", "mailacceptinggeneralid: far@example.com", "maildrop: found far away")
REFERRAL = (
    "\ndn: ou=far,dc=test\nobjectClass: referral\nobjectClass: extensibleObject\n"
    "ou: far\nref: {}/ou=far,dc=test\n"
)


@needs_postmap
def test_referrals_as_postmap_does(tools: Tools):
    for name in ("near", "far"):
        (tools.directory / name).mkdir()
    inside = {"search_base": "ou=far,dc=test"}
    chase = {"chase_referrals": "yes"}
    with (
        Slapd(tools.directory / "far", FAR) as far,
        Slapd(tools.directory / "near", LDIF + REFERRAL.format(far.url)) as near,
    ):
        cases = [{}, chase, inside, inside | chase, chase | ADMIN | {"bind_pw": "secret"}]
        questions = [
            (table_file(tools.directory, number, near, **settings), b"far@example.com")
            for number, settings in enumerate(cases)
        ]
        found = b"found far away"
        assert compare(tools, questions) == [None, found, ERROR, found, found]


def test_a_host_that_answers_no_connection_costs_its_part_of_the_time(tmp_path):
    """Its queue of connections is full: SYNs are dropped, as a firewall does."""
    (tmp_path / "s").mkdir()
    with (
        Slapd(tmp_path / "s", LDIF) as server,
        socket.create_server(("127.0.0.1", 0), backlog=0) as dead,
    ):
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(dead.getsockname())
        hosts = f"127.0.0.1:{dead.getsockname()[1]}, {server.url}"
        spec = table_file(tmp_path, 1, server, server_host=hosts, timeout="5")
        assert ask_ours(spec, [b"bob@example.com"]) == [b"plainbob"]
        alone = table_file(tmp_path, 2, server, server_host=hosts.split(",")[0], timeout="1")
        assert ask_ours(alone, [b"bob@example.com"]) == [ERROR]
        for client in waiting:
            client.close()
