"""From a take back to Azure Kinect recordings, as k4arecorder writes them and `take import` reads them."""

import csv
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from capture.audio import AudioSidecar
from capture.host_clock import COLUMNS
from capture.k4a_record import KINECT_FPS, KinectRecording, color_mode_of, depth_mode_of, load_libraries
from capture.mkv import is_truncated
from capture.pairing import COMMON_ORIGIN_USEC
from mmface4d.azure_kinect import parse_factory_calibration
from mmface4d.cameras import Intrinsics
from mmface4d.depth_codec import decode_depth
from mmface4d.errors import DiskFullError, RecordingError, TakeError, UsageError
from mmface4d.files import atomic_folder, write_json
from mmface4d.progress import Progress, progress
from mmface4d.take import Take, TakeCamera, open_take

SPARE_BYTES = 64 << 20  # a disk with less than this left counts as full
SAME_GEOMETRY = 1e-6  # relative: a take's numbers went through JSON, which keeps them


@dataclass(frozen=True)
class CameraExport:
    """What was written of one camera."""

    serial: str
    file: str
    color_pictures: int
    depth_pictures: int
    bytes: int


@dataclass(frozen=True)
class Export:
    """What was written. `host_clock` tells whose times host_clock.csv has: "arrival" or "master"; None: no file."""

    path: Path
    cameras: list[CameraExport]
    sound: bool
    host_clock: str | None


@dataclass(frozen=True)
class _Pictures:
    """Device times of the pictures that are to be written of a camera."""

    color_usec: Int[np.ndarray, "n_color"]
    depth_usec: Int[np.ndarray, "n_depth"]

    def in_order(self) -> Iterator[tuple[int, str]]:
        """Both kinds by time, as libk4arecord wants them."""
        times = np.concatenate([self.color_usec, self.depth_usec])
        for index in np.argsort(times, kind="stable"):
            yield int(times[index]), "color" if index < len(self.color_usec) else "depth"

    def __len__(self) -> int:
        return len(self.color_usec) + len(self.depth_usec)


def export_take(path: Path, output: Path, *, frames: tuple[int | None, int | None] | None = None) -> Export:
    """Writes cam0.mkv and so on, in the order of the take's cameras, with sound and host clock beside them.

    Without `frames` every picture goes out, unmatched ones too; with it those of the frames first:end. The sound is
    never cut. Raises TakeError or RecordingError where the take is not of Azure Kinects, DiskFullError, and
    MissingBackendError without the SDK. The folder must not exist; it appears whole or not at all.
    """
    if output.exists():
        raise TakeError(f"{output} exists; recordings are never overwritten", hint="choose another name, or delete it")
    load_libraries()
    with open_take(path) as take:
        calibrations = _factory_calibrations(take)
        pictures = {serial: _pictures(take, serial, _range(take, frames)) for serial in take.cameras}
        _check_space(take, pictures, output)
        with atomic_folder(output) as folder, _full_disk_named(output):
            exported = _write_cameras(take, pictures, calibrations, folder)
            host_clock = _write_host_clock(take, pictures, exported.arrivals, folder)
            sound = _write_sound(take, folder)
        return Export(output, exported.cameras, sound, host_clock)


def export_json(export: Export) -> dict[str, Any]:
    """The figures for scripts."""
    return {**asdict(export), "path": str(export.path)}


def export_text(export: Export) -> str:
    """The figures for people."""
    lines = [
        f"{camera.file}  camera {camera.serial}: {camera.color_pictures} colour and {camera.depth_pictures} depth "
        f"pictures, {camera.bytes / 1e6:.1f} MB"
        for camera in export.cameras
    ]
    if export.sound:
        lines.append("audio.wav, audio.json  the sound and when it begins")
    if export.host_clock == "arrival":
        lines.append("host_clock.csv  when the pictures arrived")
    if export.host_clock == "master":
        lines.append("host_clock.csv  on the master's clock, because the take does not know when pictures arrived")
    return "\n".join([*lines, f"written to {export.path}"])


def _range(take: Take, frames: tuple[int | None, int | None] | None) -> range | None:
    if frames is None:
        return None
    first, end = frames[0] or 0, len(take) if frames[1] is None else frames[1]
    if not 0 <= first < end <= len(take):
        raise UsageError(
            f"frames {first}:{end} are not in {take.path}, which has {len(take)}", hint=f"choose within 0:{len(take)}"
        )
    return range(first, end)


def _factory_calibrations(take: Take) -> dict[str, bytes]:
    """The blobs that the devices handed out; they must say of the cameras what the take says."""
    if take.fps not in KINECT_FPS:
        raise RecordingError(
            f"{take.path} has {take.fps:g} frames a second, an Azure Kinect records {KINECT_FPS}",
            hint="only takes of Azure Kinects can be written as their recordings",
        )
    attached = take.streams.attachments()
    found = {}
    for serial, camera in take.cameras.items():
        if f"{serial}.json" not in attached:
            raise TakeError(
                f"{take.path}: camera {serial} has no factory calibration, which a Kinect's recording must hold",
                hint="a take of pictures from a folder cannot be exported; keep the take, or the folder it came from",
            )
        found[serial] = attached[f"{serial}.json"]
        _check_geometry(take, camera, found[serial])
    return found


def _check_geometry(take: Take, camera: TakeCamera, blob: bytes) -> None:
    factory = parse_factory_calibration(blob, depth_mode=depth_mode_of(camera), color_mode=color_mode_of(camera))
    same = np.allclose(factory.color_from_depth, camera.rgbd.color_from_depth, rtol=0, atol=SAME_GEOMETRY)
    for kind in ("color", "depth"):
        ours, theirs = getattr(camera.rgbd, kind), getattr(factory, kind)
        same &= np.allclose(_numbers(ours), _numbers(theirs), rtol=SAME_GEOMETRY, atol=SAME_GEOMETRY)
    if not same:
        raise TakeError(
            f"{take.path}: camera {camera.serial}'s lenses are not those of its factory calibration, and a recording "
            "can hold only the latter",
            hint="export the take as it was imported",
        )


def _numbers(imager: Intrinsics) -> list[float]:
    return [imager.fx, imager.fy, imager.cx, imager.cy, *imager.distortion]


def _pictures(take: Take, serial: str, frames: range | None) -> _Pictures:
    columns = (take.info.frames.color_usec[serial], take.info.frames.depth_usec[serial])
    chosen = [column if frames is None else column[frames.start : frames.stop] for column in columns]
    listed = [np.array([usec for usec in column if usec is not None], dtype=np.int64) for column in chosen]
    if frames is None:  # with what belongs to no frame
        stored = [take.streams.channels.get(f"/{serial}/{kind}") for kind in ("color", "depth")]
        listed = [np.union1d(t, c.device_usec) if c else t for t, c in zip(listed, stored, strict=True)]
    color_usec, depth_usec = listed
    if not len(color_usec) + len(depth_usec):
        raise TakeError(f"{take.path}: camera {serial} has no picture in the frames chosen", hint="choose more frames")
    if min([*color_usec[:1], *depth_usec[:1]]) < 0:
        raise RecordingError(
            f"{take.path}: camera {serial} has pictures before its clock's zero, which a recording cannot hold",
            hint="only takes of Azure Kinects can be written as their recordings",
        )
    return _Pictures(color_usec, depth_usec)


def _check_space(take: Take, pictures: dict[str, _Pictures], output: Path) -> None:
    """Refuses before the first byte; JPEGs are counted by the size of the streams, depth is not packed any more."""
    needed = (take.path / "streams.mcap").stat().st_size
    for serial, chosen in pictures.items():
        width, height = take.cameras[serial].rgbd.depth.size
        needed += 2 * width * height * len(chosen.depth_usec)
    folder = _existing_parent(output)
    free = shutil.disk_usage(folder).free
    if needed + SPARE_BYTES > free:
        raise DiskFullError(
            f"{output} needs about {needed / 1e6:.0f} MB, {folder} has {free / 1e6:.0f} MB left",
            hint="free some space, choose another disk, or export fewer frames with --frames",
        )


@contextmanager
def _full_disk_named(output: Path) -> Iterator[None]:
    """libk4arecord does not say why it cannot write; a disk without room is the reason that can be seen."""
    try:
        yield
    except RecordingError as error:
        if shutil.disk_usage(_existing_parent(output)).free < SPARE_BYTES:
            raise DiskFullError(
                f"no space left while writing {output}", hint="free some space or choose another disk"
            ) from error
        raise


def _existing_parent(path: Path) -> Path:
    return next(parent for parent in path.absolute().parents if parent.is_dir())


@dataclass(frozen=True)
class _Written:
    cameras: list[CameraExport]
    arrivals: dict[str, list[tuple[int, int]]]  # by serial: device time in µs, host time in ns


def _write_cameras(
    take: Take, pictures: dict[str, _Pictures], calibrations: dict[str, bytes], folder: Path
) -> _Written:
    written = _Written([], {})
    with progress(f"export {take.name} (pictures)", sum(map(len, pictures.values()))) as bar:
        for number, (serial, chosen) in enumerate(pictures.items()):
            path = folder / f"cam{number}.mkv"
            camera = take.cameras[serial]
            with KinectRecording(path, camera, calibration=calibrations[serial], fps=take.fps) as recording:
                payload, written.arrivals[serial] = _write_pictures(take, serial, chosen, recording, bar)
            _check_whole(path, payload)
            written.cameras.append(
                CameraExport(
                    serial, path.name, len(chosen.color_usec), len(chosen.depth_usec), path.stat().st_size
                )
            )  # fmt: skip
    return written


def _write_pictures(
    take: Take, serial: str, chosen: _Pictures, recording: KinectRecording, bar: Progress
) -> tuple[int, list[tuple[int, int]]]:
    """Bytes handed over, and when colour pictures arrived, as far as the take knows."""
    width, height = take.cameras[serial].rgbd.depth.size
    payload, arrivals = 0, []
    for device_usec, kind in chosen.in_order():
        data, host_nsec = take.streams.read_with_arrival(f"/{serial}/{kind}", device_usec)
        if kind == "color":
            recording.write_color(data, device_usec)
            payload += len(data)
            if host_nsec is not None:
                arrivals.append((device_usec, host_nsec))
        else:
            depth_mm = decode_depth(data, width=width, height=height)
            recording.write_depth(depth_mm, device_usec)
            payload += depth_mm.nbytes
        bar.advance()
    return payload, arrivals


def _check_whole(path: Path, payload: int) -> None:
    """Closing a recording reports no failure, but a failure leaves the file short."""
    if path.stat().st_size < payload or is_truncated(path):
        raise RecordingError(f"{path} was not written to its end", hint="look at the disk, then run again")


def _write_host_clock(
    take: Take, pictures: dict[str, _Pictures], arrivals: dict[str, list[tuple[int, int]]], folder: Path
) -> str | None:
    """Arrival times where every camera has them; else frames on the master's clock, where the clocks do not agree."""
    if all(arrivals.values()):
        _write_rows(folder, arrivals)
        return "arrival"
    if _common_origin(take):
        return None
    rows = {}
    for serial, chosen in pictures.items():
        pairs = zip(take.info.frames.color_usec[serial], take.info.frames.timestamps_usec, strict=True)
        known = {color: master * 1000 for color, master in pairs if color is not None}
        rows[serial] = [(int(usec), known[int(usec)]) for usec in chosen.color_usec if int(usec) in known]
    _write_rows(folder, rows)
    return "master"


def _common_origin(take: Take) -> bool:
    """Whether the devices' clocks show the same, so near that an import needs no other clock."""
    for serial, camera in take.cameras.items():
        for color, master in zip(take.info.frames.color_usec[serial], take.info.frames.timestamps_usec, strict=True):
            if color is not None and abs(color - camera.subordinate_delay_usec - master) > COMMON_ORIGIN_USEC / 2:
                return False
    return True


def _write_rows(folder: Path, rows: dict[str, list[tuple[int, int]]]) -> None:
    with (folder / "host_clock.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for serial, pairs in rows.items():
            writer.writerows([serial, device_usec, host_nsec] for device_usec, host_nsec in pairs)


def _write_sound(take: Take, folder: Path) -> bool:
    if take.audio_path is None or take.info.audio is None:
        return False
    if not take.audio_path.is_file():
        raise TakeError(f"{take.audio_path} is missing", hint=f"find the damage with: mmface4d take check {take.path}")
    shutil.copyfile(take.audio_path, folder / "audio.wav")
    write_json(folder / "audio.json", AudioSidecar(placed=take.info.audio).model_dump(mode="json", exclude_none=True))
    return True
