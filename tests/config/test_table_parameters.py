"""Parameters of tables in main.cf are known by the tables that are named there, as postconf knows them."""

import subprocess
from pathlib import Path

import pytest

from fastrelay import config
from fastrelay.config.table_parameters import SUFFIXES
from fastrelay.config.usage import check
from fastrelay.tables.options import Surroundings
from fastrelay.tables.registry import open_table

MAIN = """\
compatibility_level = 3.6
virtual_alias_maps = ldap:src, proxy:mysql:my, memcache:mem, pgsql:pg sqlite:sq, $more
more = redis:red
src_server_host = $place
place = x
src_bogus = y
my_hosts = z
pg_query = a
sq_dbpath = b
mem_ttl = 4
mem_backup = ldap:behind
behind_bind = no
red_hash = h
xx_query = 1
ldap_timeout = 3
"""


def test_names_of_the_tables_that_are_used(tmp_path: Path):
    (tmp_path / "main.cf").write_text(MAIN)
    (tmp_path / "master.cf").write_text("")
    found = [line.rpartition(": ")[2] for line in check(config.load(tmp_path)) if "unknown parameter" in line]
    assert [line.partition(";")[0] for line in found] == ["src_bogus", "xx_query", "ldap_timeout"]


@pytest.mark.skipif(not Path("/usr/sbin/postconf").exists(), reason="apt-get install postfix")
@pytest.mark.parametrize("kind", sorted(SUFFIXES.keys() - {"redis"}))
def test_postconf_knows_them_too(tmp_path: Path, kind: str):
    lines = [f"virtual_alias_maps = {kind}:src", *(f"src_{suffix} = 1" for suffix in SUFFIXES[kind])]
    (tmp_path / "main.cf").write_text("compatibility_level = 3.6\n" + "\n".join(lines) + "\n")
    (tmp_path / "master.cf").write_text("")
    command = ["/usr/sbin/postconf", "-c", str(tmp_path), "-n"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    unused = [line.split("src_")[1].split("=")[0] for line in done.stderr.splitlines() if "unused" in line]
    own = {"memcache": {"expansion_limit", "result_format"}, "ldap": set()}.get(kind, {"list_query"})
    assert set(unused) == own


ENOUGH = {
    "dbpath": "/x",
    "query": "%s",
    "hosts": "localhost",
    "dbname": "x",
    "search_base": "dc=x",
    "user": "x",
}


@pytest.mark.parametrize("kind", sorted(SUFFIXES))
def test_all_that_a_table_reads_is_known(kind: str):
    read: set[str] = set()

    def parameter(name: str) -> str | None:
        suffix = name.removeprefix("src_")
        read.add(suffix)
        return ENOUGH.get(suffix)

    table = open_table(f"{kind}:src", around=Surroundings(parameter=parameter))
    assert table.problem is None
    assert read <= SUFFIXES[kind]
    assert len(read) > 4
