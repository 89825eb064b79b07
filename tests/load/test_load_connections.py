"""Very many clients at one worker: idle ones, slow ones, all at once."""

import os
import signal
from pathlib import Path

import pytest

from support.crowd import Crowd, allow_files, established
from support.process_memory import memory_of
from support.relay import PATIENCE, Fastrelay

SHORT, WHOLE = 2000, 10_000
ALLOWED = 200 << 20  # bytes for the WHOLE crowd: docs/benchmarks.md
GREEDY = 200
FIRST_MESSAGES = 8 << 20  # what any messages cost, however few connections they come over


def test_load_a_burst_of_clients_finds_room_while_the_worker_is_busy():
    """The kernel keeps them for it, as many as net.core.somaxconn allows: nobody's SYN is dropped for a second."""
    count = min(1000, int(Path("/proc/sys/net/core/somaxconn").read_text()))
    allow_files(count + 100)
    with Fastrelay() as relay, Crowd(relay.port) as crowd:
        (worker,) = relay.worker_pids()
        os.kill(worker, signal.SIGSTOP)
        try:
            assert established(crowd.connect(count), PATIENCE) == count
        finally:
            os.kill(worker, signal.SIGCONT)


def idle_crowd(count: int) -> None:
    with Fastrelay() as relay, Crowd(relay.port) as crowd:
        crowd.open(10)
        (worker,) = relay.worker_pids()
        before = memory_of(worker)
        crowd.open(count - 10)
        crowd.say(b"EHLO client.test\r\n")
        crowd.say(b"MAIL FROM:<a@client.test>\r\n")
        crowd.say(b"RCPT TO:<b@there.test>\r\n")
        grown = memory_of(worker) - before
        print(f"{count} idle connections: {grown / 2**20:.1f} MiB")
        assert grown < ALLOWED * count // WHOLE


def test_load_idle_connections_cost_little_memory():
    idle_crowd(SHORT)


def test_load_a_client_that_was_greedy_once_costs_little_after():
    """A big header, contents, and commands far ahead of their replies: no buffer keeps its largest size."""
    lines = b"".join(b"X-Header-%03d: %b\r\n" % (number, b"x" * 70) for number in range(600))
    message = b"Subject: big\r\n%b\r\n%b.\r\n" % (lines, b"y" * 70 + b"\r\n")
    ahead = b"".join(b"RCPT TO:<%03d%b@there.test>\r\n" % (n, b"y" * 50) for n in range(900))
    ahead = b"MAIL FROM:<a@client.test>\r\n%bRSET\r\nVRFY last@there.test\r\n" % ahead
    with Fastrelay({"relayhost": "[127.0.0.1]:9"}) as relay, Crowd(relay.port) as crowd:
        crowd.open(GREEDY)
        crowd.say(b"EHLO client.test\r\n")
        (worker,) = relay.worker_pids()
        before = memory_of(worker)
        for client in crowd.clients:
            client.sendall(b"MAIL FROM:<a@client.test>\r\nRCPT TO:<b@there.test>\r\nDATA\r\n")
            seen = b""
            while b"354 " not in seen:
                seen += client.recv(1000)
            client.sendall(message + ahead)
            seen = b""
            while b"252 " not in seen:
                seen = seen[-10:] + client.recv(100_000)
        relay.tool("postsuper", "-d", "ALL")
        grown = memory_of(worker) - before
        print(f"{grown / GREEDY / 1024:.1f} KiB for each of the greedy")
        assert grown < ALLOWED * GREEDY // WHOLE + FIRST_MESSAGES


def test_load_more_sessions_than_open_files_are_bounded_with_a_warning():
    """What was taken must be delivered and recorded: sessions may not use up what that needs."""
    main = {"fastrelay_smtpd_connection_limit": 10_000_000, "relayhost": "[127.0.0.1]:9"}
    with Fastrelay(main) as relay:
        said = relay.wait_log(
            r"open files are limited to (\d+): fastrelay_smtpd_connection_limit is (\d+) here"
        )
        assert 500 < int(said[1]) - int(said[2]) < int(said[1])
        assert relay.send(recipients="b@there.test")


@pytest.mark.soak
def test_load_ten_thousand_idle_connections_fit_into_memory():
    idle_crowd(WHOLE)
