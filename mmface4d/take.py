"""The take: a folder with `streams.mcap`, `audio.wav` and, written last, `take.json`."""

import json
import shutil
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import Int
from pydantic import ValidationError

from mmface4d.arrays import ColorImage, DepthImage, TimestampsUsec
from mmface4d.cameras import RgbdCamera
from mmface4d.depth_codec import decode_depth, encode_depth
from mmface4d.errors import InputError, RecordingError, TakeError
from mmface4d.files import disk_full_is_an_error, read_json, write_json
from mmface4d.sound_blocks import whole_blocks
from mmface4d.take_record import (
    FORMAT,
    AudioRecord,
    CameraRecord,
    ClockRecord,
    FramesRecord,
    Role,
    SyncRecord,
    TakeRecord,
    UnmatchedRecord,
)
from mmface4d.take_streams import StreamsReader, StreamsWriter
from mmface4d.withdrawal import refuse_take_of_withdrawn, refuse_withdrawn

MISSING = -1  # in a FrameTable: the camera has no capture of that frame
MAX_RECORD_BYTES = 512 << 20
CAMERA_METADATA, TAKE_METADATA = "camera:", "take"


@dataclass(frozen=True)
class TakeCamera:
    """One camera of a take: how it sees, its role in the wired sync, and its configured delays."""

    serial: str
    role: Role
    rgbd: RgbdCamera
    depth_delay_usec: int = 0
    subordinate_delay_usec: int = 0
    settings: dict[str, str] = field(default_factory=dict)
    factory_calibration: bytes | None = None  # attached to the streams; not read back by `open_take`

    def record(self) -> CameraRecord:
        """How the camera stands in a JSON file."""
        return CameraRecord.model_validate(
            {
                "role": self.role,
                "color": self.rgbd.color.to_json(),
                "depth": self.rgbd.depth.to_json(),
                "color_from_depth": self.rgbd.color_from_depth.tolist(),
                "depth_delay_usec": self.depth_delay_usec,
                "subordinate_delay_usec": self.subordinate_delay_usec,
                "settings": self.settings,
            }
        )


def camera_of(serial: str, record: CameraRecord) -> TakeCamera:
    """The camera that a record describes."""
    rgbd = RgbdCamera(
        serial=serial,
        color=record.color.to_intrinsics(),
        depth=record.depth.to_intrinsics(),
        color_from_depth=np.array(record.color_from_depth),
    )
    return TakeCamera(
        serial, record.role, rgbd, record.depth_delay_usec, record.subordinate_delay_usec, dict(record.settings)
    )


@dataclass(frozen=True)
class FrameTable:
    """The frames of a take: an instant each on the master's clock, and each camera's device times, or MISSING."""

    timestamps_usec: Int[np.ndarray, "n_frames"]
    color_usec: dict[str, Int[np.ndarray, "n_frames"]]
    depth_usec: dict[str, Int[np.ndarray, "n_frames"]]

    def record(self) -> FramesRecord:
        """How the table stands in a JSON file."""

        def column(values: np.ndarray) -> list[int | None]:
            return [None if value == MISSING else int(value) for value in values]

        return FramesRecord(
            timestamps_usec=[int(value) for value in self.timestamps_usec],
            color_usec={serial: column(values) for serial, values in self.color_usec.items()},
            depth_usec={serial: column(values) for serial, values in self.depth_usec.items()},
        )


@dataclass(frozen=True)
class TakeView:
    """The pictures of one camera in one frame."""

    color: ColorImage
    depth_mm: DepthImage | None  # None where the camera missed it


class Take:
    """A finished take. Frames are read at random; memory holds the frame table and a few chunks only."""

    def __init__(self, path: Path, record: TakeRecord) -> None:
        self.path, self.info = path, record
        self.name = path.resolve().name
        self.cameras = {serial: camera_of(serial, camera) for serial, camera in record.cameras.items()}
        self.master, self.fps = record.master, record.fps
        self.timestamps_usec: TimestampsUsec = np.array(record.frames.timestamps_usec, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.timestamps_usec)

    @property
    def rgbd(self) -> dict[str, RgbdCamera]:
        """The cameras' imagers by serial."""
        return {serial: camera.rgbd for serial, camera in self.cameras.items()}

    @cached_property
    def streams(self) -> StreamsReader:
        """The pictures' container, opened when first needed."""
        return StreamsReader(self.path / "streams.mcap")

    def present(self, frame: int) -> tuple[str, ...]:
        """Serials of the cameras that have this frame, in the order of import."""
        return tuple(s for s in self.cameras if self.info.frames.color_usec[s][frame] is not None)

    def color_jpeg(self, frame: int, serial: str) -> bytes | None:
        """The colour picture as the camera compressed it, or None where the camera missed the frame."""
        device_usec = self.info.frames.color_usec[serial][frame]
        return None if device_usec is None else self.streams.read(f"/{serial}/color", device_usec)

    def color(self, frame: int, serial: str) -> ColorImage | None:
        """The colour picture (RGB), or None; raises TakeError where it is damaged."""
        import cv2

        jpeg = self.color_jpeg(frame, serial)
        if jpeg is None:
            return None
        # a camera's intrinsics hold for the pixels as stored, whatever an EXIF tag says about turning them
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), flags) if jpeg else None
        width, height = self.cameras[serial].rgbd.color.size
        if image is None or image.shape != (height, width, 3):
            raise TakeError(f"{self.path}: colour of camera {serial}, frame {frame}, is damaged", hint=_CHECK)
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def depth_mm(self, frame: int, serial: str) -> DepthImage | None:
        """The depth picture (millimetres, 0 = invalid), or None where the camera missed the frame."""
        device_usec = self.info.frames.depth_usec[serial][frame]
        if device_usec is None:
            return None
        width, height = self.cameras[serial].rgbd.depth.size
        return decode_depth(self.streams.read(f"/{serial}/depth", device_usec), width=width, height=height)

    def views(self, frame: int) -> dict[str, "TakeView | None"]:
        """The pictures of the cameras that have this frame, in the order of import; None where one is damaged."""
        _ = self.streams  # a container that cannot be opened is no damaged picture
        views: dict[str, TakeView | None] = {}
        for serial in self.present(frame):
            try:
                color = self.color(frame, serial)
                views[serial] = None if color is None else TakeView(color, self.depth_mm(frame, serial))
            except TakeError:
                views[serial] = None
        return views

    @property
    def audio_path(self) -> Path | None:
        """The sound, if there is any."""
        return self.path / self.info.audio.file if self.info.audio else None

    @property
    def audio_start_usec(self) -> int | None:
        """Time of the first sample on the master's clock; `info.audio.start_source` says how well it is known."""
        return self.info.audio.start_usec if self.info.audio else None

    @property
    def cache_dir(self) -> Path:
        """A folder for what is derived from the take (landmarks, for example); it may be deleted at any time."""
        folder = self.path / "cache"
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise TakeError(f"{folder} cannot be made: {error.strerror}", hint="make the take writable") from error
        return folder

    def close(self) -> None:
        """Closes the streams."""
        if "streams" in self.__dict__:
            self.streams.close()
            del self.__dict__["streams"]

    def __enter__(self) -> "Take":
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def open_take(path: Path | str) -> Take:
    """Opens a finished take; raises TakeError where it is missing, unfinished or damaged, ConsentError if withdrawn."""
    path = Path(path)
    refuse_withdrawn(path)  # here, because every use of a take passes here
    if not path.is_dir():
        raise TakeError(f"{path} is no take: no such folder", hint="make one with: mmface4d take import DIR -o TAKE")
    if not (path / "take.json").is_file():
        if (path / "streams.mcap").is_file():
            hint = f"save what was recorded with: mmface4d take recover {path}"
            raise TakeError(f"{path} is an unfinished take: it has streams but no take.json", hint=hint)
        raise TakeError(f"{path} is no take: it has no take.json", hint="import recordings with: mmface4d take import")
    if not (path / "streams.mcap").is_file():
        hint = "a folder of recordings is imported with: mmface4d take import DIR -o TAKE"
        raise TakeError(f"{path} is no take: it has no streams.mcap", hint=hint)
    record = _read_record(path / "take.json")
    refuse_take_of_withdrawn(path, str(record.source.get("subject")))
    return Take(path, record)


def _read_record(path: Path) -> TakeRecord:
    hint = f"write it anew from the streams with: mmface4d take recover {path.parent}"
    try:
        value = read_json(path, max_bytes=MAX_RECORD_BYTES)
    except InputError as error:
        raise TakeError(error.message, hint=hint) from error
    if isinstance(value, dict) and isinstance(value.get("format"), int) and value["format"] > FORMAT:
        raise TakeError(f"{path} has format {value['format']}, this program reads {FORMAT}", hint="update mmface4d")
    try:
        return TakeRecord.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise TakeError(
            f"{path} is damaged: {error.error_count()} mistakes, first: {where}: {first['msg']}", hint=hint
        ) from error


class TakeWriter:
    """Writes a take: `write` each capture, `set_audio`, then `finish` with the table of frames.

    The folder must not exist. Until `finish` it has no `take.json` and so is visibly unfinished; used as a context
    manager, it is deleted when an error ends the block.
    """

    def __init__(
        self, path: Path, cameras: list[TakeCamera], *, fps: float, source: dict[str, Any] | None = None,
        sound: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        if path.exists():
            raise TakeError(f"{path} exists; takes are never overwritten", hint="choose another name, or delete it")
        self.path, self.cameras, self.fps, self.source = path, {c.serial: c for c in cameras}, fps, source or {}
        self._audio: AudioRecord | None = None
        with disk_full_is_an_error(path):
            path.mkdir(parents=True)
            self._streams = StreamsWriter(
                path / "streams.mcap",
                metadata={
                    TAKE_METADATA: {
                        "format": str(FORMAT),
                        "fps": repr(fps),
                        "source": json.dumps(self.source),
                        **(sound or {}),
                    },
                    **{CAMERA_METADATA + c.serial: {"json": c.record().model_dump_json()} for c in cameras},
                },
                attachments={f"{c.serial}.json": c.factory_calibration for c in cameras if c.factory_calibration},
                serials=list(self.cameras),
            )

    def write(
        self, serial: str, *, color_jpeg: bytes | None = None, depth_mm: DepthImage | None = None,
        color_usec: int | None = None, depth_usec: int | None = None, host_nsec: int | None = None,
    ) -> None:  # fmt: skip
        """Appends a capture, or half of one; times are the device's, `host_nsec` the arrival on the host."""
        if depth_mm is not None:
            width, height = self.cameras[serial].rgbd.depth.size
            if depth_mm.shape != (height, width):
                raise RecordingError(
                    f"camera {serial}: a depth picture is {depth_mm.shape[1]}x{depth_mm.shape[0]}, "
                    f"its calibration is for {width}x{height}",
                    hint="use the calibration that belongs to the recording's depth mode",
                )
        packed = None if depth_mm is None else encode_depth(depth_mm)
        self.write_packed(
            serial, color_jpeg=color_jpeg, depth_packed=packed, color_usec=color_usec, depth_usec=depth_usec,
            host_nsec=host_nsec,
        )  # fmt: skip

    def write_packed(
        self, serial: str, *, color_jpeg: bytes | None = None, depth_packed: bytes | None = None,
        color_usec: int | None = None, depth_usec: int | None = None, host_nsec: int | None = None,
    ) -> None:  # fmt: skip
        """Like `write`, for depth that `encode_depth` has packed already."""
        with disk_full_is_an_error(self.path):
            if color_jpeg is not None and color_usec is not None:
                self._streams.write(serial, "color", color_jpeg, device_usec=color_usec, host_nsec=host_nsec)
            if depth_packed is not None and depth_usec is not None:
                self._streams.write(serial, "depth", depth_packed, device_usec=depth_usec)

    def write_sound(self, pcm: bytes, *, first: int, host_nsec: int, lost: int = 0) -> None:
        """Appends a block of interleaved 24-bit samples, the first of which has number `first`."""
        with disk_full_is_an_error(self.path):
            self._streams.write_sound(pcm, first=first, host_nsec=host_nsec, lost=lost)

    def set_audio(self, source: Path) -> AudioRecord:
        """Takes over a sound file: WAV byte by byte, anything else that libsndfile reads as 24-bit WAV.

        Raises RecordingError where it is no sound, or none of WAV ends before its head says.
        """
        import soundfile

        target = self.path / "audio.wav"
        try:
            info = soundfile.info(str(source))
            samples = info.frames
            with disk_full_is_an_error(target):
                if info.format in ("WAV", "WAVEX", "RF64"):
                    shutil.copyfile(source, target)
                else:
                    with soundfile.SoundFile(source) as sound, soundfile.SoundFile(
                        target, "w", info.samplerate, info.channels, subtype="PCM_24", format="WAV"
                    ) as out:  # fmt: skip
                        for block in whole_blocks(sound, size=1 << 16, dtype="int32"):
                            out.write(block)
                        samples = out.frames  # the head of an MP3 may have guessed
        # a TypeError of a file without a head, .raw
        except (soundfile.SoundFileError, RuntimeError, TypeError) as error:
            raise RecordingError(f"{source} is no readable sound: {error}", hint="give a WAV or FLAC file") from error
        except InputError as error:
            raise RecordingError(error.message, hint=error.hint) from error
        self._audio = AudioRecord(rate=info.samplerate, channels=info.channels, samples=samples)
        return self._audio

    def flush(self) -> None:
        """Ends the chunk in progress, so that a kill loses nothing of what was written."""
        with disk_full_is_an_error(self.path):
            self._streams.flush()

    def finish(
        self, frames: FrameTable, *, clocks: dict[str, ClockRecord] | None = None, sync: SyncRecord | None = None,
        unmatched: list[UnmatchedRecord] | None = None, audio: AudioRecord | None = None,
        notes: list[str] | None = None,
    ) -> Take:  # fmt: skip
        """Writes the index of the streams and then `take.json`; the take is whole from here on."""
        master = next((s for s, c in self.cameras.items() if c.role != "subordinate"), next(iter(self.cameras)))
        record = TakeRecord(
            fps=self.fps,
            master=master,
            cameras={serial: camera.record() for serial, camera in self.cameras.items()},
            frames=frames.record(),
            clocks=clocks or {},
            sync=sync or SyncRecord(),
            unmatched=unmatched or [],
            audio=audio or self._audio,
            source=self.source,
            notes=notes or [],
        )
        with disk_full_is_an_error(self.path):
            self._streams.finish()
            write_record(self.path, record)
        return open_take(self.path)

    def leave(self) -> None:
        """Closes the streams as a kill would: what was written stays, for `take recover`."""
        self._streams.close()

    def discard(self) -> None:
        """Deletes the unfinished take."""
        self._streams.close()
        shutil.rmtree(self.path, ignore_errors=True)

    def __enter__(self) -> "TakeWriter":
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if not (self.path / "take.json").is_file():
            self.discard()


def write_record(path: Path, record: TakeRecord) -> None:
    """Writes a take's `take.json`, which says that the take is whole."""
    write_json(path / "take.json", record.model_dump(mode="json"))


_CHECK = "find the damage with: mmface4d take check TAKE"
