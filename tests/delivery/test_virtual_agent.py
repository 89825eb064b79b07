"""virtual(8): Maildirs below the base, by table, never outside."""

import os

import pytest
from mailbox_parts import VIRTUAL, mailbox_settings, make_delivery, maps, run

from fastrelay.borders import Status
from fastrelay.delivery.mailboxes import DirectMailboxes
from fastrelay.delivery.virtual import VirtualAgent, VirtualParts

MAPS = "inline:{u@box.example=box.example/u/ @all.example=all/ file@box.example=file up@box.example=../up/ }"


class Recorder:
    """Stands where the helper's client stands; what reaches the helper is the test."""

    def __init__(self):
        self.requests = []

    async def deliver(self, request, data):
        self.requests.append(request)
        return await DirectMailboxes(mailbox_settings("/nowhere")).deliver(request, data)


def deliver(address, base="/nowhere", mailboxes=None, uids="static:1234", gids="static:1234", found=MAPS):
    warnings = []
    mailboxes = mailboxes or DirectMailboxes(mailbox_settings(base))
    parts = VirtualParts(maps(found), maps(uids), maps(gids), mailboxes, warnings.append)
    [[outcome]] = run(lambda report: VirtualAgent(VIRTUAL, parts, report), make_delivery(address))
    return outcome, warnings


@pytest.mark.parametrize(
    ("address", "path"),
    [
        (b"u@box.example", b"box.example/u/"),
        (b"U@box.example", b"box.example/u/"),
        (b"u+ext@box.example", b"box.example/u/"),
        (b"whoever@all.example", b"all/"),
        (b'"../../../etc"@all.example', b"all/"),
    ],
)
def test_the_table_names_the_mailbox(address, path):
    recorder = Recorder()
    deliver(address, mailboxes=recorder)
    assert [(r.name, r.uid, r.gid) for r in recorder.requests] == [(path, 1234, 1234)]


@pytest.mark.skipif(os.geteuid() == 0, reason="as root the helper writes, see test_mailbox_helper")
def test_delivers_as_itself(tmp_path):
    mine = f"static:{os.geteuid()}"
    outcome, _ = deliver(b"u@box.example", tmp_path, uids=mine, gids=f"static:{os.getegid()}")
    assert (outcome.status, outcome.text, outcome.relay) == (Status.SENT, b"delivered to maildir", b"virtual")
    assert len(list((tmp_path / "box.example/u/new").iterdir())) == 1


def test_unknown_user_bounces():
    outcome, _ = deliver(b"nobody@box.example")
    assert (outcome.status, outcome.dsn) == (Status.BOUNCED, b"5.1.1")
    assert outcome.text == b'unknown user: "nobody@box.example"'


@pytest.mark.parametrize("address", [b"up@box.example", b"file@box.example"])
def test_paths_that_are_no_maildir_below_the_base_wait(address, tmp_path):
    outcome, warnings = deliver(address, tmp_path)
    assert (outcome.status, outcome.dsn, outcome.text) == (
        Status.DEFERRED,
        b"4.3.5",
        b"mail system configuration error",
    )
    assert warnings
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("uids", "gids"),
    [
        ("", "static:1234"),
        ("static:1234", ""),
        ("static:0", "static:1234"),
        ("static:x", "static:1"),
        ("static:1234", "static:0"),
    ],
)
def test_ids_must_be_given_and_unprivileged(uids, gids):
    outcome, warnings = deliver(b"u@box.example", uids=uids, gids=gids)
    assert (outcome.status, outcome.dsn) == (Status.DEFERRED, b"4.3.5")
    assert b"virtual_" in warnings[0]


def test_broken_table_defers():
    outcome, warnings = deliver(b"u@box.example", found="dbm:/nowhere")
    assert (outcome.status, outcome.dsn) == (Status.DEFERRED, b"4.3.5")
    assert b"unsupported dictionary type" in warnings[0]
