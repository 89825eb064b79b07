"""The SMTP delivery agent: slots of the queue manager onto connections (smtp(8), smtp_connect.c).

The worker makes one; the queue manager calls open_slot(). On the usual path an idle connection is taken
from the cache and its Dialogue works off the queue, all in one call. A connection is opened in a task of
its own, which also goes on with deliveries that another server may still take (MX fail-over).
Invariant: each slot ends in exactly one release(), each delivery taken in exactly one report.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import replace

from fastrelay.borders import Delivery, DestinationQueue, Report, Status
from fastrelay.delivery._dialogue import Dialogue
from fastrelay.delivery._transaction import Transaction
from fastrelay.delivery.dns import LookupFailed, Resolver, port_number
from fastrelay.delivery.mapped import MappedDelivery
from fastrelay.delivery.mx import Server
from fastrelay.delivery.session import OpeningFailed, Peer, open_transport
from fastrelay.delivery.session_cache import SessionCache
from fastrelay.delivery.smtp_settings import SmtpSettings
from fastrelay.delivery.smtp_text import Failure
from fastrelay.tcp._poller import Poller

AVOID_TIME = 60.0  # a server that could not be reached is tried last for so long
AVOID_LIMIT = 1000


class SmtpAgent:
    def __init__(
        self,
        settings: SmtpSettings,
        report: Report,
        log: Callable[[bytes], None],
        resolver: Resolver,
        poller: Poller,
        *,
        clock: Callable[[], float] = time.time,
        now: Callable[[], float] = time.monotonic,
        sweep_interval: float = 1.0,
    ) -> None:
        self.settings = settings
        self.report = report
        self.log = log
        self.clock = clock  # epoch seconds, for Delivery.started
        self.now = now  # for time limits
        self._resolver = resolver
        self._poller = poller
        self._cache = SessionCache(settings.smtp_connection_cache_time_limit)
        self._sessions: set[Dialogue] = set()
        self._opening = 0
        self._waiting: deque[DestinationQueue] = deque()  # slots without a connection to be had
        self._avoid: dict[tuple[str, int], float] = {}
        self._smtp_port = port_number(settings.smtp_tcp_port)
        self._sweep_interval = sweep_interval
        self._sweeping: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self._idle: asyncio.Event | None = None

    # What the queue manager calls

    def open_slot(self, queue: DestinationQueue) -> None:
        dialogue = self._cache.get((queue.transport, queue.next_hop), self.now())
        if dialogue is not None:
            dialogue.run(queue)
        else:
            self._fill(queue)

    async def close(self) -> None:
        """End idle connections, and wait for the busy ones as long as the caller allows."""
        self._closing = True
        self._cache.close()
        self._idle = asyncio.Event()
        while self._waiting:
            self._waiting.popleft().release()
        self._check_idle()
        try:
            await self._idle.wait()
        except asyncio.CancelledError:
            for task in self._tasks:
                task.cancel()
            for dialogue in list(self._sessions):
                dialogue.abort()
            raise
        finally:
            if self._sweeping is not None:
                self._sweeping.cancel()
                self._sweeping = None

    # What dialogues call

    def run_ended(self, dialogue: Dialogue, queue: DestinationQueue) -> None:
        """The dialogue takes no more from the queue: it is idle, spent, or its connection is gone."""
        unfinished = dialogue.take_unfinished()
        if dialogue.alive:
            if self._may_cache(dialogue):
                self._cache.put(dialogue, self.now())
            else:
                dialogue.quit()
        if unfinished:
            self._spawn(self._serve(queue, unfinished))
        elif dialogue.retired:
            self._fill(queue)
        else:
            queue.release()

    def closed(self, dialogue: Dialogue) -> None:
        """Its connection has ended."""
        self._sessions.discard(dialogue)
        self._cache.drop(dialogue)
        self._serve_waiting()
        self._check_idle()

    # Slots

    def _may_cache(self, dialogue: Dialogue) -> bool:
        settings = self.settings
        if (
            self._closing
            or self._waiting
            or dialogue.single
            or settings.smtp_connection_cache_time_limit <= 0
        ):
            return False
        if self.now() - dialogue.opened >= settings.smtp_connection_reuse_time_limit:
            return False
        if settings.smtp_connection_cache_on_demand:
            return True
        return dialogue.key[1].decode("ascii", "replace") in settings.smtp_connection_cache_destinations

    def _fill(self, queue: DestinationQueue) -> None:
        """A new connection for the slot, if the queue still has a delivery."""
        if self._closing:
            queue.release()
            return
        if self._is_full():
            self._waiting.append(queue)
            self._cache.evict()
            return
        delivery = queue.take()
        if delivery is None:
            queue.release()
            return
        self._spawn(self._serve(queue, [Transaction(delivery)]))

    def _is_full(self) -> bool:
        return len(self._sessions) + self._opening >= self.settings.fastrelay_smtp_connection_limit

    def _serve_waiting(self) -> None:
        while self._waiting and not self._is_full():
            self.open_slot(self._waiting.popleft())

    async def _serve(self, queue: DestinationQueue, held: list[Transaction]) -> None:
        """Open a connection for the first of `held`; its dialogue takes over, or everything is reported."""
        self._opening += 1
        try:
            dialogue = await self._open(queue, held[0])
        finally:
            self._opening -= 1
        if dialogue is not None:
            dialogue.single = bool(held[0].visited)
            self._sessions.add(dialogue)
            self._start_sweeping()
            dialogue.run(queue, held[:1], held[1:])
            return
        self._give_up(queue, held[0])
        if len(held) > 1:
            await self._serve(queue, held[1:])
        elif held[0].visited:
            self.open_slot(queue)  # a fail-over that found no server: the slot itself goes on
        else:
            queue.release()
            self._serve_waiting()
            self._check_idle()

    def _give_up(self, queue: DestinationQueue, transaction: Transaction) -> None:
        """No server: the failure is the verdict where no server gave one."""
        failure = transaction.failure
        outcomes = transaction.outcomes
        if failure is not None:
            outcomes = transaction.settle(failure)
        self.report(transaction.delivery, outcomes)
        if failure is not None and failure.status is Status.DEFERRED and not transaction.visited:
            queue.failed(failure.outcome(transaction.delivery.recipients[0]))

    # Connections

    async def _open(self, queue: DestinationQueue, transaction: Transaction) -> Dialogue | None:
        """The first server that talks to us; None with transaction.failure when none does."""
        opened = self.now()
        delivery = transaction.delivery
        transaction.failure = None
        if delivery.started == 0.0:
            delivery.started = self.clock()
        try:
            servers = await self._resolver.servers(queue.next_hop, _domain(delivery), self._to_avoid(opened))
        except LookupFailed as failed:
            transaction.failure = self._judge(queue, failed.failure)
            return None
        visited = transaction.visited or ()
        servers = [s for s in servers if (s.address, s.port) not in visited]
        for i, server in enumerate(servers):
            try:
                dialogue = await self._converse(queue, server, opened)
            except OpeningFailed as failed:
                transaction.failure = failure = self._judge(queue, failed.failure)
                self._note_failure(server, failure, last=i == len(servers) - 1)
                if failed.failure.status is Status.BOUNCED:
                    return None
                continue
            dialogue.more = i < len(servers) - 1
            return dialogue
        return None

    async def _converse(self, queue: DestinationQueue, server: Server, opened: float) -> Dialogue:
        loop_detection = server.port == self._smtp_port
        transport, features = await open_transport(
            self.settings,
            server,
            queue.next_hop,
            loop_detection=loop_detection,
            log=self.log,
            poller=self._poller,
        )
        key = (queue.transport, queue.next_hop)
        dialogue = Dialogue(self, self.settings, key, Peer.of(server), features, transport, opened)
        transport.set_protocol(dialogue)
        return dialogue

    def _judge(self, queue: DestinationQueue, failure: Failure) -> Failure:
        """A relayhost that cannot be is a mistake in main.cf: mail waits for its correction (smtp_connect.c)."""
        if failure.status is not Status.BOUNCED or queue.next_hop != self.settings.relayhost.encode():
            return failure
        self.log(b"warning: relayhost configuration problem")
        return replace(failure, status=Status.DEFERRED, dsn=b"4.3.5")

    def _note_failure(self, server: Server, failure: Failure, *, last: bool) -> None:
        """Postfix logs each address that failed; the last one's words are in the delivery's own line too."""
        if not last or failure.relay == b"none":
            self.log(failure.text)
        if failure.relay == b"none":
            if len(self._avoid) >= AVOID_LIMIT:
                self._avoid.clear()
            self._avoid[(server.address, server.port)] = self.now() + AVOID_TIME

    def _to_avoid(self, now: float) -> frozenset[tuple[str, int]]:
        if not self._avoid:
            return frozenset()
        return frozenset(endpoint for endpoint, until in self._avoid.items() if until > now)

    # Time

    def _start_sweeping(self) -> None:
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(self._sweep_interval, self._sweep)

    def _sweep(self) -> None:
        """Once a second: conversations beyond their deadline, connections idle too long."""
        self._sweeping = None
        now = self.now()
        for dialogue in list(self._sessions):
            if now >= dialogue.deadline:
                dialogue.expire(now)
        self._cache.expire(now)
        if self._sessions:
            self._start_sweeping()

    # Tasks

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # ours, not the peer's: the loop's handler ends the worker
            asyncio.get_running_loop().call_exception_handler(
                {"message": "SMTP delivery failed", "exception": task.exception(), "task": task}
            )
        self._check_idle()

    def _check_idle(self) -> None:
        if self._idle is not None and not self._sessions and not self._opening and not self._waiting:
            self._idle.set()


def _domain(delivery: Delivery) -> bytes:
    """The recipient's domain: a next hop that equals it was not chosen by our configuration."""
    if isinstance(delivery, MappedDelivery):
        delivery = delivery.original
    if delivery.addresses:
        address = delivery.addresses[0]
    else:
        address = delivery.message.envelope.recipients[delivery.recipients[0]].address
    return address.rpartition(b"@")[2]
