"""The figures of a corpus's report as SVG text."""

import math
from bisect import bisect
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from mmface4d.page.svg import bar as _bar
from mmface4d.page.svg import nice, svg
from mmface4d.page.svg import text as _text

WIDTH, HALF = 1080, 520
INK, SOFT_INK, RARE_INK, MISSING_INK = "#2563a8", "#9db9da", "#d9a520", "#c5362c"
RARE = 0.1  # of an even share
EMOTION_INKS = {
    "neutral": "#8a8f98", "happy": "#e0a526", "angry": "#c5362c", "sad": "#3b6fb5", "surprise": "#2fa39a",
    "fear": "#7a4fb0", "disgust": "#6f9a2f",
}  # fmt: skip
SCENARIO_OPACITY = {"news": 1.0, "conversation": 0.62, "story": 0.34}
HEAT_INKS = ("#dbe7f4", "#b3cde8", "#82aedb", "#4d8ac8", "#2563a8", "#163f70")
MAP_LEFT, MAP_TOP, MAP_SIDE, MOST_PAIRS = 44, 36, 600, 26
BINS = 24
BAR_HEIGHT, LABEL_WIDTH, COUNT_WIDTH = 26, 78, 50


def emotion_bars(counts: Mapping[tuple[str, str], int]) -> str:
    """A bar an emotion, its parts by scenario; counts by (emotion, scenario)."""
    emotions = [emotion for emotion in EMOTION_INKS if any(counts.get((emotion, s), 0) for s in SCENARIO_OPACITY)]
    totals = {emotion: sum(counts.get((emotion, s), 0) for s in SCENARIO_OPACITY) for emotion in emotions}
    scale = (HALF - LABEL_WIDTH - COUNT_WIDTH) / max(totals.values(), default=1)
    marks = []
    for row, emotion in enumerate(emotions):
        top, left = row * BAR_HEIGHT + 4, float(LABEL_WIDTH)
        marks.append(_text(LABEL_WIDTH - 8, top + 13, emotion, "end"))
        for scenario, opacity in SCENARIO_OPACITY.items():
            count = counts.get((emotion, scenario), 0)
            look = f'fill="{EMOTION_INKS[emotion]}" fill-opacity="{opacity}"'
            marks.append(_bar((left, top), count * scale, 18, look, f"{emotion}, {scenario}: {count}"))
            left += count * scale
        marks.append(_text(left + 6, top + 13, f"{totals[emotion]:,}"))
    return svg(marks, width=HALF, height=len(emotions) * BAR_HEIGHT + 4)


def histogram(values: Sequence[int] | Sequence[float], *, unit: str) -> str:
    """How many sentences have which length."""
    tick = nice(max(values) / 6)
    high = math.ceil(max(values) / tick) * tick
    whole = all(isinstance(value, int) for value in values)
    step = max(1, math.ceil(high / BINS)) if whole else high / BINS
    edges = np.arange(0, high + step * (1.5 if whole else 0.5), step)
    heights, _ = np.histogram(values, edges)
    tallest, base, wide = max(int(heights.max()), 1), 146, (HALF - 40) / len(heights)
    marks = [
        f'<line class="grid" x1="30" y1="{base}" x2="{HALF - 10}" y2="{base}"/>',
        _text(26, 20, str(tallest), "end"),
    ]
    for number, count in enumerate(heights.tolist()):
        tall = 130 * count / tallest
        until = f"{edges[number + 1]:.3g}" if edges[number + 1] - edges[number] > 1 or not whole else ""
        words = f"{edges[number]:.3g}{' to ' + until if until else ''} {unit}: {count}"
        marks.append(_bar((30 + number * wide, base - tall), wide - 1.5, tall, f'fill="{INK}"', words))
    shift = 0.5 * wide if whole and step == 1 else 0.0  # a bar of one number has it below its middle
    places = [(30 + at / step * wide + shift, at) for at in np.arange(0, high + tick / 2, tick).tolist()]
    return svg([*marks, *(_text(x, base + 16, f"{at:g}", "middle") for x, at in places)], width=HALF, height=170)


def unit_bars(counts: Mapping[str, int], *, inventory: Sequence[str]) -> str:
    """How often each sound occurs, most frequent first; a line shows where all would be if they were equal."""
    units = sorted(inventory or counts, key=lambda unit: (-counts.get(unit, 0), unit))
    total = sum(counts.get(unit, 0) for unit in units)
    if not units or not total:
        return ""
    even, base = total / len(units), 190
    scale = 170 / max(counts.get(unit, 0) for unit in units)
    wide = (WIDTH - 50) / len(units)
    turned = 7 * max(map(len, units)) > wide + 4  # pixels a letter
    marks = []
    for number, unit in enumerate(units):
        count = counts.get(unit, 0)
        ink = INK if count >= RARE * even else RARE_INK
        tall, left = count * scale, 44 + number * wide
        words = f"{unit}: {count}, {count / total:.2%}"
        marks.append(_bar((left, base - tall), wide - 2, max(tall, 0.8), f'fill="{ink}"', words))
        ink = "" if count else MISSING_INK
        if turned:
            marks.append(_text(left + wide / 2 + 3, base + 13, unit, "end", turn=-60, ink=ink))
        else:
            marks.append(_text(left + wide / 2 - 1, base + 15, unit, "middle", ink=ink))
    line = base - even * scale
    marks.append(
        f'<line x1="44" y1="{line:.1f}" x2="{WIDTH}" y2="{line:.1f}" stroke="#1f2328" stroke-dasharray="4 4"/>'
    )
    marks.append(_text(WIDTH - 2, line - 5, f"all equal: {1 / len(units):.1%}", "end"))
    marks.append(_text(38, base - 160, f"{counts[units[0]] / total:.0%}", "end"))
    return svg(marks, width=WIDTH, height=base + 44)


def pair_map(pairs: Mapping[tuple[str, str], int], units: Sequence[str]) -> str:
    """Which sounds follow each other: rows are the first ones, columns the second; beside it, the most frequent."""
    if not units or not pairs:
        return ""
    cell = MAP_SIDE / len(units)
    place = {unit: number for number, unit in enumerate(units)}
    starts = _levels(max(pairs.values()))
    squares: dict[int, list[str]] = {}
    for (first, second), count in sorted(pairs.items()):
        if first in place and second in place:
            x, y = MAP_LEFT + place[second] * cell, MAP_TOP + place[first] * cell
            square = f"M{x:.1f} {y:.1f}h{cell - 1:.1f}v{cell - 1:.1f}h-{cell - 1:.1f}z"
            squares.setdefault(bisect(starts, count) - 1, []).append(square)
    marks = [f'<rect x="{MAP_LEFT}" y="{MAP_TOP}" width="{MAP_SIDE}" height="{MAP_SIDE}" fill="#f6f7f9"/>']
    marks += [f'<path d="{"".join(squares[level])}" fill="{HEAT_INKS[level]}"/>' for level in sorted(squares)]
    for unit, number in place.items():
        middle = (number + 0.5) * cell + 3
        marks.append(_text(MAP_LEFT - 4, MAP_TOP + middle, unit, "end", size=9))
        marks.append(_text(MAP_LEFT + middle, MAP_TOP - 4, unit, turn=-90, size=9))
    marks += [*_heat_key(starts), *_pair_bars(pairs, starts)]
    return svg(marks, width=WIDTH, height=MAP_TOP + MAP_SIDE + 4)


def _levels(most: int) -> list[int]:
    """From how many times on each ink is used: once, then in even steps of the logarithm."""
    steps = len(HEAT_INKS)
    starts = [1]
    for number in range(1, steps):
        starts.append(max(starts[-1] + 1, round((most + 1) ** (number / steps))))
    return starts


def _heat_key(starts: Sequence[int]) -> list[str]:
    left = MAP_LEFT + MAP_SIDE + 40
    marks = [_text(left, MAP_TOP + 10, "times")]
    for level, (ink, low) in enumerate(zip(HEAT_INKS, starts, strict=True)):
        after = starts[level + 1] if level + 1 < len(starts) else None
        words = f"{low}+" if after is None else f"{low}" if after == low + 1 else f"{low}-{after - 1}"
        x = left + 38 + level * 59
        marks.append(f'<rect x="{x}" y="{MAP_TOP}" width="12" height="12" fill="{ink}"/>')
        marks.append(_text(x + 15, MAP_TOP + 10, words))
    return marks


def _pair_bars(pairs: Mapping[tuple[str, str], int], starts: Sequence[int]) -> list[str]:
    most = sorted(pairs.items(), key=lambda entry: (-entry[1], entry[0]))[:MOST_PAIRS]
    left, top = MAP_LEFT + MAP_SIDE + 40, MAP_TOP + 50
    scale = (WIDTH - left - 110) / most[0][1]
    marks = [_text(left, top - 10, "the most frequent")]
    for row, ((first, second), count) in enumerate(most):
        y, wide = top + row * 21, count * scale
        marks.append(_text(left + 56, y + 11, f"{first} {second}", "end"))
        ink = HEAT_INKS[bisect(starts, count) - 1]
        marks.append(_bar((left + 64, y), wide, 14, f'fill="{ink}"', f"{first} {second}: {count}"))
        marks.append(_text(left + 70 + wide, y + 11, f"{count:,}"))
    return marks


def tone_bars(tones: Counter[str]) -> str:
    """How often each tone of Mandarin occurs."""
    total = max(sum(tones.values()), 1)
    marks, left = [], 0.0
    for number, tone in enumerate(sorted(tones)):
        wide = HALF * tones[tone] / total
        look = f'fill="{HEAT_INKS[1 + number % 5]}"'
        marks.append(_bar((left, 4), max(wide - 2, 0), 26, look, f"tone {tone}: {tones[tone]}"))
        words = f"{tone}: {tones[tone] / total:.0%}"
        marks.append(_text(left + wide / 2, 46, words, "middle"))
        left += wide
    return svg(marks, width=HALF, height=54)
