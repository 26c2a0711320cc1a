"""The mesh codec of the MMFace4D data set, against a decoder written from its description."""

import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.presets import nut_mesh
from corpus.presets.gray_video import GrayVideoWriter, count_pictures, read_gray_video, video_rate
from corpus.presets.nut_mesh import axis_path, decode_axis, encode_axis, read_nut_mesh, side_of, write_nut_mesh
from mmface4d.errors import InputError

N_VERTS = 1200  # pictures of 35x35


def face(frame: int, n_verts: int = N_VERTS) -> np.ndarray:
    """Points within a head's size, seen from 0.7 m."""
    rng = np.random.default_rng(frame)
    return (rng.uniform(-1, 1, (n_verts, 3)) * [0.1, 0.13, 0.12] + [0.01 * frame, 0.0, 0.7]).astype(np.float32)


def literal_decode(picture: np.ndarray, n_verts: int) -> np.ndarray:
    """Word by word from the description, in another way than the program's."""
    pixels = picture.reshape(-1).tolist()
    low, high = struct.unpack("<ff", struct.pack("<HHHH", *pixels[:4]))
    return np.array([q / 65536 * (high - low) + low for q in pixels[4 : 4 + n_verts]])


@pytest.fixture
def stem(tmp_path: Path) -> Path:
    write_nut_mesh(tmp_path / "m", (face(frame) for frame in range(8)), 30.0)
    return tmp_path / "m"


@pytest.mark.parametrize(("n_verts", "side"), [(35709, 189), (12, 4), (13, 5), (1, 3), (5023, 71), (1200, 35)])
def test_the_side_is_the_root_rounded_up(n_verts: int, side: int) -> None:
    assert side_of(n_verts) == side == int(np.ceil(np.sqrt(n_verts + 4)))


def test_meshes_come_back_within_five_micrometres(tmp_path: Path) -> None:
    worst_m = write_nut_mesh(tmp_path / "m", (face(frame, 35_709) for frame in range(3)), 30.0)
    found = list(read_nut_mesh(tmp_path / "m", 35_709))
    true_worst_m = max(float(np.abs(a - face(k, 35_709).astype(float)).max()) for k, a in enumerate(found))
    assert len(found) == 3
    assert true_worst_m <= worst_m * 1.001 + 1e-9
    assert 1e-6 < true_worst_m < 5e-6
    assert video_rate(axis_path(tmp_path / "m", "x")) == 30.0


def test_any_program_can_read_it_from_the_description(stem: Path) -> None:
    for axis, name in enumerate("xyz"):
        with av.open(str(axis_path(stem, name))) as container:
            stream = container.streams.video[0]
            assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("ffv1", "gray16le")
            assert (stream.width, stream.height, stream.average_rate) == (35, 35, 30)
            pictures = [frame.to_ndarray() for frame in container.decode(stream)]
        assert len(pictures) == 8
        for frame, picture in enumerate(pictures):
            assert np.abs(literal_decode(picture, N_VERTS) - face(frame)[:, axis]).max() < 5e-6
            assert (picture.reshape(-1)[4 + N_VERTS :] == 0).all()


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="the ffmpeg program is not installed")
def test_the_ffmpeg_program_reads_it(stem: Path) -> None:
    path = axis_path(stem, "y")
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "gray16le", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    pictures = np.frombuffer(done.stdout, "<u2").reshape(-1, 35, 35)
    assert np.array_equal(pictures, np.stack(list(read_gray_video(path))))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.floats(-50, 50), st.floats(0, 40), st.integers(0, 1000))
def test_the_error_is_at_most_half_a_step(n_verts: int, middle: float, reach: float, seed: int) -> None:
    values = np.random.default_rng(seed).uniform(middle - reach / 2, middle + reach / 2, n_verts).astype(np.float32)
    found = decode_axis(encode_axis(values), n_verts)
    step = (float(values.max()) - float(values.min()) + 0.1) / 65536
    assert np.abs(found - values.astype(float)).max() <= step / 2 + 2e-7 * (1 + abs(middle) + reach)


def test_the_highest_value_does_not_wrap(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.linspace(0, 0.2, 50).astype(np.float32)
    assert np.abs(decode_axis(encode_axis(values), 50) - values).max() < 5e-6
    monkeypatch.setattr(nut_mesh, "PAD_M", 0.0)  # what would happen without the padding
    with np.errstate(invalid="ignore"):
        assert decode_axis(encode_axis(values), 50)[-1] == 0.0


def test_a_face_that_does_not_move_in_an_axis() -> None:
    assert np.abs(decode_axis(encode_axis(np.full(9, 0.7, np.float32)), 9) - 0.7).max() < 1e-6


def test_frames_are_taken_and_given_one_by_one(tmp_path: Path) -> None:
    taken: list[int] = []

    def frames() -> Iterator[np.ndarray]:
        for frame in range(5):
            taken.append(frame)
            yield face(frame)

    write_nut_mesh(tmp_path / "m", frames(), 25.0)
    assert taken == [0, 1, 2, 3, 4]
    reader = read_nut_mesh(tmp_path / "m", N_VERTS)
    assert np.abs(next(reader) - face(0)).max() < 5e-6
    reader.close()  # type: ignore[attr-defined]
    assert count_pictures(axis_path(tmp_path / "m", "x")) == 5


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e4])
def test_what_is_no_face_is_refused_and_nothing_is_left(tmp_path: Path, bad: float) -> None:
    broken = face(1)
    broken[5, 2] = bad
    with pytest.raises(InputError, match="no face"):
        write_nut_mesh(tmp_path / "m", iter([face(0), broken]), 30.0)
    assert not list(tmp_path.iterdir())


def test_cut_files_are_refused(stem: Path) -> None:
    path = axis_path(stem, "x")
    whole = path.read_bytes()
    for length in [0, 5, 30, 300, len(whole) // 3, len(whole) // 2, len(whole) - 40, len(whole) - 12, len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"m_x\.nut") as caught:
            list(read_nut_mesh(stem, N_VERTS))
        assert caught.value.hint


def test_flipped_bits_are_noticed_or_harmless(stem: Path) -> None:
    path = axis_path(stem, "z")
    whole, expected = path.read_bytes(), np.stack(list(read_nut_mesh(stem, N_VERTS)))
    rng = np.random.default_rng(3)
    noticed = 0
    for place in rng.integers(0, len(whole), 60).tolist():
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            found = np.stack(list(read_nut_mesh(stem, N_VERTS)))
        except InputError:
            noticed += 1
            continue
        np.testing.assert_array_equal(found, expected)
    assert noticed > 50


def test_files_that_do_not_belong_together_are_refused(stem: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pictures of 35x35, 1300 vertices need 37x37"):
        list(read_nut_mesh(stem, 1300))
    write_nut_mesh(tmp_path / "short", (face(frame) for frame in range(5)), 30.0)
    shutil.copy(axis_path(tmp_path / "short", "y"), axis_path(stem, "y"))
    with pytest.raises(InputError, match=r"m_y\.nut has only 5 frames"):
        list(read_nut_mesh(stem, N_VERTS))
    axis_path(stem, "y").unlink()
    with pytest.raises(InputError, match=r"m_y\.nut does not exist"):
        list(read_nut_mesh(stem, N_VERTS))


@pytest.mark.parametrize("ends", [(np.nan, 1.0), (0.0, np.inf), (1.0, 0.0), (0.0, 0.0), (-3e38, 3e38)])
def test_a_range_that_cannot_be_is_refused(stem: Path, ends: tuple[float, float]) -> None:
    picture = encode_axis(face(0)[:, 0])
    picture.reshape(-1)[:4] = np.array(ends, "<f4").view("<u2")
    with GrayVideoWriter(axis_path(stem, "x"), width=35, height=35, fps=30.0) as video:
        video.write(picture)
    with pytest.raises(InputError, match=r"m_x\.nut, frame 0: .* reach from"):
        list(read_nut_mesh(stem, N_VERTS))


def test_other_videos_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m_x.nut"
    with av.open(str(path), "w", format="nut") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "gray"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32), np.uint8), format="gray")))
        container.mux(stream.encode(None))
    with pytest.raises(InputError, match="no 16-bit grey FFV1"):
        list(read_gray_video(path))
    path.write_bytes(b"RIFF" * 1000)
    with pytest.raises(InputError, match="no whole NUT file"):
        list(read_gray_video(path))
