"""A private Postfix whose trivial-rewrite(8) is asked over its own socket (attr_print0 protocol)."""

import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import time

FLAG_ROUTED, FLAG_ERROR, FLAG_FAIL = 2, 4, 8
CLASSES = {256: "LOCAL", 512: "VIRTUAL_ALIAS", 1024: "VIRTUAL_MAILBOX", 2048: "RELAY", 4096: "DEFAULT"}


class TrivialRewrite:
    def __init__(self) -> None:
        self.configuration = 0
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="fastrelay-oracle-"))
        self.dir.chmod(0o755)
        for name in ("etc", "spool", "data"):
            (self.dir / name).mkdir()
        shutil.chown(self.dir / "data", "postfix")
        self._write({})
        dist = pathlib.Path("/usr/share/postfix/master.cf.dist").read_text()
        dist = re.sub(r"^smtp      inet .*$", "", dist, flags=re.M)
        dist = re.sub(r"^([a-z]+ +unix +[a-z-]+ +[a-z-]+ +)y", r"\1n", dist, flags=re.M)
        (self.dir / "etc/master.cf").write_text(dist)

    def _write(self, main: dict[str, str]) -> None:
        base = {
            "compatibility_level": "3.6",
            "queue_directory": self.dir / "spool",
            "data_directory": self.dir / "data",
            "maillog_file": self.dir / "maillog",
            "maillog_file_prefixes": self.dir,
            "command_directory": "/usr/sbin",
            "daemon_directory": "/usr/lib/postfix/sbin",
            "meta_directory": "/etc/postfix",
            "mail_owner": "postfix",
            "setgid_group": "postdrop",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "alias_maps": "",
            "alias_database": "",
            "empty_address_recipient": f"configuration-{self.configuration}",
        }
        lines = [f"{name} = {value}\n" for name, value in (base | main).items()]
        (self.dir / "etc/main.cf").write_text("".join(lines))

    def configure(self, main: dict[str, str]) -> None:
        """Reload, and wait until the empty address shows that the new configuration answers."""
        self.configuration += 1
        self._write(main)
        subprocess.run(
            ["postfix", "-c", self.dir / "etc", "reload"], capture_output=True, check=True, timeout=60
        )
        end = time.monotonic() + 60
        while b"configuration-%d@" % self.configuration not in self._probe():
            assert time.monotonic() < end, "trivial-rewrite did not take the new configuration"
            time.sleep(0.05)

    def _probe(self) -> bytes:
        try:
            return self.resolve(b"")[b"recipient"]
        except OSError:
            return b""  # the old process hung up; the next one answers

    def __enter__(self) -> "TrivialRewrite":
        started = subprocess.run(
            ["postfix", "-c", self.dir / "etc", "start"], capture_output=True, text=True, timeout=60
        )
        assert started.returncode == 0, started.stderr
        end = time.monotonic() + 60
        while not (self.dir / "spool/private/rewrite").exists():
            assert time.monotonic() < end, "no trivial-rewrite socket"
            time.sleep(0.02)
        return self

    def __exit__(self, *exc: object) -> None:
        subprocess.run(["postfix", "-c", self.dir / "etc", "stop"], capture_output=True, timeout=60)
        shutil.rmtree(self.dir, ignore_errors=True)

    def rewrite(self, external: bytes) -> bytes:
        return self._ask(request=b"rewrite", rule=b"local", address=external)[b"address"]

    def resolve(self, internal: bytes) -> dict[bytes, bytes]:
        return self._ask(request=b"resolve", sender=b"", address=internal)

    def _ask(self, **attributes: bytes) -> dict[bytes, bytes]:
        """As Postfix's own clients: again when the process hung up, which after a reload each does once."""
        for _ in range(4):
            try:
                return self._ask_once(**attributes)
            except ConnectionError:
                time.sleep(0.05)
        return self._ask_once(**attributes)

    def _ask_once(self, **attributes: bytes) -> dict[bytes, bytes]:
        """The reply's attributes; it is the second list, the first names the protocol."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(60)
            sock.connect(str(self.dir / "spool/private/rewrite"))
            request = b"".join(name.encode() + b"\0" + value + b"\0" for name, value in attributes.items())
            sock.sendall(request + b"\0")
            lists: list[list[bytes]] = [[]]
            buffer = b""
            while len(lists) < 3:
                while b"\0" not in buffer:
                    chunk = sock.recv(65536)
                    if not chunk:
                        raise ConnectionResetError("trivial-rewrite hung up")
                    buffer += chunk
                item, _, buffer = buffer.partition(b"\0")
                # an empty string ends a list where a name is due; a value may be empty
                if not item and len(lists[-1]) % 2 == 0:
                    lists.append([])
                else:
                    lists[-1].append(item)
            reply = lists[1]
            names = [b"rewrite_flags" if i == 0 else name for i, name in enumerate(reply[::2])]
            return dict(zip(names, reply[1::2], strict=True))
