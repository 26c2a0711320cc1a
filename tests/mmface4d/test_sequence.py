import io
import os
import pickle  # noqa: TID251  (to make the hostile file)
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmface4d.errors import InputError
from mmface4d.sequence import MeshSequence, load_sequence, write_sequence

FACES = np.array([[0, 1, 2], [2, 1, 3]], np.int32)


def frame(index: int, *, n_verts: int = 4) -> dict[str, np.ndarray]:
    return {
        "vertices": np.random.default_rng(index).normal(size=(n_verts, 3)).astype(np.float32),
        "timestamps_usec": np.int64(1_000_000 + 33_333 * index),  # type: ignore[dict-item]
        "expression": np.full(52, index, np.float32),
        "rotation": np.array([1, 0, 0, 0], np.float32),
        "status": np.uint8(0),  # type: ignore[dict-item]
    }


def write(path: Path, *, frame_count: int = 5, read_frame: Callable[[int], Any] = frame, **more: Any) -> Path:
    of_sequence = {"faces": FACES, "fps": 30.0, "model": "canonical", "serials": np.array(["1", "22"]), **more}
    write_sequence(path, of_sequence=of_sequence, frame_count=frame_count, read_frame=read_frame)
    return path


def test_a_sequence_comes_back_frame_by_frame(tmp_path: Path) -> None:
    sequence = load_sequence(write(tmp_path / "sequence.npz"))
    assert len(sequence) == 5
    for index in range(5):
        for name, value in frame(index).items():
            np.testing.assert_array_equal(sequence[name][index], value)
            assert sequence[name].dtype == value.dtype
    np.testing.assert_array_equal(sequence.faces, FACES)
    assert str(sequence["model"]) == "canonical"
    assert list(sequence["serials"]) == ["1", "22"]
    assert "vertices" in sequence
    assert "lighting" not in sequence


def test_plain_numpy_reads_the_file_without_pickles(tmp_path: Path) -> None:
    path = write(tmp_path / "sequence.npz")
    with np.load(path, allow_pickle=False) as file:
        assert file["vertices"].shape == (5, 4, 3)
        assert file["vertices"].dtype == np.float32
        np.testing.assert_array_equal(file["vertices"], load_sequence(path).vertices)
        assert int(file["format"]) == 1
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None


def test_a_file_that_numpy_wrote_is_read_too(tmp_path: Path) -> None:
    arrays = {"vertices": np.zeros((2, 4, 3), np.float32), "faces": FACES, "timestamps_usec": np.arange(2)}
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "sequence.npz", **arrays)
        assert load_sequence(tmp_path / "sequence.npz").vertices.shape == (2, 4, 3)


def test_memory_does_not_grow_with_the_sequences_length(tmp_path: Path) -> None:
    n_verts, frame_count = 10_000, 60  # 7.2 MB of vertices

    def peak_bytes(action: Callable[[], object]) -> int:
        tracemalloc.start()
        action()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    path = tmp_path / "sequence.npz"
    one = frame(0, n_verts=n_verts)
    assert peak_bytes(lambda: write(path, frame_count=frame_count, read_frame=lambda _: one)) < 1_500_000
    sequences: list[MeshSequence] = []
    assert peak_bytes(lambda: sequences.append(load_sequence(path))) < 1_500_000
    assert isinstance(sequences[0].vertices, np.memmap)
    np.testing.assert_array_equal(sequences[0].vertices[frame_count - 1], one["vertices"])


def test_a_failing_frame_leaves_the_old_file(tmp_path: Path) -> None:
    path = write(tmp_path / "sequence.npz", frame_count=2)

    def fail_at_three(index: int) -> dict[str, np.ndarray]:
        if index == 3:
            raise KeyboardInterrupt
        return frame(index)

    with pytest.raises(KeyboardInterrupt):
        write(path, read_frame=fail_at_three)
    assert len(load_sequence(path)) == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["sequence.npz"]


def test_frames_of_different_topology_are_not_one_sequence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frame 2 has vertices"):
        write(tmp_path / "sequence.npz", read_frame=lambda index: frame(index, n_verts=4 if index < 2 else 5))
    assert not list(tmp_path.iterdir())


def test_objects_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        write(tmp_path / "sequence.npz", texture=np.array([{"a": 1}]))
    assert not list(tmp_path.iterdir())


def test_no_frames_and_no_file_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no frame to write"):
        write(tmp_path / "sequence.npz", frame_count=0)
    with pytest.raises(InputError, match="does not exist") as caught:
        load_sequence(tmp_path / "sequence.npz")
    assert "mmface4d reconstruct" in str(caught.value.hint)


class Bomb:
    """Unpickling this would set the environment variable BOMB."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.putenv, ("BOMB", "gone off")


def saved(**changes: Any) -> bytes:
    arrays = {"vertices": np.zeros((2, 4, 3), np.float32), "faces": FACES, "timestamps_usec": np.arange(2), **changes}
    buffer = io.BytesIO()
    np.savez(buffer, **{name: value for name, value in arrays.items() if value is not None})
    return buffer.getvalue()


def lone_array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((2, 4, 3), np.float32))
    return buffer.getvalue()


def lying_header() -> bytes:
    """Vertices that claim more frames than are stored: the map would reach into what follows."""
    return saved().replace(b"(2, 4, 3), }", b"(9, 4, 3), }", 1)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"PK", b"no zip at all", pickle.dumps(Bomb()), lone_array(), lying_header(),
        saved(vertices=np.array([Bomb()] * 2, object)), saved(texture=np.array([Bomb()], object)),
        saved(vertices=None), saved(faces=None), saved(timestamps_usec=None),
        saved(vertices=np.zeros((2, 12), np.float32)), saved(vertices=np.zeros((2, 4, 3), np.int32)),
        saved(faces=FACES + 2), saved(faces=-FACES), saved(faces=FACES.astype(float)), saved(faces=FACES[:, :2]),
        saved(timestamps_usec=np.arange(3)), saved(timestamps_usec=np.int64(3)), saved(status=np.zeros(1, np.uint8)),
        saved(format=2), saved(format="new"), saved(fps="x"), saved(timestamps_usec=np.full(2, np.nan)),
        saved(rotation=np.zeros((2, 3), np.float32)), saved(translation=np.full((2, 3), "x")), saved(take=7),
        saved(take="a\0b"), saved(take="x" * 300),
        saved(expression=np.zeros(2, np.float32)), saved(vertex_colors=np.full((4, 3), "x")),
        saved(vertices=np.zeros((2, 0, 3), np.float32), faces=FACES[:0]),
    ],
    ids=lambda content: f"{len(content)} bytes",
)  # fmt: skip
def test_hostile_and_foreign_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sequence.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"sequence\.npz is no mesh sequence: ."):
        load_sequence(path)
    assert os.getenv("BOMB") is None


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    whole = write(tmp_path / "sequence.npz").read_bytes()
    cut = tmp_path / "cut.npz"
    for length in range(0, len(whole), 37):
        cut.write_bytes(whole[:length])
        with pytest.raises(InputError):
            load_sequence(cut)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_flipped_bytes_give_a_sequence_or_an_input_error(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(saved())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path / "sequence.npz"
    path.write_bytes(content)
    with suppress(InputError):
        assert load_sequence(path).vertices.ndim == 3
