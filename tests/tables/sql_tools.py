"""What the tests of pgsql:, mysql: and sqlite: share: a table's file, asked through Debian's postmap and ours."""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

import uvloop
from tables_tools import Tools

from fastrelay.tables import Table, TableError, open_table
from fastrelay.tables.options import Surroundings, TableSettings
from fastrelay.tables.pending import answer, ask_each

BY_KEY = "query = SELECT v FROM t WHERE k = '%s' ORDER BY n"
KEYS = [
    *("a@b.com", "A@B.Com", "bob", "e@b.com", "n@b.com", "u@b.com", "w@b.com", "q'q@b.com", "q\\q@b.com"),
    *('d"q@b.com', "p%@b.com", "@b.com", "a@", "a@b@b.com", "none", "a@x.b.com", "x@c.com", "a@.b..com"),
    *("%s", "' OR '1'='1", "\\' OR 1=1 -- ", "a@b.com'; DROP TABLE t; --", ""),
]
FORMATS = [
    BY_KEY,
    "query = SELECT v FROM t WHERE k = '%u@%d' ORDER BY n",
    "query = SELECT v FROM t WHERE k = '%U@%D' ORDER BY n",
    "query = SELECT '%1-%2'",
    "query = SELECT '%3'",
    "query = SELECT '%u'",
    "query = SELECT '%d'",
    "query = SELECT 'constant'",
    "query = SELECT '100%%'",
    "query = SELECT v FROM t WHERE n = 1\n  OR n = 2 ORDER BY n",
    f"{BY_KEY}\nresult_format = <%s>",
    f"{BY_KEY}\nresult_format = smtp:[%u]",
    f"{BY_KEY}\nresult_format = smtp:[%d]",
    f"{BY_KEY}\nresult_format = %S:%U:%D:%1",
    f"{BY_KEY}\nresult_format = %S:%U %s",
    f"{BY_KEY}\nresult_format = %1.%2.%3",
    f"{BY_KEY}\nresult_format = constant",
    f"{BY_KEY}\nexpansion_limit = 2",
    f"{BY_KEY}\ndomain = b.com, !c.com",
    f"{BY_KEY}\ndomain = static:x",
    f"# a comment\n\n{BY_KEY}\ndomain =",
    "table = t\nselect_field = v\nwhere_field = k\nadditional_conditions = ORDER BY n",
]
MISTAKES = [
    "query = SELECT '%x'",
    "query = SELECT '%s%",
    "table = t",
    "table = t\nselect_field = v",
    f"{BY_KEY}\nresult_format =",
    f"{BY_KEY}\nresult_format = %q",
    f"{BY_KEY}\nexpansion_limit = many",
    f"{BY_KEY}\nnonsense",
    "",
]
FAILURES = ["query = SELECT nothing FROM t WHERE k = '%s'", f"{BY_KEY}\nexpansion_limit = 1"]


@dataclasses.dataclass
class Sql:
    """A table of one type on one server."""

    kind: str
    parameters: str  # where the server is
    tools: Tools

    def write(self, text: str) -> str:
        self.tools.write(f"{self.kind}.cf", f"{self.parameters}{text}\n")
        return f"{self.kind}:{self.tools.directory}/{self.kind}.cf"

    def debian(self, spec: str, keys: Sequence[str]) -> dict[str, str]:
        """What `postmap -q -` finds."""
        done = self.tools.postfix("-q", "-", spec, stdin="".join(f"{key}\n" for key in keys).encode())
        assert "fatal" not in done.err, done.err
        return dict(line.split("\t", 1) for line in done.out.decode().splitlines())

    def ours(self, spec: str, keys: Sequence[str], **limits: Any) -> dict[str, str]:
        async def find(table: Table) -> dict[str, str]:
            values = await answer(ask_each, table.get, [key.encode() for key in keys])
            return {key: value.decode() for key, value in zip(keys, values, strict=True) if value is not None}

        return self.scene(spec, find, **limits)

    def scene(self, spec: str, scene: Callable[[Any], Any], **limits: Any) -> Any:
        """Run `scene(table)` in a loop, and close the table."""

        async def run() -> Any:
            settings = dataclasses.replace(TableSettings(), **limits)
            table = open_table(spec, around=Surroundings(settings))
            assert table.problem is None, table.problem
            try:
                return await asyncio.wait_for(scene(table), 100)
            finally:
                await table.close()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as in a worker
            return runner.run(run())

    def compare(self, text: str, keys: Sequence[str] = KEYS) -> dict[str, str]:
        """The same answers for all keys; they are returned."""
        spec = self.write(text)
        found = self.ours(spec, keys)
        assert found == self.debian(spec, keys), text
        return found

    def compare_mistake(self, text: str) -> str:
        """The same fatal error, as the table's problem and as postmap -q says it; it is returned."""
        spec = self.write(text)
        problem = open_table(spec).problem
        assert problem is not None, text
        theirs = self.tools.postfix("-q", "a@b.com", spec)
        assert (theirs.status, theirs.out) == (1, b"")
        assert theirs.err.splitlines()[-1] == f"postmap: fatal: {problem}"
        return problem

    def compare_failure(self, text: str) -> str:
        """Both end with an error that is not "not found"; ours is returned."""
        spec = self.write(text)
        theirs = self.tools.postfix("-q", "a@b.com", spec)
        assert theirs.status == 1 and theirs.out == b"" and "fatal: " in theirs.err, theirs
        ours = self.tools.ours("-q", "a@b.com", spec)
        assert ours.status == 1 and ours.out == b"" and f"fatal: table {spec}: query error" in ours.err, ours
        return ours.err


def installed(package: str) -> bool:
    done = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Abbrev}", package], capture_output=True)
    return done.stdout.startswith(b"ii")


async def fails(table: Any, key: bytes) -> str:
    """Why the lookup fails; an answer fails the test."""
    try:
        found = await answer(table.get, key)
    except TableError as error:
        return error.reason
    raise AssertionError(f"{key!r} was answered: {found!r}")
