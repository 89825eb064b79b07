"""A body that checks change, put together anew in wire form.

Inspection.body keeps places of the old body and adds lines between them. Long lines are checked in pieces, so what
began a line may stand inside one now, and the other way round. Invariant: a dot is stuffed exactly where a line
begins; else a `.` that came to stand alone would end the message for the next server (RFC 5321 4.5.2).
"""

from __future__ import annotations


class Rebuilt:
    def __init__(self, body: bytes) -> None:
        self._body = body
        self._pieces: list[bytes] = []
        self._begins = True  # what comes next begins a line

    def __bool__(self) -> bool:
        """Is there anything?"""
        return bool(self._pieces)

    def keep(self, start: int, end: int) -> None:
        """A place of the old body."""
        self._put(self._body[start:end], start == 0 or self._body[start - 1 : start] == b"\n")

    def add(self, wire: bytes) -> None:
        """Lines in wire form; the last may lack its CRLF."""
        self._put(wire, True)

    def finish(self) -> bytes:
        return b"".join(self._pieces)

    def _put(self, piece: bytes, began: bool) -> None:
        """`began`: it is stuffed for the begin of a line."""
        if not piece:
            return
        if piece[:1] == b"." and began != self._begins:
            piece = b"." + piece if self._begins else piece[1:]
        self._pieces.append(piece)
        self._begins = piece[-1:] == b"\n"
