"""Where the sequences come from that are measured: a lab, a release, or files."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from corpus.dataset.consent import scopes_of_sequence
from corpus.dataset.items import Item, lab_index
from corpus.dataset.regions import FaceRegions
from corpus.dataset.summary import Person
from corpus.dataset.survey import Recording, content_fingerprint
from mmface4d.errors import InputError, Mmface4dError
from mmface4d.lab import Lab
from mmface4d.sequence import MeshSequence, load_sequence
from mmface4d.subject import NO_MESH

if TYPE_CHECKING:
    from corpus.release.reader import Release

MOST_MODEL_NAME = 64
VIRTUAL = "virtual actor"


@dataclass
class Gathered:
    """Sequences with what is known about them, the people in them, and why others are left out."""

    name: str
    recordings: list[Recording] = field(default_factory=list)
    people: dict[str, Person] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    damaged: list[str] = field(default_factory=list)
    regions: dict[str, FaceRegions] = field(default_factory=dict)  # of the models that bring their own

    def add(self, make: partial[Recording]) -> None:
        """Takes a recording in, or notes why its file cannot be read."""
        try:
            self.recordings.append(make())
        except Mmface4dError as error:
            self.damaged.append(error.message)


def of_lab(lab: Lab) -> Gathered:
    """The reconstructed takes of a lab that may be used; raises what `lab_index` raises."""
    gathered = Gathered(lab.path.resolve().name)
    for item in lab_index(lab):
        reason = _why_not(item)
        if reason is not None:
            gathered.left_out[reason] += 1
        elif item.sequence is not None:
            person = _person(item)
            gathered.people.setdefault(person.pseudonym, person)
            emotion = item.sentence.emotion if item.sentence else None
            name = f"{item.session.name}/{item.sequence.stem}"
            gathered.add(partial(recording_of, item.sequence, name=name, subject=person.pseudonym, emotion=emotion))
    return gathered


def of_release(path: Path) -> Gathered:
    """The sequences of a release, measured by the topology that it brings; raises InputError where it is damaged."""
    from corpus.release.reader import open_release

    release = open_release(path)
    model = release.record.model
    gathered = Gathered(f"{release.record.name} {release.record.version}")
    gathered.regions[model] = released_regions(release)
    for item in release.items():
        row, subject = item.row, item.subject
        gathered.people.setdefault(
            subject.pseudonym, Person(subject.pseudonym, subject.age_band or None, subject.gender or None)
        )
        recording = Recording(
            name=row.id, model=model, fingerprint=row.sha256, read=partial(_read_released, path, row.id),
            subject=row.subject, emotion=row.emotion,
        )  # fmt: skip
        gathered.recordings.append(recording)
    return gathered


@cache
def _opened(path: Path) -> "Release":
    """Once in a process: its tables are large."""
    from corpus.release.reader import open_release

    return open_release(path)


def _read_released(path: Path, item_id: str) -> MeshSequence:
    return released_sequence(_opened(path), item_id)


def released_sequence(release: "Release", item_id: str) -> MeshSequence:
    """A mesh of a release as a sequence; raises InputError where it is damaged."""
    arrays = release.mesh(release.item(item_id))
    if "time_usec" not in arrays:
        raise InputError(f"{item_id} is damaged: it has no time_usec", hint="see: mmface4d release verify")
    return MeshSequence(
        release.path / item_id, {**arrays, "faces": release.faces, "timestamps_usec": arrays["time_usec"]}
    )


def released_regions(release: "Release") -> FaceRegions:
    """The regions of a release's mesh, by the files that it brings; raises InputError where they are damaged."""
    from corpus.release.layout import TEMPLATE

    count, path = release.record.vertex_count, release.path / TEMPLATE
    try:
        lines = path.read_text(encoding="ascii").splitlines()
        template = np.array([line.split()[1:4] for line in lines if line.startswith("v ")], dtype=np.float32)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is damaged: {error}", hint="see: mmface4d release verify") from error
    if template.shape != (count, 3) or not np.isfinite(template).all():
        raise InputError(f"{path} has not {count} vertices", hint="see: mmface4d release verify")
    return FaceRegions.from_json(release.regions, name=release.record.model, template=template, faces=release.faces)


def of_files(paths: Sequence[Path]) -> Gathered:
    """Sequence files, of which no more is known than whether they may be used; raises InputError where one is none."""
    gathered = Gathered(paths[0].stem + (f" and {len(paths) - 1} more" if len(paths) > 1 else ""))
    for path in paths:
        if not path.is_file():
            raise InputError(
                f"{path} is no lab, no release and no sequence", hint="give a folder with lab.toml, or a sequence.npz"
            )
        gathered.add(partial(_recording_of_file, path))
    return gathered


def _recording_of_file(path: Path) -> Recording:
    """Raises ConsentError where a record says that it may not be used."""
    scopes_of_sequence(path, _text_of(path, "take") or "")
    return recording_of(path, name=path.stem)


def recording_of(path: Path, *, name: str, subject: str | None = None, emotion: str | None = None) -> Recording:
    """A sequence file; raises InputError where it cannot be read or does not say of which model it is."""
    return Recording(
        name=name,
        model=model_of(path),
        fingerprint=content_fingerprint(path),
        read=partial(load_sequence, path),
        subject=subject,
        emotion=emotion,
    )


def model_of(path: Path) -> str:
    """The name of a sequence's model, without reading the rest; raises InputError where it does not say."""
    model = _text_of(path, "model")
    if model is None or len(model) > MOST_MODEL_NAME:
        raise InputError(f"{path} does not say of which model it is", hint=_NO_SEQUENCE)
    return model


def _text_of(path: Path, name: str) -> str | None:
    """A text in a sequence; None where there is none of that name, InputError where it cannot be one of ours."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            if name not in file.files:
                return None
            text = file[name]
    except Exception as error:  # numpy and zipfile raise a dozen kinds on damaged and hostile files
        raise InputError(f"{path} is no mesh sequence: {error}", hint=_NO_SEQUENCE) from error
    if text.shape != () or text.dtype.kind != "U":
        raise InputError(f"{path} does not say of which {name} it is", hint=_NO_SEQUENCE)
    return str(text)


def _why_not(item: Item) -> str | None:
    if item.reason is not None:
        return item.reason
    if "mesh" not in item.scopes:
        return NO_MESH
    return item.lacking


def _person(item: Item) -> Person:
    if item.subject is not None:
        return Person(item.subject.pseudonym, item.subject.age, item.subject.gender)
    return Person(item.pseudonym or VIRTUAL)


_NO_SEQUENCE = "the file is damaged or of another kind"
