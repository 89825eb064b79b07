"""The active queue: which messages are being delivered, and whether there is room for more.

Postfix bounds messages and recipients in memory (qmgr_message_active_limit, ..._recipient_limit); here
contents kept in memory are bounded besides. A message of no more than qmgr_message_recipient_minimum
recipients is small: it does not count against the limit of recipients, so that lists cannot keep it out.
New mail leaves a quarter of the queue to retries, retries leave half of it to new mail, so that neither
starves the other. Invariant: the counters are the sums over `messages`.
"""

from __future__ import annotations

from fastrelay.qmgr.message import ActiveMessage
from fastrelay.qmgr.settings import QmgrSettings
from fastrelay.queue._index import Index

DESTINATION_SHARE = (
    1000  # of one destination; a message beyond costs its index entry only, and is read back in order
)


class ActiveQueue:
    def __init__(self, settings: QmgrSettings) -> None:
        self.messages: Index[ActiveMessage] = Index()
        self.recipients = 0  # of messages that are not small
        self.retried = 0
        self.content = 0  # bytes
        self.set_limits(settings)

    def set_limits(self, settings: QmgrSettings) -> None:
        self.limit = max(1, settings.qmgr_message_active_limit)
        self._fresh_limit = max(1, self.limit - self.limit // 4)
        self._retried_limit = max(1, self.limit // 2)
        self._recipient_limit = settings.qmgr_message_recipient_limit
        self._small = settings.qmgr_message_recipient_minimum
        self._memory_limit = settings.fastrelay_content_memory_limit

    def has_room(self) -> bool:
        return len(self.messages) < self.limit

    def may_hold(self, recipients: int) -> bool:
        """A message of so many, as far as recipients go; the last one may go beyond the limit."""
        return recipients <= self._small or self.recipients < self._recipient_limit

    def may_start(self, recipients: int = 1) -> bool:
        """One more new message."""
        if len(self.messages) - self.retried >= self._fresh_limit or not self.has_room():
            return False
        return self.may_hold(recipients)

    def may_retry(self) -> bool:
        """One more deferred message."""
        return self.retried < self._retried_limit and self.has_room()

    def share(self) -> int:
        """How much one destination may have waiting: as much as is free, so that others always find room."""
        free = self.limit - len(self.messages)
        return free if free < DESTINATION_SHARE else DESTINATION_SHARE

    def add(self, message: ActiveMessage, recipients: int) -> None:
        message.total = recipients
        self.messages.put(message.number, message)
        if len(message.envelope.recipients) > self._small:
            message.counted = recipients
            self.recipients += recipients
        self.retried += message.retried
        if message.content is not None:
            self._keep_content(message)

    def _keep_content(self, message: ActiveMessage) -> None:
        size = message.envelope.size
        if self.content + size <= self._memory_limit:
            message.kept = size
            self.content += size
        else:
            message.content = None

    def remove(self, message: ActiveMessage) -> None:
        self.messages.pop(message.number)
        self.recipients -= message.counted
        self.retried -= message.retried
        self.content -= message.kept
