"""Recovery: whatever a kill or a cut leaves, what is whole comes back exactly, and nothing else is thrown away."""

import contextlib
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

import capture.recover
from capture.recover import recover_take, report_json, report_text
from mmface4d.errors import TakeError
from mmface4d.take import TakeWriter, open_take
from mmface4d.take_streams import CHUNK_BYTES
from tests.capture.small_take import DELAYS, camera, depth, frame_table, jpeg, write_pictures, write_sound, write_take

FRAMES, CHUNK_FRAMES = 20, 4


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_take(tmp_path_factory.mktemp("takes") / "whole", FRAMES, notes=("a note",))


def copy_of(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "take"))


def chunk_ends(whole: Path) -> list[int]:
    with open_take(whole) as take:
        return [chunk.chunk_start_offset + chunk.chunk_length for chunk in take.streams.chunks]


def check_pictures(path: Path, frames: int, whole: Path) -> None:
    """The take has the first `frames` frames, byte by byte."""
    with open_take(path) as take, open_take(whole) as original:
        assert len(take) == frames
        assert (take.timestamps_usec == original.timestamps_usec[:frames]).all()
        assert take.cameras.keys() == original.cameras.keys()
        assert take.info.cameras == original.info.cameras
        assert take.streams.attachments() == original.streams.attachments()
        for frame in range(frames):
            for serial in DELAYS:
                assert take.color_jpeg(frame, serial) == jpeg(frame)
                assert np.array_equal(take.depth_mm(frame, serial), depth(frame, serial))  # type: ignore[arg-type]


def test_a_whole_take_is_left_alone(whole: Path, tmp_path: Path) -> None:
    path = copy_of(whole, tmp_path)
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    report = recover_take(path)
    assert report.whole
    assert report.frames == FRAMES
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before
    assert "nothing was changed" in report_text(report)


@pytest.mark.parametrize("share", np.linspace(0.0, 0.9999, 27))
@pytest.mark.parametrize("record", [True, False])
def test_a_cut_anywhere_loses_at_most_the_chunk_it_hits(
    whole: Path, tmp_path: Path, share: float, record: bool
) -> None:
    path = copy_of(whole, tmp_path)
    data = (path / "streams.mcap").read_bytes()
    cut = int(share * len(data))
    (path / "streams.mcap").write_bytes(data[:cut])
    if not record:
        (path / "take.json").unlink()
    ends = chunk_ends(whole)
    chunks = sum(end <= cut for end in ends)
    if not chunks:
        before = {file.name: file.read_bytes() for file in path.iterdir()}
        with pytest.raises(TakeError):
            recover_take(path)
        assert {file.name: file.read_bytes() for file in path.iterdir()} == before
        return
    report = recover_take(path)
    assert not report.whole
    assert report.frames == min(chunks * CHUNK_FRAMES, FRAMES)
    check_pictures(path, report.frames, whole)
    with open_take(path) as take:
        assert take.info.audio is not None
        assert take.info.source == {"kind": "test"}
        assert take.info.audio.start_source == ("host clock" if record else "assumed")
    if chunks < len(ends) and data[ends[chunks - 1] : cut] and report.dropped_bytes:
        assert (path / "streams.mcap.tail").read_bytes() == data[cut - report.dropped_bytes : cut]
    assert recover_take(path).whole


def test_a_take_without_its_record_is_paired_anew(whole: Path, tmp_path: Path) -> None:
    path = copy_of(whole, tmp_path)
    (path / "take.json").unlink()
    streams = (path / "streams.mcap").read_bytes()
    report = recover_take(path)
    assert report.dropped_bytes == 0
    assert not report.kept
    assert (path / "streams.mcap").read_bytes() == streams
    check_pictures(path, FRAMES, whole)
    assert report_json(report)["frames"] == FRAMES


def test_a_damaged_record_is_kept_aside(whole: Path, tmp_path: Path) -> None:
    path = copy_of(whole, tmp_path)
    (path / "take.json").write_text('{"format": 1')
    recover_take(path)
    check_pictures(path, FRAMES, whole)
    assert (path / "take.json.damaged").read_text() == '{"format": 1'


@pytest.mark.parametrize("damaged", [0, 2, 4])
def test_a_damaged_chunk_costs_only_itself(whole: Path, tmp_path: Path, damaged: int) -> None:
    path = copy_of(whole, tmp_path)
    with open_take(whole) as take:
        at = take.streams.chunks[damaged].chunk_start_offset + 5000
    data = bytearray((path / "streams.mcap").read_bytes())
    data[at] ^= 1
    (path / "streams.mcap").write_bytes(data)
    report = recover_take(path)
    assert report.damaged_chunks == 1
    assert report.frames == FRAMES - CHUNK_FRAMES
    assert (path / "streams.mcap.damaged").read_bytes() == bytes(data)
    first = CHUNK_FRAMES if damaged == 0 else 0
    with open_take(path) as take:
        assert take.color_jpeg(0, "left") == jpeg(first)
        assert take.color_jpeg(len(take) - 1, "right") == jpeg(15 if damaged == 4 else 19)


def test_a_recovery_that_was_killed_is_repeated(whole: Path, tmp_path: Path) -> None:
    path = copy_of(whole, tmp_path)
    data = bytearray((path / "streams.mcap").read_bytes())
    data[chunk_ends(whole)[1] - 100] ^= 1
    # killed between the renaming of the original and the naming of the new file
    (path / "streams.mcap").unlink()
    (path / "streams.mcap.damaged").write_bytes(data)
    (path / ".streams.abc.partial.mcap").write_bytes(b"half")
    (path / "take.json").rename(path / "take.json.former")
    report = recover_take(path)
    assert report.frames == FRAMES - CHUNK_FRAMES
    assert sorted(file.name for file in path.iterdir()) == [
        "audio.wav", "streams.mcap", "streams.mcap.damaged", "take.json",
    ]  # fmt: skip
    with open_take(path) as take:
        assert take.info.audio is not None
        assert take.info.audio.start_source == "host clock"
        assert take.info.notes[0] == "a note"
        assert len(take) == FRAMES - CHUNK_FRAMES


@pytest.mark.parametrize("step", ["_copy", "_keep_tail", "_retire_record", "_finish", "_repair_audio", "write_record"])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_stopped_at_any_step_it_can_be_repeated(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, after: bool, damage: str
) -> None:
    path = copy_of(whole, tmp_path)
    data = bytearray((path / "streams.mcap").read_bytes())
    if damage == "flip":
        data[chunk_ends(whole)[4] - 100] ^= 1
    else:
        del data[chunk_ends(whole)[4] - 100 :]
    (path / "streams.mcap").write_bytes(data)
    do = getattr(capture.recover, step)

    def stop(*arguments: object, **options: object) -> None:
        if after:
            do(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(capture.recover, step, stop)
    with contextlib.suppress(KeyboardInterrupt):
        recover_take(path)
    monkeypatch.undo()
    recover_take(path)
    check_pictures(path, FRAMES - CHUNK_FRAMES, whole)
    with open_take(path) as take:
        assert take.info.audio is not None
        assert take.info.audio.start_source == "host clock"
    kept = {file.name: file for file in path.iterdir()}
    if damage == "flip":
        assert kept["streams.mcap.damaged"].read_bytes() == bytes(data)
    else:
        tail = kept["streams.mcap.tail"].read_bytes()
        assert data.endswith(tail)
        assert len(tail) > 1000
        assert "streams.mcap.tail-2" not in kept


@pytest.mark.parametrize("sizes", [(0, 0), (36, 0), (0xFFFFFFFF, 0xFFFFFFFF), (36 + 3000, 3000)])
def test_a_stale_sound_header_is_mended(whole: Path, tmp_path: Path, sizes: tuple[int, int]) -> None:
    path = copy_of(whole, tmp_path)
    (path / "take.json").unlink()
    intact = bytearray((path / "audio.wav").read_bytes())
    at = intact.find(b"data")
    stale = bytearray(intact)
    struct.pack_into("<I", stale, 4, sizes[0])
    struct.pack_into("<I", stale, at + 4, sizes[1])
    (path / "audio.wav").write_bytes(stale + b"\x01")  # and a sample that was half written
    report = recover_take(path)
    assert report.audio_repaired
    assert (path / "audio.wav").read_bytes() == bytes(intact) + b"\x01"
    assert soundfile.info(str(path / "audio.wav")).frames == 96_000
    with open_take(path) as take:
        assert take.info.audio is not None
        assert take.info.audio.samples == 96_000


def test_sound_with_more_chunks_after_it_is_left_alone(whole: Path, tmp_path: Path) -> None:
    path = copy_of(whole, tmp_path)
    (path / "take.json").unlink()
    extra = b"LIST" + struct.pack("<I", 10) + b"INFOISFT" + b"ab"
    data = (path / "audio.wav").read_bytes() + extra
    (path / "audio.wav").write_bytes(data)
    assert not recover_take(path).audio_repaired
    assert (path / "audio.wav").read_bytes() == data


def test_unreadable_sound_does_not_stop_the_pictures(whole: Path, tmp_path: Path) -> None:
    path = copy_of(whole, tmp_path)
    (path / "take.json").unlink()
    (path / "audio.wav").write_bytes(b"RIFF")
    report = recover_take(path)
    assert report.frames == FRAMES
    assert any("audio.wav" in note for note in report.notes)
    assert (path / "audio.wav").read_bytes() == b"RIFF"


def test_what_cannot_be_saved_is_refused_and_left_alone(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(TakeError, match="no such folder"):
        recover_take(tmp_path / "nothing")
    with pytest.raises(TakeError, match="it has no"):
        recover_take(tmp_path)
    (tmp_path / "streams.mcap").write_bytes(b"\x1aE\xdf\xa3 this is a Matroska file" * 100)
    with pytest.raises(TakeError, match="no streams file"):
        recover_take(tmp_path)
    (tmp_path / "streams.mcap").write_bytes((whole / "streams.mcap").read_bytes()[:60])
    with pytest.raises(TakeError, match="before it tells its cameras"):
        recover_take(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["streams.mcap"]


def test_arrival_times_survive(tmp_path: Path) -> None:
    """Clocks without a common origin are paired by the arrival times that lie in the streams."""
    table, shift = frame_table(12), {"front": 0, "left": 5_000_000, "right": -700_000}
    writer = TakeWriter(tmp_path / "take", [camera(serial) for serial in DELAYS], fps=30.0)
    for frame, usec in enumerate(table.timestamps_usec.tolist()):
        for serial in DELAYS:
            at = usec + shift[serial]
            writer.write(
                serial, color_jpeg=jpeg(frame), color_usec=at, host_nsec=(usec + 70_000_000) * 1000,
                depth_mm=depth(frame, serial), depth_usec=at + DELAYS[serial],
            )  # fmt: skip
    writer.flush()
    with pytest.raises(TakeError, match="being written"):
        recover_take(tmp_path / "take")
    writer._streams.close()  # as a kill would
    for _ in range(2):
        report = recover_take(tmp_path / "take")
        assert report.frames == 12
        with open_take(tmp_path / "take") as take:
            for serial in DELAYS:
                assert take.present(7) == tuple(DELAYS)
                assert take.color_jpeg(7, serial) == jpeg(7)
        (tmp_path / "take" / "take.json").unlink()


WRITE_FOR_EVER = """
import itertools, sys, time
from pathlib import Path
sys.path.append(sys.argv[2])
from mmface4d.take import TakeWriter
from tests.capture.small_take import DELAYS, PERIOD_USEC, START_USEC, camera, depth, jpeg
writer = TakeWriter(Path(sys.argv[1]), [camera(serial) for serial in DELAYS], fps=30.0)
for frame in itertools.count():
    for serial in DELAYS:
        at = START_USEC + frame * PERIOD_USEC
        writer.write(serial, color_jpeg=jpeg(frame), color_usec=at, depth_mm=depth(frame, serial),
                     depth_usec=at + DELAYS[serial])
    print(frame, flush=True)
"""


def test_an_import_that_was_killed_says_that_more_is_in_the_recordings(tmp_path: Path) -> None:
    path = tmp_path / "take"
    writer = TakeWriter(path, [camera(serial) for serial in DELAYS], fps=30.0, source={"kind": "k4a mkv"})
    write_pictures(writer, frame_table(FRAMES))
    writer.flush()
    writer._streams.close()  # as a kill would
    report = recover_take(path)
    assert report.frames == FRAMES
    assert "in the recordings only" in report_text(report)


def test_a_killed_writer_loses_at_most_the_chunk_in_progress(tmp_path: Path) -> None:
    path = tmp_path / "take"
    command = [sys.executable, "-c", WRITE_FOR_EVER, str(path), str(Path(__file__).parents[2])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        written = -1
        streams = path / "streams.mcap"
        until = time.monotonic() + 60
        while not (streams.is_file() and streams.stat().st_size > 5 << 20) and time.monotonic() < until:
            written = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split()
        written = int(rest[-1]) if rest else written
    write_sound(path / "audio.wav", 1.0)
    report = recover_take(path)
    least_bytes_a_frame = len(DELAYS) * len(jpeg(1))
    assert report.frames >= written - CHUNK_BYTES / least_bytes_a_frame
    with open_take(path) as take:
        for frame in (0, report.frames // 2, report.frames - 2):  # a chunk may end within a frame
            for serial in DELAYS:
                assert take.color_jpeg(frame, serial) == jpeg(frame)
                assert np.array_equal(take.depth_mm(frame, serial), depth(frame, serial))  # type: ignore[arg-type]
