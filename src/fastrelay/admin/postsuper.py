"""postsuper(1): delete, expire, hold, release and requeue messages. The workers do it, durably, before they answer.

There are no queue files to mend or purge, so -p and -s have nothing to do; messages as Postfix prints them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fastrelay.admin.errors import say
from fastrelay.admin.options import Options, client, is_queue_id
from fastrelay.master.control import Client
from fastrelay.master.errors import FatalError

USAGE = (
    "usage: postsuper [-c config_dir] [-d queue_id (delete)] [-e queue_id (expire)]"
    " [-f queue_id (expire and/or un-hold)] [-h queue_id (hold)] [-H queue_id (un-hold)]"
    " [-p (purge temporary files)] [-r queue_id (requeue)] [-s (structure fix)] [queue...]"
)
MEANS = {"-f": ("-e", "-H")}
DIRECTORIES = ("maildrop", "incoming", "active", "deferred", "hold", "bounce", "defer", "trace", "flush")


@dataclass(slots=True)
class Action:
    """One of -d, -e, -h, -H, -r and all that was asked of it."""

    verb: str
    one: str  # what is said of a single message
    total: str
    states: tuple[str, ...]
    ids: list[str] = field(default_factory=list)
    everything: bool = False
    wanted: bool = False


def actions() -> dict[str, Action]:
    """In the order in which they are done and reported."""
    every = ("hold", "incoming", "active", "deferred")
    return {
        "-r": Action("requeue", "requeued", "Requeued", every),
        "-d": Action("delete", "removed", "Deleted", every),
        "-e": Action("expire", "expired", "Force-expired", every),
        "-h": Action("hold", "placed on hold", "Placed on hold", ("incoming", "active", "deferred")),
        "-H": Action("release", "released from hold", "Released from hold", ("hold",)),
    }


def main(config_dir: Path, args: list[str]) -> int:
    options = Options("postsuper", config_dir, args, "d:e:f:h:H:pr:sS", USAGE, 1)
    wanted = actions()
    for option, value in options.given:
        _ask([wanted[each] for each in MEANS.get(option, (option,)) if each in wanted], value)
    for name in options.operands:
        if name not in DIRECTORIES:
            raise FatalError(f"invalid directory name: {name}")
    todo = [action for action in wanted.values() if action.wanted]
    if todo:
        relay = client(options.config_dir)
        for action in todo:
            _carry_out(relay, action, set(options.operands))
    return 0


def _ask(actions: list[Action], value: str) -> None:
    ids = [line.strip() for line in sys.stdin] if actions and value == "-" else [value]
    good = [] if value == "ALL" else list(_good(ids)) if actions else []
    for action in actions:
        action.wanted = True
        action.everything |= value == "ALL"
        action.ids += good


def _carry_out(relay: Client, action: Action, directories: set[str]) -> None:
    states = [state for state in action.states if not directories or state in directories]
    done = 0
    if action.ids and states:
        for item in relay.call_with_ids(action.verb, list(dict.fromkeys(action.ids)), states=states):
            say("postsuper", f"{item['id']}: {action.one}")
            done += 1
    if action.everything and states:
        done += sum(1 for _ in relay.call_with_ids(action.verb, None, states=states))
    say("postsuper", f"{action.total}: {done} message{'' if done == 1 else 's'}")


def _good(ids: list[str]) -> Iterator[str]:
    for queue_id in ids:
        if is_queue_id(queue_id):
            yield queue_id
        else:
            say("postsuper", f"warning: invalid mail queue id: {queue_id}")
