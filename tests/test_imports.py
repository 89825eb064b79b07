"""Each module can be imported first, and the quick tools do not pay for the server's libraries."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "fastrelay"
MODULES = sorted(
    ".".join(("fastrelay", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")
    for path in SOURCE.rglob("*.py*")
    if path.suffix in {".py", ".pyx"} and not any(part.startswith((".", "__py")) for part in path.parts)
)
# what an extra brings that a machine may lack, for want of a Debian package to compile it with
EXTRAS = {f"fastrelay.tables.ldap{part}": "ldap" for part in ("", "_list", "_session")}
HEAVY = {"uvloop", "dns", "aiosmtplib", "lmdb", "asyncio"}
# all that any of them brings which is not ours
OTHERS = """
import contextlib, importlib, sys
for name in sys.argv[1:]:
    with contextlib.suppress(Exception):  # ALONE tells
        importlib.import_module(name)
print(*(name for name in sys.modules if name.partition(".")[0] not in ("fastrelay", "__main__")))
"""
# Forks for each package, which Python imports before whatever is in it, and then once a module: each is the
# first of ours that its process imports. What is not ours is there before: it would cost half a minute.
ALONE = """
import contextlib, importlib, itertools, os, sys, traceback
others, _, ours = " ".join(sys.argv[1:]).partition(" -- ")
for name in others.split():
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
assert not any(name.partition(".")[0] == "fastrelay" for name in sys.modules)

def in_a_child(name, then):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            importlib.import_module(name)
            then()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    if os.waitpid(pid, 0)[1]:
        print(name)

def each_module():
    for name in modules:
        in_a_child(name, lambda: None)

for package, modules in itertools.groupby(ours.split(), lambda name: name.rpartition(".")[0] or name):
    in_a_child(package, each_module)
"""


def python(program, *args):
    return subprocess.run(
        [sys.executable, "-c", program, *args], capture_output=True, text=True, timeout=300, check=True
    )


def test_every_module_imports_alone():
    assert len(MODULES) > 100
    names = sorted(MODULES, key=lambda name: name.rpartition(".")[::2])
    names = [name for name in names if not name.endswith("__main__")]  # that one runs the command line
    names = [name for name in names if name not in EXTRAS or importlib.util.find_spec(EXTRAS[name])]
    result = python(ALONE, *python(OTHERS, *names).stdout.split(), "--", *names)
    assert result.stdout.split() == [], result.stderr


@pytest.mark.parametrize("tool", ["postqueue", "postsuper", "command_line"])
def test_quick_tools_load_no_server(tool):
    program = f"import json, sys, fastrelay.admin.{tool}; print(json.dumps(list(sys.modules)))"
    loaded = {name.split(".")[0] for name in json.loads(python(program).stdout)}
    assert not loaded & HEAVY


def test_mailq_loads_no_server_while_it_runs(tmp_path):
    """It fails here, for want of a configuration's mail system, after all that it imports was imported."""
    (tmp_path / "main.cf").write_text(f"queue_directory = {tmp_path}/spool\ncompatibility_level = 3.6\n")
    (tmp_path / "master.cf").write_text("")
    program = (
        "import json, sys\nfrom fastrelay.admin.command_line import fastrelay\n"
        f"status = fastrelay(['-c', {str(tmp_path)!r}, 'mailq'])\n"
        "print(json.dumps([status, list(sys.modules)]))"
    )
    status, modules = json.loads(python(program).stdout.splitlines()[-1])
    assert status
    assert not {name.split(".")[0] for name in modules} & (HEAVY - {"asyncio", "lmdb"})
