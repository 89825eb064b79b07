"""Streams of a Poller over real sockets: what asyncio's transports promise, and what ends them."""

import asyncio
import socket
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tcp_house import PATIENCE, Protocol, run, until

from fastrelay.tcp import _stream as stream
from fastrelay.tcp._stream import Stream

RESET = struct.pack("ii", 1, 0)
SEGMENTS_IN = 140  # of struct tcp_info (linux/tcp.h)


def segments(sock):
    """How many TCP segments this end was sent."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, SEGMENTS_IN + 4)
    return struct.unpack_from("I", info, SEGMENTS_IN)[0]


def test_a_dialogue_and_its_end():
    async def test(house):
        with house.connect() as client:
            server = await house.accepted()
            assert server.transport.get_extra_info("peername") == client.getsockname()
            client.sendall(b"HELO\r\n")
            await until(lambda: server.data == b"HELO\r\n")
            server.transport.write(b"250 ")
            server.transport.write(memoryview(b"ok\r\n"))
            server.transport.write(b"")
            server.transport.close()
            assert server.transport.is_closing()
            server.transport.write(b"more")  # too late
            assert b"".join(iter(lambda: client.recv(100), b"")) == b"250 ok\r\n"
            await until(lambda: "lost" in server.events)
        assert server.events == ["made", "data", "lost"] and server.error is None

    assert run(test) == []


def test_the_last_words_and_the_end_are_one_segment():
    async def test(house):
        with house.connect() as client:
            server = await house.accepted()
            before = segments(client)
            server.transport.write_last(b"221 2.0.0 Bye\r\n")
            assert server.transport.is_closing()
            assert b"".join(iter(lambda: client.recv(100), b"")) == b"221 2.0.0 Bye\r\n"
            assert segments(client) == before + 1
            await until(lambda: "lost" in server.events)
        assert server.error is None

    assert run(test) == []


def test_the_last_words_reach_a_client_that_was_not_heard_out():
    """The kernel answers what nobody read with a reset; what it has sent before that the client can read."""

    async def test(house):
        with house.connect() as client:
            server = await house.accepted()
            server.transport.pause_reading()
            client.sendall(b"QUIT\r\nand more")
            await until(server.transport.unread)
            server.transport.write_last(b"221 2.0.0 Bye\r\n")
            assert client.recv(100) == b"221 2.0.0 Bye\r\n"
            with pytest.raises(ConnectionResetError):
                client.recv(100)

    assert run(test) == []


def test_long_last_words_all_arrive():
    async def test(house):
        words = bytes(range(256)) * 20_000
        with house.connect() as client:
            server = await house.accepted()
            server.transport.write_last(words)
            assert server.transport.get_write_buffer_size() > 0
            got = await asyncio.to_thread(lambda: b"".join(iter(lambda: client.recv(65536), b"")))
        assert got == words

    assert run(test) == []


def test_an_address_of_ipv6():
    async def test(house):
        with house.connect() as client:
            server = await house.accepted()
            assert server.transport.peername == client.getsockname()[:2]

    assert run(test, family=socket.AF_INET6) == []


@pytest.mark.parametrize("address", ["127.0.0.1", "127.10.200.99", "127.100.9.255", "127.255.255.254"])
def test_an_address_of_ipv4(address):
    async def test(house):
        with socket.socket() as client:
            client.bind((address, 0))
            client.connect(house.address)
            server = await house.accepted()
            assert server.transport.peername == client.getsockname()

    assert run(test) == []


class Compiled(stream.Protocol):
    """What a Stream calls as a C function; it puts `after` in its own place, and nobody else knows it then."""

    def __init__(self, transport, after):
        self.transport, self.after = transport, after

    def data_received(self, data):
        self.transport.set_protocol(self.after)
        self.after.data_received(data.upper())


def test_a_compiled_protocol_may_go_while_it_is_called():
    async def test(house):
        with house.connect() as client:
            server = await house.accepted()
            server.transport.set_protocol(Compiled(server.transport, server))
            client.sendall(b"a")
            await until(lambda: server.data == b"A")
            client.sendall(b"b")
            await until(lambda: server.data == b"Ab")

    assert run(test) == []


def test_what_the_kernel_does_not_take_is_sent_later_in_order():
    pieces = [bytes([n]) * size for n, size in enumerate([1, 3_000_000, 70_000, 1, 2_000_000, 5])]

    async def test(house):
        with house.connect() as client:
            server = await house.accepted()
            for piece in pieces:
                server.transport.write(memoryview(piece) if len(piece) == 70_000 else piece)
            kept = server.transport.get_write_buffer_size()
            assert 0 < kept < sum(map(len, pieces))
            assert server.events == ["made", "pause"]
            server.transport.close()  # what was written is still sent
            await asyncio.sleep(0)
            assert "lost" not in server.events
            loop = asyncio.get_running_loop()
            client.setblocking(False)
            got = bytearray()
            while block := await loop.sock_recv(client, 1 << 20):
                got += block
            assert bytes(got) == b"".join(pieces)
            await until(lambda: "lost" in server.events)
            assert server.events == ["made", "pause", "lost"] and server.error is None

    assert run(test) == []


def test_a_protocol_hears_when_it_may_write_again():
    async def test(house):
        with house.connect() as client:
            server = await house.accepted()
            server.transport.set_write_buffer_limits(1000)
            while server.transport.get_write_buffer_size() <= 1000:
                server.transport.write(b"x" * 100_000)
            assert server.events == ["made", "pause"]
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            while "resume" not in server.events:
                await loop.sock_recv(client, 1 << 20)
            assert server.transport.get_write_buffer_size() <= 250
            assert server.events == ["made", "pause", "resume"]

    assert run(test) == []


@pytest.mark.parametrize("keep_open", [False, True])
def test_a_client_that_has_closed_its_sending_side(keep_open):
    async def test(house):
        with house.connect() as client:
            server = await house.accepted()
            client.shutdown(socket.SHUT_WR)
            await until(lambda: "eof" in server.events)
            if keep_open:
                for _ in range(20):
                    await asyncio.sleep(0)
                assert server.events == ["made", "eof"]  # once, though it stays readable
                server.transport.write(b"221 bye\r\n")
                server.transport.close()
            client.settimeout(PATIENCE)
            assert b"".join(iter(lambda: client.recv(100), b"")) == (b"221 bye\r\n" if keep_open else b"")
            await until(lambda: "lost" in server.events)
            assert server.events == ["made", "eof", "lost"]

    assert run(test, lambda: Protocol(keep_open)) == []


@pytest.mark.parametrize("paused", [False, True])
def test_a_reset_ends_it_though_nobody_reads(paused):
    async def test(house):
        client = house.connect()
        server = await house.accepted()
        if paused:
            server.transport.pause_reading()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.close()
        await until(lambda: "lost" in server.events)
        assert isinstance(server.error, ConnectionResetError)
        assert server.events == ["made", "lost"]
        server.transport.write(b"nobody")
        server.transport.close()
        server.transport.resume_reading()
        assert server.transport.unread() == 0

    assert run(test) == []


def test_a_write_to_a_peer_that_has_gone_ends_it():
    async def test(house):
        client = house.connect()
        server = await house.accepted()
        server.transport.pause_reading()
        client.close()
        async with asyncio.timeout(PATIENCE):
            while not server.transport.is_closing():
                server.transport.write(b"x")
                await asyncio.sleep(0.001)
        await until(lambda: "lost" in server.events)
        assert isinstance(server.error, ConnectionError)

    assert run(test) == []


def test_nothing_is_read_while_it_is_paused():
    async def test(house):
        with house.connect() as client:
            server = await house.accepted()
            server.transport.pause_reading()
            assert not server.transport.is_reading()
            client.sendall(b"wait")
            await until(lambda: server.transport.unread() == 4)
            for _ in range(20):
                await asyncio.sleep(0)
            assert server.data == b""
            server.transport.resume_reading()
            await until(lambda: server.data == b"wait")

    assert run(test) == []


def test_one_stream_ends_another_of_the_same_round():
    """Both are ready at once; the first ends the second, whose event was fetched already."""

    class Rival(Protocol):
        def data_received(self, data):
            super().data_received(data)
            for other in rivals:
                if other is not self:
                    other.transport.abort()
            rivals.clear()

    rivals = []

    async def test(house):
        with house.connect() as one, house.connect() as two:
            await house.accepted(2)
            for server in house.made:
                server.transport.pause_reading()
            for client in (one, two):
                client.sendall(b"x")
            await until(lambda: all(server.transport.unread() for server in house.made))
            rivals.extend(house.made)
            for server in house.made:
                server.transport.resume_reading()
            await until(lambda: any("lost" in server.events for server in house.made))
            winner, loser = sorted(house.made, key=lambda server: "lost" in server.events)
            assert winner.events == ["made", "data"]
            assert loser.events == ["made", "lost"]

    assert run(test, Rival) == []


@pytest.mark.parametrize("method", ["connection_made", "data_received", "eof_received", "pause_writing"])
def test_a_protocol_that_fails_is_told_to_the_loop_and_ended(method):
    class Broken(Protocol):
        def __getattribute__(self, name):
            if name == method:
                raise ValueError(name)
            return super().__getattribute__(name)

    async def test(house):
        with house.connect() as client:
            client.sendall(b"x")
            server = await house.accepted()
            if method == "eof_received":
                client.shutdown(socket.SHUT_WR)
            if method == "pause_writing":
                server.transport.write(b"x" * 20_000_000)
            await until(lambda: "lost" in server.events)
            assert isinstance(server.error, ValueError)

    unhandled = run(test, Broken)
    assert [str(context["exception"]) for context in unhandled] == [method]


def test_a_stream_over_a_descriptor_that_was_handed_over():
    async def test(house):
        left, right = socket.socketpair()
        with right:
            left.setblocking(False)
            protocol = Protocol()
            stream = Stream(house.poller, left.detach(), protocol, ("there", 25))
            assert stream.get_extra_info("peername") == ("there", 25)
            assert stream.get_extra_info("socket", "none") == "none"
            right.send(b"220 hello\r\n")
            await until(lambda: protocol.data == b"220 hello\r\n")
            other = Protocol()
            stream.set_protocol(other)
            assert stream.get_protocol() is other
            stream.write(b"QUIT\r\n")
            assert right.recv(100) == b"QUIT\r\n"
            stream.close()
            await until(lambda: other.events == ["lost"])
            assert protocol.events == ["data"]

    assert run(test) == []


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("write"), st.integers(0, 400_000)),
            st.tuples(st.sampled_from(["pause", "resume", "turn"]), st.just(0)),
        ),
        max_size=12,
    ),
    st.integers(1, 300_000),
)
def test_an_echo_gives_back_what_it_got(steps, size):
    """Whatever is written, paused and resumed meanwhile, each side gets the other's bytes once and in order."""
    sent = bytearray()

    async def test(house):
        loop = asyncio.get_running_loop()
        with house.connect() as client:
            client.setblocking(False)
            server = await house.accepted()
            incoming = bytes(range(256)) * (size // 256 + 1)
            sending = loop.create_task(loop.sock_sendall(client, incoming))
            got = bytearray()

            async def read():
                while block := await loop.sock_recv(client, 65536):
                    got.extend(block)

            reading = loop.create_task(read())
            for what, amount in steps:
                if what == "write":
                    piece = bytes([amount % 251]) * amount
                    sent.extend(piece)
                    server.transport.write(piece)
                elif what == "turn":
                    await asyncio.sleep(0)
                else:
                    getattr(server.transport, f"{what}_reading")()
            server.transport.resume_reading()
            await sending
            await until(lambda: len(server.data) == len(incoming))
            assert server.data == incoming
            server.transport.close()
            await asyncio.wait_for(reading, PATIENCE)
            assert got == sent

    assert run(test) == []
