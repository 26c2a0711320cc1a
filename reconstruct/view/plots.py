"""Small line plots as SVG text, to stand in a page as they are."""

from dataclasses import dataclass
from html import escape

import numpy as np
from jaxtyping import Float, Int

from mmface4d.page.svg import nice, svg

WIDTH, HEIGHT = 520, 130
LEFT, RIGHT, TOP, BOTTOM = 54, 10, 10, 22
STATUS_HEIGHT = 34
STATUS_INK = {0: "#2f9e66", 1: "#d9a520", 2: "#d9632a", 3: "#d9632a", 4: "#b3261e"}
UNKNOWN_INK = "#8a8f98"


@dataclass(frozen=True)
class Axes:
    """Ranges of a plot, and from values to its pixels."""

    seconds: tuple[float, float]
    top: float

    def x(self, seconds: float) -> float:
        """Pixels from the left."""
        low, high = self.seconds
        return LEFT + (WIDTH - LEFT - RIGHT) * (seconds - low) / max(high - low, 1e-9)

    def y(self, value: float) -> float:
        """Pixels from the top; zero is at the bottom."""
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(max(value / self.top, 0.0), 1.0)


def line_plot(
    seconds: Float[np.ndarray, "n"], values: Float[np.ndarray, "n"], *, unit: str, top: float | None = None
) -> str:
    """Values over time from zero up; NaN leaves a gap, and so does a step in time of more than twice the usual."""
    finite = values[np.isfinite(values)]
    ceiling = top or nice(float(np.percentile(finite, 99.5)) * 1.15 if len(finite) else 1.0)
    axes = Axes((float(seconds[0]), float(seconds[-1])), ceiling)
    marks = [_grid(axes, value, unit) for value in (0.0, ceiling / 2, ceiling)]
    for run in _runs(seconds, values):
        points = " ".join(f"{axes.x(s):.1f},{axes.y(v):.1f}" for s, v in run)
        if len(run) == 1:
            ((s, v),) = run
            marks.append(f'<circle class="dot" cx="{axes.x(s):.1f}" cy="{axes.y(v):.1f}" r="2"/>')
        else:
            marks.append(f'<polyline class="line" points="{points}"/>')
    return svg([*marks, *_time_ticks(axes, HEIGHT)], width=WIDTH, height=HEIGHT)


def status_plot(seconds: Float[np.ndarray, "n"], status: Int[np.ndarray, "n"], frame_s: float) -> str:
    """A strip coloured by status; instants without a frame are left out."""
    axes = Axes((float(seconds[0]), float(seconds[-1]) + frame_s), 1.0)
    changes = np.flatnonzero((np.diff(status) != 0) | (np.diff(seconds) > 2.1 * frame_s)) + 1
    starts, ends = np.append(0, changes), np.append(changes, len(status))
    bars = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        left, right = axes.x(float(seconds[start])), axes.x(float(seconds[end - 1]) + frame_s)
        ink = STATUS_INK.get(int(status[start]), UNKNOWN_INK)
        bars.append(
            f'<rect x="{left:.1f}" y="2" width="{right - left:.1f}" height="{STATUS_HEIGHT - 24}" fill="{ink}"/>'
        )
    return svg([*bars, *_time_ticks(axes, STATUS_HEIGHT)], width=WIDTH, height=STATUS_HEIGHT)


def _runs(seconds: np.ndarray, values: np.ndarray) -> list[list[tuple[float, float]]]:
    usual = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 1.0
    runs: list[list[tuple[float, float]]] = [[]]
    for index, (s, v) in enumerate(zip(seconds.tolist(), values.tolist(), strict=True)):
        if index and s - seconds[index - 1] > 2.1 * usual:
            runs.append([])
        if np.isfinite(v):
            runs[-1].append((s, v))
        else:
            runs.append([])
    return [run for run in runs if run]


def _grid(axes: Axes, value: float, unit: str) -> str:
    y = axes.y(value)
    text = f"{value:.3g}" + (f" {unit}" if value == axes.top else "")
    return (
        f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{escape(text)}</text>'
    )


def _time_ticks(axes: Axes, height: int) -> list[str]:
    low, high = axes.seconds
    step = nice((high - low) / 6 or 1.0)
    ticks = np.arange(0, high - low + step * 1e-6, step)
    return [
        f'<text x="{axes.x(low + tick):.1f}" y="{height - 6}" text-anchor="middle">{tick:.3g} s</text>'
        for tick in ticks
    ]
