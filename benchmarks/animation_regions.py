"""What the components of a trained audio2face move: how much they overlap, and a picture of the strongest ones."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from animation.data.synthetic.face import SyntheticFace
from mmface4d.files import atomic_path
from mmface4d.page.svg import svg, text

COMPONENTS = 6  # of each model
WIDTH, HEIGHT, LINE, DOT = 150, 180, 20, 3  # pixels of a face, of a line of words, and of a vertex
SHOWN_FROM = 0.06  # of what moves most; less is as good as nothing
LIGHT, DARK = np.array([228, 230, 235]), np.array([20, 60, 160])


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
    """Writes an SVG with the strongest components of some models, a row each; a darker vertex is moved further."""
    parts = ['<rect width="100%" height="100%" fill="white"/>']  # also where the page around it is dark
    for number, (name, checkpoint) in enumerate(checkpoints.items()):
        top = number * (HEIGHT + LINE)
        parts.append(text(10, top + 14, f"{name}: mean overlap {overlap(checkpoint)}"))
        for column, row in enumerate(strongest(checkpoint)):
            parts += _face(row, face, corner=(column * WIDTH, top + LINE))
    drawn = svg(parts, width=COMPONENTS * WIDTH, height=len(checkpoints) * (HEIGHT + LINE))
    alone = drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" ', 1)
    with atomic_path(path) as partial:
        partial.write_text(alone, encoding="utf-8")


def strongest(checkpoint: Path) -> Float[np.ndarray, "n_shown n_verts"]:
    """How far each of the strongest components moves each vertex; the largest of a row is 1."""
    from animation.models.exclusion import HasComponents, learned_regions, vertex_strengths
    from animation.training.checkpoint import load_checkpoint

    model = load_checkpoint(checkpoint).model
    if not isinstance(model, HasComponents):
        raise TypeError(f"{checkpoint} has no components")
    by_strength = vertex_strengths(model.decoding_matrix().detach()).norm(dim=1).argsort(descending=True)
    return learned_regions(model)[by_strength[:COMPONENTS]].numpy()


def _face(row: Float[np.ndarray, "n_verts"], face: SyntheticFace, *, corner: tuple[int, int]) -> list[str]:
    """Its vertices as dots, seen from the front; those that move most lie on top."""
    low, high = face.mean.min(axis=0), face.mean.max(axis=0)
    x = corner[0] + 8 + (face.mean[:, 0] - low[0]) / (high[0] - low[0]) * (WIDTH - 16)
    y = corner[1] + 4 + (high[1] - face.mean[:, 1]) / (high[1] - low[1]) * (HEIGHT - 12)
    return [f'<circle cx="{x[at]:.0f}" cy="{y[at]:.0f}" r="{DOT}" fill="{_ink(row[at])}"/>' for at in np.argsort(row)]


def _ink(strength: float) -> str:
    share = strength if strength > SHOWN_FROM else 0.0
    return "#" + "".join(f"{round(channel):02x}" for channel in LIGHT + share * (DARK - LIGHT))
