"""What a crash or a bad disk leaves: torn tails go, damage costs only the messages that it hits."""

import errno
import random
from pathlib import Path

import pytest

from fastrelay.borders import Status
from fastrelay.queue._format import NewerFormat
from fastrelay.queue.files import Files
from reference import record_reference as reference
from support.queue_lab import Lab, envelope, outcome


def segment(tmp_path: Path, number: int = 1) -> Path:
    return tmp_path / "00" / f"{number:016x}.seg"


def stored(tmp_path: Path, count: int = 3, size: int = 1500) -> list[int]:
    """`count` messages, a batch each, and no final batch."""
    lab = Lab(tmp_path)
    messages = [lab.store(envelope(f"m{i}"), [bytes([65 + i]) * size]).message_id for i in range(count)]
    lab.crash()
    return messages


def found(tmp_path: Path) -> tuple[list[int], list[str]]:
    """The messages that a start finds, each read back and right, and its problems."""
    lab = Lab(tmp_path, start=False)
    messages = sorted(lab.spool.entries)
    for entry in lab.spool.entries.values():
        index = int(lab.spool.read_envelope(entry).recipients[0].address[1:].split(b"-")[0])
        assert set(b"".join(lab.spool.read_content(entry))) == {65 + index}
    problems = list(lab.problems)
    lab.crash()
    return messages, problems


def test_a_segment_cut_at_every_byte_of_the_last_batch(tmp_path: Path) -> None:
    messages = stored(tmp_path)
    whole = segment(tmp_path).read_bytes()
    last = [f for f in reference.frames(whole[:65536]) if f.type == reference.BATCH][-1].offset
    end = reference.frames(whole[:65536])[-1].end
    step = 7  # every byte of the headers, some of the body
    cuts = [*range(last, last + 300), *range(last + 300, end - 60, step), *range(end - 60, end + 1)]
    for cut in cuts:
        segment(tmp_path).write_bytes(whole[:cut] + bytes(len(whole) - cut))
        wanted = messages if cut == end else messages[:2]
        if cut != end and whole[cut:end].strip(b"\0") == b"":
            wanted = messages
        assert found(tmp_path) == (wanted, []), cut
        assert segment(tmp_path).read_bytes()[: len(whole)][:last] == whole[:last]
    for cut in cuts[::50]:
        segment(tmp_path).write_bytes(whole[:cut])
        assert found(tmp_path)[0] == messages[:2], cut


def test_every_torn_sector_of_the_last_batch(tmp_path: Path) -> None:
    messages = stored(tmp_path)
    whole = segment(tmp_path).read_bytes()
    last = [f for f in reference.frames(whole[:65536]) if f.type == reference.BATCH][-1].offset
    rng = random.Random(1)
    for kept in range(16):  # 4 sectors hold something
        torn = bytearray(whole)
        for sector in range(4):
            if not kept >> sector & 1:
                at = last + 512 * sector
                torn[at : at + 512] = rng.choice([bytes(512), rng.randbytes(512)])
        segment(tmp_path).write_bytes(torn)
        assert found(tmp_path) == (messages if kept == 15 else messages[:2], [])
        # and the next message goes over it
        lab = Lab(tmp_path)
        more = lab.store(envelope("m9"), [b"J" * 4000]).message_id
        lab.crash()
        assert found(tmp_path) == (sorted([*(messages if kept == 15 else messages[:2]), more]), [])


def test_each_bit_of_a_middle_record(tmp_path: Path) -> None:
    messages = stored(tmp_path, count=4, size=40)
    whole = segment(tmp_path).read_bytes()
    batches = [f.offset for f in reference.frames(whole[:65536]) if f.type == reference.BATCH]
    middle = [f for f in reference.frames(whole[:65536]) if batches[1] <= f.offset < batches[2]]
    rng = random.Random(2)
    for frame in middle:
        for offset in range(frame.offset, frame.end):
            broken = bytearray(whole)
            broken[offset] ^= 1 << rng.randrange(8)
            segment(tmp_path).write_bytes(broken)
            got, problems = found(tmp_path)
            rest = [messages[0], *messages[2:]]
            if frame.type == reference.BATCH:
                assert got == messages  # its frames are used
            else:
                assert got == rest, (frame.type, offset - frame.offset)
                assert any("damage" in p for p in problems)
            assert problems and (tmp_path / "corrupt" / f"00-{1:016x}.seg").exists()


def test_damage_is_reported_once(tmp_path: Path) -> None:
    messages = stored(tmp_path)
    data = [f for f in reference.frames(segment(tmp_path).read_bytes()[:65536]) if f.type == reference.DATA]
    with segment(tmp_path).open("r+b") as file:
        file.seek(data[0].offset + 100)
        file.write(b"!!")
    lab = Lab(tmp_path)
    assert any(f"message {messages[0]:X} is damaged" in p for p in lab.problems)
    lab.settle()
    lab.crash()
    assert not any("message" in p for p in found(tmp_path)[1])


def test_a_lost_outcome_repeats_only_its_message(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    entries = [lab.store(envelope(f"m{i}"), [bytes([65 + i])]) for i in range(3)]
    for entry in entries[:2]:
        lab.spool.record(entry, [outcome(0, Status.SENT)])
        lab.settle()
    lab.store(envelope("m5"), [b"F"])
    lab.crash()
    done = [f for f in reference.frames(segment(tmp_path).read_bytes()[:65536]) if f.type == reference.DONE]
    with segment(tmp_path).open("r+b") as file:
        file.seek(done[0].offset + 5)
        file.write(b"!")
    got, problems = found(tmp_path)
    assert entries[0].message_id in got and entries[1].message_id not in got
    assert problems


@pytest.mark.parametrize("length", [0, 0xFFFFFFFF, 0x7FFFFFFF, 1 << 20, 4096])
def test_wrong_lengths_are_passed_over(tmp_path: Path, length: int) -> None:
    messages = stored(tmp_path)
    data = [f for f in reference.frames(segment(tmp_path).read_bytes()[:65536]) if f.type == reference.DATA]
    with segment(tmp_path).open("r+b") as file:
        file.seek(data[1].offset + 4)
        file.write(length.to_bytes(4, "little"))
    assert found(tmp_path)[0] == [messages[0], messages[2]]


def test_a_zeroed_stretch_in_the_middle_is_damage(tmp_path: Path) -> None:
    messages = stored(tmp_path, count=6)
    with segment(tmp_path).open("r+b") as file:
        file.seek(4096 * 2)
        file.write(bytes(4096 * 2))
    got, problems = found(tmp_path)
    assert got == [messages[0], *messages[3:]] and any("damage" in p for p in problems)


def filled(tmp_path: Path) -> list[int]:
    lab = Lab(tmp_path)
    messages = [
        lab.store(envelope(f"m{i % 20}"), [bytes([65 + i % 20]) * 100_000]).message_id for i in range(40)
    ]
    lab.crash()
    return messages


def test_a_missing_segment_costs_only_its_messages(tmp_path: Path) -> None:
    messages = filled(tmp_path)
    segment(tmp_path, 2).unlink()
    got, problems = found(tmp_path)
    assert 25 <= len(got) < 40 and set(got) < set(messages)
    assert any("are missing" in p for p in problems)


@pytest.mark.parametrize("damage", ["truncated", "header", "stranger"])
def test_a_bad_header_is_set_aside(tmp_path: Path, damage: str) -> None:
    messages = filled(tmp_path)
    path = segment(tmp_path, 2)
    if damage == "truncated":
        path.write_bytes(b"")
    elif damage == "header":
        path.write_bytes(b"\1" + path.read_bytes()[1:])
    else:
        path.write_bytes(segment(tmp_path, 1).read_bytes())  # put back by hand under another name
    got, problems = found(tmp_path)
    assert 25 <= len(got) < 40 and set(got) < set(messages)
    assert any("moved to corrupt/" in p for p in problems)
    assert (tmp_path / "corrupt" / f"00-{path.name}").exists() and not path.exists()


class NoMoreNames(Files):
    """A disk without room for another name."""

    def mkdir(self, name: str, *, dir_fd: int) -> None:
        if name == "corrupt":
            raise OSError(errno.ENOSPC, "No space left on device")
        super().mkdir(name, dir_fd=dir_fd)


@pytest.mark.parametrize("place", [0, 5000])
def test_a_full_disk_does_not_keep_the_rest_from_being_used(tmp_path: Path, place: int) -> None:
    """Damage in the header, and in a frame, where nothing can be set aside."""
    messages = filled(tmp_path)
    path = segment(tmp_path, 2)
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"\xff" * 100)
    lab = Lab(tmp_path, files=NoMoreNames(), start=False)
    assert set(lab.spool.entries) < set(messages) and len(lab.spool.entries) >= 25
    assert any("to corrupt/: [Errno 28]" in problem for problem in lab.problems)
    assert path.exists() and not (tmp_path / "corrupt").exists()
    entry = next(iter(lab.spool.entries.values()))
    lab.spool.set_aside(entry, "tried")
    assert "not linked to corrupt/" in lab.spool.problems[-1]
    lab.crash()


def test_a_later_segment_shows_that_the_tail_of_the_one_before_is_damaged(tmp_path: Path) -> None:
    messages = filled(tmp_path)
    whole = segment(tmp_path, 1).read_bytes()
    batches = [f for f in reference.frames(whole, check=False) if f.type == reference.BATCH]
    broken = bytearray(whole)
    broken[batches[-1].offset + 1000] ^= 1
    segment(tmp_path, 1).write_bytes(broken)
    got, problems = found(tmp_path)
    assert len(got) == 39 and set(got) < set(messages)
    assert any("damage" in p for p in problems)


def test_a_recycled_segments_old_frames_are_no_ghosts(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    for _ in range(40):
        lab.spool.record(lab.store(envelope(), [b"x" * 200_000]), [outcome(0, Status.SENT)])
    lab.settle()
    lab.crash()
    files = sorted((tmp_path / "00").iterdir())
    assert any(b"x" * 4096 in f.read_bytes() for f in files)
    lab = Lab(tmp_path, start=False)
    assert not lab.spool.entries and not lab.problems
    lab.crash()


def test_leftovers_of_making_segments_are_removed(tmp_path: Path) -> None:
    messages = stored(tmp_path)
    (tmp_path / "00" / f"{9:016x}.tmp").write_bytes(b"half")
    (tmp_path / "00" / "notes.txt").write_bytes(b"not ours")
    assert found(tmp_path) == (messages, [])
    assert not (tmp_path / "00" / f"{9:016x}.tmp").exists() and (tmp_path / "00" / "notes.txt").exists()


def test_a_newer_format_is_refused_and_not_touched(tmp_path: Path) -> None:
    stored(tmp_path)
    head = bytearray(segment(tmp_path).read_bytes())
    head[8] = 2
    head[40:44] = reference.crc32c(bytes(head[:40])).to_bytes(4, "little")
    segment(tmp_path).write_bytes(head)
    with pytest.raises(NewerFormat):
        Lab(tmp_path, start=False)
    assert segment(tmp_path).read_bytes() == head


def test_recovery_is_idempotent(tmp_path: Path) -> None:
    filled(tmp_path)
    raw = bytearray(segment(tmp_path, 3).read_bytes())
    raw[300_000:300_100] = bytes(100)
    segment(tmp_path, 3).write_bytes(raw)
    first = found(tmp_path)
    files = {p.name: p.read_bytes() for p in (tmp_path / "00").iterdir()}
    assert found(tmp_path) == first
    assert {p.name: p.read_bytes() for p in (tmp_path / "00").iterdir()} == files
