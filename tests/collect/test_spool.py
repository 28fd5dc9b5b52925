"""The buffer on disk: in order, at least once, whatever is torn, killed, full or damaged."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.errors import StreamError
from include.stream.spool import Spool, SpoolFullError
from tests import processes

Record = tuple[str, bytes]


def records(*numbers: int) -> list[Record]:
    return [(f"S{number % 2}", b"%d" % number) for number in numbers]


def drained(spool: Spool, at_once: int = 100) -> list[int]:
    """All that is waiting, taken and acknowledged batch by batch."""
    found: list[int] = []
    while batch := spool.peek(at_once, 1_000_000):
        found += [int(data) for _, data in batch]
        spool.acknowledge()
    return found


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.log"))


def test_what_goes_in_comes_out_in_order_with_its_keys(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        assert spool.append(records(1, 2)) == 2
        spool.append(records(3))
        assert spool.count == 3
        assert spool.peek(2, 1000) == records(1, 2)
        assert spool.peek(9, 1000) == records(1, 2, 3), "nothing was acknowledged"
        spool.acknowledge()
        assert (spool.count, spool.peek(9, 1000)) == (0, [])


def test_a_batch_is_bounded_in_bytes_but_never_empty(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        spool.append([("a", b"x" * 100), ("a", b"y" * 100), ("a", b"z" * 100)])
        assert len(spool.peek(9, 200)) == 2
        assert len(spool.peek(9, 1)) == 1


def test_what_was_not_acknowledged_is_there_after_a_restart(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        spool.append(records(1, 2, 3))
        spool.peek(2, 1000)
        spool.acknowledge()
    with Spool(tmp_path) as spool:
        assert spool.count == 1
        spool.append(records(4))
        assert drained(spool) == [3, 4]


def test_segments_follow_each_other_and_go_when_they_are_done_with(tmp_path: Path) -> None:
    with Spool(tmp_path, segment_bytes=50) as spool:
        for number in range(10):
            spool.append(records(number))
        assert len(segments(tmp_path)) == 3
        assert drained(spool, at_once=3) == list(range(10))
        assert len(segments(tmp_path)) == 1
        assert spool.size <= 50


def test_a_full_spool_says_so_keeps_nothing_of_the_batch_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    with Spool(tmp_path, segment_bytes=40, max_bytes=100) as spool:
        spool.append([("a", b"x" * 60)])
        with pytest.raises(SpoolFullError, match=r"holds 71 of 100 bytes and takes no more"):
            spool.append([("a", b"y" * 10), ("a", b"z" * 10)])
        assert [data[:1] for _, data in spool.peek(9, 1000)] == [b"x"]
        spool.acknowledge()
        spool.append([("a", b"y" * 10)])
        assert spool.peek(9, 1000) == [("a", b"y" * 10)]


def test_a_disk_that_takes_no_more_loses_nothing_that_was_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Spool(tmp_path) as spool:
        spool.append(records(1))

        def refuse(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", refuse)
            with pytest.raises(SpoolFullError, match="No space left"):
                spool.append(records(2))
        spool.append(records(3))
        assert drained(spool) == [1, 3]


def test_a_disk_that_turned_read_only_still_gives_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(30, "Read-only file system")

    with Spool(tmp_path, segment_bytes=20) as spool:
        for number in (1, 2, 3):
            spool.append(records(number))
        with monkeypatch.context() as patch:
            for verb in ("unlink", "replace", "write_text"):
                patch.setattr(Path, verb, refuse)
            assert (drained(spool), spool.count) == ([1, 2, 3], 0)
        spool.append(records(4))
        assert drained(spool) == [4]
    assert "cannot be removed: [Errno 30] Read-only file system" in caplog.text
    assert "so a restart sends again what was sent" in caplog.text


def test_a_folder_that_cannot_be_made_or_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "collect").write_text("a file where a folder must be")
    with pytest.raises(StreamError, match=r"collect/binance cannot be opened: .* a folder that this user may write to"):
        Spool(tmp_path / "collect" / "binance")
    (tmp_path / "kraken" / "00000001.log").mkdir(parents=True)
    with pytest.raises(StreamError, match=r"kraken cannot be read: .*Is a directory.*; check the disk"):
        Spool(tmp_path / "kraken")


@pytest.mark.parametrize("tail", [b"\x01", b"\0" * 300, b"\x12\x34\x56\x78\x00\x02\x00\x00\x00\x09half"])
def test_a_torn_tail_is_cut_off(tmp_path: Path, tail: bytes) -> None:
    with Spool(tmp_path) as spool:
        spool.append(records(1, 2))
    with segments(tmp_path)[-1].open("ab") as file:
        file.write(tail)
    with Spool(tmp_path) as spool:
        spool.append(records(3))
        assert (drained(spool), spool.damage) == ([1, 2, 3], [])


def test_damage_within_is_set_aside_and_named(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        spool.append(records(1, 2, 3))
    (segment,) = segments(tmp_path)
    content = bytearray(segment.read_bytes())
    content[-14] ^= 0xFF  # in the second record of three
    segment.write_bytes(content)
    with Spool(tmp_path) as spool:
        assert drained(spool) == [1]
        (said,) = spool.damage
    assert "cannot be read and are in 00000001.13.damaged" in said
    assert (tmp_path / "00000001.13.damaged").read_bytes() == bytes(content[13:])


def test_a_lost_or_foreign_position_means_sending_again_not_losing(tmp_path: Path) -> None:
    for position in (None, "rubbish", "1 99999 99", "77 0 0"):
        folder = tmp_path / str(position).split()[0]
        with Spool(folder) as spool:
            spool.append(records(1, 2))
            spool.peek(1, 1000)
            spool.acknowledge()
        if position is None:
            (folder / "position").unlink()
        else:
            (folder / "position").write_text(position)
        with Spool(folder) as spool:
            assert drained(spool) == [1, 2]


def test_two_processes_do_not_share_a_spool(tmp_path: Path) -> None:
    with Spool(tmp_path), pytest.raises(StreamError, match="another process spools into"):
        Spool(tmp_path)
    Spool(tmp_path).close()


def test_a_killed_process_leaves_all_it_had_appended(tmp_path: Path) -> None:
    def append_and_die() -> None:
        spool = Spool(tmp_path)
        spool.append(records(*range(100)))
        os.kill(os.getpid(), signal.SIGKILL)

    assert processes.run(append_and_die).killed
    with Spool(tmp_path) as spool:
        assert drained(spool) == list(range(100))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 5)),
        st.tuples(st.just("take"), st.integers(1, 7)),
        st.tuples(st.just("peek"), st.integers(1, 7)),
        st.tuples(st.just("crash"), st.integers(0, 40)),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_whatever_happens_everything_appended_is_drained_in_order_at_least_once(steps: list[tuple[str, int]]) -> None:
    """A crash leaves the files as they are, with so many bytes of a frame at the end that was never promised."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spool, appended, taken = Spool(folder, segment_bytes=80), 0, list[int]()
        for verb, number in steps:
            if verb == "append":
                spool.append(records(*range(appended, appended + number)))
                appended += number
            elif verb == "crash":
                spool.close()
                if number and segments(folder):
                    with segments(folder)[-1].open("ab") as file:
                        file.write((b"\xaa\xbb\xcc\xdd\x00\x02\x00\x00\x40\x00" + b"S" * 40)[:number])
                spool = Spool(folder, segment_bytes=80)
            else:
                found = [int(data) for _, data in spool.peek(number, 1000)]
                if verb == "take":
                    spool.acknowledge()
                    taken += found
        assert spool.count == appended - len(taken)
        taken += drained(spool)
        assert (taken, spool.damage) == (list(range(appended)), [])
        spool.close()
