"""The committing thread writes the same bytes past the page cache and through it."""

import itertools
import os
import threading
from pathlib import Path

import pytest

from fastrelay.queue._sync import SyncThread
from fastrelay.queue.files import FILES
from fastrelay.queue.segment import Segment

BLOCK = 4096


def write(path: Path, direct: bool, pieces: list[bytes], offset: int) -> bytes:
    """What the file holds after one batch of `pieces`."""
    path.write_bytes(b"\xff" * 8 * BLOCK)
    directory = os.open(path.parent, os.O_RDONLY)
    fd, wake = os.open(path, os.O_RDWR), os.eventfd(0)
    second = FILES.open_direct(path.name, dir_fd=directory) if direct else -1
    assert (second >= 0) is direct, "the file system of the tests has no O_DIRECT"
    writer = SyncThread(wake)
    thread = threading.Thread(target=writer.run)
    thread.start()
    try:
        writer.start(Segment(1, fd, 0, 0, second), pieces, offset)
        assert os.eventfd_read(wake) == 1 and writer.is_finished
        writer.result()
    finally:
        writer.stop()
        thread.join()
        for each in (fd, wake, directory, *([second] if direct else [])):
            os.close(each)
    return path.read_bytes()


@pytest.mark.parametrize("blocks", [1, 2, 255, 256, 257, 700])
def test_direct_and_buffered_writes_agree(tmp_path: Path, blocks: int) -> None:
    data = os.urandom(blocks * BLOCK)
    cuts = sorted({0, len(data), 1, 100, *(min(len(data), n) for n in (5000, 1 << 20, (1 << 20) + 7))})
    pieces = [data[a:b] for a, b in itertools.pairwise(cuts)]
    written = write(tmp_path / "direct", True, pieces, 2 * BLOCK)
    assert written == write(tmp_path / "buffered", False, pieces, 2 * BLOCK)
    assert written[: 2 * BLOCK] == b"\xff" * 2 * BLOCK and written[2 * BLOCK :][: len(data)] == data


def test_what_is_no_batch_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Input/output error"):
        write(tmp_path / "odd", True, [b"x" * 100], 0)
