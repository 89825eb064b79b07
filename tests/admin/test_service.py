"""start, start-fg, stop, abort, reload, status, check: exit statuses, and one line for every error."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from support.ports import free_port
from support.relay import PATIENCE, alive, until

STAND_IN = Path(__file__).parent / "stand_in.py"


class House:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.write()

    def write(self, **more: str) -> None:
        main = {
            "compatibility_level": "3.6", "inet_protocols": "ipv4",
            "queue_directory": f"{self.directory}/spool",
            "data_directory": f"{self.directory}/data", "maillog_file": f"{self.directory}/maillog",
            "maillog_file_prefixes": str(self.directory), "mail_owner": "nobody", "fastrelay_workers": "2",
            "myhostname": "relay.example.com", "alias_maps": "", "local_recipient_maps": "",
        } | more  # fmt: skip
        (self.directory / "main.cf").write_text(
            "".join(f"{name} = {value}\n" for name, value in main.items())
        )
        (self.directory / "master.cf").write_text(
            f"127.0.0.1:{self.port} inet n - n - - smtpd\nsmtp unix - - n - - smtp\n"
        )

    def words(self, *words: str) -> list[str]:
        return [sys.executable, str(STAND_IN), str(self.directory), *words]

    def run(self, *words: str) -> tuple[int, str]:
        done = subprocess.run(self.words(*words), capture_output=True, text=True, timeout=PATIENCE)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr + done.stdout

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as client:
                return client.recv(100) != b""
        except ConnectionRefusedError:
            return False

    def log(self) -> str:
        return (self.directory / "maillog").read_text()

    def pid(self) -> int:
        return int((self.directory / "spool/pid/master.pid").read_text())


@pytest.fixture
def house(tmp_path):
    made = House(tmp_path)
    yield made
    made.run("abort")


def test_start_status_reload_stop(house):
    assert house.run("status") == (1, "fastrelay: the fastrelay mail system is not running\n")
    assert house.run("start") == (0, "")
    assert house.answers()
    pid = house.pid()
    assert house.run("status") == (0, f"fastrelay: the fastrelay mail system is running: PID: {pid}\n")
    assert os.getsid(pid) != os.getsid(0) and os.readlink(f"/proc/{pid}/fd/2") == "/dev/null"
    assert house.run("start") == (1, "fastrelay: fatal: the fastrelay mail system is already running\n")
    assert house.run("start-fg") == (1, "fastrelay: fatal: the fastrelay mail system is already running\n")
    assert house.run("reload") == (0, "fastrelay: refreshing the fastrelay mail system\n")
    assert house.run("stop") == (0, "fastrelay: stopping the fastrelay mail system\n")
    assert not house.answers()
    assert not alive(pid)
    for command in ("stop", "abort", "reload"):
        assert house.run(command) == (1, "fastrelay: fatal: the fastrelay mail system is not running\n")
    assert re.search(
        r"^\w{3} [ \d]\d [\d:]{8} relay postfix/master\[\d+\]: daemon started -- version", house.log()
    )
    assert "reload -- version" in house.log()


def test_abort_ends_it_now(house):
    assert house.run("start")[0] == 0
    assert house.run("abort") == (0, "fastrelay: aborting the fastrelay mail system\n")
    assert not house.answers()


def test_foreground_stops_cleanly_on_sigterm_and_sigint(house):
    for number in (signal.SIGTERM, signal.SIGINT):
        process = subprocess.Popen(house.words("start-fg"))
        try:
            until(lambda process=process: process.poll() is not None or house.answers())
            process.send_signal(number)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
            process.wait()
        assert not house.answers()


def test_start_that_fails_says_so(house):
    (house.directory / "broken").touch()
    status, said = house.run("start")
    assert status == 1 and re.fullmatch(
        r"fastrelay: fatal: mail system startup failed: worker \d: exit status 9; the mail log says why\n",
        said,
    )
    assert house.run("status")[0] == 1


@pytest.mark.parametrize("command", ["start", "start-fg", "check", "reload"])
def test_bad_value_is_one_line_with_file_and_line(house, command):
    house.write(smtpd_timeout="never")
    status, said = house.run(command)
    assert status == 1
    assert re.fullmatch(
        rf"fastrelay: fatal: {house.directory}/main.cf, line \d+: smtpd_timeout = never: .*\n", said
    )


def test_bad_value_does_not_keep_a_running_system_from_stopping(house):
    assert house.run("start")[0] == 0
    house.write(smtpd_timeout="never")
    assert house.run("status")[0] == 0
    assert house.run("stop")[0] == 0


@pytest.mark.parametrize("command", ["start", "start-fg", "stop", "status", "check", "mailq", "reload"])
def test_no_configuration_is_one_line(house, command):
    (house.directory / "main.cf").unlink()
    status, said = house.run(command)
    assert status == 1 and said.count("\n") == 1 and "main.cf" in said


def test_port_in_use_is_one_line(house):
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", house.port))
        squatter.listen()
        for command in ("start", "start-fg"):
            assert house.run(command) == (
                1,
                f"fastrelay: fatal: bind 127.0.0.1 port {house.port}: Address already in use\n",
            )


def test_maillog_outside_of_its_prefixes_is_refused(house):
    house.write(maillog_file_prefixes="/var")
    status, said = house.run("start")
    assert status == 1 and "maillog_file_prefixes" in said


def test_check_warns_and_passes(house):
    (house.directory / "rules").write_text("/good/ DUNNO\n/bad\n")
    house.write(
        relay_domains="dbm:/nowhere/domains, /nowhere/list",
        smtpd_timeuot="5s",
        header_checks=f"regexp:{house.directory}/rules",
        mynetworks="127.0.0.1/8, 10.0.0.0/33, !",
    )
    status, said = house.run("check")
    assert status == 0
    assert "mynetworks: 127.0.0.1/8: non-null host address bits" in said
    assert "mynetworks: 10.0.0.0/33: bad mask length" in said and "no pattern after '!'" in said
    assert "relay_domains: /nowhere/list: open file /nowhere/list: No such file" in said
    assert "relay_domains" in said and "unsupported dictionary type: dbm" in said
    assert "smtpd_timeuot" in said
    assert "rules, line 2: no closing regexp delimiter" in said
    assert (house.directory / "spool" / "fastrelay").is_dir()


def test_a_broken_master_cf_keeps_nobody_from_looking_and_stopping(house):
    assert house.run("start")[0] == 0
    (house.directory / "master.cf").write_text("smtp inet\n")
    assert house.run("check")[0] == 1
    status, said = house.run("status")
    assert status == 0 and "is running" in said
    assert house.run("stop")[0] == 0
    status, said = house.run("mailq")
    assert "master.cf" not in said


@pytest.mark.skipif(os.geteuid() != 0, reason="mail_owner matters to root only")
def test_check_looks_with_the_rights_of_the_workers(house):
    """Root opens it, they cannot: all mail that asks it would get 451."""
    (house.directory / "domains").write_text("a.test OK\n")
    (house.directory / "domains").chmod(0o600)
    house.write(relay_domains=f"texthash:{house.directory}/domains")
    said = house.run("check")[1]
    assert (
        f"warning: as user nobody: relay_domains: open database {house.directory}/domains: Permission" in said
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="mail_owner matters to root only")
def test_unknown_mail_owner(house):
    house.write(mail_owner="nosuchuser")
    for command in ("check", "start", "start-fg"):
        status, said = house.run(command)
        assert status == 1
        assert said.endswith("main.cf: parameter mail_owner: unknown user name value: nosuchuser\n")


def test_commands_with_arguments_and_unknown_commands(house):
    assert house.run("stop", "now") == (1, "fastrelay: fatal: usage: fastrelay stop (no arguments)\n")
    status, said = house.run("bogus")
    assert status == 1 and said.startswith("fastrelay: fatal: unknown command: 'bogus'. usage: ")


def test_check_refuses_a_log_that_start_would_refuse(house: House) -> None:
    house.write(maillog_file="/nowhere/at/all", maillog_file_prefixes="/nowhere")
    status, said = house.run("check")
    assert status == 1 and "open maillog_file /nowhere/at/all" in said
