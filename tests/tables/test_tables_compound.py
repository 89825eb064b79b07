"""pipemap:, unionmap:, randmap: and internal: where postmap cannot show it: errors, keys, versions, what waits."""

import asyncio
from pathlib import Path

import pytest

from fastrelay.rewrite.lookup import AddressMaps
from fastrelay.tables import DomainMatcher, Maps, TableError, open_table
from fastrelay.tables.compound import PipeTable, UnionTable
from fastrelay.tables.internal import InternalTable
from fastrelay.tables.options import Options, Surroundings
from fastrelay.tables.pending import Pending, answer, recall
from fastrelay.tables.table import Table


class Slow(Table):
    """A remote table whose answers come a moment after they were asked for."""

    remote = True

    def __init__(self, name: str, value: bytes | TableError) -> None:
        super().__init__(name)
        self.value = value
        self.asked = 0

    def get(self, key: bytes) -> bytes | None:
        if (known := recall(self, key)) is None:
            self.asked += 1
            raise Pending({(self, key): asyncio.ensure_future(asyncio.sleep(0.01, self.value))})
        if isinstance(known[0], TableError):
            raise known[0]
        return known[0]


def test_a_union_starts_all_its_lookups_at_once_and_a_pipe_one_after_the_other() -> None:
    tables = {"x:a": Slow("a", b"1"), "x:b": Slow("b", b"2"), "x:c": Slow("c", b"3")}
    union = UnionTable("{x:a x:b, x:c}", tables.__getitem__, Options())
    pipe = PipeTable("{x:a x:b}", tables.__getitem__, Options())
    assert union.remote and pipe.remote

    async def run() -> None:
        with pytest.raises(Pending) as caught:
            union.get(b"k")
        assert {table.name for table, _ in caught.value.questions} == {"a", "b", "c"}
        assert await answer(union.get, b"k") == b"1,2,3"
        with pytest.raises(Pending) as caught:
            pipe.get(b"k")
        assert {(table.name, key) for table, key in caught.value.questions} == {("a", b"k")}
        assert await answer(pipe.get, b"k") == b"2"
        tables["x:b"].value = TableError("x:b", "down")
        for table in (union, pipe):
            with pytest.raises(TableError, match=f"^{table.type}:.*: down$"):
                await answer(table.get, b"k")

    asyncio.run(run())


def test_a_member_that_is_down_is_an_error_until_it_is_there(tmp_path: Path) -> None:
    spec = f"unionmap:{{static:a texthash:{tmp_path}/t}}"
    table = open_table(spec)
    assert table.problem == f"open database {tmp_path}/t: No such file or directory"
    with pytest.raises(TableError) as caught:
        table.get(b"k")
    assert (caught.value.label, caught.value.unavailable) == (spec, True)


def test_the_first_member_says_whether_partial_keys_are_asked() -> None:
    """Debian's Postfix folds by the first member too (test_tables_comparison.py); no key may be lost by it."""
    pattern, fixed = "regexp:{ {/^@x/ p} }", "inline:{@x=f}"
    for spec, expected in (
        (f"pipemap:{{{pattern}}}", None),
        (f"proxy:pipemap:{{{pattern}}}", None),
        (f"unionmap:{{{pattern}, {fixed}}}", None),
        (f"unionmap:{{{fixed}, {pattern}}}", b"f,p"),
        ("randmap:{r}", None),
        ("cidr:{ {0.0.0.0/0 p} }", None),
    ):
        assert AddressMaps(Maps([spec])).find_partial(b"@x") == expected, spec


@pytest.mark.parametrize("name", ["tcp:127.0.0.1:1", "socketmap:inet:127.0.0.1:1:x"])
@pytest.mark.parametrize("proxymap", ["", "/nonexistent"])
def test_servers_that_are_asked_for_whole_keys(name: str, proxymap: str) -> None:
    """tcp_table(5), socketmap_table(5): Postfix will not generate partial search keys."""
    for spec in (name, f"proxy:{name}"):
        table = open_table(spec, around=Surroundings(proxymap=proxymap))
        assert table.problem is None and table.remote and table.pattern, spec


def test_a_pattern_is_not_asked_for_parent_domains() -> None:
    """match_hostname() shows parent domains only to tables of fixed keys: this one must not relay for all of com."""
    assert not DomainMatcher("regexp:{ {/^example[.]com$/ x} }", True).matches(b"a.example.com")
    assert DomainMatcher("inline:{example.com=x}", True).matches(b"a.example.com")


def test_a_random_choice_is_remembered_by_nobody() -> None:
    table = open_table("unionmap:{static:a, randmap:{1 2 2}}")
    assert {table.get(b"k") for _ in range(200)} == {b"a,1", b"a,2"}
    assert table.version() != table.version()
    assert open_table("unionmap:{static:a, inline:{a=b}}").version() == (None, None)


def test_internal_is_a_table_of_this_process() -> None:
    table = open_table("internal:cache")
    assert isinstance(table, InternalTable)
    before = table.version()
    table.put(b"KEY", b"value")
    table.put(b"\xff", b"no table has such a key")
    assert (table.get(b"key"), table.get(b"\xff")) == (b"value", None)
    assert list(table.items()) == [(b"key", b"value")]
    assert table.version() != before
    assert (table.delete(b"Key"), table.delete(b"Key"), table.get(b"key")) == (True, False, None)
    assert open_table("internal:cache").get(b"key") is None
