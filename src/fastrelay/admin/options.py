"""What the queue tools have in common: Postfix's flags, `-c`, queue ids, and the way to the workers."""

from __future__ import annotations

import getopt
import re
from collections.abc import Iterator
from pathlib import Path

from fastrelay.admin.errors import say
from fastrelay.master.control import Client, Item
from fastrelay.master.errors import FatalError

QUEUE_ID = re.compile(r"[A-Za-z0-9_]{1,100}")


class Options:
    """`-c` is taken out and -v ignored; the others are left in order in `.given`, operands in `.operands`."""

    def __init__(
        self, name: str, config_dir: Path, args: list[str], flags: str, usage: str, status: int
    ) -> None:
        try:
            given, self.operands = getopt.getopt(args, flags + "c:v")
        except getopt.GetoptError as error:
            what = "option requires an argument" if "requires" in error.msg else "invalid option"
            say(name, f"{what} -- '{error.opt}'")
            raise FatalError(usage, status) from None
        self.config_dir = config_dir
        self.given: list[tuple[str, str]] = []
        for option, value in given:
            if option == "-c":
                self.config_dir = Path(value).absolute()
            elif option != "-v":
                self.given.append((option, value))


def client(config_dir: Path, when_down: str = "") -> Client:
    """The mail system of this configuration, or its queue, when it does not run; `when_down` is then said."""
    from fastrelay.config import read_main

    config = read_main(config_dir)

    def stopped(request: Item) -> Iterator[Item]:
        from fastrelay.master import stopped_queue

        if when_down:
            say(*when_down.split(": ", 1))
        return stopped_queue.ask(config, request)

    return Client(Path(config.text("queue_directory")), stopped=stopped)


def is_queue_id(text: str) -> bool:
    return QUEUE_ID.fullmatch(text) is not None
