"""Each entry of the kept corpus, and each seed, through its target: what was found once stays found."""

from __future__ import annotations

import corpus
import pytest

KEEPS_OBJECTS = "the receive labs that targets keep for the next input"
LARGEST = 300_000  # bytes of one target's file


@pytest.mark.parametrize("target", corpus.TARGETS)
def test_the_corpus(target: str) -> None:
    kept = corpus.read(target)
    assert kept, f"no corpus: tests/fuzz/run.py --keep {target}"
    for entry in [*kept, *corpus.seeds(target)]:
        corpus.TARGETS[target](entry)


@pytest.mark.parametrize("target", corpus.TARGETS)
def test_the_corpus_is_small(target: str) -> None:
    assert (corpus.DIRECTORY / f"{target}.txt").stat().st_size < LARGEST


def test_no_corpus_without_a_target() -> None:
    assert {path.stem for path in corpus.DIRECTORY.iterdir()} == set(corpus.TARGETS)


@pytest.mark.parametrize("entry", [b"", b"'\"\\", b"\n\r\0\xff", bytes(range(256))])
def test_entries_are_kept_as_they_are(entry: bytes, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(corpus, "DIRECTORY", tmp_path)
    corpus.write("x", [entry, b"other"])
    assert sorted(corpus.read("x")) == sorted([entry, b"other"])
