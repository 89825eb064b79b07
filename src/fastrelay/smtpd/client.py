"""The client of a session: made by the service when its name is known, read by checks and log."""

from __future__ import annotations

from fastrelay.receive._session import SessionClient
from fastrelay.smtpd.client_name import UNKNOWN
from fastrelay.tables.matching import AddressMatcher


class Client(SessionClient):
    """Who is at the other end, and what that means here; mynetworks is asked when a restriction asks."""

    def __init__(self, name: bytes, address: bytes, networks: AddressMatcher) -> None:
        self.name = name
        self.address = address
        self.is_local = False  # of local_header_rewrite_clients
        self.is_clear = True  # whether it is one of them
        self._networks = networks
        self._is_known = False
        self._is_trusted = False

    def in_mynetworks(self) -> bool:
        """Raises TableError when a table of mynetworks cannot answer, Pending when it must be waited for."""
        if not self._is_known:
            name = b"" if self.name == UNKNOWN else self.name
            self._is_trusted = self._networks.matches(self.address, name)
            self._is_known = True
        return self._is_trusted
