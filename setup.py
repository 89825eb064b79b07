"""The list of compiled modules; everything else about the package is in pyproject.toml.

FASTRELAY_DEBUG=1 builds them with bounds checks and live-object counters.
FASTRELAY_ONLY="queue._record wire._smtp" builds just those, in place, while one works on them.
"""

import os

from Cython.Build import cythonize
from setuptools import Extension, setup

COMPILED = [
    "_core",
    "wire._smtp",
    "wire._parameters",
    "cleanup._address_token",
    "cleanup._address_header",
    "log._line",
    "cleanup._headers",
    "cleanup._recipients",
    "rewrite._address",
    "tables._literals",
    "tables._lmdb",
    "tables._regex",
    "tables._sorter",
    "tables._source",
    "queue._index",
    "queue._record",
    "queue._sync",
    "delivery._dialogue",
]

DEBUG = os.environ.get("FASTRELAY_DEBUG") == "1"
DIRECTIVES = {
    "language_level": "3",
    "boundscheck": DEBUG,
    "wraparound": False,
    "initializedcheck": DEBUG,
    "cdivision": True,
    "embedsignature": True,
}


def extension(name: str) -> Extension:
    return Extension(
        f"fastrelay.{name}",
        [f"src/fastrelay/{name.replace('.', '/')}.pyx"],
        include_dirs=["src/fastrelay"],
        define_macros=[("FASTRELAY_DEBUG", "1" if DEBUG else "0")],
        extra_compile_args=["-O1", "-g"] if DEBUG else ["-O3"],
    )


wanted = os.environ.get("FASTRELAY_ONLY", "").split() or COMPILED
setup(
    ext_modules=cythonize(
        [extension(name) for name in wanted],
        include_path=["src"],
        compiler_directives=DIRECTIVES,
        build_dir=f"build/cython{'-debug' if DEBUG else ''}",
        nthreads=0,
    ),
)
