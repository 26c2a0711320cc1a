"""What all figures of the pages share: round scales and the frame of an SVG."""

import math
from collections.abc import Iterable
from html import escape

Number = int | float


def nice(value: float) -> float:
    """The next number up of 1, 2, 2.5, 5 times a power of ten."""
    if not math.isfinite(value) or value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value * (1 - 1e-9))


def svg(parts: Iterable[str], *, width: int, height: int) -> str:
    """A figure that fills the width of its place; sizes are in its own pixels."""
    return f'<svg class="plot" viewBox="0 0 {width} {height}" role="img">{"".join(parts)}</svg>'


def bar(corner: tuple[Number, Number], wide: Number, tall: Number, look: str, words: str) -> str:
    """A rectangle from its upper left corner; `look` are its attributes, `words` show where a pointer rests on it."""
    x, y = corner
    size = f'width="{max(wide, 0):.1f}" height="{tall:.1f}"'
    return f'<rect x="{x:.1f}" y="{y:.1f}" {size} {look}><title>{escape(words)}</title></rect>'


def text(
    x: Number, y: Number, words: str, anchor: str = "start", *, ink: str = "", size: int = 0, turn: int = 0
) -> str:  # fmt: skip
    """A line of words; `turn` in degrees."""
    rules = (f"fill:{ink};font-weight:600;" if ink else "") + (f"font-size:{size}px" if size else "")
    style = f' style="{rules}"' if rules else ""
    turned = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}{turned}>{escape(words)}</text>'
