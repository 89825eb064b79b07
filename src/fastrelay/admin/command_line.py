"""`fastrelay [-c CONFIG_DIR] COMMAND ...`, and the same tools when called by their own names.

Each command is a function (config_dir, args) -> exit status in a module that is imported only when it is
asked for: postqueue and mailq start fast. An error of the configuration or of the environment is one line
`NAME: fatal: ...` and status 1; a traceback means a bug.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from fastrelay.admin.errors import CONFIG_ERRORS, say
from fastrelay.version import VERSION

DEFAULT_DIRECTORY = "/etc/fastrelay"
COMMANDS = {
    "start": ("service", "start"),
    "start-fg": ("service", "start_foreground"),
    "stop": ("service", "stop"),
    "abort": ("service", "abort"),
    "reload": ("service", "reload"),
    "flush": ("service", "flush"),
    "status": ("service", "status"),
    "check": ("check", "main"),
    "postmap": ("postmap", "main"),
    "postalias": ("postalias", "main"),
    "newaliases": ("newaliases", "main"),
    "sync-table": ("sync_table", "main"),
    "postconf": ("postconf", "main"),
    "postqueue": ("postqueue", "main"),
    "mailq": ("postqueue", "mailq"),
    "postsuper": ("postsuper", "main"),
    "postcat": ("postcat", "main"),
    "sink": ("sink", "main"),
    "source": ("source", "main"),
    "quickstart": ("quickstart", "main"),
}
SERVICE = ("start", "start-fg", "stop", "abort", "reload", "flush", "status", "check", "quickstart")
USAGE = f"usage: fastrelay [-c config_dir] command ...; commands: {', '.join(COMMANDS)}"


def main() -> int:
    """The console script."""
    name = os.path.basename(sys.argv[0])
    if name in COMMANDS and name not in SERVICE:
        return run(name, None, sys.argv[1:])
    return fastrelay(sys.argv[1:])


def fastrelay(words: Sequence[str]) -> int:
    """Take `-c` and the command off, run it with the rest."""
    directory, rest = None, list(words)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option == "-c" and rest:
            directory = Path(rest.pop(0))
        elif option.startswith("-c") and len(option) > 2:
            directory = Path(option[2:])
        elif option in ("-h", "--help"):
            print(USAGE)
            return 0
        elif option in ("-V", "--version"):
            print(f"fastrelay {VERSION}")
            return 0
        else:
            say("fastrelay", f"fatal: {USAGE}")
            return 1
    if not rest:
        say("fastrelay", f"fatal: {USAGE}")
        return 1
    if rest[0] not in COMMANDS:
        say("fastrelay", f"fatal: unknown command: '{rest[0]}'. {USAGE}")
        return 1
    return run(rest[0], directory, rest[1:])


def run(command: str, directory: Path | None, args: list[str]) -> int:
    """One command, with everything that may go wrong around it told in a line."""
    module_name, function = COMMANDS[command]
    name = "fastrelay" if command in SERVICE else command
    config_dir = (directory or Path(os.environ.get("MAIL_CONFIG") or DEFAULT_DIRECTORY)).absolute()
    module = importlib.import_module(f"fastrelay.admin.{module_name}")
    try:
        status = getattr(module, function)(config_dir, args)
        sys.stdout.flush()
        return int(status)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has seen enough
        return 1
    except KeyboardInterrupt:
        return 130
    except CONFIG_ERRORS as error:
        say(name, f"fatal: {error}")
        return int(getattr(error, "status", 1))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        say(name, f"fatal: {where}{error.strerror or error}")
        return 1
