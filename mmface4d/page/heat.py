"""Numbers as colours, and the legend of them."""

from collections.abc import Sequence
from html import escape

from mmface4d.page.face_picture import Color

WARM = ((240, 234, 226), (226, 160, 60), (190, 45, 35))
FIFTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def warm(share: float) -> Color:
    """From pale by orange to red, for 0 to 1."""
    return between(WARM, share)


def warm_scale(top: float, unit: str) -> str:
    """A legend of `warm` in HTML."""
    stops = ",".join(f"rgb{warm(each)}" for each in FIFTHS)
    ticks = "".join(f"<span>{top * each:.3g}</span>" for each in FIFTHS[:-1])
    return (
        f'<div class="scale"><div class="bar" style="background:linear-gradient(90deg,{stops})"></div>'
        f'<div class="ticks">{ticks}<span>{top:.3g} {escape(unit)}</span></div></div>'
    )


def between(stops: Sequence[Color], share: float) -> Color:
    """The colour at a share of the way from the first stop to the last."""
    at = min(max(share, 0.0), 1.0) * (len(stops) - 1)
    lower = min(int(at), len(stops) - 2)
    mixed = [round(a + (b - a) * (at - lower)) for a, b in zip(stops[lower], stops[lower + 1], strict=True)]
    return mixed[0], mixed[1], mixed[2]
