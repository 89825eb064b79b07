"""`fastrelay -c examples/quickstart quickstart`, which is `make run`: the relay with a sink to relay to.

The sink is a child of this process, which is master itself; Ctrl-C or SIGTERM ends both. The port of the
sink is the one in relayhost.
"""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fastrelay.master import listeners, lock
from fastrelay.master.errors import FatalError
from fastrelay.master.privileges import die_with_parent
from fastrelay.master.settings import MasterSettings
from fastrelay.master.socket_set import wanted

if TYPE_CHECKING:
    from fastrelay.config import Config

SINK_PATIENCE = 10.0
NEXT_HOP = re.compile(r"\[127\.0\.0\.1\]:([0-9]+)")


def main(config_dir: Path, args: list[str]) -> int:
    from fastrelay.admin.service import build
    from fastrelay.config import load, section

    if args:
        raise FatalError("usage: fastrelay -c config_dir quickstart (no arguments)")
    config = load(config_dir)
    settings = section(MasterSettings, config)
    if lock.running_pid(Path(settings.queue_directory)) is not None:
        raise FatalError("the fastrelay mail system is already running")
    next_hop = NEXT_HOP.fullmatch(config.text("relayhost"))
    if next_hop is None:
        raise FatalError(f"{config_dir}/main.cf: relayhost: quickstart wants [127.0.0.1]:port for its sink")
    maildir = config_dir / "run" / "received"
    ports = [address[2] for _, address in wanted(config, settings)]
    program = our_name()
    sink = start_sink(int(next_hop[1]), maildir)
    try:
        return build(config, lambda: print(explain(config, program, ports, maildir), flush=True)).serve()
    finally:
        sink.terminate()
        sink.wait()


def start_sink(port: int, maildir: Path) -> subprocess.Popen[bytes]:
    """Returns when it answers. In a session of its own: a Ctrl-C reaches it through us, after the relay."""
    address = (socket.AF_INET, "127.0.0.1", port)
    listeners.bind(address, 0)  # a foreign server there would get the mail
    maildir.parent.mkdir(parents=True, exist_ok=True)
    sink = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "fastrelay",
            "sink",
            "--listen",
            f"127.0.0.1:{port}",
            "--maildir",
            str(maildir),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=die_with_parent,
    )
    deadline = time.monotonic() + SINK_PATIENCE
    while sink.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return sink
        except OSError:
            time.sleep(0.05)
    sink.kill()
    raise FatalError(f"the sink on 127.0.0.1:{port} did not start")


def our_name() -> str:
    """The command as it works in another terminal, wherever that is."""
    script = Path(sys.argv[0]).absolute()  # before master goes to its queue directory
    if script.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m fastrelay"
    return shlex.quote(str(script))


def explain(config: Config, program: str, ports: list[int], maildir: Path) -> str:
    """What a newcomer does next."""
    port = ports[0] if ports else 0
    here = shlex.quote(str(config.directory))
    python = (
        f"import smtplib; smtplib.SMTP('127.0.0.1', {port}).sendmail('me@example.org', ['you@example.com'], "
        "'Subject: hello\\n\\nIt works.\\n')"
    )
    return f"""\
fastrelay takes mail on 127.0.0.1:{port} and relays it to the sink on {config.text("relayhost")}.

  send a message   python3 -c "{python}"
       or          swaks --server 127.0.0.1:{port} --from me@example.org --to you@example.com
  send a thousand  {program} source --messages 1000 --sessions 10 127.0.0.1:{port}
  see it arrive    ls {shlex.quote(str(maildir / "new"))}
  follow the log   tail -f {shlex.quote(config.text("maillog_file"))}
  list the queue   {program} -c {here} mailq
  stop             Ctrl-C
"""
