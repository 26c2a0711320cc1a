"""The sound of a sequence: cut out of its take so that it begins with the first frame and ends with the last."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from corpus.presets.clip import Clip
from mmface4d.errors import InputError
from mmface4d.exported import Exported
from mmface4d.take_record import AudioRecord
from mmface4d.wav import write_wav

MARGIN_S = 0.05  # beyond both ends, so that the resampler's filter has run in
WORTH_A_NOTE_S = 0.05
SPEECH_RATE = 16_000


@dataclass(frozen=True)
class CutSound:
    """Mono samples at `rate`; what the take's sound did not cover is silence of `silent_s` in all."""

    samples: Float[np.ndarray, "n_samples"]
    rate: int
    silent_s: float


def cut_sound(clip: Clip, *, rate: int | None = None) -> CutSound | None:
    """The sound from the first frame to the end of the last, all channels' mean; None where there is none to be used.

    `rate` in Hz; without it the take's own. Sample i of a take belongs to start + (1 + rate_ppm 1e-6) i / rate.
    """
    if not clip.sound_allowed:
        return None
    if clip.wav is not None:
        return _cut_wav(clip.wav, clip.motion.duration_s, rate=rate)
    if clip.take is None or clip.take.info.audio is None or clip.take.audio_path is None:
        return None
    audio, target = clip.take.info.audio, rate or clip.take.info.audio.rate
    true_rate = audio.rate / (1.0 + 1e-6 * audio.rate_ppm)
    start_usec = audio.start_usec if audio.start_usec is not None else int(clip.take.timestamps_usec[0])
    first = round(((clip.motion.start_usec - start_usec) / 1e6 - MARGIN_S) * true_rate)
    count = math.ceil((clip.motion.duration_s + 2 * MARGIN_S) * true_rate)
    samples = _read(clip.take.audio_path, first, count, audio)
    margin, wanted = round(MARGIN_S * target), round(clip.motion.duration_s * target)
    out = _resample(samples, true_rate, target)[margin : margin + wanted]
    out = np.pad(out, (0, wanted - len(out)))
    silent_s = _uncovered_s(first / true_rate + MARGIN_S, clip.motion.duration_s, audio.samples / true_rate)
    return CutSound(np.clip(out, -1.0, 1.0).astype(np.float32), target, silent_s)


def _cut_wav(path: Path, duration_s: float, *, rate: int | None) -> CutSound:
    """Of a file that begins with the first frame."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as sound:
            own = int(sound.samplerate)
            block = sound.read(math.ceil((duration_s + MARGIN_S) * own), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise InputError(f"{path} is no readable sound: {error}", hint="make it again, or put it away") from error
    target, length_s = rate or own, len(block) / own
    out = _resample(np.nan_to_num(block).mean(axis=1), float(own), target)[: round(duration_s * target)]
    out = np.pad(out, (0, round(duration_s * target) - len(out)))
    return CutSound(np.clip(out, -1.0, 1.0).astype(np.float32), target, max(duration_s - length_s, 0.0))


def _uncovered_s(start_s: float, duration_s: float, length_s: float) -> float:
    """How much of start .. start + duration lies outside 0 .. length."""
    covered = max(0.0, min(start_s + duration_s, length_s) - max(start_s, 0.0))
    return duration_s - covered


def _read(path: Path, first: int, count: int, audio: AudioRecord) -> Float[np.ndarray, "n_samples"]:
    """Samples first to first + count, silence where there are none; the channels' mean."""
    import soundfile

    out = np.zeros(count, np.float32)
    try:
        with soundfile.SoundFile(path) as sound:
            if sound.samplerate != audio.rate:
                raise InputError(
                    f"{path} has {sound.samplerate} Hz, its take says {audio.rate}",
                    hint="find the damage with: mmface4d take check TAKE",
                )
            begin, end = max(first, 0), min(first + count, sound.frames)
            if begin < end:
                sound.seek(begin)
                block = sound.read(end - begin, dtype="float32", always_2d=True)
                out[begin - first : begin - first + len(block)] = np.nan_to_num(block).mean(axis=1)
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise InputError(
            f"{path} is no readable sound: {error}", hint="find the damage with: mmface4d take check TAKE"
        ) from error
    return out


def _resample(
    samples: Float[np.ndarray, "n_samples"], source_rate: float, target_rate: int
) -> Float[np.ndarray, "n_resampled"]:
    if abs(source_rate - target_rate) < 1e-3:
        return samples
    import soxr

    return soxr.resample(samples, source_rate, target_rate, quality="VHQ")


def write_sound(clip: Clip, path: Path, *, done: Exported, rate: int | None = None) -> bool:
    """Writes the clip's sound where there is one; notes in `done` what is missing."""
    sound = cut_sound(clip, rate=rate)
    if sound is None:
        done.notes.append("no sound" if clip.sound_allowed else "no sound: the person's consent does not cover it")
        return False
    if sound.silent_s > WORTH_A_NOTE_S:
        done.notes.append(f"the sound does not cover {sound.silent_s:.2f} s of it, which are silent")
    write_wav(path, sound.samples, rate_hz=sound.rate)
    return True
