"""The figures of an evaluation's page."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt8

from animation.data.corpus import Topology
from animation.metrics.across import Across
from animation.metrics.report_text import protocol_title
from mmface4d.arrays import Vertices
from mmface4d.page.face_picture import NO_LABEL, FacePicture
from mmface4d.page.heat import FIFTHS, warm
from mmface4d.page.svg import bar, nice, svg, text

WIDTH, LABEL, NUMBER = 520, 150, 56
BAR, GAP = 16, 12
INKS = ("#2563a8", "#e0a526", "#2f9e66", "#7a4fb0", "#c5362c", "#2fa39a", "#8a8f98")
SHADES = 8
Intervals = Mapping[tuple[str, str, str], tuple[float, float] | None]  # by model, metric and protocol


def error_bars(found: Sequence[Across], labels: Sequence[str], *, intervals: Intervals) -> str:
    """A group of bars for each protocol, a bar for each model; thin lines are intervals or standard deviations."""
    protocols = list(dict.fromkeys(each.protocol for each in found))
    ends = [_ends(each, intervals) for each in found]
    top = nice(max(max(high, each.mean) for each, (_, high) in zip(found, ends, strict=True)))
    scale, y, marks = (WIDTH - LABEL - NUMBER) / top, 2.0, []
    for protocol in protocols:
        marks.append(text(LABEL - 8, y + BAR - 4, protocol_title(protocol), "end"))
        for each, (low, high) in zip(found, ends, strict=True):
            if each.protocol == protocol:
                marks += _bar(each, (low, high), y=y, scale=scale, ink=INKS[labels.index(each.model) % len(INKS)])
                y += BAR + 2
        y += GAP
    for share in FIFTHS:
        at = LABEL + share * top * scale
        marks.insert(0, f'<line class="grid" x1="{at:.1f}" y1="0" x2="{at:.1f}" y2="{y:.0f}"/>')
        marks.append(text(at, y + 12, f"{share * top:.3g}", "middle"))
    for number, label in enumerate(labels if len(labels) > 1 else ()):
        y += 18
        marks.append(bar((LABEL, y + 6), 10, 10, f'fill="{INKS[number % len(INKS)]}" rx="2"', label))
        marks.append(text(LABEL + 16, y + 15, label))
    return svg(marks, width=WIDTH, height=round(y) + 20)


def _bar(each: Across, ends: tuple[float, float], *, y: float, scale: float, ink: str) -> list[str]:
    low, high = (LABEL + value * scale for value in ends)
    words = f"{each.model}, {protocol_title(each.protocol)}: {each.mean:.4g} {each.unit}"
    middle = y + BAR / 2
    whisker = f'<line x1="{low:.1f}" y1="{middle:.1f}" x2="{high:.1f}" y2="{middle:.1f}" stroke="#1f2328"/>'
    number = text(max(high, LABEL + each.mean * scale) + 5, y + BAR - 4, f"{each.mean:.3g}")
    return [bar((LABEL, y), each.mean * scale, BAR, f'fill="{ink}" rx="2"', words), whisker, number]


def _ends(each: Across, intervals: Intervals) -> tuple[float, float]:
    """Of the thin line: over sequences where there is one training, over trainings otherwise."""
    if each.sd is not None:
        return max(each.mean - each.sd, 0.0), each.mean + each.sd
    return intervals.get((each.model, each.metric, each.protocol)) or (each.mean, each.mean)


def painted_error(
    values: Sequence[float], topology: Topology, template: Vertices, *, top_mm: float
) -> UInt8[np.ndarray, "height width 4"]:
    """The face with each vertex coloured by its error, in eight shades up to `top_mm`; nothing outside its mask."""
    shade = np.clip(np.array(values) / top_mm * SHADES, 0, SHADES - 1).astype(int)
    inside = np.zeros(topology.n_verts, dtype=bool)
    inside[topology.masks["face"].vertices] = True
    label_of = np.where(inside, shade, NO_LABEL)
    picture = FacePicture(template, topology.faces, label_of=label_of, inside=inside)
    return picture.painted([warm((each + 0.5) / SHADES) for each in range(int(label_of.max()) + 1)], seams=False)
