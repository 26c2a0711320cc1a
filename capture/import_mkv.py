"""From Azure Kinect recordings to a take."""

from pathlib import Path

import numpy as np

from capture.audio import attach_audio
from capture.clocks import HostTimes
from capture.host_clock import read_host_clock, refuse_foreign
from capture.mkv import Recording, open_recording
from capture.pairing import CaptureTimes, master_of, pair_captures
from mmface4d.errors import RecordingError, TakeError
from mmface4d.progress import Progress, progress
from mmface4d.take import Take, TakeWriter
from mmface4d.take_record import MAX_CAMERAS


def import_recordings(
    sources: list[Path],
    output: Path,
    *,
    audio: Path | None = None,
    audio_start_s: float | None = None,
    expected_cameras: int | None = None,
    allow_truncated: bool = False,
) -> Take:
    """Writes a take from MKV files, or from folders that hold them.

    Beside the recordings, `audio.wav`, `audio.json` and `host_clock.csv` are used where they lie. Raises
    RecordingError where the recordings do not make one take; nothing is left of it then.
    """
    paths = find_recordings(sources)
    folder = paths[0].parent
    recordings = [open_recording(path) for path in paths]
    _check(recordings, expected_cameras=expected_cameras, allow_truncated=allow_truncated)
    if output.exists():
        raise TakeError(f"{output} exists; takes are never overwritten", hint="choose another name, or delete it")
    audio = audio or _beside(folder, "audio.wav")
    clock_file = _beside(folder, "host_clock.csv")
    host = read_host_clock(clock_file) if clock_file else None
    cameras = {recording.camera.serial: recording.camera for recording in recordings}
    fps = _fps(recordings)
    with TakeWriter(output, list(cameras.values()), fps=fps, source={"kind": "k4a mkv"}) as writer:
        times, notes = _copy(recordings, writer, host or {}, name=output.name)
        if host and clock_file:
            refuse_foreign(clock_file, host, {serial: t.color_usec for serial, t in times.items()})
        pairing = pair_captures(cameras, times, host=host)
        if not len(pairing.frames.timestamps_usec):
            raise RecordingError("the recordings hold no whole capture", hint="check that depth and colour were on")
        master = master_of(cameras)
        record = None
        if audio is not None:
            first = int(pairing.frames.timestamps_usec[0])
            master_host = (host or {}).get(master)
            record = attach_audio(writer, audio, first_frame_usec=first, start_s=audio_start_s, host=master_host)
        return writer.finish(
            pairing.frames, clocks=pairing.clocks, sync=pairing.sync, unmatched=pairing.unmatched, audio=record,
            notes=notes + pairing.notes,
        )  # fmt: skip


def find_recordings(sources: list[Path]) -> list[Path]:
    """The MKV files named, and those in the folders named; raises RecordingError where there are none or too many."""
    paths: list[Path] = []
    for source in sources:
        if source.is_dir():
            paths += sorted(path for path in source.iterdir() if path.suffix.lower() == ".mkv")
        elif source.is_file():
            paths.append(source)
        else:
            raise RecordingError(f"{source} does not exist", hint="check the path")
    if not paths:
        raise RecordingError(
            f"no .mkv file in {', '.join(map(str, sources))}",
            hint="a folder of pictures is imported with --layout images",
        )
    if len(paths) > MAX_CAMERAS:
        raise RecordingError(f"{len(paths)} recordings, at most {MAX_CAMERAS} make a take", hint="give one take's")
    return paths


def _check(recordings: list[Recording], *, expected_cameras: int | None, allow_truncated: bool) -> None:
    by_serial: dict[str, Path] = {}
    for recording in recordings:
        serial = recording.camera.serial
        if serial in by_serial:
            raise RecordingError(
                f"{by_serial[serial].name} and {recording.path.name} are both of device {serial}",
                hint="give one recording of each camera",
            )
        by_serial[serial] = recording.path
    if expected_cameras is not None and len(recordings) != expected_cameras:
        raise RecordingError(
            f"{len(recordings)} cameras found ({', '.join(by_serial)}), {expected_cameras} expected",
            hint="look for the missing recording, or import without --cameras",
        )
    master_of({recording.camera.serial: recording.camera for recording in recordings})
    for recording in recordings:
        if recording.truncated and not allow_truncated:
            count = sum(picture.jpeg is not None for picture in recording.pictures())
            raise RecordingError(
                f"{recording.path} is truncated; {count} colour pictures of it can be read",
                hint="copy it again, or import what there is with --allow-truncated",
            )


def _beside(folder: Path, name: str) -> Path | None:
    path = folder / name
    return path if path.is_file() else None


def _fps(recordings: list[Recording]) -> float:
    """The nominal frame rate: a Kinect knows 5, 15 and 30."""
    gaps: list[int] = []
    for recording in recordings:
        times: list[int] = []
        for picture in recording.pictures():
            if picture.jpeg is not None:
                times.append(picture.device_usec)
            if len(times) > 30:
                break
        gaps += np.diff(sorted(times)).tolist()
    if not gaps:
        return 30.0
    measured = 1e6 / float(np.median(gaps))
    return min((5.0, 15.0, 30.0), key=lambda rate: abs(rate - measured))


def _copy(
    recordings: list[Recording], writer: TakeWriter, host: dict[str, HostTimes], *, name: str
) -> tuple[dict[str, CaptureTimes], list[str]]:
    """All pictures of all recordings, interleaved in time so that a frame's pictures lie together in the file."""
    times: dict[str, tuple[list[int], list[int]]] = {r.camera.serial: ([], []) for r in recordings}
    arrivals = {
        serial: dict(zip(h.device_usec.tolist(), h.host_nsec.tolist(), strict=True)) for serial, h in host.items()
    }
    total = sum(recording.path.stat().st_size for recording in recordings) >> 20
    with progress(f"import {name} (MB)", total) as report:
        streams = [(recording, recording.pictures()) for recording in recordings]
        waiting = {index: next(pictures, None) for index, (_, pictures) in enumerate(streams)}
        first = {index: picture.device_usec for index, picture in waiting.items() if picture is not None}
        done = _Megabytes(report)
        while any(picture is not None for picture in waiting.values()):
            index = min(
                (i for i, p in waiting.items() if p is not None),
                key=lambda i: waiting[i].device_usec - first[i],  # type: ignore[union-attr]
            )
            recording, pictures = streams[index]
            picture = waiting[index]
            waiting[index] = next(pictures, None)
            if picture is None:
                continue
            serial = recording.camera.serial
            if picture.jpeg is not None:
                arrival = arrivals.get(serial, {}).get(picture.device_usec)
                writer.write(serial, color_jpeg=picture.jpeg, color_usec=picture.device_usec, host_nsec=arrival)
                times[serial][0].append(picture.device_usec)
                done.add(len(picture.jpeg))
            elif picture.depth_mm is not None:
                writer.write(serial, depth_mm=picture.depth_mm, depth_usec=picture.device_usec)
                times[serial][1].append(picture.device_usec)
                done.add(2 * picture.depth_mm.nbytes)  # infrared, which is as large, is left out
    notes = [f"{r.path.name} was truncated; what could be read was taken" for r in recordings if r.truncated]
    return {
        s: CaptureTimes(np.unique(np.array(c, np.int64)), np.unique(np.array(d, np.int64)))
        for s, (c, d) in times.items()
    }, notes


class _Megabytes:
    """Turns bytes into the whole megabytes that a progress bar counts."""

    def __init__(self, report: Progress) -> None:
        self._report, self._bytes = report, 0

    def add(self, count: int) -> None:
        before, self._bytes = self._bytes >> 20, self._bytes + count
        self._report.advance((self._bytes >> 20) - before)
