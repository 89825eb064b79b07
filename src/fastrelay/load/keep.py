"""Keeps what a sink takes in a Maildir: tmp, then new; not synced, a sink promises nothing to a crash.

The contents are as sent, without dot-stuffing, under three kinds of header lines of ours: X-Envelope-Helo,
X-Envelope-From and one X-Envelope-To a recipient, each as the client wrote it with its parameters
(`X-Envelope-From: <a@b.example> BODY=8BITMIME`). Lines end in LF, as in any Maildir, or as sent with `raw`.
"""

from __future__ import annotations

import os
import time
from pathlib import Path


class MaildirKeeper:
    def __init__(self, directory: Path, raw: bool = False) -> None:
        for name in ("tmp", "new", "cur"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        self.directory = os.fsencode(directory)
        self.end = b"\r\n" if raw else b"\n"
        self.run = b"%d.P%d" % (time.time_ns() // 1000, os.getpid())

    def __call__(
        self, number: int, helo: bytes, sender: bytes, recipients: list[bytes], content: bytes
    ) -> None:
        end = self.end
        if end == b"\n":
            content = content.replace(b"\r\n", b"\n")
        lines = [b"X-Envelope-Helo: " + helo, b"X-Envelope-From: " + sender]
        lines += [b"X-Envelope-To: " + recipient for recipient in recipients]
        name = b"%s%07X.sink" % (self.run, number)
        temporary = os.path.join(self.directory, b"tmp", name)
        with open(temporary, "wb", buffering=0) as file:
            written = file.write(whole := end.join(lines) + end + content)
            if written != len(whole):
                raise OSError("short write: is the disk full?")
        os.rename(temporary, os.path.join(self.directory, b"new", name))
