"""All sockets that master holds for its workers: for each address one a worker, and the control sockets.

Used by the supervisor alone. A change is planned first (that binds what is new and may fail), then
adopted (that closes what is no longer wanted and cannot fail).
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fastrelay.master import listeners
from fastrelay.master.errors import FatalError
from fastrelay.master.listeners import Address
from fastrelay.master.privileges import Owner
from fastrelay.master.settings import MasterSettings

if TYPE_CHECKING:
    from fastrelay.config import Config, Service


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a configuration listens, with the sockets for it."""

    workers: int
    services: list[tuple[Service, Address]]
    bound: dict[Address, list[socket.socket]]


class SocketSet:
    def __init__(self, public: Path, owner: Owner) -> None:
        self._public, self._owner = public, owner
        self._plan = Plan(0, [], {})
        self.controls: list[socket.socket] = []

    @property
    def workers(self) -> int:
        return self._plan.workers

    def plan(self, config: Config, settings: MasterSettings) -> Plan:
        """Bind what is wanted and not there yet: all of it, or FatalError and none of it."""
        workers = count_workers(settings)
        services = wanted(config, settings)
        bound: dict[Address, list[socket.socket]] = {}
        try:
            for _, address in services:
                old = self._plan.bound.get(address, [])[:workers]
                new = (
                    listeners.bind_more(address, workers - len(old))
                    if old
                    else listeners.bind(address, workers)
                )
                bound[address] = old + new
        except FatalError:
            self._close_but(bound, self._plan)
            raise
        return Plan(workers, services, bound)

    def same_place(self, plan: Plan) -> bool:
        """Can running workers go on with their sockets?"""
        old = [address for _, address in self._plan.services]
        return plan.workers == self._plan.workers and old == [address for _, address in plan.services]

    def adopt(self, plan: Plan) -> None:
        self._close_but(self._plan.bound, plan)
        self._plan = plan
        while len(self.controls) > plan.workers:
            self.controls.pop().close()
            self._path(len(self.controls)).unlink(missing_ok=True)
        while len(self.controls) < plan.workers:
            self.controls.append(listeners.bind_control(self._path(len(self.controls)), self._give_away))

    def listeners(self, number: int) -> list[tuple[Service, socket.socket]]:
        return [(service, self._plan.bound[address][number]) for service, address in self._plan.services]

    def of_others(self, number: int) -> list[socket.socket]:
        """What worker `number` must not keep."""
        groups = [*self._plan.bound.values(), self.controls]
        return [one for group in groups for index, one in enumerate(group) if index != number]

    def close(self) -> None:
        self.adopt(Plan(0, [], {}))

    def _path(self, number: int) -> Path:
        return self._public / f"worker.{number}"

    def _give_away(self, path: Path) -> None:
        if self._owner.name:
            os.chown(path, self._owner.uid, self._owner.gid)

    @staticmethod
    def _close_but(bound: dict[Address, list[socket.socket]], plan: Plan) -> None:
        keep = {id(one) for sockets in plan.bound.values() for one in sockets}
        for sockets in bound.values():
            for one in sockets:
                if id(one) not in keep:
                    one.close()


def count_workers(settings: MasterSettings) -> int:
    """fastrelay_workers, 0 for one a core; a worker without a shard would have nowhere to put mail."""
    cores = len(os.sched_getaffinity(0))
    return max(1, min(settings.fastrelay_workers or cores, settings.fastrelay_queue_shards))


def wanted(config: Config, settings: MasterSettings) -> list[tuple[Service, Address]]:
    """The inet services that run smtpd, each at every address it has."""
    allowed = listeners.families(settings.inet_protocols)
    found: dict[Address, Service] = {}
    for service in listeners.smtpd_services(config.services):
        for address in listeners.addresses(service.host, service.port, settings.inet_interfaces, allowed):
            if address in found:
                where = f"file {config.directory}/master.cf: line {service.line}"
                raise FatalError(f"{where}: duplicate service: {service.name}")
            found[address] = service
    return [(service, address) for address, service in found.items()]
