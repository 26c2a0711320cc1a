"""From a folder of pictures, of any RGB-D sensor, to a take."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from capture.audio import attach_audio
from capture.image_folder import ImageFolder, inside, open_image_folder
from capture.pairing import Pairing, pair_captures
from capture.pictures import JPEG_QUALITY, color_jpeg, millimetres, raw_depth
from mmface4d.arrays import DepthImage
from mmface4d.errors import RecordingError, TakeError
from mmface4d.progress import Progress, progress
from mmface4d.take import Take, TakeWriter

SAMPLES = 9  # depth pictures a camera that are looked at before anything is written
PLAUSIBLE_M = (0.2, 5.0)
UNITS_M = (1.0, 0.01, 0.001, 0.00025, 0.0001, 0.00001, 0.000001)
OTHER_UNIT_FACTOR = 50.0  # between a picture and its camera's others; a hand before the lens makes less than ten


def import_images(folder: Path, output: Path, *, audio: Path | None = None) -> Take:
    """Writes a take from DIR/cameras.json, DIR/SERIAL/color/NAME.jpg|png and DIR/SERIAL/depth/NAME.png.

    JPEG files are kept byte by byte, PNG colours become JPEG, depth becomes millimetres. `audio` (or DIR/audio.wav)
    is taken to start with the first frame. Raises RecordingError where the folder does not make a take; nothing is left
    of it then.
    """
    source = open_image_folder(folder)
    if output.exists():
        raise TakeError(f"{output} exists; takes are never overwritten", hint="choose another name, or delete it")
    beside = folder / "audio.wav"
    if audio is None and beside.is_file():
        audio = inside(folder, beside)
    typical_m = {serial: _typical_depth_m(source, serial) for serial in source.cameras}
    pairing = _pair(source)
    origin = {"kind": "images"}
    with TakeWriter(output, list(source.cameras.values()), fps=source.fps, source=origin) as writer:
        encoded = _copy(source, writer, typical_m)
        first = int(pairing.frames.timestamps_usec[0])
        record = None if audio is None else attach_audio(writer, audio, first_frame_usec=first)
        return writer.finish(
            pairing.frames, clocks=pairing.clocks, sync=pairing.sync, unmatched=pairing.unmatched, audio=record,
            notes=_notes(source, encoded) + pairing.notes,
        )  # fmt: skip


def _pair(source: ImageFolder) -> Pairing:
    try:
        pairing = pair_captures(source.cameras, {serial: p.times for serial, p in source.pictures.items()})
    except RecordingError as error:
        hint = "the pictures of one instant carry one name, in color and depth of every camera"
        raise RecordingError(f"{source.path}: {error.message}", hint=hint) from error
    if not len(pairing.frames.timestamps_usec):
        raise RecordingError(
            f"{source.path}: no depth picture has the name of a colour picture",
            hint="colour and depth of one instant carry one name",
        )
    return pairing


def _typical_depth_m(source: ImageFolder, serial: str) -> float | None:
    """Median depth of a few pictures, None where they are empty; raises RecordingError where it cannot be metres."""
    paths = list(source.pictures[serial].depth.values())
    chosen = sorted({round(index) for index in np.linspace(0, len(paths) - 1, SAMPLES)})
    size, unit_m = source.cameras[serial].rgbd.depth.size, source.depth_unit_m[serial]
    medians = [_median(raw_depth(paths[index], size=size)) for index in chosen]
    valid = [value for value in medians if value is not None]
    if not valid:
        return None
    raw = float(np.median(valid))
    if not PLAUSIBLE_M[0] <= raw * unit_m <= PLAUSIBLE_M[1]:
        raise RecordingError(
            f"{paths[chosen[0]].parent}: depth is {raw * unit_m:.4g} m in the middle, at {unit_m:g} m a unit; "
            f"{PLAUSIBLE_M[0]:g} to {PLAUSIBLE_M[1]:g} m is expected",
            hint=_unit_hint(raw),
        )
    return raw * unit_m


def _median(raw: DepthImage) -> float | None:
    """Median of the valid pixels, of every third one; None where there are hardly any."""
    some = raw[::3, ::3]
    valid = some[some > 0]
    return float(np.median(valid)) if len(valid) > 0.005 * some.size else None


def _unit_hint(raw: float) -> str:
    """Which unit would put the scene at about arm's length."""
    unit_m = min(UNITS_M, key=lambda unit: abs(np.log(raw * unit)))
    if not PLAUSIBLE_M[0] <= raw * unit_m <= PLAUSIBLE_M[1]:
        return "say the pictures' unit in cameras.json with depth_unit_m, for example 0.0001 for tenths of millimetres"
    if unit_m > 0.01:
        return "these are whole metres, too coarse for a face: save depth as 16-bit PNG in millimetres"
    return f'if the unit is {unit_m:g} m, say so in cameras.json: "depth_unit_m": {unit_m:g}'


def _in_order(source: ImageFolder) -> Iterator[tuple[int, str]]:
    """Every instant of every camera, so that a frame's pictures lie together in the file."""
    serials = list(source.pictures)
    entries = {
        (usec, i) for i, s in enumerate(serials) for usec in (*source.pictures[s].color, *source.pictures[s].depth)
    }
    for usec, index in sorted(entries):
        yield usec, serials[index]


def _copy(source: ImageFolder, writer: TakeWriter, typical_m: dict[str, float | None]) -> int:
    """All pictures into the take; returns how many colours had to be encoded."""
    encoded = 0
    total = sum(len(pictures.color) + len(pictures.depth) for pictures in source.pictures.values())
    with progress(f"import {writer.path.name} (pictures)", total) as report:
        for usec, serial in _in_order(source):
            encoded += _copy_color(source, writer, report, serial=serial, usec=usec)
            _copy_depth(source, writer, report, serial=serial, usec=usec, typical_m=typical_m[serial])
    return encoded


def _copy_color(source: ImageFolder, writer: TakeWriter, report: Progress, *, serial: str, usec: int) -> bool:
    path = source.pictures[serial].color.get(usec)
    if path is None:
        return False
    jpeg, untouched = color_jpeg(path, size=source.cameras[serial].rgbd.color.size)
    writer.write(serial, color_jpeg=jpeg, color_usec=usec)
    report.advance()
    return not untouched


def _copy_depth(
    source: ImageFolder, writer: TakeWriter, report: Progress, *, serial: str, usec: int, typical_m: float | None
) -> None:
    path = source.pictures[serial].depth.get(usec)
    if path is None:
        return
    unit_m = source.depth_unit_m[serial]
    raw = raw_depth(path, size=source.cameras[serial].rgbd.depth.size)
    median = _median(raw)
    if median is not None and typical_m is not None:
        ratio = median * unit_m / typical_m
        if not 1 / OTHER_UNIT_FACTOR <= ratio <= OTHER_UNIT_FACTOR:
            raise RecordingError(
                f"{path}: depth is {median * unit_m:.4g} m in the middle, {typical_m:.4g} m in the camera's others",
                hint="save all depth pictures of a camera in one unit",
            )
    writer.write(serial, depth_mm=millimetres(raw, unit_m), depth_usec=usec)
    report.advance()


def _notes(source: ImageFolder, encoded: int) -> list[str]:
    notes = [
        f"camera {serial}: depth was in units of {unit_m:g} m, it was rounded to millimetres"
        for serial, unit_m in source.depth_unit_m.items()
        if unit_m != 0.001
    ]
    if encoded:
        notes.append(f"{encoded} colour pictures were PNG; they were encoded as JPEG (quality {JPEG_QUALITY}, 4:4:4)")
    return notes
