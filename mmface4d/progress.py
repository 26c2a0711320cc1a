"""One progress helper: a bar on a terminal, a line every 30 s otherwise; always on stderr."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

PLAIN_INTERVAL_S = 30.0


class Progress:
    """What a step reports to: `advance()` after each item, `note()` for a passing remark."""

    def __init__(self, label: str, total: int, *, unit: str = "") -> None:
        self.label, self.total, self.unit, self.done = label, total, unit, 0
        self._started = self._printed = time.monotonic()

    def advance(self, count: int = 1) -> None:
        """Counts items as done."""
        self.done += count
        now = time.monotonic()
        if now - self._printed >= PLAIN_INTERVAL_S:
            self._printed = now
            self.note(f"{self.done}/{self.total}, {self._eta(now)}{self._rate(now)}")

    def note(self, text: str) -> None:
        """Prints a remark."""
        print(f"{self.label}: {text}", file=sys.stderr, flush=True)  # noqa: T201

    def _eta(self, now: float) -> str:
        if not self.done:
            return "no estimate yet"
        left_s = (now - self._started) / self.done * (self.total - self.done)
        return f"about {left_s / 60:.0f} min left" if left_s > 90 else f"about {left_s:.0f} s left"

    def _rate(self, now: float) -> str:
        if not self.unit or not self.done:
            return ""
        return f", {self.done / (now - self._started) * 3600:.0f} {self.unit} an hour"


class _RichProgress(Progress):
    def __init__(self, label: str, total: int, *, unit: str = "") -> None:
        super().__init__(label, total, unit=unit)
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
        )
        self.bar = Bar(*columns, console=Console(stderr=True))
        self._task = self.bar.add_task(label, total=total, rate="")

    def advance(self, count: int = 1) -> None:
        self.done += count
        self.bar.update(self._task, advance=count, rate=self._rate(time.monotonic()).removeprefix(", "))

    def note(self, text: str) -> None:
        # a file name in [brackets] is no markup
        self.bar.console.print(f"{self.label}: {text}", markup=False, highlight=False)


@contextmanager
def progress(label: str, total: int, *, unit: str = "") -> Iterator[Progress]:
    """Reports on `total` items: `with progress("landmarks", 60) as bar: ...; bar.advance()`.

    Where their `unit` is named, how many of them an hour are done is told too.
    """
    if sys.stderr.isatty():
        reporter = _RichProgress(label, total, unit=unit)
        with reporter.bar:
            yield reporter
        return
    reporter = Progress(label, total, unit=unit)
    started = time.monotonic()
    yield reporter
    reporter.note(f"{reporter.done}/{total} done in {time.monotonic() - started:.1f} s")
