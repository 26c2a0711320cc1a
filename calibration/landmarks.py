"""MediaPipe's 478 face landmarks in the colour images of a take, cached beside it.

A face is looked at several times, turned, shifted and scaled a little, and the looks are averaged: measured on
rendered heads with known surface, that halves the landmarks' scatter against one look at the head's crop.
"""

import hashlib
import json
import os
import time
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import Float

from calibration.head import Crop, head_crop
from mmface4d.arrays import ColorImage
from mmface4d.errors import InputError
from mmface4d.files import atomic_path
from mmface4d.progress import Progress
from mmface4d.quiet import native_stderr_hidden
from mmface4d.take import Take

LANDMARK_COUNT = 478
LANDMARKER_VARIABLE = "MMFACE4D_LANDMARKER"
DETECTOR_VERSION = 1  # part of the cache's key: raise it when the numbers below change
BOX_FACTOR = 1.8  # a look is this much wider than the landmarks of the first look
# shift (parts of the box), scale and turn (degrees) of each look
LOOKS = ((-0.05, 0.03, 1.0, -8.0), (0.05, -0.03, 0.92, 4.0), (0.03, 0.05, 1.1, 8.0), (-0.03, -0.05, 1.0, -4.0))
SAVE_INTERVAL_S = 10.0


class LandmarkDetector:
    """Finds one face in an image: `with LandmarkDetector() as detector: detector.detect(color, crop)`.

    Uses the models inside MediaPipe, or the operator's `.task` file (argument or MMFACE4D_LANDMARKER).
    """

    def __init__(self, task_file: Path | None = None) -> None:
        task_file = task_file or _task_file_of_environment()
        self._resources = ExitStack()
        self._silent = False
        with native_stderr_hidden():
            self._find = _open_task(task_file, self._resources) if task_file else _open_bundled(self._resources)
            self._find(np.zeros((64, 64, 3), dtype=np.uint8))  # its threads have said all they say at the start

    def __enter__(self) -> "LandmarkDetector":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()

    def detect(self, color: ColorImage, crop: Crop | None) -> Float[np.ndarray, "478 2"] | None:
        """Landmarks in pixels of the whole colour image (integers at pixel centres); None where no face is found.

        Without a crop the whole image is searched, in which MediaPipe misses faces below a fifth of its width.
        """
        first = self._first_look(color, crop)
        if first is None:
            return None
        low, high = first.min(0), first.max(0)
        center, width = (low + high) / 2, float((high - low).max())
        looks = (
            self._look_askew(
                color, center + width * np.array(shift), width=BOX_FACTOR * scale * width, turn_deg=turn_deg
            )
            for *shift, scale, turn_deg in LOOKS
        )
        found = [look for look in looks if look is not None]
        return np.mean(found, axis=0) if found else first

    def _first_look(self, color: ColorImage, crop: Crop | None) -> Float[np.ndarray, "478 2"] | None:
        """The head's crop, else more around it, else the whole image."""
        for square in () if crop is None else (crop, crop.widened(2.0)):
            found = self._look(square.cut(color))
            if found is not None:
                return found + np.array([square.left, square.top])
        return self._look(color)

    def _look_askew(
        self, color: ColorImage, center: np.ndarray, *, width: float, turn_deg: float
    ) -> Float[np.ndarray, "478 2"] | None:
        """One look at a turned square around `center`."""
        import cv2

        size, turn = max(round(width), 16), np.radians(turn_deg)
        linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        shift = np.full(2, (size - 1) / 2) - linear @ center
        square = cv2.warpAffine(color, np.column_stack([linear, shift]), (size, size), flags=cv2.INTER_LINEAR)
        found = self._look(np.asarray(square))
        return None if found is None else (found - shift) @ linear  # the inverse of a turn is its transpose

    def _look(self, image: ColorImage) -> Float[np.ndarray, "478 2"] | None:
        with ExitStack() if self._silent else native_stderr_hidden():
            relative = self._find(np.ascontiguousarray(image))
        if relative is None:
            return None
        self._silent = True  # with the first face it has said the rest
        # MediaPipe counts from the image's corner, we from the first pixel's centre; mirrored images agree to 0.1 px so
        return relative * [image.shape[1], image.shape[0]] - 0.5


def take_landmarks(
    take: Take, *, frames: Sequence[int] | None = None, use_cache: bool = True, report: Progress | None = None,
    task_file: Path | None = None,
) -> dict[str, Float[np.ndarray, "n_frames 478 2"]]:  # fmt: skip
    """Landmarks of the wanted frames (default: all) by serial, in pixels; NaN where no face or no picture is.

    Found landmarks are kept in the take's cache as they come, so that a killed run goes on where it stopped.
    """
    wanted = list(range(len(take))) if frames is None else list(frames)
    if any(not 0 <= frame < len(take) for frame in wanted):
        raise InputError(f"{take.path} has no frame {max(wanted)}", hint=f"its frames are 0 to {len(take) - 1}")
    cache = _Cache(take, version=detector_version(task_file), enabled=use_cache)
    missing = {frame for frame in wanted if not cache.done[frame]}
    if report is not None:
        report.advance(len(wanted) - len(missing))
    if missing:
        with ExitStack() as stack:
            detector = stack.enter_context(LandmarkDetector(task_file))
            stack.callback(cache.save)  # also when interrupted
            for frame in sorted(missing):
                cache.put(frame, _frame_landmarks(take, frame, detector))
                if report is not None:
                    report.advance()
    return {serial: cache.pixels[wanted, index].astype(np.float64) for index, serial in enumerate(cache.serials)}


def _frame_landmarks(
    take: Take, frame: int, detector: LandmarkDetector
) -> dict[str, Float[np.ndarray, "478 2"] | None]:
    found = {}
    for serial, view in take.views(frame).items():
        if view is not None:
            crop = None if view.depth_mm is None else head_crop(take.rgbd[serial], view.depth_mm)
            found[serial] = detector.detect(view.color, crop)
    return found


class _Cache:
    """Landmarks [n_frames, n_cameras, 478, 2] of a take and which frames are done; one file, replaced as a whole."""

    def __init__(self, take: Take, *, version: str, enabled: bool) -> None:
        self.serials = tuple(take.cameras)
        self.done = np.zeros(len(take), dtype=bool)
        shape = (len(take), len(self.serials), LANDMARK_COUNT, 2)
        self.pixels = np.full(shape, np.nan, dtype=np.float32)
        self.path = take.cache_dir / f"landmarks-{_stream_key(take, version)}.npz" if enabled else None
        self._dirty, self._saved = False, time.monotonic()
        self._load()

    def put(self, frame: int, found: dict[str, Float[np.ndarray, "478 2"] | None]) -> None:
        """Keeps a frame's landmarks; writes them to the disk from time to time."""
        for index, serial in enumerate(self.serials):
            pixels = found.get(serial)
            if pixels is not None:
                self.pixels[frame, index] = pixels
        self.done[frame] = self._dirty = True
        if time.monotonic() - self._saved > SAVE_INTERVAL_S:
            self.save()

    def save(self) -> None:
        """Writes what is new."""
        if self.path is None or not self._dirty:
            return
        with atomic_path(self.path) as partial:
            np.savez(partial, done=self.done, pixels=self.pixels)
        self._dirty, self._saved = False, time.monotonic()

    def _load(self) -> None:
        if self.path is None or not self.path.is_file():
            return
        try:
            with self.path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                done, pixels = file["done"], file["pixels"]
        except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile):
            return  # a damaged cache is made again
        if done.shape == self.done.shape and pixels.shape == self.pixels.shape:
            self.done, self.pixels = done.astype(bool), pixels.astype(np.float32)


def detector_version(task_file: Path | None = None) -> str:
    """A text that changes when the same image may give other landmarks."""
    task_file = task_file or _task_file_of_environment()
    if task_file is None:
        return f"{DETECTOR_VERSION} bundled"
    return f"{DETECTOR_VERSION} {hashlib.sha256(_read_task_file(task_file)).hexdigest()}"


def _read_task_file(task_file: Path) -> bytes:
    if not task_file.is_file():
        raise InputError(
            f"{task_file} does not exist",
            hint=f"give the path of MediaPipe's face_landmarker.task, or unset {LANDMARKER_VARIABLE}",
        )
    return task_file.read_bytes()


def _task_file_of_environment() -> Path | None:
    value = os.environ.get(LANDMARKER_VARIABLE)
    return Path(value) if value else None


def _stream_key(take: Take, version: str) -> str:
    """Changes with the detector and with what the take holds."""
    cameras = {
        serial: [camera.rgbd.color.to_json(), camera.rgbd.depth.to_json()] for serial, camera in take.cameras.items()
    }
    digest = hashlib.sha256(json.dumps([version, cameras]).encode())
    digest.update(np.ascontiguousarray(take.timestamps_usec, dtype=np.int64).tobytes())
    return digest.hexdigest()[:16]


def _open_bundled(resources: ExitStack) -> Any:
    """A function from an image to relative landmarks, by the models inside MediaPipe."""
    import warnings

    warnings.filterwarnings("ignore", message=".*GetPrototype.*", category=UserWarning)  # protobuf's, not ours
    from mediapipe.python.solutions.face_mesh import FaceMesh

    mesh = resources.enter_context(FaceMesh(static_image_mode=True, refine_landmarks=True, max_num_faces=1))

    def find(image: ColorImage) -> Float[np.ndarray, "478 2"] | None:
        result: Any = mesh.process(image)  # a named tuple made at run time
        faces = result.multi_face_landmarks
        return np.array([(point.x, point.y) for point in faces[0].landmark]) if faces else None

    return find


def _open_task(task_file: Path, resources: ExitStack) -> Any:
    """The same by the operator's FaceLandmarker file."""
    import mediapipe as mp
    from mediapipe.tasks import python as tasks

    options = tasks.vision.FaceLandmarkerOptions(
        base_options=tasks.BaseOptions(model_asset_buffer=_read_task_file(task_file)), num_faces=1
    )
    try:
        landmarker = resources.enter_context(tasks.vision.FaceLandmarker.create_from_options(options))
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"{task_file} is no face landmarker: {error}", hint="give MediaPipe's face_landmarker.task"
        ) from error

    def find(image: ColorImage) -> Float[np.ndarray, "478 2"] | None:
        faces = landmarker.detect(mp.Image(image_format=mp.ImageFormat.SRGB, data=image)).face_landmarks
        if not faces or len(faces[0]) != LANDMARK_COUNT:
            return None
        return np.array([(point.x, point.y) for point in faces[0]])

    return find
