"""What the components of a trained audio2face move: how much they overlap, and a picture of the strongest ones."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from animation.data.synthetic.face import SyntheticFace
from mmface4d.page.markup import section
from mmface4d.page.page import write_page
from mmface4d.page.svg import svg, text

COMPONENTS, IN_ROW = 12, 6
WIDTH, HEIGHT, DOT = 150, 190, 2.6  # pixels of a face, and of a vertex


def overlap(checkpoint: Path) -> float | None:
    """Mean overlap of two components, 0 to 1; None for a model without components."""
    from animation.models.exclusion import exclusion_score
    from animation.training.checkpoint import load_checkpoint
    from mmface4d.errors import UsageError

    try:
        return round(exclusion_score(load_checkpoint(checkpoint).model), 5)
    except UsageError:
        return None


def draw_regions(path: Path, checkpoints: dict[str, Path], *, face: SyntheticFace) -> None:
    """A page with the strongest components of some models; a darker vertex is moved further."""
    parts = []
    for name, checkpoint in checkpoints.items():
        lead = f"The {COMPONENTS} components that move most; mean overlap of all {overlap(checkpoint)}."
        parts.append(section(name, lead, _faces(strongest(checkpoint), face)))
    write_page(path, title="Learned regions", subtitle="components of audio2face on synthetic speech", parts=parts)


def strongest(checkpoint: Path) -> Float[np.ndarray, "n_shown n_verts"]:
    """How far each of the strongest components moves each vertex; the largest of a row is 1."""
    from animation.models.exclusion import learned_regions, vertex_strengths
    from animation.training.checkpoint import load_checkpoint

    model = load_checkpoint(checkpoint).model
    matrix = model.decoding_matrix().detach()  # type: ignore[operator]  (audio2face has one)
    by_strength = vertex_strengths(matrix).norm(dim=1).argsort(descending=True)
    return learned_regions(model)[by_strength[:COMPONENTS]].numpy()


def _faces(rows: Float[np.ndarray, "n_shown n_verts"], face: SyntheticFace) -> str:
    low, high = face.mean.min(axis=0), face.mean.max(axis=0)
    x = 10 + (face.mean[:, 0] - low[0]) / (high[0] - low[0]) * (WIDTH - 20)
    y = 20 + (high[1] - face.mean[:, 1]) / (high[1] - low[1]) * (HEIGHT - 30)
    parts = []
    for number, row in enumerate(rows):
        left, top = number % IN_ROW * WIDTH, number // IN_ROW * HEIGHT
        parts.append(text(left + WIDTH / 2, top + 12, str(number + 1), "middle"))
        parts += [
            f'<circle cx="{left + x[at]:.1f}" cy="{top + y[at]:.1f}" r="{DOT}" fill="{_ink(float(row[at]))}"/>'
            for at in np.argsort(row)
        ]
    return svg(parts, width=IN_ROW * WIDTH, height=-(-len(rows) // IN_ROW) * HEIGHT)


def _ink(strength: float) -> str:
    """From a light grey to a dark blue."""
    light, dark = np.array([228, 230, 235]), np.array([20, 60, 160])
    red, green, blue = (light + strength * (dark - light)).astype(int)
    return f"rgb({red},{green},{blue})"
