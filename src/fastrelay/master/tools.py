"""What a worker answers to postqueue, postsuper and postcat over its control socket."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fastrelay.master.control import Item
from fastrelay.queue import queue_id
from fastrelay.queue._format import CorruptRecord, State

if TYPE_CHECKING:
    from fastrelay.master.worker import Worker

DONE = {
    "delete": "removed",
    "expire": "expired",
    "hold": "placed on hold",
    "release": "released from hold",
    "requeue": "requeued",
}
GONE = (State.DONE, State.CORRUPT)
PIECE = 48 * 1024  # bytes of contents in one item
RECIPIENTS = 200  # in one item


class Tools:
    """master.control_server.ControlHandlers; queue ids of other workers are not here and give nothing."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def queue(self) -> Iterator[Item]:
        for entry in self._worker.spool.entries.values():
            yield from self._describe(entry)

    def flush(self) -> Iterator[Item]:
        self._worker.qmgr.flush()
        return iter(())

    def flush_id(self, queue_id: str) -> Iterator[Item]:
        entry = self._find(queue_id)
        if entry is not None:
            self._worker.qmgr.flush_one(entry)
            yield {"id": queue_id}

    def flush_site(self, site: str) -> Iterator[Item]:
        self._worker.qmgr.flush_site(site.encode(errors="replace"))
        return iter(())

    def change(self, verb: str, ids: list[str] | None, states: list[str]) -> Iterator[Item]:
        act = getattr(self._worker.qmgr, verb)
        entries = self._all() if ids is None else map(self._find, ids)
        for entry in list(entries):
            if entry is None or entry.state in GONE or self._state(entry) not in states:
                continue
            if verb == "release" and entry.state is not State.HOLD:
                continue
            if verb == "hold" and entry.state is State.HOLD:
                continue
            if verb == "expire" and entry.forced_expire:
                continue
            act(entry)
            name = self._name(entry)
            self._worker.log.line(b"postsuper", f"{name}: {DONE[verb]}".encode())
            yield {"id": name}

    def cat(self, queue_id: str) -> Iterator[Item]:
        entry = self._find(queue_id)
        if entry is None:
            return
        try:
            yield from self._cat(entry)
        except CorruptRecord as error:  # damaged, which the queue has logged; or it has gone meanwhile
            yield {"error": f"{queue_id}: {error}"}

    def _cat(self, entry: Any) -> Iterator[Item]:
        spool = self._worker.spool
        envelope = spool.read_envelope(entry)
        pending = set(entry.pending_recipients())
        yield {
            "state": self._state(entry),
            "envelope": {
                "size": envelope.size,
                "arrival": envelope.arrival,
                "sender": _text(envelope.sender),
                "envid": _text(envelope.envid),
                "client_name": _text(envelope.client_name),
                "client_address": _text(envelope.client_address),
                "helo_name": _text(envelope.helo),
                "protocol_name": _text(envelope.protocol),
            },
        }
        recipients = [
            {
                "address": _text(recipient.address),
                "original": _text(recipient.original),
                "orcpt": _text(recipient.orcpt),
                "notify": recipient.notify,
                "done": index not in pending,
            }
            for index, recipient in enumerate(envelope.recipients)
        ]
        for at in range(0, len(recipients), RECIPIENTS):
            yield {"recipients": recipients[at : at + RECIPIENTS]}
        for piece in spool.read_content(entry):
            for at in range(0, len(piece), PIECE):
                yield {"content": base64.b64encode(piece[at : at + PIECE]).decode()}

    def status(self) -> Iterator[Item]:
        worker = self._worker
        yield {
            "worker": worker.context.number,
            "pid": os.getpid(),
            "connections": sum(service.connection_count for service in worker.services),
            "queued": len(worker.spool.entries),
            "active": len(worker.qmgr.active),
            "reloads": worker.reloads,
            "objects": compiled_objects(),
            "blocks": sys.getallocatedblocks(),  # a leak of anything that Python allocates shows here
        }

    def _all(self) -> list[Any]:
        return self._worker.spool.entries.values()

    def _find(self, name: str) -> Any:
        try:
            return self._worker.spool.entries.get(queue_id.decode(name.encode("ascii", "replace")))
        except ValueError:
            return None

    def _name(self, entry: Any) -> str:
        return self._worker.queue_name(entry.message_id).decode()

    def _state(self, entry: Any) -> str:
        """The name of the queue that Postfix would keep it in."""
        if entry.state is State.HOLD:
            return "hold"
        if entry.message_id in self._worker.qmgr.active:
            return "active"
        return "deferred" if entry.next_try > 0 else "incoming"

    def _describe(self, entry: Any) -> Iterator[Item]:
        """One message, in several items when it has very many recipients; with none left it waits for its notice."""
        spool = self._worker.spool
        if entry.state in GONE:
            return
        try:
            envelope = spool.read_envelope(entry)
            notes = spool.read_notes(entry)
        except CorruptRecord:
            return  # set aside and logged by the queue
        pending = entry.pending_recipients()
        for at in range(0, max(1, len(pending)), RECIPIENTS):
            yield {
                "id": self._name(entry),
                "state": self._state(entry),
                "size": envelope.size,
                "arrival": envelope.arrival,
                "forced_expire": entry.forced_expire,
                "sender": _text(envelope.sender),
                "recipients": [
                    {
                        "address": _text(envelope.recipients[index].address),
                        "reason": _text(notes[index].text) if index in notes else "",
                    }
                    for index in pending[at : at + RECIPIENTS]
                ],
            }


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def compiled_objects() -> dict[str, int]:
    """How many objects of each compiled module are alive; all zero unless this is a debug build."""
    return {
        name: module.live_objects()
        for name, module in list(sys.modules.items())
        if name.startswith("fastrelay.") and hasattr(module, "live_objects")
    }
