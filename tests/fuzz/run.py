"""libFuzzer on one target; `make fuzz` runs each for a while on modules built with its coverage and AddressSanitizer.

    run.py TARGET [-max_total_time=60 ...]   libFuzzer's options; what it finds new stays in build/fuzz/corpus
    run.py --keep TARGET                     make the kept corpus anew: the fewest entries that cover as much
    run.py --list

Begins with the kept corpus and the seeds. An input that fails is written to build/fuzz/ as crash-*, and its
bytes belong into the corpus when the bug is fixed; build/fuzz/failed-TARGET has those of an exception.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

PYTHON = ["fastrelay.tables.tcp", "fastrelay.tables.socketmap", "fastrelay.tables.redis",
          "fastrelay.tables.memcache"]  # fmt: skip

if sys.argv[1:] == ["--list"]:
    import corpus
else:
    import atheris

    with atheris.instrument_imports(include=PYTHON):  # what is not compiled has no coverage of its own
        import corpus

BUILD = Path(__file__).parents[2] / "build" / "fuzz"


def unpack(target: str, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for entry in corpus.read(target) + corpus.seeds(target):
        (directory / hashlib.sha1(entry, usedforsecurity=False).hexdigest()).write_bytes(entry)


def attempt(target: str, data: bytes) -> None:
    try:
        corpus.TARGETS[target](data)
    except BaseException:
        (BUILD / f"failed-{target}").write_bytes(data)
        raise


def program(target: str) -> Path:
    """What libFuzzer starts again when it merges."""
    path = BUILD / f"fuzz-{target}"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).resolve()}" {target} "$@"\n')
    path.chmod(0o755)
    return path


def fuzz(target: str, options: list[str]) -> None:
    found = BUILD / "corpus" / target
    unpack(target, found)
    places = [] if any(option.startswith("-merge") for option in options) else [str(found)]
    limits = [f"-artifact_prefix={BUILD}/", "-timeout=20", "-rss_limit_mb=4096"]
    arguments = [str(program(target)), *places, *limits, *options]
    atheris.Setup(arguments, lambda data: attempt(target, bytes(data)), enable_python_coverage=False)
    atheris.Fuzz()


def keep(target: str) -> None:
    """Merge into an empty directory: libFuzzer keeps what adds coverage, the shortest first."""
    found = BUILD / "corpus" / target
    unpack(target, found)
    with tempfile.TemporaryDirectory() as name:
        subprocess.run(
            [sys.executable, __file__, target, "-merge=1", "-use_counters=0", name, str(found)], check=True
        )
        corpus.write(target, [path.read_bytes() for path in Path(name).iterdir()])


def main() -> None:
    arguments = sys.argv[1:]
    if arguments == ["--list"]:
        print("\n".join(corpus.TARGETS))
    elif arguments[0] == "--keep":
        keep(arguments[1])
    else:
        fuzz(arguments[0], arguments[1:])


if __name__ == "__main__":
    main()
