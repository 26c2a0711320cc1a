"""What all figures of the pages share: round scales and the frame of an SVG."""

import math
from collections.abc import Iterable


def nice(value: float) -> float:
    """The next number up of 1, 2, 2.5, 5 times a power of ten."""
    if not math.isfinite(value) or value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value * (1 - 1e-9))


def svg(parts: Iterable[str], *, width: int, height: int) -> str:
    """A figure that fills the width of its place; sizes are in its own pixels."""
    return f'<svg class="plot" viewBox="0 0 {width} {height}" role="img">{"".join(parts)}</svg>'
