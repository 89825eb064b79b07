"""The control socket under fire: garbage, floods, slow readers and long answers."""

import asyncio
import contextlib
import json
import os
import socket
import struct

import pytest

from fastrelay.master import control_server, listeners
from fastrelay.master.control import Client, ControlError
from fastrelay.master.control_server import ControlServer
from support.relay import PATIENCE


class Handlers:
    """A queue of `size` messages; the others are not asked."""

    size = 3

    def queue(self):
        for number in range(self.size):
            yield {
                "id": f"{number:X}", "state": "deferred", "size": 1, "arrival": 1.0, "sender": "",
                "recipients": [{"address": "a@b", "reason": "r" * 50}],
            }  # fmt: skip

    def cat(self, queue_id):
        return [{"big": "x" * 2_000_000}]

    def status(self):
        return [{"pid": os.getpid()}]


def serve(tmp_path, test, allowed=None):
    """Run `test(path, handlers, in_thread)` beside a server."""

    async def main():
        (tmp_path / "control").mkdir(exist_ok=True)
        path = tmp_path / "control" / "worker.0"
        listener = listeners.bind_control(path, lambda path: None)
        handlers = Handlers()
        server = ControlServer(handlers)
        if allowed is not None:
            server._allowed = allowed
        await server.start(listener)
        try:
            await test(path, handlers)
        finally:
            await server.close()
        assert path.exists()  # the socket is master's

    asyncio.run(main())


def connect(path):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(PATIENCE)
    client.connect(str(path))
    return client


def exchange(path, data):
    with connect(path) as client:
        with contextlib.suppress(BrokenPipeError):
            client.sendall(data)
        answers = []
        with contextlib.suppress(ConnectionResetError):  # refused without having been read
            answers += (json.loads(line) for line in client.makefile("rb"))
        return answers


@pytest.mark.parametrize(
    ("request_bytes", "error"),
    [
        (b"\xff\xfe\n", "bad request"),
        (b"[]\n", "not an object"),
        (b"{}\n", "unknown verb"),
        (b'{"verb": ["queue"]}\n', "unknown verb"),
        (b'{"verb": "cat"}\n', "id: text wanted"),
        (b'{"verb": "delete", "ids": [1], "states": []}\n', "ids: list of texts wanted"),
        (b'{"verb": "delete", "states": []}\n', "ids: list of texts wanted"),
        (b"[" * 60000 + b"\n", "bad request"),
        (b"x" * 200_000, "request too long"),
        (b'{"verb": "cat", "id": "A"}\n', "item too long"),
    ],
)
def test_garbage_gets_an_error_and_the_server_lives(tmp_path, request_bytes, error):
    async def test(path, handlers):
        try:
            answers = await asyncio.to_thread(exchange, path, request_bytes)
        except (BrokenPipeError, ConnectionResetError):
            assert len(request_bytes) > 65536  # closed while we still wrote
        else:
            assert error in answers[0]["error"]
        assert await asyncio.to_thread(exchange, path, b'{"verb": "status"}\n') == [
            {"pid": os.getpid()},
            {"end": True},
        ]

    serve(tmp_path, test)


def test_clients_that_say_nothing_or_leave_cost_nothing(tmp_path, monkeypatch):
    async def test(path, handlers):
        idle = [connect(path) for _ in range(control_server.MAX_CLIENTS)]
        assert await asyncio.to_thread(exchange, path, b'{"verb": "status"}\n') == [
            {"error": "too many connections"}
        ]
        for client in idle:
            client.close()
        monkeypatch.setattr(control_server, "REQUEST_TIMEOUT", 0.2)
        idle = [connect(path) for _ in range(control_server.MAX_CLIENTS - 1)]
        assert [await asyncio.to_thread(client.recv, 1) for client in idle] == [b""] * len(idle)
        handlers.size = 200_000
        leaver = connect(path)
        leaver.sendall(b'{"verb": "queue"}\n')
        leaver.close()
        assert (await asyncio.to_thread(exchange, path, b'{"verb": "status"}\n'))[-1] == {"end": True}
        for client in idle:
            client.close()

    serve(tmp_path, test)


def test_a_long_queue_does_not_block_the_loop(tmp_path):
    async def test(path, handlers):
        turns, done = 0, False
        asked_in = set()  # which turns of the loop

        async def heartbeat():
            nonlocal turns
            while not done:
                await asyncio.sleep(0)
                turns += 1

        def long_queue():
            for number in range(50_000):
                asked_in.add(turns)
                yield {"id": f"{number:X}", "recipients": [{"address": "a@b", "reason": "r" * 50}]}

        handlers.queue = long_queue
        heart = asyncio.create_task(heartbeat())
        count = await asyncio.to_thread(lambda: sum(1 for _ in Client(tmp_path).call("queue")))
        done = True
        await heart
        assert count == 50_000
        assert len(asked_in) > 5  # of a hundred

    serve(tmp_path, test)


def test_strangers_are_refused(tmp_path):
    async def test(path, handlers):
        assert await asyncio.to_thread(exchange, path, b'{"verb": "status"}\n') == [
            {"error": "permission denied"}
        ]

    serve(tmp_path, test, allowed={os.getuid() + 12345})


def test_client_tells_a_lost_worker(tmp_path):
    (tmp_path / "control").mkdir()
    with pytest.raises(ControlError, match="mail system is down") as caught:
        list(Client(tmp_path / "nowhere").call("queue"))
    assert caught.value.down
    listener = listeners.bind_control(tmp_path / "control" / "worker.0", lambda path: None)
    with listener, pytest.raises(ControlError, match=r"worker.0 does not answer"):
        list(Client(tmp_path, timeout=0.2).call("queue"))


def test_socket_paths_longer_than_the_system_allows(tmp_path):
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    (deep / "control").mkdir(parents=True)
    answers = []

    async def test(path, handlers):
        answers.extend(await asyncio.to_thread(lambda: list(Client(deep).call("status"))))

    serve(deep, test)
    assert answers == [{"pid": os.getpid()}]


def test_socket_is_for_its_owner_only(tmp_path):
    path = tmp_path / "worker.0"
    listeners.bind_control(path, lambda path: None).close()
    assert path.stat().st_mode & 0o777 == 0o600
    assert struct.calcsize("3i") == control_server.CREDENTIALS.size
