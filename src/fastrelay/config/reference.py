"""docs/parameters.md, rendered from the declarations: `python -m fastrelay.config.reference FILE`.

A test compares the committed page with what this renders.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from fastrelay.config.declaration import Kind, Parameter
from fastrelay.config.parameters import AREAS, TRANSPORT_SUFFIXES

_HEAD = """# Parameters

Made from the declarations in `src/fastrelay/config/parameters/` by
`python -m fastrelay.config.reference docs/parameters.md`; change those, not this page.
Names, units and defaults are Postfix 3.7's (`man 5 postconf`) unless `docs/differences.md` says otherwise.
A setting of a parameter that is not on this page has no effect and is warned of at start.
"""


def render() -> str:
    """The whole page."""
    return "\n".join(_page())


def _page() -> Iterator[str]:
    yield _HEAD
    for title, parameters in AREAS:
        yield f"## {title}\n"
        yield "| parameter | type | default | meaning |\n|---|---|---|---|"
        for parameter in sorted(parameters, key=lambda parameter: parameter.name):
            cells = (f"`{parameter.name}`", _kind(parameter), _default(parameter), _meaning(parameter))
            yield f"| {' | '.join(cells)} |"
        yield ""
    suffixes = ", ".join(f"`_{suffix}`" for suffix in TRANSPORT_SUFFIXES)
    yield f"A transport of master.cf has its own parameters, its name with one of: {suffixes}.\n"


def _kind(parameter: Parameter) -> str:
    return f"{parameter.kind.value}, {parameter.unit}" if parameter.unit else parameter.kind.value


def _default(parameter: Parameter) -> str:
    if parameter.computed:
        return _cell(parameter.computed)
    escaped = parameter.default.replace("|", "\\|")
    return f"`{escaped}`" if escaped else "(empty)"


def _meaning(parameter: Parameter) -> str:
    if parameter.kind in (Kind.BOOL, Kind.TIME, Kind.INT, Kind.SIZE) or not parameter.allowed:
        return _cell(parameter.doc)
    return _cell(f"{parameter.doc} Allowed: {parameter.allowed}.")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render())
