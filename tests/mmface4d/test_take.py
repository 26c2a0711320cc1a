"""The take file: what is written comes back, at random, and damage is noticed."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mmface4d.cameras import Intrinsics, RgbdCamera
from mmface4d.depth_codec import decode_depth, encode_depth
from mmface4d.errors import TakeError
from mmface4d.take import MISSING, FrameTable, TakeCamera, TakeWriter, open_take
from mmface4d.take_streams import StreamsReader, StreamsWriter

WIDTH, HEIGHT = 64, 48
SERIALS = ("A1", "B2")


def camera(serial: str) -> TakeCamera:
    imager = Intrinsics(WIDTH, HEIGHT, 50.0, 50.0, 32.0, 24.0)
    role = "master" if serial == SERIALS[0] else "subordinate"
    return TakeCamera(serial, role, RgbdCamera(serial, imager, imager, np.eye(4)), depth_delay_usec=160)


def jpeg(value: int) -> bytes:
    import cv2

    image = np.full((HEIGHT, WIDTH, 3), (value % 256, 90, 200), np.uint8)
    return cv2.imencode(".jpg", image)[1].tobytes()


def depth(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 65536, (HEIGHT, WIDTH)).astype(np.uint16)


def write_take(path: Path, frames: int = 20) -> FrameTable:
    """A small take in which the second camera misses every fifth frame."""
    usec = 1_000_000 + 33_333 * np.arange(frames, dtype=np.int64)
    there = np.arange(frames) % 5 != 4
    color = {"A1": usec, "B2": np.where(there, usec + 7, MISSING)}
    table = FrameTable(usec, color, {s: np.where(c == MISSING, MISSING, c + 160) for s, c in color.items()})
    with TakeWriter(path, [camera(s) for s in SERIALS], fps=30.0) as writer:
        for frame in range(frames):
            for number, serial in enumerate(SERIALS):
                if color[serial][frame] != MISSING:
                    writer.write(
                        serial, color_jpeg=jpeg(frame), depth_mm=depth(2 * frame + number),
                        color_usec=int(color[serial][frame]), depth_usec=int(table.depth_usec[serial][frame]),
                    )  # fmt: skip
        writer.finish(table)
    return table


@settings(max_examples=30, deadline=None)
@given(arrays(np.uint16, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_depth_survives_compression(depth_mm: np.ndarray) -> None:
    height, width = depth_mm.shape
    assert (decode_depth(encode_depth(depth_mm), width=width, height=height) == depth_mm).all()


def test_damaged_depth_is_noticed() -> None:
    data = bytearray(encode_depth(depth(0)))
    data[len(data) // 2] ^= 1
    with pytest.raises(TakeError):
        decode_depth(bytes(data), width=WIDTH, height=HEIGHT)
    with pytest.raises(TakeError):
        decode_depth(encode_depth(depth(0)), width=WIDTH, height=HEIGHT + 1)


def test_frames_come_back_in_any_order(tmp_path: Path) -> None:
    table = write_take(tmp_path / "take")
    with open_take(tmp_path / "take") as take:
        assert len(take) == 20
        assert take.master == "A1"
        assert take.cameras["B2"].depth_delay_usec == 160
        assert (take.timestamps_usec == table.timestamps_usec).all()
        for frame in np.random.default_rng(1).permutation(20):
            frame = int(frame)
            missing = frame % 5 == 4
            assert take.present(frame) == (("A1",) if missing else SERIALS)
            assert take.color_jpeg(frame, "A1") == jpeg(frame)
            assert (take.depth_mm(frame, "A1") == depth(2 * frame)).all()
            assert (take.depth_mm(frame, "B2") is None) == missing
            color = take.color(frame, "A1")
            assert color is not None
            assert np.abs(color[5, 5].astype(int) - [200, 90, frame]).max() < 8


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), TakeWriter(tmp_path / "take", [camera("A1")], fps=30.0):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_takes_are_never_overwritten(tmp_path: Path) -> None:
    write_take(tmp_path / "take", 2)
    with pytest.raises(TakeError, match="never overwritten"):
        TakeWriter(tmp_path / "take", [camera("A1")], fps=30.0)
    assert len(open_take(tmp_path / "take")) == 2


def test_what_is_no_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TakeError, match="no such folder"):
        open_take(tmp_path / "nothing")
    with pytest.raises(TakeError, match="it has no take"):
        open_take(tmp_path)
    write_take(tmp_path / "take", 2)
    (tmp_path / "take" / "take.json").write_text('{"format": 1, "fps": 30}')
    with pytest.raises(TakeError, match="damaged"):
        open_take(tmp_path / "take")
    (tmp_path / "take" / "take.json").unlink()
    with pytest.raises(TakeError, match="unfinished") as caught:
        open_take(tmp_path / "take")
    assert "recover" in str(caught.value.hint)


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    write_take(tmp_path / "take", 4)
    path = tmp_path / "take" / "streams.mcap"
    data = bytearray(path.read_bytes())
    data[data.find(jpeg(1)) + 100] ^= 4
    path.write_bytes(bytes(data))
    with open_take(tmp_path / "take") as take, pytest.raises(TakeError, match="chunk"):
        take.color_jpeg(1, "A1")


def test_a_lost_index_is_noticed(tmp_path: Path) -> None:
    write_take(tmp_path / "take", 4)
    path = tmp_path / "take" / "streams.mcap"
    path.write_bytes(path.read_bytes()[:-1000])
    with open_take(tmp_path / "take") as take, pytest.raises(TakeError, match="damaged"):
        take.color_jpeg(1, "A1")


@pytest.mark.parametrize(("old", "new"), [("1000000", "9" * 30), ('"A1"', '"../A1"'), ('"fps": 30.0', '"fps": 0')])
def test_a_record_that_cannot_be_is_refused(tmp_path: Path, old: str, new: str) -> None:
    write_take(tmp_path / "take")
    record = tmp_path / "take" / "take.json"
    assert old in record.read_text()
    record.write_text(record.read_text().replace(old, new))
    with pytest.raises(TakeError, match="is damaged"):
        open_take(tmp_path / "take")


def test_times_that_no_clock_shows_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "streams.mcap"
    writer = StreamsWriter(path, metadata={}, attachments={}, serials=["A1"])
    writer.write("A1", "color", jpeg(0), device_usec=(1 << 63) // 1000 + 1)
    writer.finish()
    with pytest.raises(TakeError, match="is damaged"):
        StreamsReader(path)
