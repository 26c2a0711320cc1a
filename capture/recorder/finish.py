"""From what was written to a finished take: frames by device time, clocks, and the sound in its place."""

import numpy as np

from capture.clock_lines import SessionClocks
from capture.clocks import HostTimes
from capture.pairing import CaptureTimes, Pairing, master_of, pair_captures
from capture.recorder.tape import Written
from capture.sound_track import SoundFormat, SoundTrack, place_sound, write_track
from mmface4d.errors import RecordingError
from mmface4d.take import Take, TakeWriter
from mmface4d.take_record import AudioRecord


def finish_take(
    writer: TakeWriter, written: Written, *, sound: SoundFormat | None, av_offset_usec: float, notes: list[str],
    clocks: SessionClocks | None = None,
) -> Take:  # fmt: skip
    """Pairs the pictures, writes `audio.wav` and then `take.json`.

    Raises RecordingError where the pictures make no take; the streams are kept then, for `take recover`.
    """
    try:
        pairing = _paired(writer, written)
        track = write_track(written.sound, writer.path / "audio.wav", form=sound) if sound else None
    except RecordingError:
        writer.leave()
        raise
    audio = None
    if track is not None and sound is not None:
        master = master_of(writer.cameras)
        audio = place_sound(
            _audio(track, sound, pairing), track, arrivals(written).get(master), av_offset_usec=av_offset_usec,
            session=clocks.lines(master) if clocks else None,
        )  # fmt: skip
        if track.lost:
            notes = [*notes, f"{track.lost} samples of sound were lost and are silent"]
    return writer.finish(
        pairing.frames, clocks=pairing.clocks, sync=pairing.sync, unmatched=pairing.unmatched, audio=audio,
        notes=[*notes, *pairing.notes],
    )  # fmt: skip


def _paired(writer: TakeWriter, written: Written) -> Pairing:
    found = times(written, list(writer.cameras))
    silent = [serial for serial, theirs in found.items() if not len(theirs.color_usec)]
    if len(silent) == len(found):
        raise RecordingError("no camera delivered a picture", hint="look at the cables with: mmface4d doctor")
    pairing = pair_captures(writer.cameras, found, host=arrivals(written) or None)
    if not len(pairing.frames.timestamps_usec):
        raise RecordingError("no whole capture was recorded", hint="look at the cameras with: mmface4d doctor")
    return pairing


def _audio(track: SoundTrack, form: SoundFormat, pairing: Pairing) -> AudioRecord:
    """The sound as if it began with the first frame."""
    return AudioRecord(
        rate=form.rate, channels=form.channels, samples=track.samples,
        start_usec=int(pairing.frames.timestamps_usec[0]), start_source="assumed",
    )  # fmt: skip


def times(written: Written, serials: list[str]) -> dict[str, CaptureTimes]:
    """Device times of the pictures by camera."""

    def column(serial: str, index: int) -> np.ndarray:
        found = [piece[index] for piece in written.pictures if piece[0] == serial and piece[index] is not None]
        return np.unique(np.array(found, dtype=np.int64))

    return {serial: CaptureTimes(column(serial, 1), column(serial, 2)) for serial in serials}


def arrivals(written: Written) -> dict[str, HostTimes]:
    """When the colour pictures came, by camera."""
    out: dict[str, HostTimes] = {}
    for serial in {piece[0] for piece in written.pictures}:
        found = {usec: host for s, usec, _, host in written.pictures if s == serial and usec is not None}
        if found:
            device = np.array(sorted(found), dtype=np.int64)
            out[serial] = HostTimes(device, np.array([found[int(usec)] for usec in device], dtype=np.int64))
    return out
