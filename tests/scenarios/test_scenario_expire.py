"""postsuper -e and -f: both systems give the same mail back, for the same reasons, and say the same."""

import re

import pytest
from scenario_parts import IS_ROOT, Notice

from support.keeping_sink import KeepingSink
from support.relay import Fastrelay, MailSystem, Postfix, until

HOLD = b"Subject: hold\r\n\r\nbody\r\n"
MAIN = {
    "header_checks": "regexp:$config_directory/checks",
    "minimal_backoff_time": "300s",
    "maximal_backoff_time": "300s",
    "mail_name": "Postfix",
}


def reply(stage: str, argument: bytes) -> bytes | None:
    return b"450 4.2.0 come back" if stage == "RCPT" and b"later" in argument else None


def listed(system: MailSystem) -> dict[str, str]:
    """queue id -> the characters behind it."""
    return dict(re.findall(r"^([0-9A-F]{8,})([*!#]*) ", system.tool("postqueue", "-p"), re.M))


def said(system: MailSystem, *words: str) -> str:
    done = system.run_tool("postsuper", *words)
    assert done.returncode == 0
    return done.stderr.decode()


def work(system: MailSystem) -> list[str]:
    """All that is said and logged, with a letter for each queue id."""
    held = system.send("a@client.test", ["x@there.test", "y@there.test"], HOLD)
    late = system.send("a@client.test", ["later@there.test", "z@there.test"])
    kept = system.send("a@client.test", "later@there.test", HOLD)
    until(lambda: listed(system) == {held: "!", late: "", kept: "!"}, system.log)
    texts = [
        said(system, "-e", late, "-e", held),
        said(system, "-e", late),
        said(system, "-f", held),
        said(system, "-f", "nonsense/", "-e", "ALL", "deferred"),
        said(system, "-e", kept),
    ]
    assert listed(system)[kept] == "!#"  # a release has Postfix look at all deferred mail
    assert '"forced_expire": true' in system.tool("postqueue", "-j")
    system.tool("postqueue", "-f")
    until(lambda: listed(system) == {kept: "!#"}, system.log)
    texts.append(said(system, "-H", kept))
    until(lambda: system.tool("postqueue", "-f") or not listed(system), system.log)
    for queue_id in (held, late, kept):
        system.wait_log(f"{queue_id}: removed")
    text = "".join(texts) + system.log()
    for letter, queue_id in {"HELD": held, "LATE": late, "KEPT": kept}.items():
        text = text.replace(queue_id, letter)
    found = re.findall(
        r"(?:/(?:qmgr|error)\[\d+\]|postsuper): ((?:HELD|LATE|KEPT): .*|[FR]\w+.*\d mess.*)", text
    )
    return sorted(re.sub(r"delay=.*?, dsn|size=\d+", "", line) for line in found)


def facts(content: bytes) -> object:
    """Of whom a notice tells, and why."""
    notice = Notice(content)
    fields = ("Final-Recipient", "Action", "Status", "Diagnostic-Code")
    return str(notice.message["To"]), sorted(
        tuple(re.sub(r"\s+", " ", str(each[name])) for name in fields) for each in notice.recipients
    )


@pytest.mark.skipif(not IS_ROOT, reason="Postfix needs root")
def test_what_expires_by_hand_goes_back_as_with_postfix() -> None:
    lines, told = [], []
    for kind in (Fastrelay, Postfix):
        with (
            KeepingSink(reply) as sink,
            kind({**MAIN, "relayhost": sink.next_hop}, {"checks": "/^Subject: hold/ HOLD\n"}) as system,
        ):
            lines.append(work(system))
            notices = [kept.content for kept in sink.messages if b"multipart/report" in kept.content]
            told.append(sorted(map(facts, notices), key=str))
            assert sum(b"<z@there.test>" in kept.recipients[0] for kept in sink.messages) == 1
    assert lines[0] == lines[1]
    assert told[0] == told[1] and len(told[0]) == 3
    assert any("message is administratively expired" in str(each) for each in told[0])


def test_it_holds_beyond_a_stop_and_on_a_stopped_queue() -> None:
    with KeepingSink(reply) as sink, Fastrelay({"relayhost": sink.next_hop}) as relay:
        first, second = (relay.send("a@client.test", "later@there.test") for _ in range(2))
        until(lambda: listed(relay) == {first: "", second: ""}, relay.log)
        said(relay, "-e", first)
        relay.stop()
        assert "Force-expired: 1 message\n" in said(relay, "-e", "ALL")
        assert listed(relay) == {first: "#", second: "#"}
        relay.start()
        until(lambda: relay.tool("postqueue", "-f") or not listed(relay), relay.log)
        until(lambda: relay.log().count("status=force-expired, returned to sender") == 2, relay.log)
        assert sum(b"multipart/report" in kept.content for kept in sink.messages) == 2
