"""ldap: against slapd: as Debian's postmap answers, and what the server, or who says to be it, may do."""

import asyncio
import itertools
import resource
import subprocess
import sys
import threading
import time

import pytest
from ldap_tools import ADMIN, LDIF, PEOPLE, entry, table_file
from remote_tools import ERROR, ask_ours, compare, look_up, open_remote, run
from tables_tools import Tools, needs_postmap

from fastrelay.tables import TableError
from support.relay import until
from support.remote_servers import Slapd
from support.scripted_server import ScriptedServer, silent

pytest.importorskip(
    "ldap", reason="python-ldap is not here: apt-get install libldap-dev libsasl2-dev, then make"
)

MEMBERS = {"special_result_attribute": "memberdn"}
CASES = [
    ("ann@example.com", {}),
    ("ann", {}),
    ("ANN@EXAMPLE.COM", {"result_format": "%S|%s"}),
    ("nobody@example.com", {}),
    ("*", {}),
    ("", {}),
    ("o(dd)*\\x@example.com", {}),
    ("é@example.com", {}),
    (b"\xe9@example.com", {}),
    ("nodrop@example.com", {}),
    ("parts@example.com", {}),
    ("parts@example.com", {"result_format": "%u"}),
    ("parts@example.com", {"result_format": "%d"}),
    ("num@example.com", {}),
    ("num@example.com", {"result_attribute": "blob"}),
    ("num@example.com", {"result_attribute": "cn maildrop, mail"}),
    ("num@example.com", {"result_attribute": "MAIL  sn"}),
    ("num@example.com", {"result_attribute": ""}),
    ("team@example.com", MEMBERS),
    ("team@example.com", {**MEMBERS, "leaf_result_attribute": "maildrop", "result_attribute": ""}),
    ("team@example.com", {**MEMBERS, "leaf_result_attribute": "maildrop"}),
    ("team@example.com", {**MEMBERS, "leaf_result_attribute": "mail"}),
    ("team@example.com", {**MEMBERS, "terminal_result_attribute": "mail"}),
    ("ann@example.com", {**MEMBERS, "leaf_result_attribute": "maildrop", "result_attribute": "mail"}),
    ("team@example.com", {**MEMBERS, "expansion_limit": "2"}),
    ("team@example.com", {**MEMBERS, "expansion_limit": "4"}),
    ("team@example.com", {**MEMBERS, "expansion_limit": "2", "result_format": "%d"}),
    ("team@example.com", {"special_result_attribute": "maildrop"}),
    ("nested@example.com", {**MEMBERS, "recursion_limit": "1"}),
    ("nested@example.com", {**MEMBERS, "recursion_limit": "2"}),
    ("nested@example.com", {**MEMBERS, "recursion_limit": "3"}),
    ("loop@example.com", {**MEMBERS, "recursion_limit": "5"}),
    ("loop@example.com", MEMBERS),
    ("loop@example.com", {**MEMBERS, "recursion_limit": "0"}),
    ("urls@example.com", {"special_result_attribute": "memberurl"}),
    ("urls@example.com", {"special_result_attribute": "memberurl", "result_attribute": "maildrop mail"}),
    ("badurl@example.com", {"special_result_attribute": "memberurl"}),
    ("any@example.com", {"query_filter": "(objectClass=*)", "size_limit": "2"}),
    ("any@example.com", {"query_filter": "(objectClass=*)", "result_attribute": "cn"}),
    ("any@example.com", {"query_filter": "(cn=t*)", "result_attribute": "cn", "scope": "one"}),
    ("any@example.com", {"query_filter": "(objectClass=*)", "result_attribute": "o", "scope": "base"}),
    ("any@example.com", {"query_filter": "(o=*)", "result_attribute": "o", "scope": "bogus"}),
    ("any@example.com", {"query_filter": "(bad("}),
    ("any@example.com", {"query_filter": "cn=%q"}),
    ("ann@example.com", {"query_filter": "cn=%u", "search_base": PEOPLE}),
    ("ann@example.com", {"query_filter": "cn=%3"}),
    ("ann@example.com", {"search_base": f"cn=%u,{PEOPLE}"}),
    ("nobody@example.com", {"search_base": f"cn=%u,{PEOPLE}"}),
    ('o,d "d+@example.com', {"search_base": f"cn=%u,{PEOPLE}", "query_filter": "(cn=*)"}),
    ("any@test", {"search_base": "dc=%1", "query_filter": "(o=*)", "result_attribute": "o"}),
    ("a@example.com", {"search_base": "dc=nowhere"}),
    ("a@example.com", {"search_base": "bogus"}),
    ("a@example.com", {"search_base": ""}),
    ("ann@example.com", {"domain": "other.com"}),
    ("ann@example.com", {"domain": "example.com"}),
    ("ann", {"domain": "example.com"}),
    ("@example.com", {"domain": "example.com"}),
    ("ann@example.com", {**ADMIN, "bind_pw": "secret"}),
    ("ann@example.com", {**ADMIN, "bind_pw": "wrong"}),
    ("ann@example.com", {**ADMIN, "bind_pw": ""}),
    ("ann@example.com", {"bind": "yes"}),
    ("ann@example.com", {"bind": "maybe"}),
    ("ann@example.com", {"version": "2"}),
    ("ann@example.com", {"version": "9"}),
    ("ann@example.com", {"version": "2", "bind": "yes"}),
    ("ann@example.com", {"dereference": "3"}),
    ("ann@example.com", {"dereference": "9"}),
    ("ann@example.com", {"start_tls": "yes"}),
    ("ann@example.com", {"start_tls": "maybe"}),
    ("ann@example.com", {"timeout": "abc"}),
    ("ann@example.com", {"chase_referrals": "yes"}),
    ("ann@example.com", {"result_format": "smtp:[%d]:%s:%S:%U:%1:%%"}),
    ("ann@example.com", {"result_format": "x"}),
    ("ann@example.com", {"result_format": "%9"}),
    ("ann@example.com", {"result_format": ""}),
    ("ann@example.com", {"result_filter": "<%s>"}),
    ("ann@example.com", {"server_host": "127.0.0.1", "server_port": "{port}"}),
    ("ann@example.com", {"server_host": "127.0.0.1:1 127.0.0.1:{port}"}),
    ("ann@example.com", {"server_host": "ldap://127.0.0.1:1, ldap://127.0.0.1:{port}"}),
    ("ann@example.com", {"server_host": "ldap://127.0.0.1:1"}),
    ("ann@example.com", {"server_host": "http://127.0.0.1"}),
]


@pytest.fixture(scope="module")
def slapd(tmp_path_factory: pytest.TempPathFactory):
    with Slapd(tmp_path_factory.mktemp("slapd"), LDIF) as server:
        yield server


@needs_postmap
def test_ldap_answers_as_postmap_does(tools: Tools, slapd: Slapd):
    questions = [
        (
            table_file(tools.directory, number, slapd, **settings),
            key.encode() if isinstance(key, str) else key,
        )
        for number, (key, settings) in enumerate(CASES)
    ]
    ours = compare(tools, questions)
    assert ours[0] == b"ann@mail.example.com,ann2@mail.example.com"


def test_parameters_in_main_cf_and_servers_by_socket(tmp_path, slapd: Slapd):
    parameters = {"dir_server_host": slapd.url, "dir_search_base": "dc=test", "dir_bind": "no"}

    async def scene():
        table = open_remote("ldap:dir", parameters=parameters)
        found = await look_up(table, b"ann")
        await table.close()
        return found

    assert run(scene()) == b"ann@mail.example.com,ann2@mail.example.com"
    (tmp_path / "s").mkdir()
    with Slapd(tmp_path / "s", LDIF, path=tmp_path / "ldapi") as server:
        path = str(tmp_path / "ldapi").replace("/", "%2F")
        spec = table_file(tmp_path, 1, server, server_host=f"ldapi://{path}")
        assert ask_ours(spec, [b"bob@example.com"]) == [b"plainbob"]


def test_without_its_library_the_type_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ldap", None)
    problem = open_remote("ldap:dir").problem
    assert problem is not None
    assert problem.startswith("unsupported dictionary type: ldap. Is fastrelay[ldap] installed?")


def test_many_lookups_share_few_connections(tmp_path, slapd: Slapd):
    spec = table_file(tmp_path, 1, slapd)

    async def scene():
        table = open_remote(spec, fastrelay_table_connection_limit=2)
        keys = [b"ann", b"bob@example.com", b"nobody"] + [b"%d@example.com" % n for n in range(40)]
        found = await asyncio.gather(*(look_up(table, key) for key in keys))
        connections = slapd.connections()
        await table.close()
        return found, connections

    found, connections = run(scene())
    assert found[:3] == [b"ann@mail.example.com,ann2@mail.example.com", b"plainbob", None]
    assert set(found[3:]) == {None}
    assert connections <= 2


def test_a_server_that_restarts_is_used_again(tmp_path):
    (tmp_path / "s").mkdir()
    with Slapd(tmp_path / "s", LDIF) as server:
        spec = table_file(tmp_path, 1, server)

        async def scene():
            said = []
            table = open_remote(spec, said, fastrelay_table_retry_time=0.0, fastrelay_table_cache_time=0.0)
            found = [await look_up(table, b"ann")]
            server.stop()
            found += [await look_up(table, b"ann"), await look_up(table, b"nobody")]
            server.start()
            found += [await look_up(table, b"ann"), await look_up(table, b"nobody")]
            await table.close()
            return found, said

        found, said = run(scene())
    ann = b"ann@mail.example.com,ann2@mail.example.com"
    assert found == [ann, ERROR, ERROR, ann, None]
    assert said == [f"{spec}: Connection refused"] * 2


PEOPLE_BY_NUMBER = "".join(
    entry(f"cn=p{n},{PEOPLE}", f"mailacceptinggeneralid: P{n}@example.com", f"mail: alias{n}@example.com",
          f"maildrop: box{n}@example.com") + "\n" for n in range(450)
)  # fmt: skip


def test_a_table_is_listed_in_pages(tmp_path):
    (tmp_path / "s").mkdir()
    with Slapd(tmp_path / "s", LDIF + "\n" + PEOPLE_BY_NUMBER) as server:
        settings = {**ADMIN, "bind_pw": "secret"}

        async def listed(number, **more):
            table = open_remote(table_file(tmp_path, number, server, **(settings | more)))
            try:
                return [item async for item in table.items()]
            finally:
                await table.close()

        numbered = {b"p%d@example.com" % n: b"box%d@example.com" % n for n in range(450)}
        items = run(listed(1))
        found = dict(items)
        assert len(found) == len(items)
        assert numbered.items() <= found.items()
        assert found[b"ann"] == found[b"ann@example.com"] == b"ann@mail.example.com,ann2@mail.example.com"
        assert b"nodrop@example.com" not in found
        both = "(&(maildrop=box*)(|(mailacceptinggeneralid=%s)(mail=alias%s)))"
        found = dict(run(listed(2, query_filter=both)))
        assert found == numbered | {b"%d@example.com" % n: b"box%d@example.com" % n for n in range(450)}
        only = dict(run(listed(3, domain="other.com")))
        assert only == {}
        for unlisted in ("(cn=%u)", "(&(mail=%s)(!(cn=%s)))", "(objectClass=*)", "(mail>=%s)"):
            with pytest.raises(TableError, match="not supported"):
                run(listed(4, query_filter=unlisted))
        with pytest.raises(TableError, match="Size limit exceeded"):  # the server's, for who is not its owner
            run(listed(5, bind="no"))
        server.stop()
        with pytest.raises(TableError, match="Connection refused"):
            run(listed(6))


def test_a_list_that_breaks_off_is_no_list(tmp_path):
    def half(request):
        return search_entry(b"cn=x", b"x") + b"\x30" if b"1.2.840.113556.1.4.319" in request else None

    with ScriptedServer(half) as server:
        server.url = f"ldap://{server.address}"
        table = open_remote(table_file(tmp_path, 1, server, timeout="1"))

        async def scene():
            return [item async for item in table.items()]

        with pytest.raises(TableError):
            run(scene())


def element(tag, content):
    return bytes([tag, 0x84]) + len(content).to_bytes(4, "big") + content


def message(number, operation):
    return element(0x30, b"\x02\x01" + bytes([number]) + operation)


def search_entry(name, value):
    values = element(0x31, element(0x04, value))
    attributes = element(0x30, element(0x30, element(0x04, b"maildrop") + values))
    return message(1, element(0x64, element(0x04, name) + attributes))


DONE = message(1, element(0x65, b"\x0a\x01\x00\x04\x00\x04\x00"))
HOSTILE = {
    "hangs up": lambda request: None,
    "is silent": silent,
    "sends garbage without end": lambda request: itertools.repeat(b"x" * 65536),
    "sends half an element": lambda request: DONE[:-3],
    "lies about a length": lambda request: DONE[:-1] + b"\x7f" + DONE,
    "wants two gigabytes": lambda request: itertools.chain(
        [b"\x30\x84\x7f\xff\xff\xff\x02\x01\x01"], itertools.repeat(b"x" * 65536)
    ),
    "sends entries without end": lambda request: itertools.repeat(search_entry(b"cn=x", b"x" * 9000)),
    "answers somebody else": lambda request: itertools.repeat(message(9, element(0x65, DONE[-7:])), 1000),
    "has a name that is no text": lambda request: search_entry(b"cn=\xff", b"x") + DONE,
    "nests without end": lambda request: b"\x30\x80" * 50_000,
    "gives notice": lambda request: message(0, element(0x78, b"\x0a\x01\x34\x04\x00\x04\x00")),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_server_is_an_error_within_bounds(tmp_path, what):
    with ScriptedServer(HOSTILE[what]) as server:
        server.url = f"ldap://{server.address}"
        spec = table_file(tmp_path, 1, server, timeout="1")
        memory = resource_peak()
        assert ask_ours(spec, [b"one"]) == [ERROR]
    assert resource_peak() - memory < 60_000_000


def resource_peak():
    """Bytes that this process ever held; libldap's are no objects of Python's."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("kind", ["ldap", "ldaps", "bind", "start_tls"])
def test_a_mute_server_stalls_nobody_else(tmp_path, kind):
    """The loop goes on, whatever step of a connection never ends; the threads end with the lookup."""
    settings = {"bind": "yes"} if kind == "bind" else {"start_tls": "yes"} if kind == "start_tls" else {}
    with ScriptedServer(silent) as server:
        server.url = f"{'ldaps' if kind == 'ldaps' else 'ldap'}://{server.address}"
        spec = table_file(tmp_path, 1, server, timeout="2", **settings)

        async def scene():
            table = open_remote(spec)
            lookups = [asyncio.create_task(look_up(table, b"%d" % n)) for n in range(8)]
            cpu, ticks = time.process_time(), 0
            while not all(task.done() for task in lookups):
                await asyncio.sleep(0.005)
                ticks += 1
            cpu = time.process_time() - cpu
            await table.close()
            return [task.result() for task in lookups], ticks, cpu

        answers, ticks, cpu = run(scene())
    assert answers == [ERROR] * 8
    assert ticks > 30  # of 400: it would be a few if each had to wait
    assert cpu < 1.0, cpu
    until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("ldap")])


TLS = """\
TLSCACertificateFile {0}/ca.pem
TLSCertificateFile {0}/server.pem
TLSCertificateKeyFile {0}/server.key
TLSVerifyClient allow
authz-regexp cn=client cn=ann,ou=people,dc=test
"""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory):
    """ca.pem, server.pem for 127.0.0.1 with server.key, client.pem with client.key, other.pem."""
    directory = tmp_path_factory.mktemp("certificates")

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True, timeout=60)

    new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
    for name in ("ca", "other"):
        openssl(*new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")
    for name in ("server", "client"):
        alternative = ["-addext", "subjectAltName=IP:127.0.0.1"] if name == "server" else []
        issuer = ["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE"]
        openssl(
            *new,
            *issuer,
            *alternative,
            "-subj",
            f"/CN={name}",
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.pem",
        )
    return directory


@needs_postmap
@pytest.mark.parametrize("secure", [False, True])
def test_tls_as_postmap_does(tools: Tools, certificates, secure):
    (tools.directory / "s").mkdir()
    with Slapd(tools.directory / "s", LDIF, TLS.format(certificates), secure) as server:
        ca, other = certificates / "ca.pem", certificates / "other.pem"
        base = {} if secure else {"start_tls": "yes"}
        strict = {**base, "tls_require_cert": "yes"}
        cases = {
            "unchecked": base,
            "checked": {**strict, "tls_ca_cert_file": str(ca)},
            "wrong authority": {**strict, "tls_ca_cert_file": str(other)},
            "wrong name": {
                **strict,
                "tls_ca_cert_file": str(ca),
                "server_host": server.url.replace("127.0.0.1", "localhost"),
            },
        }
        questions = [
            (table_file(tools.directory, number, server, **settings), b"bob@example.com")
            for number, settings in enumerate(cases.values())
        ]
        ours = dict(zip(cases, compare(tools, questions), strict=True))
        assert ours == {
            "unchecked": b"plainbob",
            "checked": b"plainbob",
            "wrong authority": ERROR,
            "wrong name": ERROR,
        }
        external = {
            **strict,
            "tls_ca_cert_file": str(ca),
            "tls_cert": str(certificates / "client.pem"),
            "tls_key": str(certificates / "client.key"),
            "bind": "sasl",
            "sasl_mechs": "EXTERNAL",
        }
        assert ask_ours(table_file(tools.directory, 9, server, **external), [b"ann"]) != [ERROR]
        nobody = {**external, "tls_cert": "", "tls_key": ""}
        assert ask_ours(table_file(tools.directory, 9, server, **nobody), [b"ann"]) == [ERROR]
