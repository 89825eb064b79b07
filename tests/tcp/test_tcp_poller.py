"""A Poller's rounds and its listener: what is done when, and what happens when there is no more room."""

import asyncio
import contextlib
import resource
import socket

import pytest
from tcp_house import Protocol, run, until

from fastrelay.tcp._poller import Wakeup


def test_a_protocol_that_cannot_be_made():
    def fail():
        raise ValueError("no protocol")

    async def test(house):
        with house.connect() as client:
            client.setblocking(False)
            assert await asyncio.get_running_loop().sock_recv(client, 1) == b""

    assert [str(context["exception"]) for context in run(test, fail)] == ["no protocol"]


def test_more_connections_than_one_round_takes():
    async def test(house):
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(house.connect()) for _ in range(150)]
            await house.accepted(150)
            for n, client in enumerate(clients):
                client.sendall(b"%d" % n)
            await until(lambda: all(server.data for server in house.made))
            assert {server.data for server in house.made} == {b"%d" % n for n in range(150)}

    assert run(test) == []


def test_without_descriptors_it_waits_and_goes_on():
    async def test(house):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with house.connect() as first:
            await house.accepted()
            second = house.connect()
            try:
                with open("/dev/null") as last:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (last.fileno(), hard))
                await until(lambda: len(told) == 1 or len(house.made) == 2)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            if told:  # unless it was accepted before the limit was there
                await house.accepted(2)
            second.close()
            first.sendall(b"alive")
            await until(lambda: house.made[0].data == b"alive")

    told = []
    for _ in range(10):
        told.clear()
        unhandled = run_telling(test, told)
        assert all(isinstance(context["exception"], OSError) for context in unhandled)
        if unhandled:
            break
    else:
        pytest.fail("the limit was never met")


def run_telling(test, told):
    async def watched(house):
        house.poller.loop.set_exception_handler(lambda _loop, context: told.append(context))
        await test(house)

    run(watched)
    return list(told)


def test_soon_is_after_all_events_of_a_round():
    order = []

    class Asking(Protocol):
        def data_received(self, data):
            order.append(data)
            house_of[0].poller.soon(lambda: order.append(b"late"))

    house_of = []

    async def test(house):
        house_of.append(house)
        with house.connect() as one, house.connect() as two:
            await house.accepted(2)
            for server in house.made:
                server.transport.pause_reading()
            one.sendall(b"1")
            two.sendall(b"2")
            await until(lambda: all(server.transport.unread() for server in house.made))
            for server in house.made:
                server.transport.resume_reading()
            await until(lambda: order.count(b"late") == 2)
            assert sorted(order[:2]) == [b"1", b"2"]

    assert run(test, Asking) == []


def test_soon_outside_a_round_and_from_a_late_call():
    async def test(house):
        order = []

        def first():
            order.append("first")
            house.poller.soon(lambda: order.append("second"))

        house.poller.soon(first)
        assert order == []
        await until(lambda: order == ["first", "second"])

    assert run(test) == []


def test_a_late_call_that_fails_stops_no_other():
    async def test(house):
        order = []
        house.poller.soon(lambda: 1 / 0)
        house.poller.soon(lambda: order.append(1))
        await until(lambda: order)

    assert [type(context["exception"]) for context in run(test)] == [ZeroDivisionError]


def test_a_wakeup():
    async def test(house):
        left, right = socket.socketpair()
        with left, right:
            calls = []

            def call():
                calls.append(left.recv(10))

            wakeup = Wakeup(house.poller, left.fileno(), call)
            right.send(b"a")
            await until(lambda: calls == [b"a"])
            wakeup.stop()
            wakeup.stop()
            right.send(b"b")
            await asyncio.sleep(0.01)
            assert calls == [b"a"]

    assert run(test) == []
