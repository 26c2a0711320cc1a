"""The figures of a corpus's report as SVG text."""

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from mmface4d.page.svg import nice, svg

WIDTH, HALF = 1080, 520
INK, SOFT_INK, RARE_INK, MISSING_INK = "#2563a8", "#9db9da", "#d9a520", "#c5362c"
RARE = 0.1  # of an even share
EMOTION_INKS = {
    "neutral": "#8a8f98", "happy": "#e0a526", "angry": "#c5362c", "sad": "#3b6fb5", "surprise": "#2fa39a",
    "fear": "#7a4fb0", "disgust": "#6f9a2f",
}  # fmt: skip
SCENARIO_OPACITY = {"news": 1.0, "conversation": 0.62, "story": 0.34}
HEAT_INKS = ("#dbe7f4", "#b3cde8", "#82aedb", "#4d8ac8", "#2563a8", "#163f70")  # once, 2, 4, 8, 16, 32 times
BAR_HEIGHT, LABEL_WIDTH, COUNT_WIDTH = 26, 78, 50


def emotion_bars(counts: Mapping[tuple[str, str], int]) -> str:
    """A bar an emotion, its parts by scenario; counts by (emotion, scenario)."""
    emotions = [emotion for emotion in EMOTION_INKS if any(counts.get((emotion, s), 0) for s in SCENARIO_OPACITY)]
    totals = {emotion: sum(counts.get((emotion, s), 0) for s in SCENARIO_OPACITY) for emotion in emotions}
    scale = (HALF - LABEL_WIDTH - COUNT_WIDTH) / max(totals.values(), default=1)
    marks = []
    for row, emotion in enumerate(emotions):
        top, left = row * BAR_HEIGHT + 4, float(LABEL_WIDTH)
        marks.append(_text(LABEL_WIDTH - 8, top + 13, emotion, anchor="end"))
        for scenario, opacity in SCENARIO_OPACITY.items():
            count = counts.get((emotion, scenario), 0)
            look = f'fill="{EMOTION_INKS[emotion]}" fill-opacity="{opacity}"'
            marks.append(_bar((left, top), count * scale, 18, look, f"{emotion}, {scenario}: {count}"))
            left += count * scale
        marks.append(_text(left + 6, top + 13, f"{totals[emotion]:,}"))
    return svg(marks, width=HALF, height=len(emotions) * BAR_HEIGHT + 4)


def histogram(values: Sequence[float], *, unit: str, bins: int = 24) -> str:
    """How many sentences have which length."""
    high = nice(max(values))
    # whole numbers get bins of whole numbers
    step = max(1, -(-int(high) // bins)) if all(isinstance(value, int) for value in values) else high / bins
    edges = np.arange(0, high + step, step)
    heights, _ = np.histogram(values, edges)
    tallest, height, base = max(int(heights.max()), 1), 170, 146
    wide = (HALF - 40) / len(heights)
    marks = [f'<line class="grid" x1="30" y1="{base}" x2="{HALF - 10}" y2="{base}"/>']
    for number, count in enumerate(heights.tolist()):
        tall = 130 * count / tallest
        words = f"{edges[number]:g} to {edges[number + 1]:g} {unit}: {count}"
        marks.append(_bar((30 + number * wide, base - tall), wide - 1.5, tall, f'fill="{INK}"', words))
    tick = nice(high / 6)
    places = [(30 + at / step * wide, at) for at in np.arange(0, high + tick / 2, tick) if at <= edges[-1]]
    marks += [_text(x, base + 16, f"{at:g}", anchor="middle") for x, at in places]
    marks += [_text(26, 20, str(tallest), anchor="end"), _text(HALF - 8, base + 16, unit, anchor="end")]
    return svg(marks, width=HALF, height=height)


def unit_bars(counts: Mapping[str, int], *, inventory: Sequence[str]) -> str:
    """How often each sound occurs, most frequent first; a line shows where all would be if they were equal."""
    units = sorted(inventory or counts, key=lambda unit: (-counts.get(unit, 0), unit))
    total = sum(counts.get(unit, 0) for unit in units)
    if not units or not total:
        return ""
    even, base = total / len(units), 190
    scale = 170 / max(counts.get(unit, 0) for unit in units)
    wide = (WIDTH - 50) / len(units)
    marks = []
    for number, unit in enumerate(units):
        count = counts.get(unit, 0)
        ink = INK if count >= RARE * even else RARE_INK
        tall, left = count * scale, 44 + number * wide
        words = f"{unit}: {count}, {count / total:.2%}"
        marks.append(_bar((left, base - tall), wide - 2, max(tall, 0.8), f'fill="{ink}"', words))
        marks.append(_text(left + wide / 2 - 1, base + 15, unit, anchor="middle", ink="" if count else MISSING_INK))
    line = base - even * scale
    marks.append(
        f'<line x1="44" y1="{line:.1f}" x2="{WIDTH}" y2="{line:.1f}" stroke="#1f2328" stroke-dasharray="4 4"/>'
    )
    marks.append(_text(WIDTH - 2, line - 5, f"all equal: {1 / len(units):.1%}", anchor="end"))
    marks.append(_text(38, base - 160, f"{counts[units[0]] / total:.0%}", anchor="end"))
    return svg(marks, width=WIDTH, height=base + 24)


def pair_map(pairs: Mapping[tuple[str, str], int], units: Sequence[str]) -> str:
    """Which sounds follow each other: rows are the first ones, columns the second; darker by powers of two."""
    if not units:
        return ""
    cell = min((WIDTH - 60) / len(units), 17.0)
    place = {unit: number for number, unit in enumerate(units)}
    squares: dict[int, list[str]] = {}
    for (first, second), count in sorted(pairs.items()):
        if first in place and second in place:
            level = min(int(count).bit_length(), len(HEAT_INKS)) - 1
            x, y = 40 + place[second] * cell, 22 + place[first] * cell
            squares.setdefault(level, []).append(f"M{x:.1f} {y:.1f}h{cell - 1:.1f}v{cell - 1:.1f}h-{cell - 1:.1f}z")
    side = len(units) * cell
    marks = [f'<rect x="40" y="22" width="{side:.1f}" height="{side:.1f}" fill="#f6f7f9"/>']
    marks += [f'<path d="{"".join(squares[level])}" fill="{HEAT_INKS[level]}"/>' for level in sorted(squares)]
    for unit, number in place.items():
        middle = (number + 0.5) * cell
        marks.append(_text(35, 22 + middle + 3, unit, anchor="end", size=9))
        marks.append(_text(40 + middle, 15, unit, anchor="middle", size=9))
    return svg(marks, width=round(side) + 60, height=round(side) + 30)


def tone_bars(tones: Counter[str]) -> str:
    """How often each tone of Mandarin occurs."""
    total = max(sum(tones.values()), 1)
    marks, left = [], 0.0
    for number, tone in enumerate(sorted(tones)):
        wide = HALF * tones[tone] / total
        look = f'fill="{HEAT_INKS[1 + number % 5]}"'
        marks.append(_bar((left, 4), max(wide - 2, 0), 26, look, f"tone {tone}: {tones[tone]}"))
        marks.append(_text(left + 2, 46, f"{'neutral' if tone == '5' else tone} {tones[tone] / total:.0%}"))
        left += wide
    return svg(marks, width=HALF, height=54)


def _bar(corner: tuple[float, float], wide: float, tall: float, look: str, words: str) -> str:
    x, y = corner
    size = f'width="{max(wide, 0):.1f}" height="{tall:.1f}"'
    return f'<rect x="{x:.1f}" y="{y:.1f}" {size} {look}><title>{escape(words)}</title></rect>'


def _text(x: float, y: float, words: str, *, anchor: str = "start", ink: str = "", size: int | None = None) -> str:
    rules = (f"fill:{ink};font-weight:600;" if ink else "") + (f"font-size:{size}px" if size else "")
    style = f' style="{rules}"' if rules else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{escape(words)}</text>'
