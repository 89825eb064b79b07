"""What CI's fuzzing says and returns, with a script in libFuzzer's place: a target that failed must be seen."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import run_all

DONE = "echo stat::number_of_executed_units: 4711"


@pytest.fixture
def in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As the command line does it: the exit status; `script` sees the target as $1."""

    def run(script: str, *targets: str) -> object:
        monkeypatch.setattr(run_all, "BUILD", tmp_path)
        monkeypatch.setattr(run_all, "RUN", ["/bin/sh", "-c", script.replace("BUILD", str(tmp_path)), "sh"])
        monkeypatch.setattr(sys, "argv", ["run_all.py", "--parallel", "2", "--seconds", "1", *targets])
        try:
            run_all.main()
        except SystemExit as end:
            return end.code
        return 0

    return run


def test_fuzzing_ends_well_when_each_target_has_tried_inputs(in_place, capsys):
    assert in_place(DONE, "one", "two", "three") == 0
    assert capsys.readouterr().out.count("4711 inputs") == 3


@pytest.mark.parametrize(
    "how", [f"{DONE}; exit 77", "exit 0", "echo stat::number_of_executed_units: 0", "kill -9 $$"]
)
def test_fuzzing_fails_when_one_target_fails_or_tries_nothing(in_place, capsys, how):
    assert in_place(f'if [ "$1" = bad ]; then {how}; else {DONE}; fi', "good", "bad", "fine")
    said = capsys.readouterr().out
    assert "bad: FAILED" in said and said.count("4711 inputs in 1 s") == 2


def test_fuzzing_shows_what_was_said_and_the_input(in_place, capsys, tmp_path):
    (tmp_path / "one-crash-old").write_bytes(b"of an earlier run")
    assert in_place("echo SUMMARY of it; printf 'a\\000b' > BUILD/$1-crash-1234; exit 77", "one")
    said = capsys.readouterr().out
    assert "SUMMARY of it" in said and "a\\x00b" in said and "earlier" not in said
