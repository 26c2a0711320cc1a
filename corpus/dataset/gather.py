"""Where the sequences come from that are measured: a lab, a release, or files."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from corpus.dataset.items import Item, lab_index
from corpus.dataset.summary import Person
from corpus.dataset.survey import Recording, content_fingerprint
from mmface4d.errors import InputError, Mmface4dError
from mmface4d.lab import Lab
from mmface4d.sequence import load_sequence

MOST_MODEL_NAME = 64
NOT_RECONSTRUCTED = "not reconstructed"
NO_MESH = "the consent does not cover meshes"
VIRTUAL = "virtual actor"


@dataclass
class Gathered:
    """Sequences with what is known about them, the people in them, and why others are left out."""

    name: str
    recordings: list[Recording] = field(default_factory=list)
    people: dict[str, Person] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    damaged: list[str] = field(default_factory=list)

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


def of_files(paths: Sequence[Path]) -> Gathered:
    """Sequence files, of which nothing else is known; raises InputError where there is none."""
    gathered = Gathered(paths[0].stem if len(paths) == 1 else f"{len(paths)} sequences")
    for path in paths:
        if not path.is_file():
            raise InputError(
                f"{path} is no lab, no release and no sequence", hint="give a folder with lab.toml, or a sequence.npz"
            )
        gathered.add(partial(recording_of, path, name=path.stem))
    return gathered


def recording_of(path: Path, *, name: str, subject: str | None = None, emotion: str | None = None) -> Recording:
    """A sequence file; raises InputError where it cannot be read or does not say of which model it is."""
    return Recording(
        name=name,
        model=_model_of(path),
        fingerprint=content_fingerprint(path),
        read=partial(load_sequence, path),
        subject=subject,
        emotion=emotion,
    )


def _model_of(path: Path) -> str:
    """The name of the model, without reading the rest."""
    hint = "the file is damaged or of another kind"
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            model = file["model"]
    except Exception as error:  # numpy and zipfile raise a dozen kinds on damaged and hostile files
        raise InputError(f"{path} does not say of which model it is: {error}", hint=hint) from error
    if model.shape != () or model.dtype.kind != "U" or len(str(model)) > MOST_MODEL_NAME:
        raise InputError(f"{path} does not say of which model it is", hint=hint)
    return str(model)


def _why_not(item: Item) -> str | None:
    if item.reason is not None:
        return item.reason
    if "mesh" not in item.scopes:
        return NO_MESH
    return None if item.sequence is not None else NOT_RECONSTRUCTED


def _person(item: Item) -> Person:
    if item.subject is not None:
        return Person(item.subject.pseudonym, item.subject.age, item.subject.gender)
    return Person(item.pseudonym or VIRTUAL)
