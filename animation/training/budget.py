"""What each stage of a model gets of the budget, and whether it is spent."""

from dataclasses import dataclass
from time import perf_counter, process_time

from animation.training.config import Budget, Validation
from animation.training.state import Count
from mmface4d.errors import UsageError

SECONDS_A_MINUTE = 60.0
UPDATES, MINUTES, NO_BETTER = "updates", "minutes", "no improvement"  # why a stage ends


@dataclass(frozen=True)
class StageBudget:
    """Limits of one stage; 0 is none."""

    updates: int
    seconds: float

    def ends(self, count: Count, validation: Validation) -> str:
        """Why a stage ends here; empty where it goes on."""
        if self.updates and count.update >= self.updates:
            return UPDATES
        if self.seconds and count.seconds >= self.seconds:
            return MINUTES
        if validation.patience and count.stale >= validation.patience:
            return NO_BETTER
        return ""


def stage_budgets(budget: Budget, stages: tuple[str, ...]) -> list[StageBudget]:
    """Of each stage, by the shares; raises UsageError where one gets nothing."""
    shares = budget.stage_shares or (1.0,) * len(stages)
    if len(shares) != len(stages) or min(shares) <= 0:
        raise UsageError(
            f"budget.stage_shares has {len(shares)} numbers; the model has the stages {', '.join(stages)}",
            hint="give one number above 0 a stage, or leave it out",
        )
    total = sum(shares)
    updates = _whole_parts(budget.updates, shares)
    seconds = [budget.minutes * SECONDS_A_MINUTE * share / total for share in shares]
    return [StageBudget(*each) for each in zip(updates, seconds, strict=True)]


def _whole_parts(number: int, shares: tuple[float, ...]) -> list[int]:
    """Parts that add up to the number; raises UsageError where a part would be empty."""
    ends = [round(number * sum(shares[: place + 1]) / sum(shares)) for place in range(len(shares))]
    parts = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    if number and min(parts) < 1:
        raise UsageError(f"budget.updates is {number}, which leaves nothing for some stage", hint="give more updates")
    return parts


def clock(kind: str) -> float:
    """Seconds from some beginning: of the wall, or of this process' work on all cores."""
    return perf_counter() if kind == "wall" else process_time()
