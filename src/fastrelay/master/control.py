"""The control protocol, and its client for the command line: JSON lines over control/worker.N.

A request is one line {"verb": ..., arguments}; the answer is any number of lines, one an item, and at last
{"end": true} or {"error": text}. Verbs: queue, flush, flush_id, flush_site, delete, hold, release, requeue,
cat, status; `control_server` says what each takes and gives. Lines are bounded on both sides. Kept free of
asyncio and of everything heavy, because postqueue must start fast.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fastrelay.master.unix_path import socket_name

MAX_REQUEST = 64 << 10
MAX_ITEM = 1 << 20  # a queue entry with many recipients is sent in pieces, none of them longer
TIMEOUT = 60.0  # a worker that replays a large queue answers when it is done
IDS_A_REQUEST = 500
ABOUT_MESSAGES = ("queue", "cat", "delete", "expire", "hold", "release", "requeue")

Item = dict[str, Any]
Stopped = Callable[[Item], Iterator[Item]]


class ControlError(Exception):
    """The mail system is down, refuses, or does not answer; str() says which."""

    def __init__(self, text: str, down: bool = False) -> None:
        super().__init__(text)
        self.down = down


def encode(item: Item) -> bytes:
    return json.dumps(item, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Item:
    """A line as a dict; ValueError for anything else."""
    try:
        item = json.loads(line)
    except RecursionError:
        raise ValueError("too deep") from None
    if not isinstance(item, dict):
        raise ValueError("not an object")
    return item


class Client:
    """Asks every worker, one after the other; what they answer is one stream of items.

    `stopped` answers in their place when there is no mail system; it is asked about messages only.
    """

    def __init__(
        self, queue_directory: Path, timeout: float = TIMEOUT, stopped: Stopped | None = None
    ) -> None:
        self._public = queue_directory / "control"
        self._timeout = timeout
        self._stopped = stopped

    def call(self, verb: str, **arguments: Any) -> Iterator[Item]:
        request = {"verb": verb, **arguments}
        paths = self._workers()
        try:
            if not paths:
                raise ControlError("mail system is down", down=True)
            yield from self._ask(paths[0], request)
        except ControlError as error:
            if not error.down or self._stopped is None or verb not in ABOUT_MESSAGES:
                raise
            yield from self._stopped(request)
            return
        for path in paths[1:]:
            yield from self._ask(path, request)

    def call_with_ids(self, verb: str, ids: list[str] | None, **arguments: Any) -> Iterator[Item]:
        """`ids` None: all. A long list goes in several requests, each of them within MAX_REQUEST."""
        if ids is None:
            yield from self.call(verb, ids=None, **arguments)
            return
        for start in range(0, len(ids), IDS_A_REQUEST):
            yield from self.call(verb, ids=ids[start : start + IDS_A_REQUEST], **arguments)

    def _workers(self) -> list[Path]:
        try:
            found = [path for path in self._public.iterdir() if path.name.startswith("worker.")]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ControlError(f"open {self._public}: {error.strerror}") from None
        return sorted(found, key=lambda path: (len(path.name), path.name))

    def _ask(self, path: Path, request: Item) -> Iterator[Item]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(self._timeout)
            try:
                connection.connect(socket_name(path))
                with contextlib.suppress(BrokenPipeError):  # refused unheard: the answer says why
                    connection.sendall(encode(request))
                yield from answers(connection, path.name)
            except (FileNotFoundError, ConnectionRefusedError):
                raise ControlError("mail system is down", down=True) from None
            except TimeoutError:
                raise ControlError(f"{path.name} does not answer") from None
            except OSError as error:
                raise ControlError(f"connect to {path}: {error.strerror}") from None


def answers(connection: socket.socket, name: str) -> Iterator[Item]:
    """The items up to the end of one answer; ControlError when it is an error, or breaks off."""
    with connection.makefile("rb") as lines:
        while line := lines.readline(MAX_ITEM + 1):
            try:
                item = decode(line)
            except ValueError:
                break
            if "error" in item:
                raise ControlError(f"{name}: {item['error']}")
            if item.get("end"):
                return
            yield item
    raise ControlError(f"{name}: lost connection")
