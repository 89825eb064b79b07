"""Relays beside Postfix on request: how to get them, where they relay to, and that the machine sees nothing of them."""

import argparse
import contextlib
import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.whole.cases import CASES
from bench.whole.opensmtpd import listen_again
from bench.whole.others import FIRST_UID, Other
from bench.whole.relays import POSTFIX, Directory, RelayFailed
from bench.whole.run import OTHERS, contenders

SINK_PORT = 29999
GETTING = {
    "exim4": "apt-get download exim4-daemon-light",
    "opensmtpd": "apt-get download opensmtpd",
    "haraka": "npm install --prefix build/haraka Haraka",
}
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="a mount namespace is root's, and bench/whole is")
STAND_IN = """\
import pathlib, pwd, socket, sys
seen = f"{pwd.getpwnam('stand-in').pw_uid} {pathlib.Path('/etc/resolv.conf').read_text()}"
pathlib.Path("/var/spool/seen").write_text(seen)
if sys.argv[1] == "0":
    sys.exit("no port to listen on")
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
    while True:
        with server.accept()[0] as client:
            client.sendall(b"220 stand-in\\r\\n")
"""
LISTENER = """\
import socket, sys
with socket.create_server(("127.0.0.1", 0), backlog=1) as server:
    print(server.getsockname()[1], flush=True)
    sys.stdin.read()
"""


class StandIn(Other):
    program = Path(sys.executable)
    users = ("stand-in",)

    def configuration(self) -> dict[str, str]:
        return {"stand_in.py": STAND_IN}

    def foreground(self) -> list[str]:
        return [sys.executable, str(self.directory.etc / "stand_in.py"), str(self.port)]

    def over(self) -> dict[str, Path]:
        return {"/var/spool": self.spool}


@pytest.fixture
def directory() -> Iterator[Directory]:
    with Directory(CASES["one"], SINK_PORT) as made:
        yield made


@pytest.mark.parametrize("name", OTHERS)
def test_bench_other_says_how_to_get_it(
    name: str, directory: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(OTHERS[name], "program", tmp_path / "nowhere")
    with pytest.raises(RelayFailed, match="nowhere is not there") as failed:
        OTHERS[name](name, directory, 0)
    assert GETTING[name] in str(failed.value) and f"build/{name}" in str(failed.value)


@pytest.mark.parametrize("name", OTHERS)
def test_bench_other_knows_one_port_to_listen_on_and_one_next_hop(
    name: str, directory: Directory, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(OTHERS[name], "program", Path(sys.executable))  # is there
    relay = OTHERS[name](name, directory, 0)
    said = "\n".join([*relay.configuration().values(), *relay.foreground()])
    assert said.count(str(SINK_PORT)) == 1
    assert said.count(str(directory.port)) == 1
    assert "{" not in said.replace('{"nexthop"', "")  # nothing left to fill in
    assert all(place.startswith("/") for place in relay.over())


def test_bench_others_are_left_out_where_tables_route():
    options = argparse.Namespace(also=["exim4", "haraka"], workers=[1])
    assert list(contenders(CASES["one"], options)) == [POSTFIX, "exim4", "haraka", "fastrelay, 1 worker"]
    for name in ("tables", "destinations"):
        assert list(contenders(CASES[name], options)) == [POSTFIX, "fastrelay, 1 worker"]
    assert list(contenders(CASES["many"], options)) == ["fastrelay, 1 worker"]


@needs_root
def test_bench_other_has_a_machine_of_its_own(directory: Directory):
    with StandIn("stand-in", directory, 0) as relay:
        pids = relay.meter.pids()
        assert int(relay.meter.pid_file.read_text()) in pids
        assert relay.answers()
    assert not relay.answers()
    uid, resolver = (relay.spool / "seen").read_text().split(" ", 1)
    assert int(uid) == FIRST_UID == relay.spool.stat().st_uid
    assert resolver.startswith("nameserver 127.0.0.1\n")
    assert not os.path.exists("/var/spool/seen")
    with pytest.raises(KeyError):
        pwd.getpwnam("stand-in")


@needs_root
def test_bench_other_that_ends_at_once_is_not_waited_for(directory: Directory):
    directory.port = 0
    with pytest.raises(RelayFailed, match="no port to listen on"), StandIn("stand-in", directory, 0):
        pass


@needs_root
def test_bench_listen_again_makes_room_for_more_clients():
    """Those who find no room hear nothing: their connect would end with the time."""
    listener = subprocess.Popen(
        [sys.executable, "-c", LISTENER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert listener.stdin and listener.stdout
    try:
        port = int(listener.stdout.readline())
        assert listen_again(listener.pid, port, 50)
        assert not listen_again(os.getpid(), port, 50)
        with contextlib.ExitStack() as clients:
            for _ in range(20):
                clients.enter_context(socket.create_connection(("127.0.0.1", port), 20))
    finally:
        listener.send_signal(signal.SIGKILL)
        listener.communicate()
    assert not listen_again(listener.pid, port, 50)  # it has ended
