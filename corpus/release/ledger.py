"""What a lab remembers of its releases (`LAB/.released.json`): the last version, and everybody's split."""

from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from corpus.release.layout import Strict, SubjectId, Version
from corpus.release.reader import Release
from corpus.release.versions import parts
from mmface4d.errors import InputError
from mmface4d.files import read_json, write_json
from mmface4d.subject import mistakes

FILE = ".released.json"


class Ledger(Strict):
    """What stands in the file."""

    version: Version
    splits: dict[SubjectId, Literal["train", "validation", "test"]]


def splits_so_far(lab: Path, previous: Release | None) -> dict[str, str]:
    """The split of everybody who was ever released, by released id.

    Raises InputError where the previous release is not the lab's last one: whom later ones left out would come back.
    """
    known = _read(lab)
    before = {} if previous is None else {s: split for split, ids in previous.splits.items() for s in ids}
    if known is None:
        return before
    if previous is None or parts(previous.record.version) < parts(known.version):
        where = "and is not in its folder of releases" if previous is None else f"and {previous.path} is an older one"
        raise InputError(
            f"the lab's last release is {known.version}, {where}",
            hint="go on from that one (--previous names it where it lies elsewhere); where nobody ever got it, "
            f"delete {lab / FILE}",
        )
    return {**known.splits, **before}


def remember(lab: Path, release: Release, *, before: dict[str, str]) -> None:
    """Notes a release that was built, or out of which somebody was taken."""
    now = {subject: split for split, ids in release.splits.items() for subject in ids}
    splits = dict(sorted({**before, **now}.items()))
    write_json(lab / FILE, {"version": release.record.version, "splits": splits})


def _read(lab: Path) -> Ledger | None:
    path = lab / FILE
    if not path.is_file():
        return None
    try:
        return Ledger.model_validate(read_json(path))
    except ValidationError as error:
        raise InputError(f"{path} is damaged: {mistakes(error)}", hint="restore it from a backup") from error
