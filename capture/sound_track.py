"""Sound that was recorded among the pictures: from blocks of 24-bit samples to a WAV file without holes."""

import wave
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np

from capture.clock_lines import SessionLines, audio_start_usec, fit_of_take
from capture.clocks import HostTimes
from mmface4d.files import atomic_path
from mmface4d.take import TakeWriter
from mmface4d.take_record import AudioRecord

SAMPLE_BYTES = 3
MOST_HOLE_S = 60.0  # samples said to be lost beyond this are a damaged number, not a hole


@dataclass(frozen=True)
class SoundBlock:
    """Interleaved 24-bit samples; `first` counts from the opening of the stream, `lost` ones before it included."""

    host_nsec: int
    first: int
    lost: int
    pcm: bytes

    @property
    def source(self) -> str:
        """Who delivered it."""
        return "microphone"

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.pcm)

    def write(self, writer: TakeWriter) -> None:
        """To a take."""
        writer.write_sound(self.pcm, first=self.first, host_nsec=self.host_nsec, lost=self.lost)


@dataclass(frozen=True)
class SoundFormat:
    """Rate in Hz and number of channels."""

    rate: int
    channels: int

    def metadata(self) -> dict[str, str]:
        """As it stands in a streams file."""
        return {"sound_rate": str(self.rate), "sound_channels": str(self.channels)}

    @classmethod
    def from_metadata(cls, values: dict[str, str]) -> "SoundFormat":
        """Raises KeyError or ValueError where the texts do not say it."""
        found = cls(int(values["sound_rate"]), int(values["sound_channels"]))
        if not (0 < found.rate <= 768_000 and 0 < found.channels <= 64):
            raise ValueError("no sane rate and number of channels")
        return found


@dataclass(frozen=True)
class SoundTrack:
    """What was written; `lost` samples are silence. `times`: the blocks' by the stream's own clock and the host's."""

    samples: int
    lost: int
    times: HostTimes


def write_track(blocks: Iterable[SoundBlock], target: Path, *, form: SoundFormat) -> SoundTrack | None:
    """Writes the blocks as 24-bit WAV, holes filled with silence; None, and no file, where there is no block."""
    blocks = iter(blocks)
    head = next(blocks, None)
    if head is None:
        return None
    track = _Track(form, begin=head.first)
    with atomic_path(target) as partial, wave.open(str(partial), "wb") as out:
        out.setnchannels(form.channels)
        out.setsampwidth(SAMPLE_BYTES)
        out.setframerate(form.rate)
        for block in chain([head], blocks):
            out.writeframesraw(track.add(block))
    usec = np.rint((track.begin + np.array(track.firsts)) * 1e6 / form.rate).astype(np.int64)
    return SoundTrack(track.samples, track.lost, HostTimes(usec, np.array(track.hosts, dtype=np.int64)))


def place_sound(
    audio: AudioRecord, track: SoundTrack, arrivals: HostTimes | None, *, av_offset_usec: float = 0.0,
    session: SessionLines | None = None,
) -> AudioRecord:  # fmt: skip
    """The sound's start on the master's clock, from the arrival of its blocks and of the master's pictures.

    `av_offset_usec` is how much longer pictures are on their way than sound, as a clap check measures it; the
    session's lines count where they are longer than the take's own. Without arrivals the start stays as it is.
    """
    if arrivals is None or not len(track.times.host_nsec):
        return audio
    session = session or SessionLines()
    samples = fit_of_take(track.times, session.samples)
    device = fit_of_take(arrivals, session.master)
    first_usec = float(track.times.device_usec[0])
    place = audio_start_usec(first_usec, samples=samples, device=device, av_offset_usec=av_offset_usec)
    found = {
        "start_usec": place.start_usec, "start_source": "host clock", "rate_ppm": round(place.rate_ppm, 3),
        "av_offset_usec": av_offset_usec, "host": samples.record(), "master_host": device.record(),
    }  # fmt: skip
    return audio.model_copy(update=found)


@dataclass
class _Track:
    """What was put in a row so far."""

    form: SoundFormat
    begin: int
    samples: int = 0
    lost: int = 0
    firsts: list[int] = field(default_factory=list)
    hosts: list[int] = field(default_factory=list)

    def add(self, block: SoundBlock) -> bytes:
        """The bytes that go on from what was put before; a block that cannot be placed is left out."""
        first, frame_bytes = block.first - self.begin, SAMPLE_BYTES * self.form.channels
        hole = first - self.samples
        if not 0 <= hole <= MOST_HOLE_S * self.form.rate or len(block.pcm) % frame_bytes:
            return b""
        self.firsts.append(first)
        self.hosts.append(block.host_nsec)
        self.lost += hole
        self.samples = first + len(block.pcm) // frame_bytes
        return bytes(hole * frame_bytes) + block.pcm
