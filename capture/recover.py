"""Saving an unfinished or damaged take: what is whole goes to a fresh file, and nothing else is thrown away.

A tail that may have held pictures is kept as `streams.mcap.tail`; where chunks within the file are damaged, the whole
original is kept as `streams.mcap.damaged`. `take.json` is written last, so a recovery that is killed can be repeated.
"""

import filecmp
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from capture.pairing import Pairing, master_of, pair_captures
from capture.salvage import Salvage, as_sound, scan, sound_blocks, whole_messages
from capture.sound_track import SoundTrack, place_sound, write_track
from capture.wav_repair import repair_header, stale_header
from mmface4d.errors import RecordingError, TakeError
from mmface4d.files import atomic_path
from mmface4d.progress import progress
from mmface4d.take import CAMERA_METADATA, TAKE_METADATA, open_take, write_record
from mmface4d.take_record import AudioRecord, FramesRecord, TakeRecord
from mmface4d.take_streams import SOUND_CHANNEL, StreamsReader, StreamsWriter, lock
from mmface4d.withdrawal import refuse_take_of_withdrawn, refuse_withdrawn

STREAMS, RECORD, AUDIO = "streams.mcap", "take.json", "audio.wav"
IMPORTED = ("k4a mkv", "images")
DAMAGED, TAIL, FORMER = "streams.mcap.damaged", "streams.mcap.tail", "take.json.former"


@dataclass(frozen=True)
class RecoveryReport:
    """What a recovery found and did; `whole` takes were left alone."""

    path: Path
    whole: bool
    frames: int
    pictures: dict[str, int]
    dropped_bytes: int = 0
    damaged_chunks: int = 0
    audio_repaired: bool = False
    kept: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def recover_take(path: Path) -> RecoveryReport:
    """Makes a take whole again; where it cannot or may not, raises TakeError or ConsentError and changes nothing."""
    if not path.is_dir():
        raise TakeError(f"{path} is no take: no such folder", hint="check the path")
    refuse_withdrawn(path)
    source = next((path / name for name in (STREAMS, DAMAGED) if (path / name).is_file()), None)
    if source is None:
        raise TakeError(
            f"{path} is no take: it has no {STREAMS}", hint="import the recordings with: mmface4d take import"
        )
    with claimed(source):
        salvage = scan(source)
        former = _former_record(path)
        about = salvage.source | (former.source if former else {})
        refuse_take_of_withdrawn(path, str(about.get("subject")))
        streams_whole = source.name == STREAMS and _is_whole(salvage)
        if streams_whole and (path / RECORD).is_file() and former is not None and _agrees(former, salvage, path):
            return _report(path, salvage, len(former.frames.timestamps_usec), whole=True)
        pairing = _pair(salvage)
        kept = [] if streams_whole else _renew(salvage, path, record_is_good=former is not None)
        if former is None:
            _retire_record(path, is_good=False)
        return _finish(path, salvage, pairing, former=former, kept=kept)


@contextmanager
def claimed(source: Path) -> Iterator[None]:
    """Holds the streams, so that no take is recovered or packed while it is being written; clears what a kill left."""
    with source.open("rb") as file:
        lock(file.fileno(), source)
        if not os.path.samestat(os.fstat(file.fileno()), source.stat()):
            raise TakeError(f"{source} was replaced just now", hint="run the same command again")
        for leftover in source.parent.glob(".streams.*.partial*"):  # of a recovery or packing that was killed
            leftover.unlink()
        yield


def _former_record(path: Path) -> TakeRecord | None:
    """What `take.json` said before, where it can be read: where the sound starts, notes, source."""
    for name in (RECORD, FORMER):
        try:
            return TakeRecord.model_validate_json((path / name).read_bytes())
        except (OSError, ValueError):
            continue
    return None


def _is_whole(salvage: Salvage) -> bool:
    """Whether the streams file has all its chunks and an index that finds every picture."""
    if not salvage.ended or salvage.damaged_chunks:
        return False
    try:
        with StreamsReader(salvage.path) as reader:
            found = {name: len(channel.device_usec) for name, channel in reader.channels.items()}
            sound = found.pop(SOUND_CHANNEL, 0) == salvage.sound_blocks
            return sound and all(found.get(name, 0) == len(times) for name, times in salvage.device_nsec.items())
    except TakeError:
        return False


def _agrees(record: TakeRecord, salvage: Salvage, path: Path) -> bool:
    """Whether the record names only pictures and sound that are there."""
    if set(record.cameras) != set(salvage.cameras):
        return False
    for serial, times in salvage.times().items():
        for column, there in (
            (record.frames.color_usec[serial], times.color_usec),
            (record.frames.depth_usec[serial], times.depth_usec),
        ):
            named = np.array([usec for usec in column if usec is not None], dtype=np.int64)
            if not np.isin(named, there).all():
                return False
    return record.audio is None or _read_audio(path, record) == record.audio


def _pair(salvage: Salvage) -> Pairing:
    if not salvage.pictures:
        raise TakeError(
            f"{salvage.path} holds no whole chunk of pictures; nothing can be saved",
            hint="nothing was changed; import or record again",
        )
    try:
        pairing = pair_captures(salvage.cameras, salvage.times(), host=salvage.host_times() or None)
    except RecordingError as error:
        raise TakeError(f"{salvage.path}: {error.message}", hint="nothing was changed; too little was saved") from error
    if not len(pairing.frames.timestamps_usec):
        raise TakeError(f"{salvage.path} holds no whole capture", hint="nothing was changed; import or record again")
    return pairing


def _retire_record(path: Path, *, is_good: bool) -> None:
    """Takes a `take.json` that is wrong now out of the way; what it says is used again when the new one is written."""
    if (path / RECORD).is_file():
        (path / RECORD).replace(path / FORMER if is_good else _free_name(path / (RECORD + ".damaged")))


def _free_name(path: Path) -> Path:
    number = 2
    free = path
    while free.exists():
        free = path.with_name(f"{path.name}-{number}")
        number += 1
    return free


def _renew(salvage: Salvage, path: Path, *, record_is_good: bool) -> list[str]:
    """Writes a fresh streams file in the place of the damaged one; returns the names of what is kept beside it."""
    kept = []
    if salvage.tail_bytes and not salvage.damaged_chunks:
        kept.append(_keep_tail(salvage, path / TAIL))
    with atomic_path(path / STREAMS) as partial:
        _copy(salvage, partial)
        _retire_record(path, is_good=record_is_good)
        if salvage.damaged_chunks and salvage.path.name == STREAMS:
            # a kill between this and the replacing is no harm: the next recovery starts from this name
            salvage.path.replace(path / DAMAGED if not (path / DAMAGED).exists() else _free_name(path / DAMAGED))
    return kept + sorted(file.name for file in path.glob(DAMAGED + "*"))


def _keep_tail(salvage: Salvage, target: Path) -> str:
    """Writes the bytes after the last whole record to a file of their own, unless a recovery before did so."""
    former = list(target.parent.glob(target.name + "*"))
    target = _free_name(target)
    with atomic_path(target) as partial, salvage.path.open("rb") as source, partial.open("wb") as out:
        source.seek(salvage.whole_bytes)
        shutil.copyfileobj(source, out)
    same = next((file for file in former if filecmp.cmp(file, target, shallow=False)), None)
    if same is not None:
        target.unlink()
    return (same or target).name


def _copy(salvage: Salvage, target: Path) -> None:
    head = {
        name: values
        for name, values in salvage.metadata.items()
        if name == TAKE_METADATA or name.startswith(CAMERA_METADATA)
    }
    serials = list(salvage.cameras)
    writer = StreamsWriter(
        target, metadata=head, attachments=salvage.attachments, serials=serials,
        depth_encoding=salvage.depth_encoding,
    )  # fmt: skip
    with progress(f"recover {salvage.path.parent.name} (pictures)", salvage.pictures) as bar:
        for name, message in whole_messages(salvage):
            if name == SOUND_CHANNEL:
                block = as_sound(message)
                writer.write_sound(block.pcm, first=block.first, host_nsec=block.host_nsec, lost=block.lost)
                continue
            serial, kind = name.lstrip("/").rsplit("/", 1)
            host_nsec = None if message.publish_time == message.log_time else message.publish_time
            writer.write(serial, kind, message.data, device_usec=message.log_time // 1000, host_nsec=host_nsec)
            bar.advance()
    for name, values in salvage.metadata.items():
        if name not in head:
            writer.add_metadata(name, values)
    writer.finish()


def _finish(
    path: Path, salvage: Salvage, pairing: Pairing, *, former: TakeRecord | None, kept: list[str]
) -> RecoveryReport:
    """Mends the sound and writes `take.json`."""
    track = _extract_sound(path, salvage)
    audio_repaired = track is None and _repair_audio(path)
    audio = _read_audio(path, former)
    master = master_of(salvage.cameras)
    if track is not None and audio is not None and former is None:
        audio = place_sound(audio, track, salvage.host_times().get(master))
    notes = list(former.notes) if former else []
    notes += [note for note in pairing.notes if note not in notes]
    notes.append("recovered: " + _what_was_lost(salvage))
    if former is None and not salvage.ended and salvage.source.get("kind") in IMPORTED:
        notes.append("its import was not finished; what was not copied yet, the sound too, is in the recordings only")
    if audio is None and (path / AUDIO).is_file():
        notes.append("audio.wav cannot be read; it was left where it is")
    elif audio is None and former and former.audio:
        notes.append("audio.wav is gone")
    elif audio is not None and audio.start_usec is None:
        audio = audio.model_copy(update={"start_usec": int(pairing.frames.timestamps_usec[0])})
    record = TakeRecord(
        fps=salvage.fps,
        master=master,
        cameras={serial: camera.record() for serial, camera in salvage.cameras.items()},
        frames=FramesRecord.model_validate(pairing.frames.record()),
        clocks=pairing.clocks,
        sync=pairing.sync,
        unmatched=pairing.unmatched,
        audio=audio,
        source=salvage.source | (former.source if former else {}),
        notes=notes,
    )
    shutil.rmtree(path / "cache", ignore_errors=True)  # it may be about frames of other numbers
    write_record(path, record)
    (path / FORMER).unlink(missing_ok=True)
    with open_take(path) as take:
        return _report(
            path, salvage, len(take), whole=False, audio_repaired=audio_repaired, kept=kept, notes=record.notes
        )


def _extract_sound(path: Path, salvage: Salvage) -> SoundTrack | None:
    """Writes the sound that is among the pictures, unless it was written before; None where there is none."""
    if salvage.sound_format is None or (path / AUDIO).is_file():
        return None
    streams = replace(salvage, path=path / STREAMS)
    return write_track(sound_blocks(streams), path / AUDIO, form=salvage.sound_format)


def _repair_audio(path: Path) -> bool:
    wrong = stale_header(path / AUDIO) if (path / AUDIO).is_file() else None
    if wrong is not None:
        repair_header(path / AUDIO, wrong)
    return wrong is not None


def _read_audio(path: Path, former: TakeRecord | None) -> AudioRecord | None:
    """The sound as it is now, with the start that was known before; None where there is none that can be read."""
    import soundfile

    if not (path / AUDIO).is_file() or stale_header(path / AUDIO) is not None:
        return None
    try:
        info = soundfile.info(str(path / AUDIO))
    except (soundfile.SoundFileError, RuntimeError):
        return None
    found = AudioRecord(rate=info.samplerate, channels=info.channels, samples=info.frames)
    if former is None or former.audio is None:
        return found
    known = {"start_usec": former.audio.start_usec, "start_source": former.audio.start_source}
    return found.model_copy(update=known)


def _what_was_lost(salvage: Salvage) -> str:
    parts = []
    if salvage.tail_bytes:
        parts.append(f"the last {salvage.tail_bytes} bytes were no whole chunk")
    if salvage.damaged_chunks:
        parts.append(f"{salvage.damaged_chunks} of {salvage.chunks + salvage.damaged_chunks} chunks were damaged")
    return " and ".join(parts) or "nothing that reached the disk is lost"


def _report(path: Path, salvage: Salvage, frames: int, *, whole: bool, **more: Any) -> RecoveryReport:
    pictures = {
        serial: sum(len(salvage.device_nsec.get(f"/{serial}/{kind}", ())) for kind in ("color", "depth"))
        for serial in salvage.cameras
    }
    dropped = salvage.tail_bytes + salvage.damaged_bytes if not whole else 0
    return RecoveryReport(path, whole, frames, pictures, dropped, salvage.damaged_chunks, **more)


def report_json(report: RecoveryReport) -> dict[str, Any]:
    """The report as plain values."""
    return {
        "take": str(report.path),
        "whole": report.whole,
        "frames": report.frames,
        "pictures": report.pictures,
        "dropped_bytes": report.dropped_bytes,
        "damaged_chunks": report.damaged_chunks,
        "audio_repaired": report.audio_repaired,
        "kept": report.kept,
        "notes": report.notes,
    }


def report_text(report: RecoveryReport) -> str:
    """The report for a person."""
    if report.whole:
        return f"{report.path} is whole ({report.frames} frames); nothing was changed"
    pictures = ", ".join(f"{serial}: {count}" for serial, count in report.pictures.items())
    lines = [
        f"{report.path}: {report.frames} frames recovered (pictures {pictures})",
        f"{report.dropped_bytes} bytes could not be read as whole chunks",
    ]
    if report.audio_repaired:
        lines.append("the header of audio.wav was mended")
    lines += [f"kept: {name}" for name in report.kept] + [f"note: {note}" for note in report.notes]
    return "\n".join(lines)
