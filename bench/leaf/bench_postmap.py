"""postmap beside Debian's in one run: compile 200,000 keys, and stream them through `postmap -q -`."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

KEYS = 200_000
ROUNDS = 3
DEBIAN = shutil.which("postmap", path="/usr/sbin:/usr/bin")
MAIN = "compatibility_level = 3.6\ndefault_database_type = lmdb\nmyhostname = bench.example\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("postmap")
    (folder / "main.cf").write_text(MAIN)
    keys = [f"User{i * 7919 % KEYS}@customer{i % 500}.example" for i in range(KEYS)]
    (folder / "t").write_text("".join(f"{key} OK\n" for key in keys))
    (folder / "keys").write_text("".join(f"{key}\n" for key in reversed(keys)))
    return folder


def command(program: str, folder: Path) -> list[str]:
    if program == "debian" and DEBIAN is None:
        pytest.skip("Debian's postmap is not here: apt-get install postfix postfix-lmdb")
    ours = [sys.executable, "-m", "fastrelay", "postmap"]
    return [*([str(DEBIAN)] if program == "debian" else ours), "-c", str(folder)]


@pytest.mark.parametrize("program", ["ours", "debian"])
def bench_compile(benchmark, folder: Path, program: str) -> None:
    """In Debian's every build of a large table is one of its transactions after the other."""
    words = [*command(program, folder), "lmdb:t"]
    benchmark.extra_info["keys"] = KEYS
    benchmark.pedantic(subprocess.run, (words,), {"cwd": folder, "check": True}, rounds=ROUNDS)


@pytest.mark.parametrize("program", ["ours", "debian"])
def bench_stream(benchmark, folder: Path, program: str) -> None:
    subprocess.run([*command("ours", folder), "lmdb:t"], cwd=folder, check=True)
    words = [*command(program, folder), "-q", "-", "lmdb:t"]

    def stream() -> None:
        with (folder / "keys").open("rb") as keys:
            done = subprocess.run(words, cwd=folder, check=True, stdin=keys, stdout=subprocess.PIPE)
        assert done.stdout.count(b"\n") == KEYS

    benchmark.extra_info["keys"] = KEYS
    benchmark.pedantic(stream, rounds=ROUNDS)
