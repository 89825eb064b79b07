"""Real lookup servers for tests of remote tables: slapd, redis-server and memcached on loopback.

    with Slapd(directory, LDIF) as server: ...server.url...; server.stop(); server.start()

Each keeps all it writes below `directory`, listens on a free port of 127.0.0.1 and is waited for. A server
that is not installed skips the test, saying how to install it; .ci/run installs them all.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from support.ports import free_port
from support.relay import PATIENCE, answers, until

SLAPD_CONF = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
attributetype ( 1.3.6.1.4.1.99999.1 NAME 'mailacceptinggeneralid' EQUALITY caseIgnoreMatch
  SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15{{256}} )
attributetype ( 1.3.6.1.4.1.99999.2 NAME 'maildrop' EQUALITY caseIgnoreMatch
  SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15{{256}} )
attributetype ( 1.3.6.1.4.1.99999.3 NAME 'memberdn' EQUALITY distinguishedNameMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.12 )
attributetype ( 1.3.6.1.4.1.99999.4 NAME 'memberurl' EQUALITY caseExactMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.3.6.1.4.1.99999.5 NAME 'blob' EQUALITY octetStringMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 )
objectclass ( 1.3.6.1.4.1.99999.10 NAME 'mailThing' SUP top AUXILIARY
  MAY ( mailacceptinggeneralid $ maildrop $ memberdn $ memberurl $ blob $ mail ) )
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {directory}/slapd.pid
argsfile {directory}/slapd.args
sizelimit 50
{tls}
database mdb
maxsize 16777216
suffix "dc=test"
rootdn "cn=admin,dc=test"
rootpw secret
directory {directory}/db
"""


class Server:
    """A process that listens on a port of its own, which stays the same over stop() and start()."""

    program = ""
    package = ""

    def __init__(self, directory: Path) -> None:
        if self._path() is None:
            pytest.skip(f"{self.program} is not here: apt-get install {self.package}")
        self.directory = directory
        self.run_as: dict[str, Any] = {}  # of subprocess
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        log = self.directory / f"{self.program}.log"
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [str(self._path()), *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                **self.run_as,
            )
        until(self._answers, lambda: log.read_text(errors="replace"))

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def __enter__(self) -> Any:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _path(self) -> str | Path | None:
        return shutil.which(self.program) or shutil.which(self.program, path="/usr/sbin")

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"{self.program} ended"
        return answers(self.port)


class Slapd(Server):
    """OpenLDAP's server with the entries of `ldif` below dc=test; cn=admin,dc=test has the password "secret"."""

    program, package = "slapd", "slapd"

    def __init__(
        self, directory: Path, ldif: str, tls: str = "", secure: bool = False, path: Path | None = None
    ) -> None:
        """`tls`: lines for slapd.conf; `secure`: listen for ldaps: instead of ldap:; `path`: of a socket as well."""
        super().__init__(directory)
        self.path = path
        self.scheme = "ldaps" if secure else "ldap"
        (directory / "db").mkdir()
        (directory / "slapd.conf").write_text(SLAPD_CONF.format(directory=directory, tls=tls))
        (directory / "data.ldif").write_text(ldif)
        slapadd = Path(str(self._path())).with_name("slapadd")
        subprocess.run(
            [slapadd, "-q", *self._configuration(), "-l", directory / "data.ldif"],
            check=True,
            timeout=PATIENCE,
        )

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.address}"

    def command(self) -> list[str]:
        urls = [self.url] if self.path is None else [self.url, f"ldapi://{quote(str(self.path), safe='')}"]
        return [*self._configuration(), "-h", " ".join(urls), "-d", "0"]

    def connections(self) -> int:
        """How many clients are connected."""
        return sum(
            line.split()[1].endswith(f":{self.port:04X}") and line.split()[3] == "01"
            for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        )

    def _configuration(self) -> list[str]:
        return ["-f", str(self.directory / "slapd.conf")]


class Redis(Server):
    program, package = "redis-server", "redis-server"

    def command(self) -> list[str]:
        words = ("--bind 127.0.0.1 --save", "", f"--appendonly no --port {self.port} --dir {self.directory}")
        return [*words[0].split(), words[1], *words[2].split()]


class Memcached(Server):
    program, package = "memcached", "memcached"

    def command(self) -> list[str]:
        return ["-u", "nobody", "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-m", "16", "-t", "1"]
