"""Many runs of Debian's postmap and of ours: theirs some at a time, ours as forks of one process.

Each of our runs is the command's own main() in a process of its own, without the second that Python takes
to start.
"""

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tables_tools import Answer, Tools

SERVER = """
import json, os, sys, tempfile
from pathlib import Path
from fastrelay.admin import postmap
for line in sys.stdin:
    args, text = json.loads(line)
    files = [tempfile.TemporaryFile() for _ in range(3)]
    files[0].write(bytes.fromhex(text)); files[0].seek(0)
    child = os.fork()
    if child == 0:
        for number, file in enumerate(files):
            os.dup2(file.fileno(), number)
        sys.stdin = open(0, closefd=False)
        status = postmap.main(Path(sys.argv[1]), [os.fsdecode(bytes.fromhex(arg)) for arg in args])
        sys.stdout.flush(); sys.stderr.flush()
        os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    for file in files: file.seek(0)
    print(json.dumps([status, files[1].read().hex(), files[2].read().hex()]), flush=True)
"""


@dataclass(frozen=True)
class Run:
    """One command. `theirs`: the table's name there, where it is another."""

    table: str
    key: bytes  # b"-": those in `stdin`
    stdin: bytes = b""
    theirs: str = ""
    flags: tuple[str, ...] = ()

    def args(self, table: str) -> list[bytes]:
        return [*(flag.encode() for flag in self.flags), b"-q", self.key, os.fsencode(table)]


def run_ours(tools: Tools, runs: list[Run]) -> list[Answer]:
    lines = [json.dumps([[arg.hex() for arg in run.args(run.table)], run.stdin.hex()]) for run in runs]
    command = [sys.executable, "-c", SERVER, str(tools.directory / "ours")]
    text = "\n".join(lines) + "\n"
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, cwd=tools.directory, timeout=100
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return [
        Answer(s, bytes.fromhex(out), bytes.fromhex(err).decode(errors="replace")) for s, out, err in answers
    ]


def run_postfix(tools: Tools, runs: list[Run]) -> list[Answer]:
    """Side by side: Debian's tool sleeps a second before it dies of an error."""
    with ThreadPoolExecutor(40) as pool:
        return list(
            pool.map(lambda run: tools.postfix(*run.args(run.theirs or run.table), stdin=run.stdin), runs)
        )


def meaning(answer: Answer) -> list[str]:
    """What a person learns from stderr: the fatal error as it is, of complaints the lines that they are about."""
    lines = []
    for line in answer.err.splitlines():
        if ": fatal: " in line:
            lines.append(line.partition(": key ")[0])  # ours says which value is wrong here
        elif found := re.search(r"warning: .*?, (line \d+): ", line):
            lines.append(found[1])
        elif "empty string" in line or "NO RESULT" in line:
            lines.append(line)
    return sorted(set(lines))
