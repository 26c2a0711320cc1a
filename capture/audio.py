"""The sound of a take: taken over as it is, and placed on the master's clock as well as is known."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from capture.clocks import HostTimes, lower_envelope
from mmface4d.errors import RecordingError
from mmface4d.files import read_json
from mmface4d.take import TakeWriter
from mmface4d.take_record import AudioRecord


class AudioSidecar(BaseModel):
    """`audio.json` beside the sound: when its first sample was taken, on the clock of host_clock.csv.

    `take export` writes `placed` instead, what the take knows of its sound, so that nothing is estimated twice.
    """

    model_config = ConfigDict(extra="forbid")

    first_sample_host_nsec: int | None = None
    placed: AudioRecord | None = None


def attach_audio(
    writer: TakeWriter,
    source: Path,
    *,
    first_frame_usec: int,
    start_s: float | None = None,
    host: HostTimes | None = None,
) -> AudioRecord:
    """Takes over a sound file. Its start on the master's clock is, in this order: `start_s` after the first frame as
    given, from `audio.json` (by the master's host times where it speaks of the host's clock), or assumed to be the
    first frame.

    Host times are of arrival, so a start by the host clock is too early by the camera's delivery delay (tens of ms).
    """
    record = writer.set_audio(source)
    sidecar = _read_sidecar(source.with_suffix(".json"))
    if start_s is not None:
        start_usec, how = first_frame_usec + round(start_s * 1e6), "given"
    elif sidecar.placed is not None:
        return _placed(record, sidecar.placed, source)
    elif sidecar.first_sample_host_nsec is not None and host is not None:
        start_usec, how = on_device_clock(sidecar.first_sample_host_nsec / 1000, host), "host clock"
    else:
        start_usec, how = first_frame_usec, "assumed"
    return record.model_copy(update={"start_usec": start_usec, "start_source": how})


def _read_sidecar(path: Path) -> AudioSidecar:
    if not path.is_file():
        return AudioSidecar()
    try:
        found = AudioSidecar.model_validate(read_json(path))
        if found.first_sample_host_nsec is None and found.placed is None:
            raise ValueError("no start of the sound")
    except ValueError as error:  # pydantic's is one
        raise RecordingError(
            f"{path} does not say when the sound starts", hint='it holds {"first_sample_host_nsec": 123}'
        ) from error
    return found


def _placed(record: AudioRecord, placed: AudioRecord, source: Path) -> AudioRecord:
    form = ("rate", "channels", "samples")
    if any(getattr(placed, name) != getattr(record, name) for name in form):
        raise RecordingError(
            f"{source.with_suffix('.json')} is of another sound than {source.name}: their lengths or rates differ",
            hint="put the audio.json there that was written with this sound, or move it away",
        )
    return placed


def on_device_clock(host_usec: float, arrivals: HostTimes) -> int:
    """A device's clock at an instant of the host's, from the arrival of its pictures."""
    line = lower_envelope(arrivals)
    return round((host_usec - line.offset_usec + line.rate * line.reference_usec) / (1.0 + line.rate))
