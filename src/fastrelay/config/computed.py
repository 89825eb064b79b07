"""Defaults that come from the system: names, networks, the version.

Each is a function of `expand` (the other parameters' values in the same scope) and gives a raw value.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from fastrelay.config.interfaces import default_networks, receiving_interfaces
from fastrelay.config.logical_lines import split_quoted
from fastrelay.version import VERSION

Expand = Callable[[str], str]


def _myhostname(expand: Expand) -> str:
    host = socket.gethostname()
    # $mydomain stands in only when it does not itself come from $myhostname
    return host if "." in host else f"{host}.{expand('mydomain') or 'localdomain'}"


def _mydomain(expand: Expand) -> str:
    _, dot, domain = expand("myhostname").partition(".")
    return domain if dot else "localdomain"


def _mynetworks(expand: Expand) -> str:
    interfaces = receiving_interfaces(
        split_quoted(expand("inet_interfaces")), split_quoted(expand("inet_protocols"))
    )
    return default_networks(expand("mynetworks_style").lower(), interfaces)


COMPUTED: dict[str, Callable[[Expand], str]] = {
    "myhostname": _myhostname,
    "mydomain": _mydomain,
    "mynetworks": _mynetworks,
    "mail_version": lambda expand: VERSION,
    "process_name": lambda expand: "fastrelay",
    "process_id": lambda expand: str(os.getpid()),
    "service_name": lambda expand: "",
}
