"""Every conversation of tests/dialogues, in five chunkings, against a bare ReceiveSession."""

from functools import cache
from pathlib import Path
from zlib import crc32

import pytest

from support.dialogue import CHUNKINGS, Conversation, cut, load, play
from support.receive_lab import BareWire, ReceiveLab

FILES = sorted(Path(__file__).parent.glob("*.dialogue"))
ALL = [conversation for path in FILES for conversation in load(path) if conversation.only != "live"]

KEEPS_OBJECTS = "the labs serve all conversations, and their resolvers keep recent addresses"


@cache
def lab(settings: tuple[tuple[str, str], ...]) -> ReceiveLab:
    return ReceiveLab(dict(settings))


def stored(content: tuple[bytes, ...] | list[bytes]) -> bytes:
    return b"".join(content)


@pytest.mark.parametrize("conversation", ALL, ids=str)
def test_conversation(conversation: Conversation) -> None:
    made = lab(conversation.settings)
    for chunking in ("whole",) if conversation.only == "whole" else CHUNKINGS:
        wire = BareWire(
            made.session(), lambda data, how=chunking: cut(data, how, seed=crc32(conversation.name.encode()))
        )
        try:
            play(conversation, wire)
        except AssertionError as error:
            raise AssertionError(f"chunking {chunking}: {error}") from None
        taken = wire.messages if conversation.is_closed else wire.messages[:-1]
        check_messages(conversation, taken, chunking)


def check_messages(conversation: Conversation, taken: list, chunking: str) -> None:
    assert len(taken) == conversation.messages, f"{chunking}: {taken}"
    if conversation.recipients is not None:
        assert (
            tuple(r.address for _, envelope, _ in taken for r in envelope.recipients)
            == conversation.recipients
        )
    contents = b"".join(stored(content) for _, _, content in taken)
    for wanted in conversation.stored:
        assert wanted in contents, f"{chunking}: {wanted!r} is not in {contents[-2000:]!r}"
    for unwanted in conversation.not_stored:
        assert unwanted not in contents, f"{chunking}: {unwanted!r} is in {contents[-2000:]!r}"
