"""An MP4 that plays everywhere: H.264 and AAC, each frame shown at its own time."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from av.audio.resampler import AudioResampler
from jaxtyping import Int

from mmface4d.errors import InputError
from mmface4d.files import atomic_path
from reconstruct.view.pictures import Picture

VIDEO_CLOCK = 90_000  # ticks a second, what MP4 players expect of video
AUDIO_RATE = 48_000
BLOCK = 4_096
QUALITY = {"crf": "21", "preset": "veryfast"}
BT709 = 1


@dataclass(frozen=True)
class Sound:
    """A sound file and the device time of its first sample."""

    path: Path
    start_usec: int


def write_video(
    path: Path,
    frames: Iterable[Picture],
    *,
    timestamps_usec: Int[np.ndarray, "n_frames"],
    frame_usec: int,
    sound: Sound | None,
) -> None:
    """Writes as many frames as there are timestamps; the first is shown at time zero, the last for `frame_usec`.

    Frames need even sides. A gap in the timestamps lengthens the frame before it, so sound and pictures stay together.
    """
    times_usec = np.append(timestamps_usec, timestamps_usec[-1] + frame_usec) - timestamps_usec[0]
    if (np.diff(times_usec) <= 0).any():
        raise InputError("the timestamps do not increase", hint="check the take with: mmface4d take check TAKE")
    ticks = np.round(times_usec * (VIDEO_CLOCK / 1e6)).astype(int)
    with atomic_path(path) as partial, av.open(str(partial), "w", options={"movflags": "+faststart"}) as container:
        audio = _AudioWriter(container, sound, first_usec=int(timestamps_usec[0])) if sound else None
        video = _VideoWriter(container, round(1e6 / frame_usec), ticks)
        for index, image in enumerate(frames):
            video.write(index, image)
            if audio:
                audio.write_until(times_usec[index + 1] / 1e6)
        video.close()
        if audio:
            audio.close()


class _VideoWriter:
    def __init__(self, container: Any, rate: int, ticks: np.ndarray) -> None:
        self._container, self._rate, self._ticks = container, rate, ticks
        self._durations = dict(zip(ticks[:-1].tolist(), np.diff(ticks).tolist(), strict=True))
        self._stream = container.add_stream("libx264", rate=rate, options=QUALITY)
        self._stream.pix_fmt = "yuv420p"
        self._stream.time_base = self._stream.codec_context.time_base = Fraction(1, VIDEO_CLOCK)
        context = self._stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = BT709

    def write(self, index: int, image: Picture) -> None:
        if index == 0:
            self._stream.height, self._stream.width = image.shape[:2]
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        # untagged or 601 colours are shifted by players that take HD for 709
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709")
        frame.pts, frame.time_base = int(self._ticks[index]), Fraction(1, VIDEO_CLOCK)
        self._mux(self._stream.encode(frame))

    def close(self) -> None:
        self._mux(self._stream.encode(None))

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            if packet.pts in self._durations:
                packet.duration = self._durations[packet.pts]
            self._container.mux(packet)


class _AudioWriter:
    """Reads the part of a sound file that belongs to the pictures, silence where there is none, block by block."""

    def __init__(self, container: Any, sound: Sound, *, first_usec: int) -> None:
        try:
            self._file = soundfile.SoundFile(str(sound.path))
        except soundfile.LibsndfileError as error:
            raise InputError(f"{sound.path} cannot be read as sound: {error}", hint="check the take") from error
        self._rate, self._container = self._file.samplerate, container
        self._offset = round((first_usec - sound.start_usec) * 1e-6 * self._rate)  # file sample at time zero
        self._written = 0
        self._stream = container.add_stream("aac", rate=AUDIO_RATE)
        self._stream.layout = "mono"
        self._resampler = AudioResampler(format="fltp", layout="mono", rate=AUDIO_RATE)

    def write_until(self, end_s: float) -> None:
        """Encodes up to a time of the video."""
        end = round(end_s * self._rate)
        while self._written < end:
            count = min(BLOCK, end - self._written)
            self._encode(self._read(self._written + self._offset, count))
            self._written += count

    def close(self) -> None:
        for frame in self._resampler.resample(None):
            self._mux(frame)
        self._mux(None)
        self._file.close()

    def _read(self, start: int, count: int) -> np.ndarray:
        """Mono samples [count] of the file from `start` on, which may lie before or after its content."""
        out = np.zeros(count, dtype=np.float32)
        first, last = max(start, 0), min(start + count, len(self._file))
        if first < last:
            self._file.seek(first)
            samples = self._file.read(last - first, dtype="float32", always_2d=True)
            out[first - start : first - start + len(samples)] = samples.mean(1)
        return out

    def _encode(self, samples: np.ndarray) -> None:
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = self._rate, self._written, Fraction(1, self._rate)
        for resampled in self._resampler.resample(frame):
            self._mux(resampled)

    def _mux(self, frame: Any) -> None:
        for packet in self._stream.encode(frame):
            self._container.mux(packet)
