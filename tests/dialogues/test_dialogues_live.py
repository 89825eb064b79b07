"""Every conversation of tests/dialogues against a running fastrelay, and against Debian's Postfix."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_servers import POSTFIX_USABLE, Fastrelay, Postfix, Server, SocketWire, client_address, settings_of

from support.dialogue import Conversation, load, play
from support.relay import PATIENCE

FILES = sorted(Path(__file__).parent.glob("*.dialogue"))
ALL = [conversation for path in FILES for conversation in load(path) if conversation.only != "bare"]
NUMBERED = list(enumerate(ALL))
DIFFERENCES = Path(__file__).parents[2] / "docs" / "differences.md"


def names(pairs: list[tuple[int, Conversation]]) -> list[str]:
    return [conversation.name for _, conversation in pairs]


@pytest.fixture(scope="module")
def fastrelay() -> Iterator[Fastrelay]:
    with Fastrelay(settings_of(ALL)) as server:
        yield server


@pytest.fixture(scope="module")
def postfix() -> Iterator[Postfix]:
    with Postfix(settings_of(ALL)) as server:
        yield server


def converse(server: Server, conversation: Conversation, client: str) -> None:
    patience = 1.5 if conversation.differs and isinstance(server, Postfix) else PATIENCE
    wire = SocketWire(server.ports[conversation.settings], client, patience)
    try:
        play(conversation, wire)
    finally:
        wire.leave()
    epilogue = 0 if conversation.is_closed else 1
    wanted = conversation.messages + epilogue
    assert server.messages_of(client, wanted, patience) == wanted


@pytest.mark.parametrize(("number", "conversation"), NUMBERED, ids=names(NUMBERED))
def test_fastrelay(fastrelay: Fastrelay, number: int, conversation: Conversation) -> None:
    converse(fastrelay, conversation, client_address(number, 66))
    assert fastrelay.is_alive()


def test_log_has_one_clean_line_for_each_event(fastrelay: Fastrelay) -> None:
    """H-G07, after all that was said above."""
    for line in fastrelay.log().split("\n")[:-1]:
        assert re.match(r"\w{3} [ \d]\d [\d:]{8} \S+ postfix/[\w/-]+\[\d+\]: ", line), line
        assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u2028\u2029" for c in line), ascii(line)


@pytest.mark.skipif(not POSTFIX_USABLE, reason="needs root and Debian's postfix")
@pytest.mark.parametrize(("number", "conversation"), NUMBERED, ids=names(NUMBERED))
def test_postfix(postfix: Postfix, number: int, conversation: Conversation) -> None:
    """What is not marked `differs` is Postfix's own behaviour; what is marked, is not."""
    client = client_address(number, 77)
    if not conversation.differs:
        converse(postfix, conversation, client)
        return
    with pytest.raises(AssertionError):
        converse(postfix, conversation, client)
