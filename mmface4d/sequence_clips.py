"""Clips of a lab's reconstructed takes, or of a release: the corpus room reads, the animation room is given clips."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmface4d.errors import ConsentError, InputError
from mmface4d.frame_rates import MOST_FRAMES
from mmface4d.lab import Lab
from mmface4d.model_topology import model_topology
from mmface4d.names import safe_name, unused_name
from mmface4d.sequence import MeshSequence, load_sequence
from mmface4d.steady_clips import MOST_LOST_S, VERSION, SteadyFrames, frames_on_beat, longest_lost_s
from mmface4d.subject import NO_MESH, NO_SOUND
from mmface4d.subject_templates import Spoken, SubjectTemplates

if TYPE_CHECKING:
    from animation.data.clip import Clip, Sound
    from animation.data.corpus import Mask, SpeechCorpus, Split, Topology
    from corpus.dataset.items import Item
    from corpus.dataset.regions import FaceRegions
    from corpus.presets.sound import CutSound
    from corpus.release.reader import Release, ReleaseItem

SILENT_TAKE = "the take has no sound"
DAMAGED = "the sequence or its take is damaged"
LOST = f"the face was lost for more than {MOST_LOST_S:g} s"
LAB_LICENCE = "not published: for the uses that the people recorded consented to"
FITTED_SHARE = 0.8  # of a released sequence's frames, to be worth opening
FEW_FITTED = f"fewer than {FITTED_SHARE:.0%} of the frames were fitted"
MOST_NAME = 90  # letters, and room for a number behind them
MESHES_IN_MEMORY = 2  # of a release, whose meshes are read whole


class Gathering:
    """Clips, what templates are made of, and why others are left out."""

    def __init__(self, regions: "FaceRegions") -> None:
        self.regions = regions
        self.clips: list[Clip] = []
        self.spoken: dict[str, list[Spoken]] = defaultdict(list)
        self.left_out: Counter[str] = Counter()
        self.consented: list[tuple[Path, str]] = []

    def add(
        self, clip: "Clip", load: Callable[[], MeshSequence], frames: SteadyFrames,
        *, asked: MeshSequence | None = None,
    ) -> None:  # fmt: skip
        """Takes a clip in; `asked` is its sequence where it depends on a consent that may be withdrawn."""
        self.clips.append(clip)
        if asked is not None:
            self.consented.append((asked.path, asked.take_name))
        neutral = clip.emotion in ("", "neutral")
        self.spoken[clip.subject].append(Spoken(frames, load, clip.fingerprint, neutral))

    def corpus(self, origin: str, *, splits: "Mapping[str, Split]", licence: str) -> "SpeechCorpus":
        """What was gathered; raises InputError where it is nothing."""
        from animation.data.corpus import SpeechCorpus

        notes = tuple(
            f"{count} {'sequence' if count == 1 else 'sequences'} left out: {reason}"
            for reason, count in sorted(self.left_out.items())
        )
        if not self.clips:
            why = "; ".join(notes) or "there are no sequences"
            raise InputError(
                f"nothing in {origin} can be trained on: {why}",
                hint="it takes reconstructed takes, with sound, of people who consented to both",
            )
        return SpeechCorpus(
            origin=origin, topology=_topology(self.regions), clips=tuple(self.clips),
            templates=SubjectTemplates(self.spoken), splits=splits, licence=licence, notes=notes,
            refuse_withdrawn=self._refuse_withdrawn,
        )  # fmt: skip

    def _refuse_withdrawn(self) -> None:
        """Raises ConsentError where consent to meshes and sound does not cover a sequence any more."""
        from corpus.dataset.consent import scopes_of_sequence

        for path, take in self.consented:
            scopes = scopes_of_sequence(path, take)
            if scopes is not None and not {"mesh", "audio"} <= scopes:
                raise ConsentError(f"{path} may not be used any more", hint="run the same command again")


def _topology(regions: "FaceRegions") -> "Topology":
    from animation.data.corpus import Topology

    return Topology(regions.name, len(regions.template), regions.faces.astype(np.int32), masks_of(regions))


def masks_of(regions: "FaceRegions") -> "dict[str, Mask]":
    """The regions of a face as masks, those without vertices left out."""
    from animation.data.corpus import Mask
    from corpus.dataset.regions import REGION_NAMES

    masks = {name: Mask(name, np.flatnonzero(regions.mask(name)).astype(np.int32)) for name in REGION_NAMES}
    return {name: mask for name, mask in masks.items() if len(mask.vertices)}


def lab_corpus(lab: Lab) -> "SpeechCorpus":
    """The reconstructed takes of a lab whose people consented to meshes and sound, with the heads held still.

    Sessions of the virtual actor count as a subject each. Raises what `lab_index` raises, and InputError where nothing
    may be used.
    """
    from animation.data.splits import split_subjects
    from corpus.dataset.items import lab_index

    left_out: Counter[str] = Counter()
    usable: dict[str, list[Item]] = defaultdict(list)
    for item in lab_index(lab):
        reason = _why_not(item)
        model = None if reason else _model_of(item, left_out)
        if reason is not None:
            left_out[reason] += 1
        elif model is not None:
            usable[model].append(item)
    model = max(usable, key=lambda name: len(usable[name]), default="canonical")
    left_out.update(
        {f"they show the model {name}, most {model}": len(usable[name]) for name in usable if name != model}
    )
    gathering = Gathering(regions_of(model))
    gathering.left_out = left_out
    names: set[str] = set()
    for item in usable.get(model, []):
        _add_of_lab(gathering, item, names)
    splits = split_subjects(gathering.spoken)
    return gathering.corpus(lab.path.resolve().name, splits=splits, licence=LAB_LICENCE)


def regions_of(model: str) -> "FaceRegions":
    """The regions of the model of that name."""
    from corpus.dataset.regions import face_regions

    return face_regions(model_topology(model))


def _why_not(item: "Item") -> str | None:
    if item.reason is not None:
        return item.reason
    missing = [reason for scope, reason in (("mesh", NO_MESH), ("audio", NO_SOUND)) if scope not in item.scopes]
    return missing[0] if missing else item.lacking


def _model_of(item: "Item", left_out: "Counter[str]") -> str | None:
    from corpus.dataset.gather import model_of

    try:
        return model_of(item.sequence) if item.sequence is not None else None
    except InputError:
        left_out[DAMAGED] += 1
        return None


def _add_of_lab(gathering: Gathering, item: "Item", names: set[str]) -> None:
    from animation.data.clip import Clip
    from corpus.dataset.survey import content_fingerprint

    path, take, sentence = item.sequence, item.take, item.sentence
    if path is None or take is None or sentence is None:
        return
    try:
        sequence = load_sequence(path)
        n_frames, fps = frames_on_beat(sequence)
        fingerprint = f"{VERSION} {content_fingerprint(path)} {stamp(take / 'take.json')}"
        reason = LOST if longest_lost_s(sequence) > MOST_LOST_S else None if _has_sound(take) else SILENT_TAKE
    except InputError:
        reason, n_frames, fps, fingerprint = DAMAGED, 0, 0.0, ""
    if reason is not None:
        gathering.left_out[reason] += 1
        return
    frames = SteadyFrames(lambda: load_sequence(path), gathering.regions)
    who = f"virtual-{item.session.name}" if item.virtual else item.pseudonym or "unknown"
    subject = safe_name(who)
    clip = Clip(
        name=free_name(f"{subject}_{safe_name(sentence.id)}", names), subject=subject, sentence=sentence.id, fps=fps,
        n_frames=n_frames, frames=frames, sound=lambda: _sound_of_take(path, take), text=sentence.text,
        language=sentence.language, emotion=sentence.emotion, fingerprint=fingerprint,
    )  # fmt: skip
    gathering.add(clip, lambda: load_sequence(path), frames, asked=sequence)


def _has_sound(take: Path) -> bool:
    from mmface4d.take import open_take

    with open_take(take) as opened:
        return opened.info.audio is not None and opened.audio_path is not None


def stamp(path: Path) -> str:
    """Tells a file that was changed. A take's record is written again whenever its sound is."""
    about = path.stat() if path.is_file() else None
    return f"{about.st_size} {about.st_mtime_ns}" if about else ""


def free_name(wanted: str, taken: set[str]) -> str:
    """The name that a clip goes by, of which no file's name becomes too long."""
    return unused_name(wanted[:MOST_NAME], taken, joint="-")


def _sound_of_take(path: Path, take: Path) -> "Sound":
    from corpus.presets.clip import Clip as Exported
    from corpus.presets.motion import steady_motion
    from corpus.presets.sound import cut_sound
    from mmface4d.take import open_take

    with open_take(take) as opened:
        name = take.name
        cut = cut_sound(Exported(name, "", name, steady_motion(load_sequence(path)), opened))
    return as_sound(cut, where=str(take))


def as_sound(cut: "CutSound | None", *, where: str) -> "Sound":
    """What was cut out of a take's sound; raises InputError where there is none, or silence for much of the frames."""
    from animation.data.check import UNCOVERED_S
    from animation.data.clip import Sound

    if cut is None:
        raise InputError(f"{where} has no sound that may be used", hint="leave it out, or record it again")
    if cut.silent_s > UNCOVERED_S:
        raise InputError(
            f"{where}: its sound does not cover {cut.silent_s:.2f} s of its frames",
            hint="leave it out, or record it again",
        )
    return Sound(cut.samples, cut.rate)


def release_corpus(path: Path) -> "SpeechCorpus":
    """The sequences of a release that have sound, with the heads held still and the release's own splits.

    Raises InputError where the release is damaged, or has no sound.
    """
    from corpus.dataset.gather import released_regions
    from corpus.release.reader import open_release

    release = open_release(path)
    reader = _ReleasedMeshes(release)
    gathering = Gathering(released_regions(release))
    for item in release.items():
        _add_of_release(gathering, release, item, reader)
    splits = {row.subject: row.split for row in release.sequences}
    licence = _licence(path)
    return gathering.corpus(f"{release.record.name} {release.record.version}", splits=splits, licence=licence)  # type: ignore[arg-type]


class _ReleasedMeshes:
    """Sequences of a release; the last ones that were read stay in memory."""

    def __init__(self, release: "Release") -> None:
        from corpus.dataset.gather import released_sequence

        self._release = release
        self.read = lru_cache(MESHES_IN_MEMORY)(lambda item_id: released_sequence(release, item_id))


def _add_of_release(
    gathering: Gathering, release: "Release", item: "ReleaseItem", reader: _ReleasedMeshes
) -> None:  # fmt: skip
    from animation.data.clip import Clip

    row = item.row
    if "audio.wav" not in item.files:
        gathering.left_out["no sound in the release"] += 1
        return
    n_frames = released_frames(row.duration_s, row.fps)
    if n_frames is None:
        gathering.left_out[DAMAGED] += 1
        return
    lost = why_lost(row.quality, partial(reader.read, row.id))
    if lost is not None:
        gathering.left_out[lost] += 1
        return
    fingerprint = f"{VERSION} {row.sha256} {item.files['audio.wav'].sha256}"

    def load() -> MeshSequence:
        return reader.read(row.id)

    frames = SteadyFrames(load, gathering.regions)
    clip = Clip(
        name=row.id, subject=row.subject, sentence=row.sentence or row.id, fps=row.fps,
        n_frames=n_frames, frames=frames, sound=lambda: _released_sound(release, item),
        text=row.text, language=row.language, emotion=row.emotion, fingerprint=fingerprint,
    )  # fmt: skip
    gathering.add(clip, load, frames)


def released_frames(duration_s: float, fps: float) -> int | None:
    """How many frames a released sequence has on its beat; None where no sequence can be so long."""
    beats = duration_s * fps
    return max(round(beats), 1) if 0 < beats <= MOST_FRAMES else None


def why_lost(quality: float, read: Callable[[], MeshSequence]) -> str | None:
    """Why a released sequence, of which so large a share was fitted, is of no use; None where it is."""
    if not quality >= FITTED_SHARE:
        return FEW_FITTED
    return LOST if quality < 1.0 and longest_lost_s(read()) > MOST_LOST_S else None


def _released_sound(release: "Release", item: "ReleaseItem") -> "Sound":
    from animation.data.clip import Sound

    samples, rate = release.audio(item)
    mono = samples.astype(np.float32).mean(axis=1) / np.float32(1 << 15)
    return Sound(mono.astype(np.float32), rate)


def _licence(path: Path) -> str:
    """What the release says of its licence, the first lines of it."""
    from corpus.release.layout import LICENSE

    try:
        text = (path / LICENSE).read_text(encoding="utf-8", errors="replace")[:2000]
    except OSError as error:
        raise InputError(f"{path / LICENSE} cannot be read: {error.strerror}", hint="copy the release again") from error
    return " ".join(text.split())[:500]
