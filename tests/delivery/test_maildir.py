"""Maildir: the order of system calls that survives a crash, and errors at each of them."""

import errno
import os

import pytest

from fastrelay.delivery import maildir
from fastrelay.delivery.maildir import MailboxProblem, write_message
from fastrelay.delivery.message_file import to_file, was_delivered_to


@pytest.fixture
def calls(monkeypatch):
    """The calls that matter, in order, with the kind of their object."""
    made = []
    real = {name: getattr(os, name) for name in ("fsync", "rename", "write")}

    def note(name):
        def call(*args):
            if name == "fsync":
                target = os.readlink(f"/proc/self/fd/{args[0]}")
                made.append(
                    (
                        "fsync",
                        os.path.basename(os.path.dirname(target))
                        if os.path.isfile(target)
                        else os.path.basename(target),
                    )
                )
            else:
                made.append((name, ""))
            return real[name](*args)

        return call

    for name in real:
        monkeypatch.setattr(maildir.os, name, note(name))
    return made


def test_nothing_is_published_before_it_is_durable(tmp_path, calls):
    directory = os.fsencode(tmp_path) + b"/Maildir/"
    write_message(directory, b"first\n", "host.example")
    calls.clear()
    path = write_message(directory, b"data\n", "host.example")
    assert calls == [("write", ""), ("fsync", "tmp"), ("rename", ""), ("fsync", "new")]
    with open(path, "rb") as file:
        assert file.read() == b"data\n"


def test_new_directories_are_durable_before_use(tmp_path, calls):
    write_message(os.fsencode(tmp_path) + b"/a/Maildir/", b"data\n", "host.example")
    published = calls.index(("rename", ""))
    assert ("fsync", "Maildir") in calls[:published]
    assert ("fsync", "a") in calls[:published]
    assert ("fsync", os.path.basename(tmp_path)) in calls[:published]


@pytest.mark.parametrize(
    ("name", "code", "dsn"),
    [
        ("fsync", errno.EIO, b"4.2.0"),
        ("fsync", errno.ENOSPC, b"4.3.0"),
        ("write", errno.ENOSPC, b"4.3.0"),
        ("write", errno.EDQUOT, b"5.2.2"),
        ("rename", errno.EACCES, b"4.2.0"),
    ],
)
def test_errors_leave_nothing_behind(tmp_path, monkeypatch, name, code, dsn):
    directory = tmp_path / "Maildir"
    path = os.fsencode(directory) + b"/"
    write_message(path, b"first\n", "host.example")

    def fail(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(maildir.os, name, fail)
    with pytest.raises(MailboxProblem) as caught:
        write_message(path, b"data\n", "host.example")
    monkeypatch.undo()
    assert caught.value.dsn == dsn
    assert caught.value.text.endswith(os.strerror(code).encode())
    assert not list((directory / "tmp").iterdir())
    assert len(list((directory / "new").iterdir())) == 1


def test_names_are_unique(tmp_path):
    directory = os.fsencode(tmp_path) + b"/"
    assert len({write_message(directory, b"x\n", "host/x:y") for _ in range(200)}) == 200
    assert len(list((tmp_path / "new").iterdir())) == 200


@pytest.mark.parametrize(
    ("wire", "file"),
    [
        ([b"..a\r\n.", b".b\r\n"], b".a\n.b\n"),
        ([b"a\r", b"\n", b"..\r\n"], b"a\n.\n"),
        ([b"a\n.b\rc\r\n"], b"a\n.b\rc\n"),
        ([], b""),
    ],
)
def test_wire_form_becomes_lines(wire, file):
    assert to_file(wire) == file


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ([b"Delivered-To:u@x\r\n\r\n"], True),
        ([b"A: b\r\nDeliv", b"ered-To: \tU@X\r", b"\n\r\n"], True),
        ([b"A: b\r\n\r\nDelivered-To: u@x\r\n"], False),
        ([b"Delivered-To: u@x.y\r\n\r\n"], False),
        ([b"Delivered-To: u@x"], False),
    ],
)
def test_delivered_to_is_found_in_the_header(content, found):
    assert was_delivered_to(content, b"u@x") is found
