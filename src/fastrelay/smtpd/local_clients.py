"""local_header_rewrite_clients: whose mail gets missing headers, and its header addresses completed.

Service asks once a session. A table that cannot answer refuses the session's mail at MAIL (`check`), as Postfix
does: what is done to a header must not depend on luck. Words that need SASL or TLS hold for nobody here yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fastrelay.smtpd.journal import Journal
from fastrelay.tables import Maps, TableError
from fastrelay.tables.maps import Opener
from fastrelay.wire import replies

MAP = "check_address_map"
NOBODY = {"permit_sasl_authenticated", "permit_tls_clientcerts", "permit_tls_all_clientcerts"}
KNOWN = {"permit_inet_interfaces", "permit_mynetworks"} | NOBODY

Test = Callable[[Any], bool]


def split(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(word in lower case, table); a table may stand alone or behind check_address_map."""
    rest = iter(words)
    for word in rest:
        if word.lower() == MAP:
            yield MAP, next(rest, "")
        elif ":" in word:
            yield MAP, word
        else:
            yield word.lower(), ""


def invalid(words: Sequence[str]) -> list[str]:
    """What Postfix calls an invalid request."""
    return [word for word, table in split(words) if word not in KNOWN and ":" not in table]


class LocalClients:
    def __init__(
        self, words: Sequence[str], own_addresses: frozenset[bytes], journal: Journal, opener: Opener
    ) -> None:
        self._journal = journal
        asked = {word for word, _ in split(words)}
        self.can_fail = bool(asked & {MAP, "permit_mynetworks"})
        self.has_tables = MAP in asked
        self._tests = [
            test for pair in split(words) if (test := self._make(*pair, own_addresses, opener)) is not None
        ]

    def note(self, client: Any) -> None:
        """Sets the client's is_local. Raises Pending when a table must be waited for."""
        try:
            for test in self._tests:
                if test(client):
                    client.is_local = True
                    break
        except TableError as error:
            self._journal.table_failed(error, client.address)
            client.is_local, client.is_clear = False, False

    def check(self, session: Any, _sender: object) -> bytes | None:
        """The check of Stage.MAIL."""
        if session.client.is_clear:
            return None
        self._journal.reject(session, b"MAIL", replies.R451_LOOKUP_ERROR, None)
        return replies.R451_LOOKUP_ERROR

    @staticmethod
    def _make(word: str, table: str, own_addresses: frozenset[bytes], opener: Opener) -> Test | None:
        if word == "permit_inet_interfaces":
            return lambda client: client.address in own_addresses
        if word == "permit_mynetworks":
            return lambda client: bool(client.in_mynetworks())
        if ":" not in table:
            return None
        maps = Maps([table], opener)
        return lambda client: maps.find(client.address) is not None
