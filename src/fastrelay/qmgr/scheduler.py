"""Decides which delivery slots to open: add() deliveries, then pump() once a burst.

The queue manager adds; the worker calls pump() once a loop iteration after `schedule_pump` asked for it,
so that a burst for one next hop becomes a few pipelined connections. Decides, then acts: the only act
is Agent.open_slot(). Deliveries for dead destinations are handed back through `refused`, a bounded
number a pump. Invariant: every delivery added is taken by an agent, refused, or dropped, once.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterator

from fastrelay.borders import Agent
from fastrelay.qmgr.destination import Destination
from fastrelay.qmgr.message import QueuedDelivery
from fastrelay.qmgr.settings import TransportSettings
from fastrelay.qmgr.steady import Clock
from fastrelay.qmgr.transport import Transport

OPENED_A_PUMP = 500
REFUSED_A_PUMP = 200


class Scheduler:
    def __init__(
        self,
        agents: dict[bytes, Agent],
        transport_settings: Callable[[bytes], TransportSettings],
        clock: Clock,
        schedule_pump: Callable[[], object],
        refused: Callable[[QueuedDelivery], None],
    ) -> None:
        self._agents = agents
        self._transport_settings = transport_settings
        self._clock = clock
        self._schedule_pump = schedule_pump
        self._refused = refused
        self._transports: dict[bytes, Transport] = {}
        self._ready: dict[Transport, None] = {}  # transports whose destinations may want slots
        self._dead: deque[Destination] = deque()  # destinations whose deliveries are to be refused
        self._wakes: list[tuple[float, int, Destination]] = []
        self._sequence = itertools.count()
        self._pump_wanted = False
        self.paused = False

    def transport(self, name: bytes) -> Transport | None:
        """None: there is no such agent."""
        transport = self._transports.get(name)
        if transport is None and (agent := self._agents.get(name)) is not None:
            settings = self._transport_settings(name)
            transport = self._transports[name] = Transport(name, agent, settings, self, self._clock)
            transport.paused = self.paused
        return transport

    def transports(self) -> Iterator[Transport]:
        return iter(self._transports.values())

    def add(self, delivery: QueuedDelivery) -> None:
        destination = delivery.destination
        destination.push(delivery)
        if destination.reason is not None and destination.is_suspended(self._clock.now()):
            self.refuse(destination)
        elif not destination.stands_in_line():
            destination.transport_queue.make_ready(destination)

    def add_message(self, deliveries: list[QueuedDelivery]) -> None:
        """All that a message has: in each line where several of them wait, they are one job."""
        if len(deliveries) == 1:
            self.add(deliveries[0])
            return
        groups: dict[Destination, list[QueuedDelivery]] = {}
        for delivery in deliveries:
            groups.setdefault(delivery.destination, []).append(delivery)
        ready: dict[Transport, list[Destination]] = {}
        for destination, group in groups.items():
            destination.push_job(group)
            if destination.reason is not None and destination.is_suspended(self._clock.now()):
                self.refuse(destination)
            elif not destination.stands_in_line():
                ready.setdefault(destination.transport_queue, []).append(destination)
        for transport, destinations in ready.items():
            transport.make_job_ready(destinations, deliveries[0].message.activated)

    def pump(self) -> None:
        self._pump_wanted = True  # what happens in here needs no further pump
        more = False
        while self._ready and not more and not self.paused:
            transport, _ = self._ready.popitem()
            more = transport.open_slots_in_turn(OPENED_A_PUMP)
            if more:
                self._ready[transport] = None
        more = self._refuse_some() or more
        self._pump_wanted = False
        if more:
            self.want_pump()

    def pause(self, paused: bool) -> None:
        self.paused = paused
        for transport in self._transports.values():
            transport.paused = paused
        self.want_pump()

    def want_pump(self) -> None:
        if not self._pump_wanted:
            self._pump_wanted = True
            self._schedule_pump()

    def transport_ready(self, transport: Transport) -> None:
        self._ready[transport] = None
        self.want_pump()

    def refuse(self, destination: Destination) -> None:
        """What waits for this dead destination is deferred without a try, at the next pump."""
        self._dead.append(destination)
        self.want_pump()

    def _refuse_some(self) -> bool:
        """True: there is more."""
        if self.paused:
            return False
        budget = REFUSED_A_PUMP
        while self._dead and budget:
            destination = self._dead[0]
            delivery = destination.pop() if destination.reason is not None else None
            if delivery is None:
                self._dead.popleft()
                destination.transport_queue.note_idle(destination)
                continue
            budget -= 1
            self._refused(delivery)
        return bool(self._dead)

    # -- time ------------------------------------------------------------------------------------

    def wake_at(self, due: float, destination: Destination) -> None:
        heapq.heappush(self._wakes, (due, next(self._sequence), destination))

    def next_due(self) -> float | None:
        return self._wakes[0][0] if self._wakes else None

    def run(self, now: float) -> None:
        while self._wakes and self._wakes[0][0] <= now:
            heapq.heappop(self._wakes)[2].woken()

    def flush_dead(self) -> None:
        """Forgets which destinations are dead: each gets a probe."""
        for transport in self._transports.values():
            for destination in transport.destinations.values():
                if destination.reason is not None:
                    destination.revive()

    def forget_idle(self, now: float, keep: float) -> None:
        for transport in self._transports.values():
            transport.forget_idle(now, keep)
