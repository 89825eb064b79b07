"""The supervisor's small parts by themselves: addresses, back-off, the channel, the lock, directories."""

import contextlib
import multiprocessing
import os
import socket

import pytest
from mail_system import inet_service

from fastrelay.config import load
from fastrelay.master import channel, directories, listeners, lock
from fastrelay.master.children import Child, describe_end
from fastrelay.master.context import shards_of
from fastrelay.master.errors import FatalError
from fastrelay.master.privileges import Owner
from support.ports import free_port

V4, V6 = socket.AF_INET, socket.AF_INET6


@pytest.mark.parametrize(
    ("host", "interfaces", "expected"),
    [
        ("", ("all",), [(V4, "0.0.0.0", 25), (V6, "::", 25)]),
        ("", (), [(V4, "0.0.0.0", 25), (V6, "::", 25)]),
        ("", ("loopback-only",), [(V4, "127.0.0.1", 25), (V6, "::1", 25)]),
        ("", ("127.0.0.2", "[::1]"), [(V4, "127.0.0.2", 25), (V6, "::1", 25)]),
        ("127.0.0.1", ("all",), [(V4, "127.0.0.1", 25)]),
        ("[::1]", ("127.0.0.1",), [(V6, "::1", 25)]),
    ],
)
def test_addresses_of_an_inet_service(host, interfaces, expected):
    assert listeners.addresses(host, 25, interfaces, [V4, V6]) == expected


def test_addresses_keep_to_the_protocols():
    assert listeners.addresses("", 25, ("all",), [V4]) == [(V4, "0.0.0.0", 25)]
    with pytest.raises(FatalError, match="no address of the protocols"):
        listeners.addresses("::1", 25, (), [V4])
    with pytest.raises(FatalError, match=r"could not resolve host no-such-host\.invalid"):
        listeners.addresses("no-such-host.invalid", 25, (), [V4])


def test_families():
    assert listeners.families(("ipv4",)) == [V4]
    assert listeners.families(("all",)) == [V4, *([V6] if listeners.has_ipv6() else [])]
    with pytest.raises(FatalError, match="ipv5"):
        listeners.families(("ipv5",))


@pytest.mark.skipif(not listeners.has_ipv6(), reason="no IPv6 here")
def test_both_wildcards_share_a_port_and_every_worker_has_its_socket():
    port = free_port()
    found = [
        one
        for address in listeners.addresses("", port, ("all",), [V4, V6])
        for one in listeners.bind(address, 3)
    ]
    assert len(found) == 6
    for family, host in ((V4, "127.0.0.1"), (V6, "::1")):
        with socket.socket(family) as client:
            client.connect((host, port))
    for one in found:
        one.close()


def test_of_two_that_start_at_once_one_gets_the_port():
    """Both would get half of the mail each: SO_REUSEPORT lets every one of ours in."""
    rounds, both = 300, multiprocessing.get_context("fork")
    together, won = both.Barrier(2, timeout=100), both.SimpleQueue()
    addresses = [(int(socket.AF_INET), "127.0.0.1", free_port()) for _ in range(rounds)]

    def start():
        bound = []
        for number, address in enumerate(addresses):
            together.wait()
            with contextlib.suppress(FatalError):
                bound.append((number, listeners.bind(address, 2)))
        together.wait()  # and kept until both are done
        won.put([number for number, _ in bound])

    processes = [both.Process(target=start) for _ in range(2)]
    for process in processes:
        process.start()
    numbers = won.get() + won.get()
    for process in processes:
        process.join()
    assert len(numbers) == len(set(numbers)), "one port, two mail systems"
    assert len(numbers) > rounds // 2


def test_only_smtpd_of_inet_services_is_ours():
    mine = inet_service(25)
    assert listeners.smtpd_services([mine]) == [mine]


def test_back_off_grows_to_a_minute_and_forgets():
    child, waits, now = Child(0), [], 1000.0
    for _ in range(10):
        child.pid = 1
        child.died(now)
        waits.append(child.restart_at - now)
        now += 1
    assert waits == [0, 0, 1, 2, 4, 8, 16, 32, 60, 60]
    child.died(now + 601)
    assert child.restart_at == now + 601


def test_how_a_process_ended():
    assert describe_end(9) == "killed by signal 9"
    assert describe_end(3 << 8) == "exit status 3"


def test_every_shard_has_one_worker():
    for workers in (1, 3, 16):
        shards = sorted(shard for number in range(workers) for shard in shards_of(number, workers, 16))
        assert shards == list(range(16))


def drain(receiver, sock):
    """All messages that are there: one read ends where a file was attached."""
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found += receiver.receive(sock)
    return found


def test_channel_carries_a_real_configuration_and_a_file(tmp_path):
    (tmp_path / "main.cf").write_text("mail_owner = me\nmyhostname = h.example.com\nfoo = $mail_owner\n")
    (tmp_path / "master.cf").write_text("127.0.0.1:2525 inet n - n - - smtpd -o smtpd_timeout=5s\n")
    config = load(tmp_path)
    data = channel.frame({"reload": config, "services": config.services, "with_log": True}) * 2
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    receiver, messages = channel.Receiver(), []
    with open(tmp_path / "log", "wb") as log, ours, theirs:
        half = len(data) // 2
        for part in (data[:half], data[half:]):
            assert channel.send(ours, part[:1], log.fileno()) == 1
            for at in range(1, len(part), 1000):
                ours.sendall(part[at : at + 1000])
                messages += drain(receiver, theirs)
        assert len(messages) == 2
        for message in messages:
            got = message["reload"]
            assert got.text("foo") == "me" and got.services == config.services == message["services"]
            assert os.path.samestat(os.fstat(message["log_fd"]), os.fstat(log.fileno()))
            os.close(message["log_fd"])
        with pytest.raises(BlockingIOError):
            receiver.receive(theirs)
        ours.close()
        assert receiver.receive(theirs) is None


def test_a_master_killed_before_it_has_heard_the_worker_is_gone_and_no_error():
    """Its end closes with a byte unread: the kernel tells the other end of a reset, not of an end of file."""
    ours, theirs = socket.socketpair()
    with theirs:
        channel.tell_ready(theirs)
        ours.close()
        assert channel.Receiver().receive(theirs) is None
        channel.tell_ready(theirs)  # dead before the worker was ready: it hears so from receive()
        assert channel.Receiver().receive(theirs) is None


def test_lock_is_for_one_and_its_file_may_not_be_a_link(tmp_path):
    owner = Owner("", os.geteuid(), os.getegid())
    directories.prepare(tmp_path / "spool", tmp_path / "data", owner)
    assert lock.running_pid(tmp_path / "spool") is None
    fd = lock.acquire(tmp_path / "spool")
    assert lock.running_pid(tmp_path / "spool") == os.getpid()
    with pytest.raises(FatalError, match="already running"):
        lock.acquire(tmp_path / "spool")
    os.close(fd)
    assert lock.running_pid(tmp_path / "spool") is None
    (tmp_path / "spool/pid/master.pid").unlink()
    (tmp_path / "spool/pid/master.pid").symlink_to("/etc/passwd")
    with pytest.raises(FatalError, match="open lock file"):
        lock.acquire(tmp_path / "spool")


def test_directories_are_made_and_mended(tmp_path):
    owner = Owner("", os.geteuid(), os.getegid())
    spool = tmp_path / "a" / "spool"
    for _ in range(2):
        directories.prepare(spool, tmp_path / "data", owner)
        modes = {path.name: path.stat().st_mode & 0o777 for path in spool.iterdir()}
        assert modes == {"pid": 0o755, "control": 0o700, "private": 0o700, "fastrelay": 0o700}
        (spool / "control").chmod(0o777)
    with pytest.raises(FatalError, match="not an absolute path"):
        directories.prepare(directories.Path("spool"), tmp_path, owner)
    (tmp_path / "file").touch()
    with pytest.raises(FatalError, match="directory"):
        directories.prepare(tmp_path / "file", tmp_path, owner)


def test_no_shard_that_was_made_is_left_without_a_worker(tmp_path):
    """fastrelay_queue_shards was 16, mail is in the last of them, and somebody sets it to 4."""
    for name in ("00", "0f", "corrupt", ".probe.1", "zz"):
        (tmp_path / name).mkdir()
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert directories.shard_count(fd, 4) == 16
        assert directories.shard_count(fd, 32) == 32
    finally:
        os.close(fd)
