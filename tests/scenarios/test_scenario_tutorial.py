"""The tutorial that this project grew from, as it tells it, mistakes included.

A relay (examples/tutorial/relay) refuses an unknown user, answers 451 while its list is of a type that
does not exist, accepts the user once the list is a hash, bounces because that user has no mailbox here,
relays coco.com, defers while the relayhost has no address, and finds the internal server
(examples/tutorial/inner) by its transport map. The addresses 172.17.0.x are 127.0.0.x.
"""

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from scenario_parts import IS_ROOT, Telnet, dns

from support.keeping_sink import KeepingSink
from support.ports import free_port
from support.relay import Fastrelay

EXAMPLES = Path(__file__).parents[2] / "examples" / "tutorial"
EHLO = """\
250-mail01.mood.shibarecords.com
250-PIPELINING
250-SIZE 10240000
250-VRFY
250-ETRN
250-ENHANCEDSTATUSCODES
250-8BITMIME
250-DSN
250-SMTPUTF8
250 CHUNKING"""
USER = "moi@mailtraining.shibarecords.com"
QUICK = {"fastrelay_workers": "1", "fastrelay_queue_shards": "2", "fastrelay_segment_size": "1048576"}


class Example(Fastrelay):
    """One of the tutorial's two directories, copied, on free ports."""

    def __init__(self, name: str, host: str, ports: dict[str, int], **main: object) -> None:
        super().__init__(host=host, port=ports[name])
        shutil.rmtree(self.etc)
        shutil.copytree(EXAMPLES / name, self.etc, ignore=shutil.ignore_patterns("run", "*.lmdb", "*.db"))
        for file in self.etc.iterdir():
            text = file.read_text().replace("2602", str(ports["relay"])).replace("2603", str(ports["inner"]))
            file.write_text(text)
        self.log_path, self.spool = self.etc / "run" / "maillog", self.etc / "run" / "spool"
        self.configure(**QUICK, **main)

    def configure(self, **main: object) -> None:
        self.tool("postconf", "-e", *[f"{name} = {value}" for name, value in main.items()])


def connect(relay: Fastrelay) -> Telnet:
    telnet = Telnet(relay.host, relay.port)
    assert telnet.reply() == "220 mail01.mood.shibarecords.com ESMTP fastrelay"
    assert telnet.say("ehlo toto") == EHLO
    return telnet


def write(relay: Fastrelay, sender: str, recipient: str, line: str) -> str:
    """A whole dialogue; the queue id."""
    with connect(relay) as telnet:
        assert telnet.say(f"mail from: {sender}") == "250 2.1.0 Ok"
        assert telnet.say(f"rcpt to:{recipient}") == "250 2.1.5 Ok"
        assert telnet.say("data") == "354 End data with <CR><LF>.<CR><LF>"
        telnet.type(line)
        queued = re.fullmatch(r"250 2\.0\.0 Ok: queued as (\w+)", telnet.say("."))
        assert telnet.say("quit") == "221 2.0.0 Bye"
    assert queued
    return queued[1]


def unknown_user(relay: Fastrelay) -> None:
    with Telnet(relay.host, relay.port) as telnet:
        assert telnet.reply().startswith("220 ")
        # 502 in the tutorial, whose Postfix was 3.1
        assert telnet.say("ehtlo toto") == "500 5.5.2 Error: command not recognized"
        assert telnet.say("ehlo toto") == EHLO
        assert telnet.say("mail from: toto@shibarecords.com") == "250 2.1.0 Ok"
        assert telnet.say(f"rcpt to:{USER}") == (
            f"550 5.1.1 <{USER}>: Recipient address rejected: User unknown in local recipient table"
        )
        assert telnet.say("quit") == "221 2.0.0 Bye"
    relay.wait_log(
        r"NOQUEUE: reject: RCPT from unknown\[127\.0\.0\.1\]: 550 5\.1\.1 <moi@.*>: Recipient address "
        r"rejected: User unknown in local recipient table; from=<toto@shibarecords\.com> to=<moi@.*> "
        r"proto=ESMTP helo=<toto>$"
    )


def list_of_an_unknown_type(relay: Fastrelay) -> None:
    relay.configure(
        local_recipient_maps="proxy:unix:passwd.byname $alias_maps dbm:$config_directory/lst-user"
    )
    relay.stop()
    relay.start()
    with connect(relay) as telnet:
        assert telnet.say("mail from:toto@shibarecords.com") == "250 2.1.0 Ok"
        assert telnet.say(f"rcpt to:{USER}") == f"451 4.3.0 <{USER}>: Temporary lookup failure"
    table = rf"dbm:{relay.etc}/lst-user"
    for line in (
        r"error: unsupported dictionary type: dbm",
        rf"warning: {table} is unavailable\. unsupported dictionary type: dbm",
        rf'warning: {table} lookup error for "{USER}"',
        rf"NOQUEUE: reject: RCPT from unknown\[127\.0\.0\.1\]: 451 4\.3\.0 <{USER}>: Temporary lookup "
        rf"failure; from=<toto@shibarecords\.com> to=<{USER}> proto=ESMTP helo=<toto>",
    ):
        relay.wait_log(r"postfix/smtpd\[\d+\]: " + line + "$")
    relay.wait_log(r"lost connection after RCPT from unknown\[127\.0\.0\.1\]")


def accepted_but_without_a_mailbox(relay: Fastrelay) -> None:
    relay.configure(
        local_recipient_maps="proxy:unix:passwd.byname $alias_maps hash:$config_directory/lst-user"
    )
    relay.tool("postmap", relay.etc / "lst-user")
    relay.stop()
    relay.start()
    queue_id = write(relay, "toto@xiuehfeu.com", USER, "un courriel Woww")
    for line in (
        rf"smtpd\[\d+\]: {queue_id}: client=unknown\[127\.0\.0\.1\]",
        rf"cleanup\[\d+\]: {queue_id}: message-id=<>",
        rf"qmgr\[\d+\]: {queue_id}: from=<toto@xiuehfeu\.com>, size=\d+, nrcpt=1 \(queue active\)",
        rf"local\[\d+\]: {queue_id}: to=<{USER}>, relay=local, delay=[\d.]+, delays=[\d./]+, dsn=5\.1\.1, "
        r'status=bounced \(unknown user: "moi"\)',
    ):
        relay.wait_log(f"postfix/{line}$")
    notice = relay.wait_log(rf"bounce\[\d+\]: {queue_id}: sender non-delivery notification: (\w+)$")[1]
    for line in (
        rf"cleanup\[\d+\]: {notice}: message-id=<\d{{14}}\.{notice}@mail01\.mood\.shibarecords\.com>",
        rf"qmgr\[\d+\]: {notice}: from=<>, size=\d+, nrcpt=1 \(queue active\)",
        rf"qmgr\[\d+\]: {queue_id}: removed",
        r"smtpd\[\d+\]: disconnect from .* ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5",
    ):
        relay.wait_log(f"postfix/{line}$")


def check_misspelt_relayhost(relay: Fastrelay) -> None:
    for line in (
        r"warning: relayhost configuration problem",
        r"\w+: to=<toto@xiuehfeu\.com>, relay=none, delay=.*, dsn=4\.3\.5, status=deferred "
        r"\(Host or domain name not found\. Name service error for name=mail_relay\.fai\.com type=A: "
        r"Host not found\)",
    ):
        assert relay.wait_log(rf"postfix/smtp\[\d+\]: {line}$")


def relayed_but_the_relayhost_is_not_found(relay: Fastrelay, zone: dict[str, object]) -> str:
    with connect(relay) as telnet:
        assert telnet.say("mail from: toto@ofjifj.com") == "250 2.1.0 Ok"
        assert telnet.say("rcpt to:root@elsewhere.test") == "250 2.1.5 Ok"  # 127.0.0.1 is in mynetworks
    zone["mail_relay.fai.com"] = "SERVFAIL"
    relay.configure(relay_domains="coco.com")
    with (relay.etc / "lst-user").open("a") as users:
        users.write("root@coco.com OK\n")
    relay.tool("postmap", relay.etc / "lst-user")
    relay.reload()
    queue_id = write(relay, "toto@ofjifj.com", "root@coco.com", "un courriel")
    relay.wait_log(
        rf"smtp\[\d+\]: {queue_id}: to=<root@coco\.com>, relay=none, delay=.*, dsn=4\.4\.3, status=deferred "
        r"\(Host or domain name not found\. Name service error for name=mail_relay\.fai\.com type=MX: "
        r"Host not found, try again\)$"
    )
    return queue_id


def redirected_to_the_internal_server(relay: Fastrelay, inner: Example, deferred: str) -> None:
    relay.tool("postmap", relay.etc / "transport")
    relay.configure(transport_maps="hash:$config_directory/transport")
    relay.reload()
    queue_id = write(relay, "toot@cejf.com", "root@coco.com", "un courriel")
    sent = relay.wait_log(
        rf"smtp\[\d+\]: {queue_id}: to=<root@coco\.com>, relay=127\.0\.0\.3\[127\.0\.0\.3\]:{inner.port}, "
        r"delay=.*, dsn=2\.0\.0, status=sent \(250 2\.0\.0 Ok: queued as (\w+)\)$"
    )
    relay.wait_log(rf"qmgr\[\d+\]: {queue_id}: removed$")
    assert delivered(inner, sent[1]) == [
        "Return-Path: <toot@cejf.com>",
        "X-Original-To: root@coco.com",
        "Delivered-To: root@coco.com",
        "Received: from mail01.mood.shibarecords.com (unknown [127.0.0.2])",
        f"\tby mail.coco.com (fastrelay) with ESMTP id {sent[1]}",
        "\tfor <root@coco.com>; DATE",
        "Received: from toto (unknown [127.0.0.1])",
        f"\tby mail01.mood.shibarecords.com (fastrelay) with ESMTP id {queue_id}",
        "\tfor <root@coco.com>; DATE",
        "",
        "un courriel",
    ]
    relay.tool("postqueue", "-f")
    relay.wait_log(
        rf"{deferred}: to=<root@coco\.com>, relay=127\.0\.0\.3\[127\.0\.0\.3\]:{inner.port}, .*status=sent"
    )


def delivered(inner: Example, queue_id: str) -> list[str]:
    """The lines of the one file in root's Maildir, dates masked."""
    maildir = inner.etc / "run" / "mail" / "root" / "Maildir"
    inner.wait_log(
        rf"virtual\[\d+\]: {queue_id}: to=<root@coco\.com>, relay=virtual, .*status=sent "
        r"\(delivered to maildir\)$"
    )
    assert sorted(path.name for path in maildir.iterdir()) == ["cur", "new", "tmp"]
    (path,) = (maildir / "new").iterdir()
    assert re.fullmatch(r"\d+\.V[0-9a-f]+I[0-9a-f]+M\d+\.mail\.coco\.com", path.name)
    date = r"\w{3}, [ \d]\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4} \(\w+\)"
    return [re.sub(date + "$", "DATE", line) for line in path.read_text().splitlines()]


def make_inner(ports: dict[str, int]) -> Example:
    ids = {} if IS_ROOT else {"virtual_uid_maps": "static:$owner", "virtual_gid_maps": "static:$owner"}
    inner = Example("inner", "127.0.0.3", ports, **ids)
    inner.tool("postmap", inner.etc / "mailboxes")
    mail = inner.etc / "run" / "mail"
    mail.mkdir(parents=True)
    if IS_ROOT:
        shutil.chown(mail, 65534, 65534)
    return inner


@contextlib.contextmanager
def tutorial_relay(ports: dict[str, int], zone: dict[str, object]) -> Iterator[Example]:
    """As it is before the tutorial's changes; nothing is known of its relayhost."""
    with dns(zone) as server:
        relay = Example(
            "relay", "127.0.0.2", ports, fastrelay_dns_servers=server.address, fastrelay_dns_timeout="30s",
            local_recipient_maps="proxy:unix:passwd.byname $alias_maps", relay_domains="", transport_maps="",
        )  # fmt: skip
        (relay.etc / "lst-user").write_text(f"{USER} OK\n")
        relay.tool("postalias", relay.etc / "aliases")
        with relay:
            yield relay


def make_ports() -> dict[str, int]:
    return {"relay": free_port("127.0.0.2"), "inner": free_port("127.0.0.3")}


def test_the_tutorial() -> None:
    ports = make_ports()
    zone: dict[str, object] = {}
    with make_inner(ports) as inner, tutorial_relay(ports, zone) as relay:
        unknown_user(relay)
        list_of_an_unknown_type(relay)
        accepted_but_without_a_mailbox(relay)
        deferred = relayed_but_the_relayhost_is_not_found(relay, zone)
        redirected_to_the_internal_server(relay, inner, deferred)


def test_a_misspelt_relayhost_defers() -> None:
    """The tutorial's notice, which could not be sent: an error in main.cf must not bounce mail."""
    with tutorial_relay(make_ports(), {}) as relay:
        relay.send("toto@shibarecords.com", "toto@xiuehfeu.com")
        check_misspelt_relayhost(relay)


def test_a_next_hop_may_be_an_address_without_brackets() -> None:
    """As in the tutorial's own transport table, smtp:172.17.0.3:25."""
    with KeepingSink(host="127.0.0.3") as sink, tutorial_relay(make_ports(), {}) as relay:
        relay.configure(relayhost=f"127.0.0.3:{sink.port}")
        relay.reload()
        relay.send("a@b.test", "root@coco.com")
        assert len(sink.wait(1)) == 1
