"""From a message to its deliveries: resolves the recipients and groups them by destination.

Called by the queue manager when a message enters the active queue. Knows no queue and no clock: gives
back what to schedule, what to defer at once and where the rest is parked. Invariant: each recipient
asked about ends up in exactly one of the three. When a table must be waited for, Pending passes through
before anything is changed, and the queue manager asks again (tables/pending.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from fastrelay.borders import Envelope, Outcome, Recipient, Route, Status
from fastrelay.qmgr.destination import Destination
from fastrelay.qmgr.message import ActiveMessage, QueuedDelivery
from fastrelay.qmgr.scheduler import Scheduler
from fastrelay.tables.pending import ask_each

Resolve = Callable[[bytes, bytes], Route]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a recipient has no destination."""

    dsn: bytes
    text: bytes


RESOLVER_FAILURE = Refusal(b"4.3.0", b"address resolver failure")
TRANSPORT_UNAVAILABLE = Refusal(b"4.3.0", b"mail transport unavailable")
DEFERRED_TRANSPORT = Refusal(b"4.3.2", b"deferred transport")


@dataclass(slots=True)
class Plan:
    deliveries: list[QueuedDelivery] = field(default_factory=list)
    deferred: list[Outcome] = field(default_factory=list)
    parked_at: Destination | None = None


class Activation:
    def __init__(
        self,
        scheduler: Scheduler,
        resolve: Resolve,
        unresolvable: type[Exception],
        defer_transports: frozenset[bytes],
        unavailable: Callable[[bytes], None],
        filter_next_hop: bytes,
    ) -> None:
        """`filter_next_hop` is default_filter_nexthop."""
        self._scheduler = scheduler
        self._resolve = resolve
        self._unresolvable = unresolvable
        self._defer_transports = defer_transports
        self._filter_next_hop = filter_next_hop
        self._unavailable = unavailable  # told of transports that have no agent

    def single(self, message: ActiveMessage, index: int, room: int) -> QueuedDelivery | None:
        """The short way for one recipient, by far the commonest; None: plan() has to say what is wrong."""
        envelope = message.envelope
        try:
            route = self._route(envelope, index)
        except self._unresolvable:
            return None
        transport = self._scheduler.transport(route.transport)
        if transport is None or (self._defer_transports and route.transport in self._defer_transports):
            return None
        address = route.recipient
        destination = transport.destination(route.next_hop, address)
        if destination.parked or destination.messages() >= room:
            return None
        delivery = QueuedDelivery.__new__(QueuedDelivery)
        delivery.begin(message, destination, [index], [address])
        return delivery

    def plan(
        self, message: ActiveMessage, pending: Iterable[int], room: int, unparked: bool, flushed: bool
    ) -> Plan:
        """`room` is how many messages one destination may have waiting; unparked mail goes beyond."""
        plan = Plan()
        envelope = message.envelope
        groups: dict[Destination, QueuedDelivery] = {}
        pending = list(pending)
        places = ask_each(lambda index: self._find(envelope, index, flushed), pending)
        for index, found in zip(pending, places, strict=True):
            if isinstance(found, Refusal):
                plan.deferred.append(Outcome(index, Status.DEFERRED, found.dsn, found.text))
                continue
            destination, address = found
            delivery = groups.get(destination)
            if delivery is None:
                if not unparked and self._is_clogged(destination, room):
                    plan.parked_at = destination
                    continue
            elif not 0 < destination.transport_queue.settings.recipient_limit <= len(delivery.recipients):
                delivery.recipients.append(index)
                delivery.addresses.append(address)
                continue
            groups[destination] = delivery = QueuedDelivery.__new__(QueuedDelivery)
            delivery.begin(message, destination, [index], [address])
            plan.deliveries.append(delivery)
        return plan

    def unresolved(self, pending: Iterable[int]) -> Plan:
        """When nothing can be found out about any of them."""
        failure = RESOLVER_FAILURE
        return Plan(
            deferred=[Outcome(index, Status.DEFERRED, failure.dsn, failure.text) for index in pending]
        )

    def _route(self, envelope: Envelope, index: int) -> Route:
        """A content filter is the destination of every recipient; without a next hop, main.cf's or each domain's."""
        recipient: Recipient = envelope.recipients[index]
        address = recipient.address
        if not envelope.content_filter:
            return self._resolve(address, envelope.sender)
        transport, _, next_hop = envelope.content_filter.partition(b":")
        return Route(transport, next_hop or self._filter_next_hop or address.rpartition(b"@")[2], address)

    def _find(self, envelope: Envelope, index: int, flushed: bool) -> tuple[Destination, bytes] | Refusal:
        try:
            route = self._route(envelope, index)
        except self._unresolvable:
            return RESOLVER_FAILURE
        transport = self._scheduler.transport(route.transport)
        if transport is None:
            self._unavailable(route.transport)
            return TRANSPORT_UNAVAILABLE
        if route.transport in self._defer_transports and not flushed:
            return DEFERRED_TRANSPORT
        return transport.destination(route.next_hop, route.recipient), route.recipient

    def _is_clogged(self, destination: Destination, room: int) -> bool:
        """A dead destination is not: its mail is deferred at once."""
        return destination.reason is None and (bool(destination.parked) or destination.messages() >= room)
