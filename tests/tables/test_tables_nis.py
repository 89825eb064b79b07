"""nis: without a domain and without a server as Debian's postmap; with a library of the test's own that has maps."""

import os
import subprocess
import sys

import pytest
from remote_tools import ask_ours, compare, open_remote
from tables_tools import Tools, needs_postmap

from fastrelay.tables.nis import load_library

needs_library = pytest.mark.skipif(load_library() is None, reason="no libnsl here: apt-get install libnsl2")

LIBRARY = r"""
#include <stdlib.h>
#include <string.h>
int yp_get_default_domain(char **domain) { *domain = "example.nis"; return 0; }
char *yperr_string(int code) { return code == 12 ? "out of order" : "?"; }
int yp_match(char *domain, char *map, char *key, int length, char **value, int *size) {
    if (strcmp(domain, "example.nis") || strcmp(map, "mail.aliases")) return 12;
    const char *found = length == 7 && !memcmp(key, "withnul", 8) ? 0
        : length == 8 && !memcmp(key, "withnul", 8) ? "value of it"
        : length == 7 && !memcmp(key, "without", 7) ? "another\n" : 0;
    if (!found) return 5;
    *value = strdup(found);
    *size = strlen(found) + (length == 8);
    return 0;
}
"""


@needs_postmap
@needs_library
def test_a_system_without_nis_finds_nothing_as_postmap_does(tools: Tools):
    assert open_remote("nis:passwd.byname").warnings == ["NIS domain name not set - NIS lookups disabled"]
    assert compare(tools, [("nis:passwd.byname", b"root"), ("nis:mail.aliases", b"postmaster")]) == [
        None,
        None,
    ]


@needs_postmap
@needs_library
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may have a name space with a NIS domain")
def test_a_domain_without_a_server_is_an_error_as_postmap_has_it(tools: Tools):
    inside = 'echo example.nis > /proc/sys/kernel/domainname && exec "$@"'
    query = ["-q", "root", "nis:passwd.byname"]
    for command in (
        ["postmap", "-c", str(tools.directory / "postfix"), *query],
        [sys.executable, "-m", "fastrelay", "-c", str(tools.directory / "ours"), "postmap", *query],
    ):
        done = subprocess.run(
            ["unshare", "--uts", "sh", "-c", inside, "-", *command],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert "fatal: table nis:passwd.byname: query error" in done.stderr


def test_keys_with_and_without_their_null_byte(tools: Tools, monkeypatch: pytest.MonkeyPatch):
    (tools.directory / "nsl.c").write_text(LIBRARY)
    library = tools.directory / "libnsl.so.2"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-o", library, tools.directory / "nsl.c"], check=True, timeout=60
    )
    monkeypatch.setattr("fastrelay.tables.nis.NAMES", (str(library),))
    keys = [b"withnul", b"without", b"neither", b"WithNul"]
    assert ask_ours("nis:mail.aliases", keys) == [b"value of it", b"another", None, b"value of it"]
    assert ask_ours("nis:other.map", [b"withnul"]) == ["error"]


def test_a_system_without_the_library_has_no_such_type(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fastrelay.tables.nis.NAMES", ("libnsl-that-is-not-here.so",))
    problem = open_remote("nis:passwd.byname").problem
    assert problem == "unsupported dictionary type: nis: this system has no NIS client library (libnsl)"
    assert ask_ours("nis:passwd.byname", [b"root"]) == ["error"]
