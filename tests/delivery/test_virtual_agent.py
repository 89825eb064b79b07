"""virtual(8): Maildirs below the base, by table, never outside."""

import os
import pathlib
import tempfile

import pytest
from mailbox_parts import VIRTUAL, mailbox_settings, make_delivery, maps, run, unprivileged

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


def deliver_as_itself(base):
    outcome, _ = deliver(b"u@box.example", base, uids=f"static:{os.geteuid()}", gids=f"static:{os.getegid()}")
    return outcome.status, outcome.text, outcome.relay


def test_delivers_as_itself():
    """Not as root: then the helper writes, see test_mailbox_helper."""
    with tempfile.TemporaryDirectory(prefix="fastrelay-mailboxes-") as name:
        os.chmod(name, 0o777)
        assert unprivileged(deliver_as_itself, name) == (Status.SENT, b"delivered to maildir", b"virtual")
        (file,) = pathlib.Path(name, "box.example/u/new").iterdir()
        assert file.stat().st_uid != 0


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
