"""PostgreSQL and MariaDB for tests of their tables, on loopback and with the same contents.

    with PostgreSQL(directory) as server: server.run("INSERT ..."); server.parameters; server.stop(); server.start()

`t` has the columns k, v and n; `relay` with the password "secret" may read. Nothing is synced to disk.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from pathlib import Path
from typing import Any

from support.remote_servers import Server

ROWS = [
    ("a@b.com", "x@y.org", 1),
    ("a@b.com", "z", 2),
    ("bob", "r1,r2", 3),
    ("e@b.com", "", 4),
    ("n@b.com", None, 5),
    ("u@b.com", "@v.com", 6),
    ("w@b.com", "w@", 7),
    ("q'q@b.com", "quoted", 8),
    ("q\\q@b.com", "backslash", 9),
    ('d"q@b.com', "double", 10),
    ("p%@b.com", "percent", 11),
    ("müller@b.com", "grün@y.org", 12),
    ("@b.com", "domain", 13),
]


def literal(value: object) -> str:
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"


def rows() -> str:
    return ", ".join("(" + ", ".join(map(literal, row)) + ")" for row in ROWS)


class Database(Server):
    account = ""  # who may run it, for it refuses to be root
    database = "mail"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        directory.chmod(0o755)
        self.data = directory / "data"
        if os.geteuid() == 0:
            user = pwd.getpwnam(self.account)
            os.chown(directory, user.pw_uid, user.pw_gid)
            self.run_as: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        else:
            self.run_as = {}

    @property
    def parameters(self) -> str:
        """The lines of a table's file that say where and as whom."""
        return f"hosts = {self.address}\nuser = relay\npassword = secret\ndbname = {self.database}\n"

    def __enter__(self) -> Any:
        return self  # it has been started to be filled

    def run_program(self, *command: object, input: str = "") -> None:
        done = subprocess.run(
            [str(word) for word in command],
            input=input.encode(),
            capture_output=True,
            cwd=self.directory,
            timeout=60,
            **self.run_as,
        )
        assert done.returncode == 0, (command, done.stderr.decode(errors="replace"))


class PostgreSQL(Database):
    program, package, account = "postgres", "postgresql", "postgres"
    database = "postgres"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        (directory / "password").write_text("secret\n")
        (directory / "password").chmod(0o644)
        self.run_program(
            self._path().with_name("initdb"), "-D", self.data, "-U", "root", "-A", "scram-sha-256",
            f"--pwfile={directory}/password", "--no-sync", "--encoding=UTF8", "--locale=C",
        )  # fmt: skip
        self.start()
        self.run(
            "CREATE TABLE t (k text, v text, n int); CREATE ROLE relay LOGIN PASSWORD 'secret'; "
            f"INSERT INTO t VALUES {rows()}; GRANT SELECT ON t TO relay;"
        )

    def stop(self) -> None:
        """Killed, it would leave children behind that keep its memory."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(60)
            self.process = None

    def command(self) -> list[str]:
        words = f"-D {self.data} -F -p {self.port} -c listen_addresses=127.0.0.1 -k {self.directory}"
        return [*words.split(), "-c", "shared_buffers=1MB", "-c", "max_connections=40"]

    def run(self, script: str) -> None:
        self.run_program(
            "env", "PGPASSWORD=secret", "psql", "-qX", "-h", "127.0.0.1", "-p", self.port, "-U", "root",
            "-v", "ON_ERROR_STOP=1", "-f", "-", self.database, input=script,
        )  # fmt: skip

    def _path(self) -> Path | None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        return found[-1] if found else None


UNSAFE = ("--innodb-flush-method=nosync", "--innodb-buffer-pool-size=8M", "--innodb-log-file-size=4M")


class MariaDB(Database):
    program, package, account = "mariadbd", "mariadb-server", "mysql"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.socket = directory / "socket"
        self.run_program(
            "mariadb-install-db", "--no-defaults", f"--datadir={self.data}", "--skip-test-db",
            "--auth-root-authentication-method=normal", "--skip-name-resolve", *UNSAFE,
        )  # fmt: skip
        self.start()
        self.run("CREATE DATABASE mail CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "mysql")
        self.run(
            "CREATE TABLE t (k varchar(200), v varchar(200), n int); "
            "CREATE USER relay@'127.0.0.1' IDENTIFIED BY 'secret'; "
            "CREATE USER relay@localhost IDENTIFIED BY 'secret'; "
            f"INSERT INTO t VALUES {rows()}; "
            "GRANT SELECT, EXECUTE ON mail.* TO relay@'127.0.0.1', relay@localhost;"
        )

    def command(self) -> list[str]:
        return [
            "--no-defaults", f"--datadir={self.data}", f"--socket={self.socket}", f"--port={self.port}",
            "--bind-address=127.0.0.1", f"--pid-file={self.directory}/pid", "--skip-name-resolve",
            "--innodb-flush-log-at-trx-commit=2", *UNSAFE,
        ]  # fmt: skip

    def run(self, script: str, database: str = "mail") -> None:
        self.run_program(
            "mariadb", "--no-defaults", "-u", "root", "--default-character-set=utf8mb4",
            f"--socket={self.socket}", database, input="SET sql_mode = 'NO_BACKSLASH_ESCAPES';" + script,
        )  # fmt: skip
