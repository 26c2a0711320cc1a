"""The mesh-sequence file: one `.npz` that `numpy.load` reads without pickles.

Its members are streamed from and to disk frame by frame, so memory does not grow with the sequence's length.
"""

import math
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmface4d.errors import InputError
from mmface4d.files import atomic_path
from mmface4d.results import forget_record

FORMAT = 1
# of every frame: name -> what it is
PER_FRAME = {
    "vertices": "float32 [T,N,3], metres, world frame (the master's colour camera)",
    "timestamps_usec": "int64 [T], the master's device clock",
    "expression": "float32 [T,E], expression coefficients",
    "rotation": "float32 [T,4], world_from_head as a quaternion (w, x, y, z)",
    "translation": "float32 [T,3], metres",
    "offset_rms": "float32 [T], metres, RMS of the per-vertex offsets",
    "depth_residual_mm": "float32 [T], median absolute distance of the valid depth pixels to the mesh",
    "coverage": "float32 [T], part of the front-facing face vertices that depth supports",
    "landmark_residual_px": "float32 [T], median distance of the detected landmarks, colour pixels",
    "landmark_residual_mm": "float32 [T], the same at the face's distance",
    "status": "uint8 [T], see STATUS",
    "fit": "uint8 [T], how the mesh was found, see FIT",
    "gate": "uint8 [T], criteria that the fit from the frame before did not keep, bits of GATE",
}
OF_SEQUENCE = {
    "format": "int, this layout's version",
    "faces": "int32 [F,3], counter-clockwise seen from outside",
    "fps": "float, nominal frames a second",
    "model": "str, name of the morphable model",
    "model_hash": "str, hash of the model's content",
    "solver": "str",
    "smoothed": "bool, whether the sequence was smoothed as a whole",
    "identity": "float32 [I], identity coefficients",
    "scale": "float32, model units to metres",
    "texture": "float32 [K], texture coefficients",
    "lighting": "float32 [C,3,9], spherical harmonics of each camera, RGB",
    "vertex_colors": "float32 [N,3], the actor's albedo in 0..1, for display",
    "serials": "str [C], the cameras in the order of `lighting`",
    "take": "str, path of the take, relative to this file's folder where possible",
    "calibration_json": "str, text of the calibration.json that was used, its poses refined where asked for",
    "depth_bias_mm": "float32 [C], what each depth imager was found to see too far; 0 unless asked for",
}
MOST_NAME_BYTES, MOST_PATH_BYTES = 255, 2048  # of the take's path; systems refuse longer ones
STATUS = {
    0: "ok",
    1: "some cameras missing",
    2: "no face found: carried over from the frame before",
    3: "fit rejected: carried over from the frame before",
    4: "not aligned: no face found before this frame",
}
# kinds of numbers (as numpy's letters) and shapes after the frames; where nothing is said, any number
TEXTS = frozenset({"model", "model_hash", "solver", "serials", "take", "calibration_json"})
KINDS = {"timestamps_usec": "iu"} | dict.fromkeys(TEXTS, "U")
A_FRAME: dict[str, tuple[int | None, ...]] = {
    "timestamps_usec": (), "expression": (None,), "rotation": (4,), "translation": (3,),
}  # fmt: skip
TRACKED, REFITTED, CARRIED, STARTED = range(4)
FIT = {
    TRACKED: "tracked",
    REFITTED: "refitted",
    CARRIED: "carried",
    STARTED: "started",
}
DEPTH_FAILED, COVERAGE_FAILED, LANDMARKS_FAILED = 1, 2, 4
GATE = {
    DEPTH_FAILED: "depth residual",
    COVERAGE_FAILED: "coverage",
    LANDMARKS_FAILED: "landmark error",
}


@dataclass(frozen=True)
class MeshSequence:
    """A read sequence; `vertices` is memory-mapped where the file allows it."""

    path: Path
    arrays: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.arrays["vertices"])

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    @property
    def take_name(self) -> str:
        """The take as the file names it, relative to its folder; empty where it names none."""
        return str(self["take"]) if "take" in self else ""

    @property
    def vertices(self) -> np.ndarray:
        """float32 [T,N,3], metres, world frame."""
        return self.arrays["vertices"]

    @property
    def faces(self) -> np.ndarray:
        """int32 [F,3]."""
        return self.arrays["faces"]

    @property
    def timestamps_usec(self) -> np.ndarray:
        """int64 [T], the master's device clock."""
        return self.arrays["timestamps_usec"]


def load_sequence(path: Path) -> MeshSequence:
    """Reads a sequence; raises InputError where it is none."""
    if not path.is_file():
        raise InputError(f"{path} does not exist", hint="make it with: mmface4d reconstruct TAKE -o sequence.npz")
    try:
        # numpy leaves a file open that it opened and cannot read
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if name != "vertices"}
        arrays["vertices"] = _map_member(path, "vertices")
        _check(arrays)
    except Exception as error:  # numpy and zipfile raise a dozen kinds on damaged and hostile files
        raise InputError(
            f"{path} is no mesh sequence: {error}", hint="the file is damaged or of another kind"
        ) from error
    return MeshSequence(path, arrays)


def _check(arrays: dict[str, np.ndarray]) -> None:
    """Raises ValueError where arrays are missing or do not fit each other."""
    missing = [name for name in ("faces", "timestamps_usec") if name not in arrays]
    if missing:
        raise ValueError(f"it has no {' and no '.join(missing)}")
    if np.any(arrays.get("format", FORMAT) != FORMAT):
        raise ValueError(f"it has format {arrays['format']}, this program reads {FORMAT}")
    vertices, faces = arrays["vertices"], arrays["faces"]
    if vertices.ndim != 3 or vertices.shape[2] != 3 or vertices.dtype.kind != "f":
        raise ValueError(f"its vertices are {vertices.dtype} {vertices.shape}")
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype.kind not in "iu":
        raise ValueError(f"its faces are {faces.dtype} {faces.shape}")
    if faces.size and (faces.min() < 0 or faces.max() >= vertices.shape[1]):
        raise ValueError("its faces name vertices that it does not have")
    if not vertices.shape[1]:
        raise ValueError("it has no vertices")
    for name in (PER_FRAME.keys() | OF_SEQUENCE.keys()) & arrays.keys():
        _check_kind(name, arrays[name])
    for name in PER_FRAME.keys() & arrays.keys():
        if arrays[name].shape[:1] != vertices.shape[:1]:
            raise ValueError(f"it has {len(vertices)} frames, but its {name} has the shape {arrays[name].shape}")
    _check_path(str(arrays.get("take", "")))
    for name, end in (("status", len(STATUS)), ("fit", len(FIT)), ("gate", 2 * max(GATE))):
        _check_codes(name, arrays.get(name), end=end)


def _check_path(take: str) -> None:
    """Raises ValueError where the take's path is none that a system could look for."""
    parts = [len(part.encode()) for part in take.split("/")]
    if "\0" in take or max(parts) > MOST_NAME_BYTES or sum(parts) > MOST_PATH_BYTES:
        raise ValueError("its take is no path")


def _check_kind(name: str, array: np.ndarray) -> None:
    """Raises ValueError where an array is of another type or shape than what it is read as."""
    sizes = A_FRAME.get(name)
    fits = sizes is None or (
        array.ndim == 1 + len(sizes)
        and all(size in (None, found) for size, found in zip(sizes, array.shape[1:], strict=True))
    )
    if array.dtype.kind not in KINDS.get(name, "fiub") or not fits:
        raise ValueError(f"its {name} is {array.dtype} {array.shape}")


def _check_codes(name: str, codes: np.ndarray | None, *, end: int) -> None:
    """Raises ValueError where a column of codes has others than 0 to end - 1."""
    if codes is None:
        return
    if codes.ndim != 1 or codes.dtype.kind not in "iu":
        raise ValueError(f"its {name} is {codes.dtype} {codes.shape}")
    if len(codes) and not 0 <= codes.min() <= codes.max() < end:
        raise ValueError(f"its {name} has the code {max(codes.max(), -codes.min())}, known are 0 to {end - 1}")


def _map_member(path: Path, name: str) -> np.ndarray:
    """Memory-maps an uncompressed member of an npz, or loads it where it is compressed."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{name}.npy")
        if info.compress_type != zipfile.ZIP_STORED:
            with archive.open(info) as member:
                return np.lib.format.read_array(member, allow_pickle=False)
        with path.open("rb") as raw:
            raw.seek(info.header_offset + 26)
            name_length, extra_length = np.frombuffer(raw.read(4), "<u2")
            data_start = info.header_offset + 30 + int(name_length) + int(extra_length)
            raw.seek(data_start)
            version = np.lib.format.read_magic(raw)
            reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = reader(raw)
            if dtype.hasobject or fortran:
                raise ValueError(f"{name} is not a plain array")
            if raw.tell() - data_start + dtype.itemsize * math.prod(shape) != info.file_size:
                raise ValueError(f"{name} has another size than its header says")
            return np.memmap(path, dtype=dtype, mode="r", offset=raw.tell(), shape=shape)


def write_sequence(
    path: Path, *, of_sequence: dict[str, Any], frame_count: int, read_frame: Callable[[int], dict[str, np.ndarray]]
) -> None:
    """Writes a sequence from a function that gives the PER_FRAME values of one frame.

    `vertices` is streamed; the small per-frame values are gathered. The file appears under its name only when whole.
    A batch's record of the file that was there before is taken away.
    """
    if frame_count == 0:
        raise InputError("no frame to write", hint="check the take with: mmface4d take show TAKE")
    first = read_frame(0)
    small = {name: [] for name in first if name != "vertices"}
    forget_record(path)
    # a temporary file that ends in .npz, because atomic_path keeps the suffix
    with atomic_path(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        with archive.open("vertices.npy", "w", force_zip64=True) as member:
            for frame, values in _frames(first, frame_count, read_frame):
                vertices = np.ascontiguousarray(values["vertices"], dtype=np.float32)
                if frame == 0:
                    shape = (frame_count, *vertices.shape)
                    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(member, header)
                elif vertices.shape != shape[1:]:
                    raise ValueError(f"frame {frame} has vertices {vertices.shape}, the first frame had {shape[1:]}")
                member.write(vertices.tobytes())
                for name, column in small.items():
                    column.append(values[name])
        for name, column in small.items():
            _write_member(archive, name, np.stack(column))
        for name, value in {"format": FORMAT, **of_sequence}.items():
            _write_member(archive, name, np.asarray(value))


def _frames(
    first: dict[str, np.ndarray], count: int, read_frame: Callable[[int], dict[str, np.ndarray]]
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    yield 0, first
    for frame in range(1, count):
        yield frame, read_frame(frame)


def _write_member(archive: zipfile.ZipFile, name: str, value: np.ndarray) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, value, allow_pickle=False)
