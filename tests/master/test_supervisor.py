"""Real forks and sockets: start, crash, reload, stop, and two masters on one queue."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from mail_system import MailSystem, StandIn, inet_service

from fastrelay.config.errors import ConfigError
from fastrelay.master import lock
from fastrelay.master.errors import FatalError
from support.ports import free_port
from support.relay import alive, until


def test_start_answers_and_stop_leaves_nothing(system):
    system.start()
    assert lock.running_pid(system.queue) == system.pid
    number, pid, word = system.ask()
    assert number in (0, 1) and word == "first" and alive(pid)
    workers = system.worker_pids()
    assert sorted(workers) == [0, 1]
    system.signal(signal.SIGTERM)
    assert system.wait() == 0
    assert lock.running_pid(system.queue) is None
    assert not any(alive(pid) for pid in workers.values())
    assert list((system.queue / "control").iterdir()) == []
    with pytest.raises(ConnectionRefusedError):
        system.ask()
    assert "terminating on signal 15" in system.log()


@pytest.mark.parametrize("chosen", [os.SCHED_OTHER, os.SCHED_IDLE])
def test_workers_let_others_finish_unless_a_policy_was_chosen(system, chosen):
    before = os.sched_getscheduler(0)
    os.sched_setscheduler(0, chosen, os.sched_param(0))
    try:
        system.start()
    finally:
        os.sched_setscheduler(0, before, os.sched_param(0))
    assert os.sched_getscheduler(system.pid) == chosen
    expected = os.SCHED_BATCH if chosen == os.SCHED_OTHER else chosen
    assert {os.sched_getscheduler(pid) for pid in system.worker_pids().values()} == {expected}


FORBID = """
import ctypes, os, struct, sys
from fastrelay.master import privileges
number = {"x86_64": 144, "aarch64": 119}[os.uname().machine]  # sched_setscheduler
program = b"".join(struct.pack("HBBI", *step) for step in (
    (0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000)))
steps = ctypes.create_string_buffer(program)
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, struct.pack("HxxxxxxP", 4, ctypes.addressof(steps)), 0, 0) == 0  # PR_SET_SECCOMP
before = os.sched_getscheduler(0)
try:
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    sys.exit("it was not forbidden")
except PermissionError:
    privileges.let_others_finish()
assert os.sched_getscheduler(0) == before
"""


def test_a_container_that_forbids_a_policy_has_workers_all_the_same():
    """With a filter of system calls, as systemd's SystemCallFilter=~@resources sets it."""
    subprocess.run([sys.executable, "-c", FORBID], check=True, timeout=60)


def test_killed_worker_comes_back_and_no_connection_is_refused(system):
    system.start()
    before = system.worker_pids()
    answers, problems, done = [], [], threading.Event()

    def customer():
        while not done.is_set():
            try:
                answers.append(system.ask())
            except (ConnectionResetError, ValueError):
                answers.append(None)  # it was being served when its worker was killed
            except OSError as problem:
                problems.append(problem)

    threads = [threading.Thread(target=customer) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for number in (0, 1):
            os.kill(before[number], signal.SIGKILL)
            killed = before[number]
            until(lambda number=number, killed=killed: system.worker_pids().get(number, killed) != killed)
            new = system.worker_pids()[number]
            until(lambda new=new: new in {answer[1] for answer in answers if answer})
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert problems == []
    assert f"warning: process fastrelay worker 0 pid {before[0]} killed by signal 9" in system.log()


def test_a_worker_that_keeps_dying_is_slowed_down_and_the_other_serves(system):
    system.start()
    for _ in range(3):
        pid = system.worker_pids()[1]
        os.kill(pid, signal.SIGKILL)
        system.wait_log(f"worker 1 pid {pid} killed by signal 9")
    system.wait_log("throttling, 1 s")
    assert until(lambda: system.worker_pids().get(1)) != pid


def test_second_master_on_the_queue_refuses(system, tmp_path):
    system.start()
    second = MailSystem(tmp_path)
    with pytest.raises(FatalError, match="already running"):
        second.start()
    assert system.ask()[2] == "first"
    assert sorted(system.worker_pids()) == [0, 1]


def test_second_mail_system_cannot_share_the_port(system, tmp_path):
    system.start()
    other = MailSystem(tmp_path)
    other.settle(queue_directory=str(tmp_path / "other"))
    other.config.services = system.config.services
    with pytest.raises(FatalError, match=f"bind 127.0.0.1 port {system.port}: Address already in use"):
        other.start()


def test_workers_end_when_master_is_killed_and_hold_the_lock_until_then(system):
    system.start()
    workers = system.worker_pids()
    system.signal(signal.SIGKILL)
    system.wait()
    until(lambda: not any(alive(pid) for pid in workers.values()))
    assert lock.running_pid(system.queue) is None
    system.start()
    assert set(system.worker_pids().values()).isdisjoint(workers.values())


def test_reload_reaches_every_worker_without_replacing_it(system):
    def second(config):
        config.warnings = ["second"]
        return config

    system.loads = second
    system.start()
    before = system.worker_pids()
    system.signal(signal.SIGHUP)
    system.wait_log(f"master[{system.pid}]: reload --")
    until(lambda: all(system.ask()[2] == "second" for _ in range(10)))
    assert system.worker_pids() == before
    for number in before:
        system.wait_log(f"worker {number} reloaded")


def test_log_file_that_was_rotated_is_passed_to_workers_at_reload(system):
    system.loads = lambda config: setattr(config, "warnings", ["x"]) or config
    system.start()
    system.log_path.rename(system.directory / "maillog.1")
    system.signal(signal.SIGHUP)
    for number in (0, 1):
        system.wait_log(f"worker {number} reloaded")
    system.signal(signal.SIGTERM)
    assert system.wait() == 0
    assert "terminating" in system.log()


def test_bad_configuration_at_reload_keeps_the_old_one(system):
    def broken(config):
        raise ConfigError("/x/main.cf", 3, "smtpd_timeout", "never", "allowed: a time")

    system.loads = broken
    system.start()
    before = system.worker_pids()
    system.signal(signal.SIGHUP)
    system.wait_log("reload refused, the old configuration stays: /x/main.cf, line 3: smtpd_timeout = never")
    assert system.ask()[2] == "first"
    assert system.worker_pids() == before


def test_reload_with_other_listeners_and_fewer_workers_replaces_all(system):
    port = free_port()

    def elsewhere(config):
        system.settle(fastrelay_workers=1)
        config.services = [inet_service(port)]
        return config

    system.loads = elsewhere
    system.start()
    before = system.worker_pids()
    system.signal(signal.SIGHUP)
    until(lambda: list(system.worker_pids()) == [0] and system.worker_pids()[0] not in before.values())
    assert system.ask(port)[0] == 0
    with pytest.raises(ConnectionRefusedError):
        system.ask()


def test_shards_are_spread_over_all_workers(system):
    def tell(context):
        Path(f"/tmp/{os.getppid()}.{context.number}").write_text(repr(context.shards))
        StandIn(context).run()

    system.run = tell
    system.start()
    files = [Path(f"/tmp/{system.pid}.{number}") for number in (0, 1)]
    assert [file.read_text() for file in files] == ["[0, 2, 4]", "[1, 3]"]
    for file in files:
        file.unlink()


def test_worker_that_cannot_start_fails_the_start_with_its_panic_in_the_log(system):
    def broken(context):
        raise RuntimeError("no such luck")

    system.run = broken
    with pytest.raises(FatalError, match=r"mail system startup failed: worker \d: exit status 1"):
        system.start()
    assert "panic: RuntimeError: no such luck" in system.log()
    assert lock.running_pid(system.queue) is None


def test_a_worker_that_will_not_stop_is_killed(system, monkeypatch):
    def deaf(context):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stand_in = StandIn.__new__(StandIn)
        StandIn.__init__(stand_in, context)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stand_in.run()

    monkeypatch.setattr("fastrelay.master.supervisor.GRACE", 0.3)
    system.run = deaf
    system.start()
    workers = system.worker_pids()
    system.signal(signal.SIGTERM)
    assert system.wait() == 0
    assert "stopping them with force" in system.log()
    assert not any(alive(pid) for pid in workers.values())


def test_abort_does_not_wait(system):
    system.run = lambda context: (context.ready(), time.sleep(1000))
    system.start()
    system.signal(signal.SIGQUIT)
    assert system.wait() == 0


def sockets_of(pid):
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += [name for name in [os.readlink(link)] if name.startswith("socket:")]
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_workers_have_no_rights_left(system):
    system.start()
    ours = set(sockets_of(os.getpid()))  # of other tests in this process: the fork has them too
    for pid in system.worker_pids().values():
        status = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            if ":\t" in line
        )
        assert set(status["Uid"].split()) == {"65534"} and set(status["Gid"].split()) == {"65534"}
        assert "0" not in status["Groups"].split()
        assert status["NoNewPrivs"] == "1" and status["Umask"] == "0077"
        assert int(status["CapEff"], 16) == 0 and int(status["CapPrm"], 16) == 0
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert [line.split()[4:6] for line in limits.splitlines() if "core file" in line] == [["0", "0"]]
        # a listener, its control socket, master; the connection that we asked over is just being closed
        until(lambda pid=pid: len(set(sockets_of(pid)) - ours) == 3)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize(
    ("owner", "message"),
    [("nosuchuser", "unknown user name value: nosuchuser"), ("root", "has privileged user ID")],
)
def test_mail_owner_must_be_somebody_harmless(system, owner, message):
    system.settle(mail_owner=owner)
    with pytest.raises(FatalError, match=message):
        system.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_files_of_another_owner_are_taken_over_but_not_through_links(system, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("secret")
    shard = system.queue / "fastrelay" / "00"
    shard.mkdir(parents=True)
    (shard / "segment").write_text("x")
    (shard / "soft").symlink_to(victim)
    (shard / "hard").hardlink_to(victim)
    system.start()
    assert (shard / "segment").stat().st_uid == 65534 and shard.stat().st_uid == 65534
    assert victim.stat().st_uid == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="a mailbox helper runs as root only")
def test_mailbox_helper_lives_and_dies_with_its_worker(system):
    def echo(sock, config):
        while data := sock.recv(100):
            sock.sendall(b"%d %d %b" % (os.getpid(), os.geteuid(), data))

    def run(context):
        stand_in = StandIn(context)
        context.mailbox_helper.sendall(b"hello")
        stand_in.word = context.mailbox_helper.recv(100).replace(b" ", b"/")
        stand_in.run()

    system.helper, system.run = echo, run
    system.start()
    number, pid, word = system.ask()
    helper, euid, said = word.split("/")
    assert euid == "0" and said == "hello" and alive(int(helper))
    os.kill(pid, signal.SIGKILL)
    until(lambda: not alive(int(helper)))
    until(lambda: system.worker_pids().get(number, pid) != pid)
    assert "mailbox helper" not in system.log()
    os.kill(int(next(helper_of(system, number))), signal.SIGKILL)
    system.wait_log(f"process mailbox helper {number} pid")
    system.signal(signal.SIGTERM)
    assert system.wait() == 0


def helper_of(system, number):
    """The process id that worker `number` has from its helper."""
    while True:
        found, _, word = system.ask()
        if found == number:
            yield word.split("/")[0]


def test_unusable_listener_is_one_line(system):
    system.config.services = [inet_service(free_port()), inet_service(system.port)]
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", system.port))
        squatter.listen()
        with pytest.raises(FatalError, match="Address already in use"):
            system.start()
