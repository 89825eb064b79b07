"""The list of compiled modules; everything else about the package is in pyproject.toml.

A name with an underscore is a `.pyx`; any other is a plain `.py` whose classes a `.pxd` beside it gives C fields.

FASTRELAY_DEBUG=1 builds them with bounds checks and live-object counters.
FASTRELAY_ONLY="queue._record wire._smtp" builds just those, in place, while one works on them;
FASTRELAY_ONLY=none builds nothing.
"""

import os

from Cython.Build import cythonize
from setuptools import Extension, setup

COMPILED = [
    "_core",
    "receive._rules",
    "receive._session",
    "receive._transaction",
    "wire._smtp",
    "wire._parameters",
    "cleanup._address_token",
    "cleanup._address_header",
    "log._line",
    "cleanup._mime",
    "cleanup._contents",
    "cleanup._headers",
    "cleanup._recipients",
    "rewrite._address",
    "tables._cdb",
    "tables._literals",
    "tables._lmdb",
    "tables._regex",
    "tables._sorter",
    "tables._source",
    "queue._batch",
    "queue._checksum",
    "queue._entry",
    "queue._envelope",
    "queue._filesystem",
    "queue._format",
    "queue._index",
    "queue._outcome",
    "queue._record",
    "queue._replay",
    "queue._sync",
    "delivery._dialogue",
    "delivery._replies",
    "delivery._transaction",
    "tcp._poller",
    "tcp._stream",
    "borders",
    "cleanup.received",
    "delivery.session_cache",
    "delivery.smtp",
    "master.passage",
    "rewrite.lookup",
    "rewrite.recipients",
    "rewrite.resolve",
    "tables.maps",
    "tables.matching",
    "smtpd.client",
    "smtpd.client_name",
    "smtpd.connection",
    "smtpd.journal",
    "smtpd.restrictions",
    "smtpd.service",
    "queue.queue_id",
    "queue.segment",
    "queue.shard",
    "queue.space",
    "queue.commit",
    "queue.pace",
    "queue.spool",
    "qmgr.message",
    "qmgr.line",
    "qmgr.destination",
    "qmgr.transport",
    "qmgr.scheduler",
    "qmgr.active",
    "qmgr.activation",
    "qmgr.manager",
    "qmgr.steady",
]

CORES = os.cpu_count() or 1
DEBUG = os.environ.get("FASTRELAY_DEBUG") == "1"
DIRECTIVES = {
    "language_level": "3",
    "boundscheck": DEBUG,
    "wraparound": False,
    "initializedcheck": DEBUG,
    "cdivision": True,
    "embedsignature": True,
    "annotation_typing": False,
}


def source(name: str) -> str:
    return f"src/fastrelay/{name.replace('.', '/')}" + (
        ".pyx" if name.rpartition(".")[2][0] == "_" else ".py"
    )


STRICT = "-Werror=incompatible-pointer-types"  # a cpdef method as a value; newer compilers refuse it


def extension(name: str) -> Extension:
    return Extension(
        f"fastrelay.{name}",
        [source(name)],
        include_dirs=["src/fastrelay"],
        define_macros=[("FASTRELAY_DEBUG", "1" if DEBUG else "0")],
        extra_compile_args=[STRICT, *(["-O1", "-g1"] if DEBUG else ["-O3", "-g0"])],
    )


def compiled(names: list[str], **more: bool) -> list[Extension]:
    return cythonize(
        [extension(name) for name in names],
        include_path=["src"],
        compiler_directives=DIRECTIVES | more,
        build_dir=f"build/cython{'-debug' if DEBUG else ''}",
        nthreads=CORES,
    )


only = os.environ.get("FASTRELAY_ONLY", "").split()
wanted = [name for name in COMPILED if not only or name in only]
plain = [name for name in wanted if source(name).endswith(".py")]  # means what it means uncompiled
setup(
    options={"build_ext": {"parallel": CORES}},
    ext_modules=compiled([name for name in wanted if name not in plain])
    + compiled(plain, boundscheck=True, wraparound=True, cdivision=False),
)
