"""The slow obvious twin of tables/cidr.py: the rules one after the other, with ipaddress."""

import ipaddress
from collections.abc import Sequence

Line = tuple[str, bool, str]  # "if", "endif" or "", is it negated, the network


def lookup(lines: Sequence[Line], key: str) -> int | None:
    """The number of the line that answers."""
    address = ipaddress.ip_address(key)
    skipped = 0  # ifs that are open and shut
    open_ifs: list[bool] = []
    for number, (word, negated, text) in enumerate(lines):
        if word == "endif":
            if open_ifs:
                skipped -= not open_ifs.pop()
            continue
        network = ipaddress.ip_network(text)
        holds = network.version == address.version and (address in network) != negated
        if word == "if":
            open_ifs.append(holds)
            skipped += not holds
        elif holds and skipped == 0:
            return number
    return None
