"""What the command lines of sink and source have in common: errors in one line, addresses, the event loop."""

from __future__ import annotations

import argparse
import resource
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

import uvloop

from fastrelay.master.errors import FatalError

T = TypeVar("T")


class Parser(argparse.ArgumentParser):
    def __init__(self, **more: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **more)

    def error(self, message: str) -> NoReturn:
        raise FatalError(f"{message} (see fastrelay {self.prog.split()[-1]} --help)")


def kind(parse: Callable[[str], T]) -> Callable[[str], T]:
    """`parse` as an argument type whose ValueError is told."""

    def typed(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return typed


@kind
def natural(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or len(text) > 12:
        raise ValueError(f"'{text}' is not a whole number")
    return int(text)


@kind
def positive(text: str) -> int:
    if natural(text) == 0:
        raise ValueError("must be 1 or more")
    return int(text)


@kind
def amount(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 < number < 1e12:
        raise ValueError(f"'{text}' is not a number above 0")
    return number


@kind
def address(text: str) -> tuple[str, int]:
    """HOST:PORT or [IPV6]:PORT."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"'{text}': write an IPv6 address as [address]:port")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"'{text}': want HOST:PORT")
    return host, int(port)


def show(where: tuple[Any, ...]) -> str:
    """A socket's address as one types it."""
    return f"[{where[0]}]:{where[1]}" if ":" in where[0] else f"{where[0]}:{where[1]}"


def run(main: Coroutine[Any, Any, int]) -> int:
    """On uvloop, with as many open files as we may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return int(uvloop.run(main))
