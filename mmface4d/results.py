"""Where a batch puts what it makes of a session, and the record beside each sequence that says of what it was made.

    HOME/sequences/TAKE.npz          a mesh sequence
    HOME/sequences/records/TAKE.json what it was made of and what became of it; without it nothing is done
    HOME/sequences/runs/TAKE.json    when, where and how long; no two runs agree on that, so it stands apart
    HOME/sequences/runs/TAKE.log     what was said meanwhile
    HOME/actor/actor.npz             the session's actor, where all its takes share one, with the same around it

HOME is the session's folder, or one of its name below another output folder.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mmface4d.errors import InputError
from mmface4d.files import read_json, sync, write_json

FORMAT = 1
MAX_RECORD_BYTES = 1 << 20
ACTOR = "actor"
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Hashes(_Strict):
    """Everything that a result depends on; a result is done where all of them are still the same."""

    input: Hash
    calibration: Hash
    model: Hash
    settings: Hash
    program: Hash
    actor: Hash | None = None


class Failure(_Strict):
    """Why an item failed. A transient failure may pass by itself, a permanent one asks for somebody to do something."""

    kind: Literal["transient", "permanent"]
    reason: str  # a few words that are the same for all failures of a sort
    error: str  # the type's name
    message: str
    hint: str = ""


class Output(_Strict):
    """The file that was made."""

    file: Annotated[str, Field(pattern=r"^[^/\x00]+$")]  # its name alone: no path can hide in it
    bytes: Annotated[int, Field(ge=0)]
    sha256: Hash


class ResultRecord(_Strict):
    """What stands in a record. Two runs of the same inputs write the same bytes."""

    format: Literal[1] = FORMAT
    item: str  # session and take
    what: Literal["sequence", "actor"]
    status: Literal["done", "failed"]
    hashes: Hashes
    output: Output | None = None
    failure: Failure | None = None


class RunRecord(_Strict):
    """How the runs of an item went: seconds, memory, and how often it was begun."""

    format: Literal[1] = FORMAT
    attempts: int = 0
    host: str = ""
    begun: str = ""
    settings: str = ""
    device: str = ""
    frames: int = 0
    seconds: float | None = None
    cpu_seconds: float | None = None
    peak_bytes: int | None = None


@dataclass(frozen=True)
class ResultPlace:
    """The files of one result."""

    output: Path

    @property
    def record(self) -> Path:
        """What the result was made of."""
        return self._beside("records", ".json")

    @property
    def run(self) -> Path:
        """How its runs went."""
        return self._beside("runs", ".json")

    @property
    def log(self) -> Path:
        """What the last run said."""
        return self._beside("runs", ".log")

    @property
    def lock(self) -> Path:
        """Held by the process that is at it."""
        return self._beside("runs", ".lock")

    def _beside(self, folder: str, suffix: str) -> Path:
        return self.output.parent / folder / (self.output.stem + suffix)


def sequence_place(home: Path, take_name: str) -> ResultPlace:
    """Where the sequence of a take goes."""
    return ResultPlace(home / "sequences" / f"{take_name}.npz")


def actor_place(home: Path) -> ResultPlace:
    """Where the actor of a session goes."""
    return ResultPlace(home / ACTOR / f"{ACTOR}.npz")


def read_record(path: Path) -> ResultRecord | None:
    """A record, or None where there is none; raises InputError where it is damaged."""
    if not path.is_file():
        return None
    try:
        return ResultRecord.model_validate(read_json(path, max_bytes=MAX_RECORD_BYTES))
    except ValidationError as error:
        raise InputError(f"{path} is no result's record: {error.errors()[0]['msg']}", hint="delete it") from error


def read_run(path: Path) -> RunRecord:
    """How the runs went; where that is not known, or damaged, an empty record."""
    try:
        return RunRecord.model_validate(read_json(path, max_bytes=MAX_RECORD_BYTES))
    except (InputError, ValidationError, OSError):
        return RunRecord()


def write_record(path: Path, record: ResultRecord | RunRecord) -> None:
    """Writes a record by way of a temporary name."""
    write_json(path, record.model_dump(mode="json"))


def forget_record(output: Path) -> None:
    """Takes the record of a file away, if there is one, before another file takes its place: it speaks of the old one.

    Without this a run that is killed between the two would leave a record of inputs that the file was not made of.
    What is no record of ours is left alone.
    """
    path = ResultPlace(output).record
    with suppress(InputError):
        if read_record(path) is not None:
            path.unlink()
            sync(path.parent)
