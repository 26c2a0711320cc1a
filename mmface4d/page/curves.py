"""Curves over a count, several in one figure, as SVG text to stand in a page as it is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import cycle

from mmface4d.page.markup import key
from mmface4d.page.svg import nice, svg, text

WIDTH, HEIGHT = 520, 190
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 10, 30
INKS = ("#2563a8", "#d9632a", "#2f9e66", "#8250a8", "#8a8f98")


@dataclass(frozen=True)
class Series:
    """A curve: its name in the legend, and values over a count. What is not finite is left out."""

    label: str
    counts: Sequence[float]
    values: Sequence[float]

    @property
    def points(self) -> list[tuple[float, float]]:
        """Those that can be drawn."""
        return [pair for pair in zip(self.counts, self.values, strict=True) if math.isfinite(pair[1])]


@dataclass(frozen=True)
class _Axes:
    last: float
    low: float
    high: float

    def x(self, count: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * count / self.last

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(max(share, 0.0), 1.0)


def curve_plot(series: Sequence[Series], *, title: str, x_unit: str) -> str:
    """A titled figure with a legend where there are several curves; counts begin at 0, values where they begin.

    The first tenth of the values does not stretch the scale to more than thrice its height: losses begin high.
    """
    axes = _axes(series)
    marks = [_grid(axes, axes.low + part * (axes.high - axes.low)) for part in (0.0, 0.5, 1.0)]
    marks += [_curve(axes, each, ink) for each, ink in zip(series, cycle(INKS), strict=False)]
    marks.append(text(LEFT, HEIGHT - 8, "0", "middle"))
    marks.append(text(WIDTH - RIGHT, HEIGHT - 8, f"{axes.last:g} {x_unit}", "end"))
    legend = key(zip(cycle(INKS), (each.label for each in series), strict=False)) if len(series) > 1 else ""
    return f"<h3>{escape(title)}</h3>" + svg(marks, width=WIDTH, height=HEIGHT) + legend


def _axes(series: Sequence[Series]) -> _Axes:
    points = [each.points for each in series if each.points]
    last = max((each[-1][0] for each in points), default=1.0)
    kept = [value for each in points for _, value in each[len(each) // 10 :]]
    low, high = min(kept, default=0.0), max(kept, default=1.0)
    first = [value for each in points for _, value in each] or [low]
    if max(first) - min(first) <= 3 * (high - low):
        low, high = min(first), max(first)
    if high - low <= 1e-9 * max(abs(high), abs(low)):
        low, high = low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)
    step = nice((high - low) / 4)
    return _Axes(max(last, 1.0), math.floor(low / step) * step, math.ceil(high / step) * step)


def _grid(axes: _Axes, value: float) -> str:
    y = axes.y(value)
    line = f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>'
    return line + text(LEFT - 5, y + 4, f"{value:.3g}", "end")


def _curve(axes: _Axes, series: Series, ink: str) -> str:
    words = f"<title>{escape(series.label)}</title>"
    if len(series.points) == 1:
        ((count, value),) = series.points
        return f'<circle cx="{axes.x(count):.1f}" cy="{axes.y(value):.1f}" r="2.5" fill="{ink}">{words}</circle>'
    points = " ".join(f"{axes.x(count):.1f},{axes.y(value):.1f}" for count, value in series.points)
    return f'<polyline class="line" style="stroke:{ink}" points="{points}">{words}</polyline>'
