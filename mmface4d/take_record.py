"""What stands in `take.json`: cameras, frames, clocks, sound, and what could not be matched."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from mmface4d.cameras import IntrinsicsRecord, TransformRecord

FORMAT = 1
MAX_CAMERAS = 8
SERIAL_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"  # serials name channels and folders, so no path can hide in one
Role = Literal["master", "subordinate", "standalone"]
Serial = Annotated[str, StringConstraints(pattern=SERIAL_PATTERN)]
Usec = Annotated[int, Field(gt=-(1 << 62), lt=1 << 62)]  # differences fit 64 bits


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class CameraRecord(_Strict):
    """One camera of a take; the delays are the configured ones."""

    role: Role
    color: IntrinsicsRecord
    depth: IntrinsicsRecord
    color_from_depth: TransformRecord
    depth_delay_usec: int = 0
    subordinate_delay_usec: int = 0
    settings: dict[str, str] = {}


class FramesRecord(_Strict):
    """One entry an instant. A camera's device times are null where it has no capture of that instant."""

    timestamps_usec: list[Usec]
    color_usec: dict[str, list[Usec | None]]
    depth_usec: dict[str, list[Usec | None]]

    @model_validator(mode="after")
    def _equal_lengths(self) -> "FramesRecord":
        columns = [*self.color_usec.values(), *self.depth_usec.values()]
        if any(len(column) != len(self.timestamps_usec) for column in columns):
            raise ValueError("columns of different lengths")
        if any(late <= early for early, late in zip(self.timestamps_usec, self.timestamps_usec[1:], strict=False)):
            raise ValueError("timestamps_usec do not increase")
        return self


class HostLineRecord(_Strict):
    """A clock on the host's monotonic one, from arrivals; what came later than the line was late.

    host_usec = source_usec + offset + rate_ppm 1e-6 (source_usec - reference), least delays included
    """

    reference_usec: float
    offset_usec: float
    rate_ppm: float
    points: int = 0
    span_s: float = 0.0
    late_median_usec: float = 0.0
    late_p99_usec: float = 0.0


class ClockRecord(_Strict):
    """A device clock against the master's.

    master_usec = reference + offset + (1 + rate_ppm 1e-6) (device_usec - reference)
    """

    reference_usec: float = 0.0
    offset_usec: float = 0.0
    rate_ppm: float = 0.0
    pairs: int = 0
    residual_median_usec: float = 0.0
    residual_p99_usec: float = 0.0
    residual_max_usec: float = 0.0
    host: HostLineRecord | None = None


class SyncRecord(_Strict):
    """Distance in time of the subordinates' colour exposures to the master's, after the clock fit."""

    pairs: int = 0
    median_usec: float = 0.0
    p99_usec: float = 0.0
    max_usec: float = 0.0
    violations: list[dict[str, Any]] = []


class UnmatchedRecord(_Strict):
    """A capture, or half of one, that belongs to no frame; it is kept in the streams."""

    serial: str
    color_usec: int | None = None
    depth_usec: int | None = None
    reason: str


class AudioRecord(_Strict):
    """The sound of a take. `start_source` says how well `start_usec` (master clock, first sample) is known.

    Sample i belongs to start_usec + (1 + rate_ppm 1e-6) i 1e6 / rate. `av_offset_usec` is the constant applied;
    `host` and `master_host` are the lines the start came from: the samples' time (from the first one on) and the
    master's on the host's.
    """

    file: Literal["audio.wav"] = "audio.wav"
    rate: int = Field(gt=0)
    channels: int = Field(gt=0)
    samples: int = Field(ge=0)
    start_usec: Usec | None = None
    start_source: Literal["host clock", "given", "assumed"] = "assumed"
    rate_ppm: float = 0.0
    av_offset_usec: float = 0.0
    host: HostLineRecord | None = None
    master_host: HostLineRecord | None = None

    @property
    def duration_s(self) -> float:
        """Length in seconds of its own clock."""
        return self.samples / self.rate


class TakeRecord(_Strict):
    """The whole of `take.json`."""

    format: int = FORMAT
    fps: float
    master: str
    cameras: dict[Serial, CameraRecord]
    frames: FramesRecord
    clocks: dict[str, ClockRecord] = {}
    sync: SyncRecord = SyncRecord()
    unmatched: list[UnmatchedRecord] = []
    audio: AudioRecord | None = None
    source: dict[str, Any] = {}
    notes: list[str] = []

    @model_validator(mode="after")
    def _consistent(self) -> "TakeRecord":
        if self.master not in self.cameras:
            raise ValueError(f"the master {self.master} is not among the cameras")
        for column in (self.frames.color_usec, self.frames.depth_usec):
            if set(column) != set(self.cameras):
                raise ValueError("the frames name other cameras than the take")
        if not self.fps > 0:
            raise ValueError("fps must be positive")
        return self
