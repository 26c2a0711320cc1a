"""Region masks of a model from its landmarks and its shape: lips, eyes, nostrils, mouth interior, border."""

import numpy as np
from jaxtyping import Bool, Float

from mmface4d.arrays import Faces, Vertices
from reconstruct.models.landmark_sets import ibug_points
from reconstruct.models.model import LandmarkTable
from reconstruct.models.surface import border_loops, closest, distance_along, edge_graph, grow, openness
from reconstruct.topology import vertex_normals

MaskOf = Bool[np.ndarray, "n_verts"]
# iBUG rows
# the outer rims only: inner points may have been put on the other lip
UPPER_LIP_ROWS, LOWER_LIP_ROWS = range(49, 54), range(55, 60)
OUTER_LIP_ROWS, INNER_LIP_ROWS = range(48, 60), range(60, 68)
EYE_ROWS = (range(36, 42), range(42, 48))


def regions_of(vertices: Vertices, faces: Faces, landmarks: LandmarkTable) -> dict[str, MaskOf]:
    """All masks of `model.REGIONS` for a mesh in the head frame whose table has the 51 inner iBUG points."""
    points = ibug_points(landmarks, landmarks.positions(vertices))
    open_share = openness(vertices, faces, vertex_normals(vertices, faces))
    border = _border(vertices, faces)
    lips = _inside(vertices, points[OUTER_LIP_ROWS], margin_m=0.0005, depth_m=0.02)
    upper, lower = _split_lips(vertices, faces, points)
    eyes = np.logical_or(*(_inside(vertices, points[rows], margin_m=0.004, depth_m=0.025) for rows in EYE_ROWS))
    nostrils = _nostrils(vertices, points, open_share)
    mouth = _inside(vertices, points[OUTER_LIP_ROWS], margin_m=-0.001, depth_m=0.05) & (open_share < 0.12)
    return {
        "lips": lips & ~mouth,
        "upper_lip": lips & upper,
        "lower_lip": lips & lower,
        "eyes": eyes,
        "nostrils": nostrils,
        "mouth_interior": mouth,
        "upper_face": vertices[:, 1] > points[28, 1],
        "boundary": border,
        "face": ~(eyes | nostrils | mouth | border),
    }


def _border(vertices: Vertices, faces: Faces) -> MaskOf:
    """Two rings along the outer border; eye and mouth openings have masks of their own."""
    mask = np.zeros(len(vertices), dtype=bool)
    loops = border_loops(faces, len(vertices))
    if loops:
        mask[max(loops, key=lambda loop: np.ptp(vertices[loop], axis=0).sum())] = True
    return grow(mask, faces, rings=1)


def _split_lips(vertices: Vertices, faces: Faces, points: Float[np.ndarray, "68 3"]) -> tuple[MaskOf, MaskOf]:
    """Upper and lower side of the mouth: whichever lip is nearer along the skin, which is cut between the lips."""
    graph = edge_graph(vertices, faces)
    to_upper, to_lower = (
        distance_along(graph, _nearest_vertices(vertices, faces, points[list(rows)]))
        for rows in (UPPER_LIP_ROWS, LOWER_LIP_ROWS)
    )
    return to_upper < to_lower, to_lower < to_upper


def _nearest_vertices(vertices: Vertices, faces: Faces, points: Float[np.ndarray, "n 3"]) -> np.ndarray:
    hits = closest(vertices, faces, points)
    return faces[hits.face, hits.barycentric.argmax(axis=1)]


def _inside(vertices: Vertices, ring: Float[np.ndarray, "n 3"], *, margin_m: float, depth_m: float) -> MaskOf:
    """Vertices that lie, seen from the front, within a ring of landmarks moved outwards by a margin."""
    centre = ring.mean(axis=0)
    away = ring[:, :2] - centre[:2]
    outline = centre[:2] + away * (1 + margin_m / np.linalg.norm(away, axis=1, keepdims=True))
    near = vertices[:, 2] > ring[:, 2].min() - depth_m
    return _in_polygon(vertices[:, :2], _rounded(outline)) & near


def _rounded(outline: Float[np.ndarray, "n 2"], *, per_edge: int = 6) -> Float[np.ndarray, "m 2"]:
    """A closed curve through the points (periodic cubic)."""
    from scipy.interpolate import CubicSpline

    closed = np.concatenate([outline, outline[:1]])
    length = np.concatenate([[0], np.cumsum(np.sqrt(np.linalg.norm(np.diff(closed, axis=0), axis=1)))])
    steps = np.linspace(0, length[-1], per_edge * len(outline), endpoint=False)
    return CubicSpline(length, closed, bc_type="periodic")(steps)


def _in_polygon(points: Float[np.ndarray, "n 2"], outline: Float[np.ndarray, "m 2"]) -> Bool[np.ndarray, "n"]:
    """Even-odd rule."""
    inside = np.zeros(len(points), dtype=bool)
    for (x0, y0), (x1, y1) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        crosses = (points[:, 1] >= min(y0, y1)) & (points[:, 1] < max(y0, y1))
        inside ^= crosses & (points[:, 0] < x0 + (points[:, 1] - y0) * (x1 - x0) / (y1 - y0))
    return inside


def _nostrils(
    vertices: Vertices, points: Float[np.ndarray, "68 3"], open_share: Float[np.ndarray, "n_verts"]
) -> MaskOf:
    """Hidden vertices on the underside of the nose."""
    base, tip = points[31:36], points[30]
    low, high = base.min(axis=0), np.maximum(base.max(axis=0), tip)
    width = high[0] - low[0]
    box = (vertices > low - [0.2 * width, 0.004, 0.015]) & (vertices < [high[0] + 0.2 * width, tip[1], high[2]])
    return box.all(axis=1) & (open_share < 0.3)
