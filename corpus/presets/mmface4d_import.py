"""Reading the files of the MMFace4D data set: vertices and sound become a mesh sequence and its WAV."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from corpus.presets.gray_video import count_pictures, read_gray_video, video_rate
from corpus.presets.mmface4d_files import MOST_VERTICES, ClipRecord, read_record
from corpus.presets.nut_mesh import axis_path, read_nut_mesh
from mmface4d.arrays import DepthImage
from mmface4d.errors import InputError
from mmface4d.files import atomic_path
from mmface4d.names import SAFE_NAME
from mmface4d.progress import progress
from mmface4d.sequence import write_sequence

MOST_FACES_BYTES = 1 << 30


@dataclass(frozen=True)
class Imported:
    """What was read of a sequence."""

    name: str
    frames: int
    vertices: int
    fps: float
    sound: bool


@dataclass(frozen=True)
class Topology:
    """Triangles, and how many vertices they are about."""

    faces: Int[np.ndarray, "n_faces 3"]
    n_verts: int


def names_in(folder: Path) -> list[str]:
    """The sequences of a folder; raises InputError where there is none."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder", hint="give the folder that holds the NUT files")
    names = sorted(path.name.removesuffix("_x.nut") for path in folder.glob("*_x.nut"))
    names = [name for name in names if SAFE_NAME.fullmatch(name)]
    if not names:
        raise InputError(f"{folder} holds no NAME_x.nut", hint="a sequence is NAME_x.nut, NAME_y.nut and NAME_z.nut")
    return names


def import_clip(folder: Path, name: str, output: Path, *, topology: Topology | None = None) -> Imported:
    """Writes OUTPUT/NAME.npz and, where there is sound, OUTPUT/NAME.wav.

    The topology is `mmface4d.json`'s unless one is given. Raises InputError where a file is missing, cut or damaged.
    """
    target, sound_target = output / f"{name}.npz", output / f"{name}.wav"
    if target.exists() or sound_target.exists():
        raise InputError(
            f"{target.with_suffix('')} is there already; nothing is overwritten", hint="choose another folder"
        )
    record = _record_of(folder, name)
    topology = topology or _own_topology(folder, name, record)
    first = axis_path(folder / name, "x")
    count = count_pictures(first)
    if record is not None and record.frames != count:
        raise InputError(f"{first} has {count} frames, mmface4d.json says {record.frames}", hint=_AGAIN)
    fps = record.fps if record else video_rate(first)
    meshes = read_nut_mesh(folder / name, topology.n_verts)
    with progress(f"import {name} (frames)", count) as bar:

        def frame(number: int) -> dict[str, np.ndarray]:
            vertices_m = next(meshes, None)
            if vertices_m is None:
                raise InputError(f"{first} ends after {number} of {count} frames", hint=_AGAIN)
            bar.advance()
            return {"vertices": vertices_m, "timestamps_usec": np.array(round(number * 1e6 / fps), np.int64)}

        about = {"faces": topology.faces.astype(np.int32), "fps": fps, "model": "imported", "take": ""}
        sound = _copy_sound(folder / f"{name}.wav", sound_target)  # first: a sequence that is there has its sound
        try:
            write_sequence(target, of_sequence=about, frame_count=count, read_frame=frame)
        except BaseException:
            sound_target.unlink(missing_ok=True)
            raise
    return Imported(name, count, topology.n_verts, fps, sound)


def read_depth(folder: Path, name: str, camera: int) -> Iterator[DepthImage]:
    """A camera's depth pictures, millimetres, 0 = invalid; raises InputError where the file is damaged."""
    return read_gray_video(folder / f"{name}_{camera}.nut")


def read_topology(path: Path) -> Topology:
    """From an OBJ, or from a .npy of triangles, which then are about all vertices up to the highest number."""
    if not path.is_file() or path.stat().st_size > MOST_FACES_BYTES:
        raise InputError(f"{path} is no file of triangles", hint="give an OBJ or a .npy of int [F, 3]")
    if path.suffix.lower() == ".obj":
        return _read_obj(path)
    return _checked(_read_npy(path), None, path)


def _record_of(folder: Path, name: str) -> ClipRecord | None:
    record = read_record(folder)
    return None if record is None else record.sequences.get(name)


def _own_topology(folder: Path, name: str, record: ClipRecord | None) -> Topology:
    if record is None:
        raise InputError(
            f"nothing in {folder} says which triangles {name} has", hint="name an OBJ or .npy with --topology FILE"
        )
    return _checked(_read_npy(folder / record.faces), record.vertices, folder / record.faces)


def _read_npy(path: Path) -> np.ndarray:
    try:  # mapped, because a header may promise more than there is memory
        return np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError, OverflowError) as error:
        raise InputError(f"{path} holds no triangles: {error}", hint="give an OBJ or a .npy of int [F, 3]") from error


def _checked(faces: np.ndarray, n_verts: int | None, path: Path) -> Topology:
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype.kind not in "iu" or not len(faces):
        raise InputError(f"{path} holds {faces.dtype} {faces.shape}", hint="triangles are integers [F, 3]")
    lowest, highest = int(faces.min()), int(faces.max())
    if lowest < 0 or highest >= min(n_verts or MOST_VERTICES, MOST_VERTICES):
        raise InputError(f"{path} names vertices from {lowest} to {highest}", hint="it belongs to another topology")
    return Topology(faces.astype(np.int32), n_verts or highest + 1)


def _read_obj(path: Path) -> Topology:
    """Polygons are cut into triangles from their first corner on."""
    triangles: list[tuple[int, int, int]] = []
    n_verts = 0
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            words = line.split()
            if words[:1] == ["v"]:
                n_verts += 1
            elif words[:1] == ["f"]:
                triangles += _triangles(words[1:], n_verts, where=f"{path}, line {number}")
    return _checked(np.array(triangles, np.int64).reshape(-1, 3), n_verts, path)


def _triangles(words: list[str], n_verts: int, *, where: str) -> list[tuple[int, int, int]]:
    try:
        numbers = [int(word.split("/")[0]) for word in words]
        if any(abs(number) > MOST_VERTICES for number in numbers):
            raise ValueError("too large")
    except ValueError as error:
        raise InputError(f"{where}: {' '.join(words)[:60]!r} is no face", hint="give an OBJ of a mesh") from error
    corners = [number - 1 if number > 0 else n_verts + number for number in numbers]
    return [(corners[0], corners[k], corners[k + 1]) for k in range(1, len(corners) - 1)]


def _copy_sound(source: Path, target: Path) -> bool:
    if not source.is_file():
        return False
    import soundfile

    try:
        soundfile.info(str(source))
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise InputError(f"{source} is no readable sound: {error}", hint=_AGAIN) from error
    with atomic_path(target) as partial:
        shutil.copyfile(source, partial)
    return True


_AGAIN = "copy or download the files again"
