"""The unit of a batch: one actor, one sequence, or one take's landmarks; it crosses process borders as it is."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mmface4d.results import Failure, ResultPlace
from reconstruct.settings import ReconstructSettings


@dataclass(frozen=True)
class Job:
    """What one worker does in one go. `after` are names of the jobs that must be done before."""

    name: str
    what: Literal["landmarks", "actor", "sequence"]
    takes: tuple[Path, ...]
    calibration: Path
    output: Path
    model: str = "canonical"
    settings: ReconstructSettings = field(default_factory=ReconstructSettings)
    actor: Path | None = None  # a file; where the batch makes it, only when the job begins
    after: tuple[str, ...] = ()
    group: str = ""  # the session
    hidden: str = ""  # the machine's own path to the data, kept out of records

    @property
    def place(self) -> ResultPlace:
        """The files of the result."""
        return ResultPlace(self.output)


@dataclass(frozen=True)
class Outcome:
    """What became of a job in one try: no failure means that it is done; `already` that somebody had done it before."""

    failure: Failure | None = None
    already: bool = False
    peak_bytes: int = 0


def lost(reason: str, message: str, *, hint: str = "") -> Outcome:
    """Of a job whose worker is gone."""
    return Outcome(Failure(kind="transient", reason=reason, error="LostWorker", message=message, hint=hint))
