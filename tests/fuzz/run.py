"""libFuzzer on one target, on modules built with its coverage and AddressSanitizer; `make fuzz` runs all (run_all.py).

    run.py TARGET [-max_total_time=60 ...]   libFuzzer's options; what it finds new stays in build/fuzz/corpus
    run.py TARGET FILE                       one input again
    run.py --keep TARGET                     add to the kept corpus the fewest entries that cover what is new
    run.py --list, run.py --modules          the targets; the compiled modules that these need

Begins with the kept corpus and the seeds. An input that fails is written to build/fuzz/ as TARGET-crash-*, and its
bytes belong into the corpus when the bug is fixed; build/fuzz/failed-TARGET has those of an exception.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

# what is not compiled has no coverage of its own; atheris gives it to a whole package, which takes it seconds
PYTHON = ["fastrelay.tables.tcp", "fastrelay.tables.socketmap", "fastrelay.tables.redis",
          "fastrelay.tables.memcache"]  # fmt: skip

BUILD = Path(__file__).parents[2] / "build" / "fuzz"
HANG = 300  # seconds for one input; a machine that others use too may stand still for some


def sanitized() -> None:
    """Start this again with the modules of build/fuzz, and the sanitizer in it from the beginning."""
    origin = importlib.util.find_spec("atheris")
    assert origin is not None and origin.origin is not None, "pip install atheris; `make fuzz` does"
    library = Path(origin.origin).parents[1] / "asan_with_fuzzer.so"
    if os.environ.get("LD_PRELOAD") == str(library):
        return
    new = {"LD_PRELOAD": str(library), "PYTHONPATH": str(BUILD / "src"), "PYTHONMALLOC": "malloc"}
    new["ASAN_OPTIONS"] = "detect_leaks=0"
    os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | new)


def uncovered() -> set[str]:
    paths = [path.relative_to(BUILD / "src").with_suffix("").parts for path in BUILD.glob("src/**/*.py")]
    names = {".".join(path[:-1] if path[-1] == "__init__" else path) for path in paths}
    return names - set(PYTHON)


if sys.argv[1:] in (["--list"], ["--modules"]):
    import corpus
else:
    sanitized()
    import atheris

    with atheris.instrument_imports(include=["fastrelay"], exclude=sorted(uncovered())):
        import corpus


def store(entries: list[bytes], directory: Path) -> None:
    for entry in entries:
        (directory / hashlib.sha1(entry, usedforsecurity=False).hexdigest()).write_bytes(entry)


def unpack(target: str, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    store(corpus.read(target) + corpus.seeds(target), directory)


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
    own = any(option.startswith("-merge") or not option.startswith("-") for option in options)
    places = [] if own else [str(found)]
    limits = [f"-artifact_prefix={BUILD}/{target}-", f"-timeout={HANG}", "-rss_limit_mb=4096"]
    arguments = [str(program(target)), *places, *limits, *options]
    atheris.Setup(arguments, lambda data: attempt(target, bytes(data)), enable_python_coverage=False)
    atheris.Fuzz()


def keep(target: str) -> None:
    """Merge into what is kept, which has inputs of bugs: libFuzzer adds what adds coverage, the shortest first."""
    found = BUILD / "corpus" / target
    unpack(target, found)
    with tempfile.TemporaryDirectory() as name:
        store(corpus.read(target), Path(name))
        subprocess.run(
            [sys.executable, __file__, target, "-merge=1", "-use_counters=0", name, str(found)], check=True
        )
        corpus.write(target, [path.read_bytes() for path in Path(name).iterdir()])


def modules() -> list[str]:
    """As setup.py calls them; a module that no target has need not be compiled for them."""
    loaded = {name: getattr(module, "__file__", None) or "" for name, module in sys.modules.items()}
    return [
        name.removeprefix("fastrelay.")
        for name, path in loaded.items()
        if name.startswith("fastrelay.") and path.endswith(".so")
    ]


def main() -> None:
    arguments = sys.argv[1:]
    if arguments == ["--list"]:
        print("\n".join(corpus.TARGETS))
    elif arguments == ["--modules"]:
        print("\n".join(modules()))
    elif arguments[0] == "--keep":
        keep(arguments[1])
    else:
        fuzz(arguments[0], arguments[1:])


if __name__ == "__main__":
    main()
