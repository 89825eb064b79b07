"""One worker: a listener, its shards of the queue, a scheduler and the outbound connections, on one loop.

The only file that knows every part. A message is born, queued, delivered and forgotten here, with no hop
to another process: smtpd -> spool -> queue manager -> agent -> report -> spool. master forks it with a
WorkerContext and calls run(), which returns after a clean stop. A bug ends the process loudly; master
starts another, which replays the shards.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import signal
import time
from collections.abc import Coroutine
from typing import Any, cast

import uvloop

from fastrelay.borders import Content, Envelope, QueuedMessage
from fastrelay.bounce.settings import BounceSettings
from fastrelay.config import Config, Service, section
from fastrelay.delivery.slots import content_of
from fastrelay.log.maillog import MailLog
from fastrelay.log.sinks import CRITICAL
from fastrelay.master import channel, transports
from fastrelay.master.context import WorkerContext
from fastrelay.master.control_server import ControlServer
from fastrelay.master.listeners import BACKLOG
from fastrelay.master.notifier import Notifier
from fastrelay.master.own_mail import OwnMail, forwarded
from fastrelay.master.passage import Passage
from fastrelay.master.retries import Retries
from fastrelay.master.routing import Routing
from fastrelay.master.services import make_service
from fastrelay.master.tools import Tools
from fastrelay.qmgr.manager import QueueManager
from fastrelay.qmgr.settings import QmgrSettings
from fastrelay.qmgr.steady import SteadyClock
from fastrelay.qmgr.surroundings import Surroundings
from fastrelay.queue._format import CorruptRecord, State
from fastrelay.queue.pace import Pace
from fastrelay.queue.settings import QueueSettings
from fastrelay.queue.spool import Spool, SpoolLocked
from fastrelay.smtpd.client_name import ClientNames
from fastrelay.smtpd.service import SWEEP, Entrance
from fastrelay.smtpd.service import Service as SmtpdService
from fastrelay.tables import TableError
from fastrelay.tcp._poller import Poller, Wakeup
from fastrelay.tcp._stream import Listener

LOG_DELAY = 0.03  # seconds that a line may wait for others
TICK = 0.015  # seconds between looks at outcomes that wait to be written
GC_THRESHOLD = 20_000
FULL_PAUSE = 5.0  # seconds until what an alias sends on is tried again on a full disk
LOCK_TRIES = 50  # of 0.2 seconds: the worker before us may still be ending
STOP_LIMIT = 8.0  # seconds for sessions and deliveries under way at a clean stop
EX_SOFTWARE, EX_IOERR = 70, 74
ENDED = (State.DONE, State.HOLD, State.CORRUPT)


class Worker:
    def __init__(self, context: WorkerContext, loop: asyncio.AbstractEventLoop) -> None:
        config = context.config
        self.context = context
        self.loop = loop
        self.poller = Poller(loop)
        self.log = cast(MailLog, context.log)
        self.log.wants_flush = self._flush_log_soon
        self.names = ClientNames()
        self.services: list[SmtpdService] = []
        self._listeners: list[Listener] = []
        self._entrances: list[Entrance] = []  # of the listeners
        self._retired: list[SmtpdService] = []  # of before a reload, while they have sessions
        self.reloads = 0
        self._clock = SteadyClock(time.time, time.monotonic)
        self._beside: set[asyncio.Task[None]] = set()
        self._due: asyncio.TimerHandle | None = None
        self._due_at = 0.0  # epoch seconds
        self._stopping: asyncio.Task[None] | None = None
        self._ended: asyncio.Future[None] = loop.create_future()
        self._receiver = channel.Receiver()
        self._mailboxes = transports.make_mailboxes(config, context.mailbox_helper)
        self.routing = Routing(config, self.log.error, self.log.warning)
        self.spool = self._make_spool(config)
        self._agents: dict[bytes, Any] = {}
        self._log_names: dict[bytes, bytes] = {}
        self.passage = Passage(
            self.spool,
            self.log.line,
            self._log_names,
            self._want_tick,
            bool(config.value("enable_long_queue_ids")),
        )
        self._load_transports(config)
        self.qmgr = self.passage.qmgr = QueueManager(
            section(QmgrSettings, config), self._qmgr_surroundings(config)
        )
        self.own_mail = OwnMail(
            lambda: self.routing.envelope, self.log, lambda: self.routing.duplicate_filter_limit
        )
        self.notifier = Notifier(
            section(BounceSettings, config),
            self.spool,
            self.log,
            self.passage.queue_name,
            self.own_mail,
            self._notice_accepted,
            self.qmgr.settled,
            Retries(self.loop.call_later),
        )
        self.control = ControlServer(Tools(self))

    # Making the parts

    def _make_spool(self, config: Config) -> Spool:
        return Spool(
            self.context.queue_fd,
            self.context.shards,
            section(QueueSettings, config),
            fatal=self._queue_failed,
            critical=self._queue_damaged,
            pace=Pace(self.poller.soon, self.loop.call_later, self._messages_coming),
        )

    def _messages_coming(self) -> int:
        return sum(service.rules.coming for service in self.services)

    def _load_transports(self, config: Config) -> None:
        around = transports.Surroundings(
            self.passage.report, self.log.line, self.log.warning, self._forward, self._mailboxes, self.poller
        )
        for name, agent in transports.make_agents(config, self.routing, around).items():
            if name in self._agents:
                self._agents[name].replace(agent)
            else:
                self._agents[name] = transports.ReplaceableAgent(agent)
        for service in config.services:
            self._log_names[service.name.encode()] = transports.log_name(service, config)

    def _qmgr_surroundings(self, config: Config) -> Surroundings:
        limits = {s.name.encode(): s.maxproc for s in config.services if s.type == "unix"}
        workers = self.context.workers
        return Surroundings(
            spool=self.spool,
            resolve=self.routing.resolver.resolve,
            unresolvable=TableError,
            unreadable=CorruptRecord,
            agents=self._agents,
            transport_setting=lambda transport, suffix: config.for_transport(transport.decode(), suffix),
            process_limit=lambda transport: -(-(limits.get(transport) or 0) // workers),
            is_live=lambda entry: entry.state not in ENDED,
            queue_id=self.passage.queue_name,
            log=self.log.line,
            log_outcome=self.passage.log_outcome,
            bounce=lambda message, due, late: self.notifier.notify(message, due, late),
            schedule_pump=lambda: self.poller.soon(self._pump),
            run=self._run_beside,
            clock=self._clock,
            random=random.random,
        )

    def _make_services(self, config: Config, services: list[Service]) -> list[SmtpdService]:
        return [make_service(service, config, self) for service in services]

    # Life

    async def live(self) -> None:
        """From start to a clean stop, in one run of the loop: a signal between two runs would be lost."""
        await self._start()
        await self._ended

    async def _start(self) -> None:
        await self._recover()
        self.spool.start()
        self._batches = Wakeup(self.poller, self.spool.wake_fd, self._batch_done)
        self.qmgr.recovered(self.spool.entries.values())
        context = self.context
        self.services = self._make_services(context.config, [service for service, _ in context.listeners])
        self._entrances = [Entrance(service) for service in self.services]
        for entrance, (_, listener) in zip(self._entrances, context.listeners, strict=True):
            listener.listen(BACKLOG)  # anew: its last worker may have left it
            self._listeners.append(Listener(self.poller, listener, entrance))
        await self.control.start(context.control)
        self.loop.add_signal_handler(signal.SIGTERM, self.stop)
        self.loop.add_reader(context.master.fileno(), self._master_spoke)
        self.loop.call_later(SWEEP, self._sweep)
        self._pump()
        gc.collect()
        gc.freeze()  # what is here now stays: the collector need not look at it again
        gc.set_threshold(GC_THRESHOLD)  # a message makes no cycles: look for the few others make now and then
        context.ready()

    async def _recover(self) -> None:
        for tries_left in range(LOCK_TRIES, -1, -1):
            try:
                problems = self.spool.recover()
                break
            except SpoolLocked:
                if not tries_left:
                    raise
                await asyncio.sleep(0.2)
        for problem in problems:
            self._queue_damaged(problem)

    def stop(self) -> None:
        if self._stopping is None:
            self._stopping = self.loop.create_task(self._stop())

    async def _stop(self) -> None:
        """No new mail, answers for what was taken, results of what is under way; then the queue is closed."""
        for listener in self._listeners:
            listener.close()
        limit = self.loop.time() + STOP_LIMIT
        for service in self.services + self._retired:
            service.shut_down()
        while self._connections() and self.loop.time() < limit:
            await asyncio.sleep(0.02)
            for service in self.services + self._retired:
                service.shut_down()
        self.qmgr.pause(True)
        with contextlib.suppress(TimeoutError):
            closing = [agent.close() for agent in self._agents.values()]
            await asyncio.wait_for(asyncio.gather(*closing), max(0.5, limit - self.loop.time()))
        await self.control.close()
        self._batches.stop()
        self.spool.stop()
        self.names.close()
        self.poller.close()
        self.log.flush()
        self._ended.set_result(None)

    def _connections(self) -> int:
        return sum(service.connection_count for service in self.services + self._retired)

    # What the loop calls

    def _flush_log_soon(self) -> None:
        self.loop.call_later(LOG_DELAY, self.log.flush)

    def _batch_done(self) -> None:
        self.spool.completed()
        self._want_tick()

    def _want_tick(self) -> None:
        if not self.passage.ticking and self.spool.wants_tick:
            self.passage.ticking = True
            self.loop.call_later(TICK, self._tick)

    def _tick(self) -> None:
        self.passage.ticking = False
        self.spool.tick(time.monotonic())
        self._want_tick()

    def _pump(self) -> None:
        self._watch_spool()
        self.qmgr.pump()
        self._arm()

    def _watch_spool(self) -> None:
        """Nothing is delivered while results cannot be recorded: it would be delivered again."""
        self.qmgr.pause(self._stopping is not None or not self.spool.can_record)

    def _arm(self) -> None:
        """See to it that the queue manager runs when its next work is due."""
        due = self.qmgr.next_due()
        if due is None:
            return
        if self._due is not None:
            if self._due_at <= due:
                return
            self._due.cancel()
        self._due_at = due
        self._due = self.loop.call_later(max(0.001, due - self._clock()), self._run_qmgr)

    def _run_qmgr(self) -> None:
        self._due = None
        self.qmgr.run(self._clock())
        self._want_tick()
        self._arm()

    def _run_beside(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self._beside.add(task)  # the loop alone would let it be collected
        task.add_done_callback(self._beside.discard)

    def _sweep(self) -> None:
        self._retired = [service for service in self._retired if service.connection_count]
        for service in self.services + self._retired:
            service.sweep()
        if late := self.spool.give_up(time.monotonic()):
            text = b"the disk hangs: %d messages were not taken"
            self.log.warning(b"queue", text % late)
        self._watch_spool()
        self._want_tick()
        self.loop.call_later(SWEEP, self._sweep)

    def _master_spoke(self) -> None:
        try:
            messages = self._receiver.receive(self.context.master)
        except BlockingIOError:
            return
        if messages is None:
            self.loop.remove_reader(self.context.master.fileno())
            self.stop()
            return
        for message in messages:
            self._reload(message["reload"], message["services"], message.get("log_fd"))

    def _reload(self, config: Config, services: list[Service], log_fd: int | None) -> None:
        """New sessions and deliveries follow the new configuration; sessions under way keep theirs."""
        if log_fd is not None:
            self.log.reopen(log_fd)
        self.routing = Routing(config, self.log.error, self.log.warning)
        self._load_transports(config)
        self.qmgr.reconfigure(section(QmgrSettings, config), self._qmgr_surroundings(config))
        self.notifier.settings = section(BounceSettings, config)
        self.spool.space.settings = section(QueueSettings, config)
        self._retired += self.services
        self.services = self._make_services(config, services)
        for entrance, smtpd in zip(self._entrances, self.services, strict=False):
            entrance.service = smtpd
        self.reloads += 1

    # What the rooms call

    def queue_name(self, message_id: int) -> bytes:
        return self.passage.queue_name(message_id)

    def _notice_accepted(self, entry: Any, notice: Any, name: bytes) -> None:
        self.qmgr.accepted(entry, notice.envelope, notice.content, name)

    async def _forward(
        self, message: QueuedMessage, recipient: int, addresses: list[bytes], header: bytes, owner: bytes
    ) -> bytes | None:
        """An alias leads elsewhere: a new message, durable before this returns; None: it cannot be made now."""
        now = time.time()
        number = self.spool.new_id(now, beside=message.entry.message_id)
        name = self.passage.queue_name(number)
        content = content_of(message)
        envelope = forwarded(message.envelope, recipient, addresses, owner, now, len(header))
        mapped = await self.own_mail.map(envelope, name)
        if mapped is None:
            return None
        pieces = [header, *content]
        while (entry := await self._append(number, mapped, pieces)) is None:
            await asyncio.sleep(FULL_PAUSE)
        self.qmgr.accepted(entry, mapped, pieces)
        return name

    async def _append(self, number: int, envelope: Envelope, content: Content) -> Any:
        """The entry once it is durable; None: the disk is full."""
        durable: asyncio.Future[Any] = self.loop.create_future()
        self.spool.append(number, envelope, content, durable.set_result)
        return await durable

    def _queue_failed(self, reason: str) -> None:
        """Nothing that waits may be acknowledged, and no file be tried again (reliability 1.5): end at once."""
        self.log.fatal(b"queue", reason.encode("utf-8", "replace"))
        os._exit(EX_IOERR)

    def _queue_damaged(self, problem: str) -> None:
        self.log.line(b"queue", b"panic: " + problem.encode("utf-8", "replace"), CRITICAL)

    def crashed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception that nobody handled: the network's own are told, ours end the worker."""
        error = context.get("exception")
        text = f"{context.get('message', '')}: {error!r}".encode("utf-8", "replace")
        if isinstance(error, OSError):
            self.log.warning(b"worker", text)
            return
        self.log.line(b"worker", b"panic: " + text)
        self.log.flush()
        if isinstance(error, BaseException):
            import traceback

            traceback.print_exception(error)
        os._exit(EX_SOFTWARE)


def run(context: WorkerContext) -> None:
    """The forked child's life; returns after a clean stop."""
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    worker = Worker(context, loop)
    loop.set_exception_handler(worker.crashed)
    loop.run_until_complete(worker.live())
