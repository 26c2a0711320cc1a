"""The figures of a data set's statistics as SVG text."""

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from jaxtyping import Float

from corpus.charts import EMOTION_INKS, HALF
from mmface4d.page.face_picture import HEIGHT as FACE_HEIGHT
from mmface4d.page.face_picture import WIDTH as FACE_WIDTH
from mmface4d.page.heat import FIFTHS, between
from mmface4d.page.svg import bar, nice, svg, text

AXES = ("x", "y", "z")
AXIS_INKS = ("#7ba7d9", "#2563a8", "#e0a526")
AXIS_WORDS = ("x, to the left", "y, up", "z, forward")
UNKNOWN_INK = "#8a8f98"
SUBJECT_INKS = (
    "#2563a8", "#c5362c", "#2f9e66", "#e0a526", "#7a4fb0", "#d0679d", "#2fa39a", "#6f9a2f", "#8c5a3c", "#5b6b7f",
    "#1f77b4", "#ff7f0e",
)  # fmt: skip
HEAT = ((226, 234, 244), (37, 99, 168))
ROW, LABEL = 44, 92
EDGE_INKS = ("#9db9da", "#2563a8", "#143a6b")
SHAPES = ("circle", "square", "diamond")


def speed_bars(regions: Sequence[str], speed_mm_s: Float[np.ndarray, "n_regions 3"]) -> str:
    """Three bars a region: how fast it moves along x, y and z."""
    top = nice(float(speed_mm_s.max(initial=1e-6)))
    scale, foot = (HALF - LABEL - 56) / top, len(regions) * ROW
    marks = []
    for tick in (top * share for share in FIFTHS):
        at = LABEL + tick * scale
        marks.append(f'<line class="grid" x1="{at:.1f}" y1="0" x2="{at:.1f}" y2="{foot}"/>')
        marks.append(text(at, foot + 14, f"{tick:.3g}", "middle"))
    for row, region in enumerate(regions):
        y = row * ROW + 5
        marks.append(text(LABEL - 8, y + 20, region.replace("_", " "), "end"))
        for axis, (ink, value) in enumerate(zip(AXIS_INKS, speed_mm_s[row].tolist(), strict=True)):
            words = f"{region}, {AXIS_WORDS[axis]}: {value:.2f} mm/s"
            marks.append(bar((LABEL, y + 11 * axis), value * scale, 9, f'fill="{ink}" rx="2"', words))
            marks.append(text(LABEL + value * scale + 5, y + 11 * axis + 8, f"{value:.1f}", size=9))
    marks.append(text(HALF - 4, foot + 14, "mm/s", "end"))
    return svg(marks, width=HALF, height=foot + 20)


def style_scatter(
    points: Sequence[tuple[str, str, Sequence[float]]], inks: Mapping[str, str], *, axes: tuple[int, int]
) -> str:
    """A mark a sequence at two of its lips' speeds in mm/s; points are (subject, words, (x, y, z))."""
    left, right, top, bottom = 44, 14, 12, 40
    across, up = axes
    most = [nice(1.04 * max((values[axis] for *_, values in points), default=1.0)) for axis in axes]
    height = 380

    def place(values: Sequence[float]) -> tuple[float, float]:
        x = left + (HALF - left - right) * values[across] / most[0]
        return x, height - bottom - (height - top - bottom) * values[up] / most[1]

    marks = []
    for share in FIFTHS:
        x, y = left + (HALF - left - right) * share, height - bottom - (height - top - bottom) * share
        marks.append(f'<line class="grid" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{height - bottom}"/>')
        marks.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{HALF - right}" y2="{y:.1f}"/>')
        marks.append(text(x, height - bottom + 15, f"{share * most[0]:.3g}", "middle"))
        marks.append(text(left - 6, y + 4, f"{share * most[1]:.3g}", "end"))
    for subject, words, values in points:
        x, y = place(values)
        shape = list(inks).index(subject) // len(SUBJECT_INKS) if subject in inks else 0
        marks.append(
            _mark(x, y, shape, inks.get(subject, UNKNOWN_INK), words, radius=4.5 if len(points) < 1000 else 2.5)
        )
    marks.append(text(HALF - right, height - 6, f"lips along {AXIS_WORDS[across]}, mm/s", "end"))
    marks.append(text(left + 6, top + 12, f"lips along {AXIS_WORDS[up]}, mm/s"))
    return svg(marks, width=HALF, height=height)


def _mark(x: float, y: float, shape: int, ink: str, words: str, *, radius: float) -> str:
    look = f'fill="{ink}" fill-opacity="0.78" stroke="#fff" stroke-width="0.8"'
    title = f"<title>{escape(words)}</title>"
    if SHAPES[shape % len(SHAPES)] == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" {look}>{title}</circle>'
    turn = f' transform="rotate(45 {x:.1f} {y:.1f})"' if SHAPES[shape % len(SHAPES)] == "diamond" else ""
    side = 1.8 * radius
    size = f'x="{x - side / 2:.1f}" y="{y - side / 2:.1f}" width="{side}" height="{side}"'
    return f"<rect {size} {look}{turn}>{title}</rect>"


def subject_inks(subjects: Sequence[str]) -> dict[str, str]:
    """A colour for every subject; after twelve they repeat, with another shape."""
    return {subject: SUBJECT_INKS[number % len(SUBJECT_INKS)] for number, subject in enumerate(subjects)}


def ranges(
    rows: Mapping[str, Mapping[str, tuple[float, float, float]]], *, unit: str, line_at: float | None = None
) -> str:
    """Quartiles and median of each emotion, grouped by region: rows[region][emotion] is (lower, median, upper)."""
    step, gap = 15, 14
    top = nice(1.05 * max((high for group in rows.values() for *_, high in group.values()), default=1.0))
    left, right = 128, 40
    scale = (HALF - left - right) / top
    marks, y = [], 6.0
    for region, group in rows.items():
        marks.append(text(0, y + step * len(group) / 2 + 4, region.replace("_", " "), ink="#1f2328"))
        for emotion, (low, middle, high) in group.items():
            ink = EMOTION_INKS.get(emotion, UNKNOWN_INK)
            words = f"{region}, {emotion}: {middle:.2f} {unit} ({low:.2f} to {high:.2f})"
            centre = y + step / 2
            marks.append(text(left - 8, centre + 4, emotion, "end", size=10))
            marks.append(
                bar((left + low * scale, centre - 3), max((high - low) * scale, 1), 6,
                    f'fill="{ink}" fill-opacity="0.35" rx="3"', words)
            )  # fmt: skip
            marks.append(
                f'<circle cx="{left + middle * scale:.1f}" cy="{centre:.1f}" r="4.2" fill="{ink}">'
                f"<title>{escape(words)}</title></circle>"
            )
            marks.append(text(left + high * scale + 8, centre + 4, f"{middle:.2g}", size=10))
            y += step
        y += gap
    if line_at is not None:
        at = left + line_at * scale
        marks.append(
            f'<line x1="{at:.1f}" y1="0" x2="{at:.1f}" y2="{y - gap + 6:.1f}" stroke="#667080" stroke-dasharray="3 4"/>'
        )
    for tick in (top * share for share in FIFTHS):
        marks.append(text(left + tick * scale, y + 8, f"{tick:.3g}", "middle"))
    marks.append(text(left - 8, y + 8, unit, "end"))
    return svg(marks, width=HALF, height=math.ceil(y + 14))


def graph_on_face(
    uri: str, centres: Float[np.ndarray, "n 2"], edges: Sequence[tuple[int, int, float]], names: Sequence[str],
    *, lowest: float,
) -> str:  # fmt: skip
    """A face with a dot for each small region and a line between those that move together."""
    marks = [f'<image href="{uri}" width="{FACE_WIDTH}" height="{FACE_HEIGHT}"/>']
    for one, other, value in edges:
        share = (value - lowest) / max(1 - lowest, 1e-9)
        ink = EDGE_INKS[min(int(share * len(EDGE_INKS)), len(EDGE_INKS) - 1)]
        (x1, y1), (x2, y2) = centres[one].tolist(), centres[other].tolist()
        words = f"{names[one]} and {names[other]}: {value:.2f}".replace("_", " ")
        marks.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{ink}" stroke-linecap="round" '
            f'stroke-width="{0.6 + 2.6 * share:.2f}" stroke-opacity="{0.35 + 0.6 * share:.2f}">'
            f"<title>{escape(words)}</title></line>"
        )
    degree = np.bincount([end for edge in edges for end in edge[:2]], minlength=len(centres))
    for (x, y), name, count in zip(centres.tolist(), names, degree.tolist(), strict=True):
        look = 'fill="#143a6b" stroke="#fff"' if count else 'fill="#fff" stroke="#667080"'
        words = f"{name}: moves with {count} others".replace("_", " ")
        marks.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{3.2 + 0.12 * count:.1f}" {look} stroke-width="1.2">'
            f"<title>{escape(words)}</title></circle>"
        )
    return svg(marks, width=FACE_WIDTH, height=FACE_HEIGHT)


def part_matrix(names: Sequence[str], values: Float[np.ndarray, "n n"]) -> str:
    """Correlations between groups of small regions; blue together, red against each other."""
    left, top = 92, 84
    cell = (HALF - left - 30) / len(names)
    marks = []
    for row, name in enumerate(names):
        words = name.replace("_", " ")
        marks.append(text(left - 6, top + (row + 0.5) * cell + 4, words, "end"))
        marks.append(text(left + (row + 0.5) * cell + 4, top - 6, words, turn=-60))
        for column, other in enumerate(names):
            value = float(values[row, column])
            shown = np.isfinite(value)
            ink = _diverging(value) if shown else "#f1f2f4"
            title = f"{name} and {other}: {value:.2f}" if shown else f"{name} and {other}: no motion to compare"
            corner = (left + column * cell, top + row * cell)
            marks.append(bar(corner, cell - 1.5, cell - 1.5, f'fill="{ink}" rx="3"', title.replace("_", " ")))
            if shown:
                light = ' style="fill:#fff"' if abs(value) > 0.5 else ' style="fill:#1f2328"'
                x, y = corner[0] + cell / 2 - 1, corner[1] + cell / 2 + 4
                marks.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle"{light}>{signed(value)}</text>')
    return svg(marks, width=HALF, height=round(top + cell * len(names) + 4))


def count_bars(counts: Mapping[str, int], inks: Mapping[str, str] | None = None) -> str:
    """A bar a name."""
    height, scale = 24, (HALF - LABEL - 60) / max(counts.values(), default=1)
    marks = []
    for row, (name, count) in enumerate(counts.items()):
        y, ink = row * height + 4, (inks or {}).get(name, "#2563a8" if inks is None else UNKNOWN_INK)
        marks.append(text(LABEL - 8, y + 13, name, "end"))
        marks.append(bar((LABEL, y), count * scale, 17, f'fill="{ink}" rx="2"', f"{name}: {count:,}"))
        marks.append(text(LABEL + count * scale + 6, y + 13, f"{count:,}"))
    return svg(marks, width=HALF, height=len(counts) * height + 6)


def signed(value: float) -> str:
    """Two digits, and no minus before nothing."""
    return f"{round(value, 2) + 0.0:.2f}"


def _diverging(value: float) -> str:
    ends = ((246, 247, 249), (37, 99, 168)) if value >= 0 else ((246, 247, 249), (197, 90, 70))
    return "rgb({},{},{})".format(*between(ends, abs(value)))
