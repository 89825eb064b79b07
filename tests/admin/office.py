"""Workers' control sockets over a queue made up for the test, and the tools run on them in this process."""

import asyncio
import base64
import threading
from pathlib import Path

from fastrelay.admin import command_line
from fastrelay.master import listeners
from fastrelay.master.control_server import ControlServer


class Shelf:
    """The handlers of one worker; messages are items of the protocol."""

    def __init__(self, number):
        self.number, self.messages, self.calls = number, {}, []

    def queue(self):
        yield from list(self.messages.values())

    def flush(self):
        self.calls.append("flush")
        return ()

    def flush_id(self, queue_id):
        self.calls.append(queue_id)
        return [{"id": queue_id}] if queue_id in self.messages else []

    def flush_site(self, site):
        self.calls.append(site)
        return ()

    async def change(self, verb, ids, states):
        for queue_id in list(self.messages) if ids is None else ids:
            item = self.messages.get(queue_id)
            if item is None or item["state"] not in states:
                continue
            await asyncio.sleep(0)
            if verb == "delete":
                del self.messages[queue_id]
            elif verb == "expire":
                item["forced_expire"] = True
            else:
                item["state"] = {"hold": "hold", "release": "deferred", "requeue": "incoming"}[verb]
            yield {"id": queue_id}

    def cat(self, queue_id):
        if queue_id in self.messages:
            item = self.messages[queue_id]
            recipients = [{"address": one["address"], "orcpt": "rfc822;o@x"} for one in item["recipients"]]
            yield {
                "state": item["state"],
                "envelope": {
                    "sender": item["sender"], "size": item["size"],
                    "arrival": item["arrival"], "client_name": "c.example",
                },
            }  # fmt: skip
            yield {"recipients": recipients}
            for piece in (b"Subject: hi\r\nX: a\r\n b\r\n", b"\r\n..dot\r\nbo", b"dy: x\r\n"):
                yield {"content": base64.b64encode(piece).decode()}

    def status(self):
        yield {"worker": self.number}


def message(queue_id, state="deferred", sender="a@b.example", size=3273, recipients=None):
    recipients = recipients or [
        {"address": "x@y.example", "reason": "connect to 127.0.0.1[127.0.0.1]:1: Connection refused"},
        {"address": '"q \\" r"@z.example', "reason": "connect to 127.0.0.1[127.0.0.1]:1: Connection refused"},
        {"address": "z@z.example", "reason": ""},
    ]
    return {
        "id": queue_id, "state": state, "size": size, "arrival": 1795389811.4, "sender": sender,
        "forced_expire": False, "recipients": recipients,
    }  # fmt: skip


class Office:
    """A configuration directory with control sockets that answer, and the command line to use on it."""

    def __init__(self, directory: Path):
        self.directory, self.public = directory, directory / "spool" / "control"
        self.public.mkdir(parents=True)
        self.write("")
        self.shelves = []
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.servers = []

    def write(self, more):
        (self.directory / "main.cf").write_text(f"queue_directory = {self.directory}/spool\n{more}")
        (self.directory / "master.cf").write_text("")

    def open(self, workers=2):
        for number in range(workers):
            shelf = Shelf(number)
            listener = listeners.bind_control(self.public / f"worker.{number}", lambda path: None)
            server = ControlServer(shelf)
            asyncio.run_coroutine_threadsafe(server.start(listener), self.loop).result(60)
            self.shelves.append(shelf)
            self.servers.append(server)
        return self.shelves

    def close(self):
        for server in self.servers:
            asyncio.run_coroutine_threadsafe(server.close(), self.loop).result(60)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def run(self, *words):
        return command_line.fastrelay(["-c", str(self.directory), *words])
