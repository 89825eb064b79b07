"""The privileged helper: mail is written as its owner, it decides itself, every request is answered."""

import asyncio
import os
import pathlib
import signal
import socket
import tempfile

import pytest
from mailbox_parts import mailbox_settings

from fastrelay.delivery.mailbox_helper import CHILD_LIMIT, FAILED, HEAD, MailboxClient, serve
from fastrelay.delivery.mailboxes import Kind, Request

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can write as somebody else")
USER, OTHER = 41_234, 41_235


@pytest.fixture
def top():
    """A directory that others may pass; pytest's own are shut again by every other run of pytest."""
    with tempfile.TemporaryDirectory(prefix="fastrelay-mailboxes-") as name:
        os.chmod(name, 0o711)
        yield pathlib.Path(name)


@pytest.fixture
def base(top):
    """A base that USER may write to."""
    directory = top / "base"
    directory.mkdir()
    os.chown(directory, USER, USER)
    return directory


@pytest.fixture
def helper(base):
    """(worker's end, pid of the helper)."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        ours.close()
        serve(theirs, mailbox_settings(base, virtual_minimum_uid=100))
        os._exit(0)
    theirs.close()
    yield ours, pid
    ours.close()
    _, status = os.waitpid(pid, 0)
    assert status in (0, signal.SIGKILL)


def ask(sock, *requests, data=b"content\n"):
    async def go():
        client = MailboxClient(sock)
        try:
            return await asyncio.wait_for(asyncio.gather(*(client.deliver(r, data) for r in requests)), 60)
        finally:
            client.close()

    return asyncio.run(go())


def test_file_belongs_to_the_owner(helper, base):
    [result] = ask(helper[0], Request(Kind.VIRTUAL, b"d/u/", USER, USER), data=b"x" * 50_000)
    assert (result.dsn, result.text) == (b"2.0.0", b"delivered to maildir")
    [file] = (base / "d/u/new").iterdir()
    status = file.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777, status.st_size) == (
        USER,
        USER,
        0o600,
        50_000,
    )
    assert (base / "d").stat().st_uid == USER
    assert (base / "d").stat().st_mode & 0o777 == 0o700


def test_more_at_once_than_children(helper, base):
    results = ask(helper[0], *[Request(Kind.VIRTUAL, b"u/", USER, USER)] * (CHILD_LIMIT * 2 + 1))
    assert {(result.dsn, result.text) for result in results} == {(b"2.0.0", b"delivered to maildir")}
    assert len(list((base / "u/new").iterdir())) == CHILD_LIMIT * 2 + 1


def test_other_users_rights_are_used(helper, base):
    [result] = ask(helper[0], Request(Kind.VIRTUAL, b"u/", OTHER, OTHER))
    assert result.dsn == b"4.2.0"
    assert result.text.endswith(b"Permission denied")
    assert result.warnings[0].startswith(b"maildir access problem for UID/GID=41235/41235")


def test_links_do_not_lead_out_with_roots_rights(helper, base, top):
    secret = top / "secret"
    secret.mkdir(mode=0o700)
    (base / "link").symlink_to(secret)
    [result] = ask(helper[0], Request(Kind.VIRTUAL, b"link/", USER, USER))
    assert result.dsn == b"4.2.0"
    assert not list(secret.iterdir())


@pytest.mark.parametrize(
    "request_",
    [
        Request(Kind.VIRTUAL, b"../u/", USER, USER),
        Request(Kind.VIRTUAL, b"a/../../u/", USER, USER),
        Request(Kind.VIRTUAL, b"/", USER, USER),
        Request(Kind.VIRTUAL, b"u\0/", USER, USER),
        Request(Kind.VIRTUAL, b"u/", 0, USER),
        Request(Kind.VIRTUAL, b"u/", 99, USER),
        Request(Kind.VIRTUAL, b"u/", USER, 0),
    ],
)
def test_the_helper_decides_itself(helper, base, request_):
    [result] = ask(helper[0], request_)
    assert result.dsn == b"4.3.5"
    assert not list(base.iterdir())


def test_unknown_system_user(helper):
    [result] = ask(helper[0], Request(Kind.LOCAL, b"no-such-user"))
    assert (result.dsn, result.text) == (b"5.1.1", b'unknown user: "no-such-user"')


def test_malformed_request_is_answered(helper):
    """A child that cannot make sense of a request dies, and its parent answers."""
    sock = helper[0]
    sock.settimeout(60)
    sock.send(HEAD.pack(7, 99, USER, USER) + b"u/")
    assert int.from_bytes(sock.recv(1000)[:8], "big") == 7
    [result] = ask(sock, Request(Kind.VIRTUAL, b"u/", USER, USER))
    assert result.dsn == b"2.0.0"


def test_helper_that_died_defers(helper):
    sock, pid = helper
    os.kill(pid, signal.SIGKILL)
    assert ask(sock, Request(Kind.VIRTUAL, b"u/", USER, USER))[0].dsn == b"4.3.0"


def test_helper_that_dies_under_way_defers(helper):
    sock, pid = helper
    os.kill(pid, signal.SIGSTOP)

    async def go():
        client = MailboxClient(sock)
        waiting = asyncio.ensure_future(client.deliver(Request(Kind.VIRTUAL, b"u/", USER, USER), b"x"))
        await asyncio.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
        result = await asyncio.wait_for(waiting, 60)
        later = await client.deliver(Request(Kind.VIRTUAL, b"u/", USER, USER), b"x")
        client.close()
        return result, later

    assert asyncio.run(go()) == (FAILED, FAILED)
