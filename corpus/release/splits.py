"""Who is in which split: the same people as before, explicit lists, and a keyed hash for everybody else.

A subject's split depends on nothing but the subject, so that nobody moves when others come or go.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, model_validator

from corpus.release.identity import Identity
from corpus.release.layout import SPLITS, Strict
from mmface4d.errors import InputError
from mmface4d.files import read_json
from mmface4d.subject import mistakes

Share = Annotated[float, Field(ge=0, le=1)]


class SplitRules(Strict):
    """What a file for `--splits` says: shares that make 1, and pseudonyms of the lab that are put somewhere."""

    shares: dict[str, Share] = Field(default_factory=lambda: {"train": 0.8, "validation": 0.1, "test": 0.1})
    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _sensible(self) -> "SplitRules":
        if set(self.shares) != set(SPLITS) or abs(sum(self.shares.values()) - 1) > 1e-6:
            raise ValueError("shares must be those of train, validation and test, and make 1")
        named = [*self.train, *self.validation, *self.test]
        if doubles := sorted({name for name in named if named.count(name) > 1}):
            raise ValueError(f"in two splits or twice in one: {', '.join(doubles[:20])}")
        return self

    @property
    def explicit(self) -> dict[str, str]:
        """The split of everybody who is named."""
        return {name: split for split in SPLITS for name in getattr(self, split)}


def read_rules(path: Path | None) -> SplitRules:
    """The rules of a JSON file, or the built-in ones; raises InputError with every mistake."""
    if path is None:
        return SplitRules()
    try:
        return SplitRules.model_validate(read_json(path, max_bytes=16 << 20))
    except ValidationError as error:
        raise InputError(
            f"{path} cannot be used: {mistakes(error)}",
            hint='for example {"shares": {"train": 0.7, "validation": 0.1, "test": 0.2}, "test": ["P03"]}',
        ) from error


def assign(
    pseudonyms: Iterable[str], rules: SplitRules, *, identity: Identity, before: Mapping[str, str]
) -> dict[str, str]:
    """The split of each pseudonym of the lab; `before` has those of the previous release, by released id.

    Raises InputError with everybody whom the rules would move.
    """
    splits: dict[str, str] = {}
    moved = []
    explicit = rules.explicit
    for name in sorted(set(pseudonyms)):
        kept, wanted = before.get(identity.subject(name)), explicit.get(name)
        if kept and wanted and kept != wanted:
            moved.append(f"{name} from {kept} to {wanted}")
        splits[name] = kept or wanted or hashed(identity.position(name), rules.shares)
    if moved:
        raise InputError(
            f"the list would move subjects: {'; '.join(moved[:20])}",
            hint="a subject never moves, for results of different releases could not be compared; mend the list",
        )
    return splits


def hashed(position: float, shares: Mapping[str, float]) -> str:
    """The split in whose part of [0, 1) a position lies."""
    end = 0.0
    for split in SPLITS:
        end += shares[split]
        if position < end:
            return split
    return max(SPLITS, key=lambda split: shares[split])  # the shares' sum may round to less than 1
