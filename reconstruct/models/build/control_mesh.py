"""The control mesh: MediaPipe's points with the mouth cut open, eyes set in, and rings added around the face.

Its first 468 vertices are MediaPipe's. Metres; x to the subject's left, y up, z out of the face.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from reconstruct.models.build.topology import (
    FACE_OVAL,
    LEFT_EYE_LOWER,
    LEFT_EYE_UPPER,
    LOWER_LIP_RINGS,
    RIGHT_EYE_LOWER,
    RIGHT_EYE_UPPER,
    UPPER_LIP_RINGS,
    read_mediapipe_mesh,
)

OUTER_RINGS = 4
EYEBALL_RADIUS = 0.0128
# the lid's inner edge, then two rings that end where iris and pupil end, so that they can be painted as clean circles
EYE_RINGS_M = (np.inf, 0.0057, 0.0023)
EYE_RING_PART = (1.0, 0.84, 0.42)  # but never more than this part of the way to the lids
LIP_CLOSING = (0.18, 0.42, 0.78, 1.0)  # how far each lip ring moves to the contact line, outermost first
# where the rings around the oval go: oval vertex of the left side -> (outward x, y, z of the last ring's direction,
# length of a step in metres, how early it turns); the head bends back slowly at the forehead, and at once under
# the jaw, where the floor of the mouth runs to the neck
OUTER_DIRECTIONS = {
    10: ((0.0, 0.50, -0.86), 0.0095, 1.0),
    332: ((-0.05, 0.45, -0.88), 0.0090, 1.0),
    251: ((-0.10, 0.25, -0.96), 0.0075, 1.0),
    356: ((-0.10, 0.05, -0.99), 0.0045, 1.0),
    454: ((-0.08, 0.00, -1.00), 0.0038, 1.0),
    361: ((-0.20, -0.15, -0.96), 0.0045, 1.2),
    397: ((-0.75, -0.22, -0.62), 0.0075, 2.2),
    378: ((-0.42, -0.12, -0.90), 0.0095, 3.0),
    152: ((0.0, -0.16, -0.98), 0.0105, 3.5),
}


@dataclass
class ControlMesh:
    """Vertices, triangles and named sets of vertices."""

    vertices: Float[np.ndarray, "n_verts 3"]
    faces: Int[np.ndarray, "n_faces 3"]
    sets: dict[str, list[int]] = field(default_factory=dict)


class _Builder:
    """Grows a mesh by vertices and strips of triangles, whose sides are put right at the end."""

    def __init__(self, vertices: np.ndarray, faces: np.ndarray) -> None:
        self.vertices = list(vertices)
        self.faces: list[tuple[int, int, int]] = [(int(a), int(b), int(c)) for a, b, c in faces]

    def add(self, points: np.ndarray) -> list[int]:
        first = len(self.vertices)
        self.vertices.extend(points)
        return list(range(first, len(self.vertices)))

    def strip(self, outer: list[int], inner: list[int]) -> None:
        """Quads between two rows of one length, split along the diagonal that runs away from the middle."""
        half = (len(outer) - 1) / 2
        for i in range(len(outer) - 1):
            a, b, c, d = outer[i], outer[i + 1], inner[i + 1], inner[i]
            self.faces += [(a, b, c), (a, c, d)] if i < half else [(a, b, d), (b, c, d)]

    def drop_faces_within(self, vertex_set: set[int]) -> None:
        self.faces = [face for face in self.faces if not vertex_set.issuperset(face)]


def build_control_mesh() -> ControlMesh:
    """The whole control mesh with the sets `mouth_upper`, `mouth_lower`, `left_eye`, `right_eye`, `outer_K`."""
    vertices, faces = read_mediapipe_mesh()
    vertices = _proportioned(vertices)
    builder = _Builder(vertices, faces)
    sets: dict[str, list[int]] = {}
    _close_lips(builder)
    sets |= _cut_mouth(builder)
    for side, upper, lower in (
        ("right_eye", RIGHT_EYE_UPPER, RIGHT_EYE_LOWER),
        ("left_eye", LEFT_EYE_UPPER, LEFT_EYE_LOWER),
    ):
        sets |= _set_eye(builder, side, upper, lower)
    sets |= _add_outer_rings(builder)
    return ControlMesh(np.array(builder.vertices), _one_sided(builder.faces), sets)


def _one_sided(faces: list[tuple[int, int, int]]) -> np.ndarray:
    """Turns triangles so that all look to the side of the first one."""
    of_edge: dict[tuple[int, int], list[int]] = {}
    for i, face in enumerate(faces):
        for p, q in _edges_of(face):
            of_edge.setdefault((min(p, q), max(p, q)), []).append(i)
    turned: dict[int, tuple[int, int, int]] = {0: faces[0]}
    todo = [0]
    while todo:
        face = turned[todo.pop()]
        for p, q in _edges_of(face):
            for i in of_edge[min(p, q), max(p, q)]:
                if i not in turned:
                    turned[i] = faces[i] if (q, p) in _edges_of(faces[i]) else (faces[i][2], faces[i][1], faces[i][0])
                    todo.append(i)
    return np.array([turned[i] for i in range(len(faces))], dtype=np.int64)


def _edges_of(face: tuple[int, int, int]) -> list[tuple[int, int]]:
    return [(face[0], face[1]), (face[1], face[2]), (face[2], face[0])]


def _proportioned(vertices: np.ndarray) -> np.ndarray:
    """Slightly narrower at the ears (144 mm, adults' mean) and eyes a little more open than MediaPipe's mesh."""
    points = vertices.copy()
    outward = np.clip((np.abs(points[:, 0]) - 0.040) / 0.037, 0.0, 1.0)
    points[:, 0] *= 1.0 - 0.065 * outward**2 * (3 - 2 * outward)
    for upper, lower in ((RIGHT_EYE_UPPER, RIGHT_EYE_LOWER), (LEFT_EYE_UPPER, LEFT_EYE_LOWER)):
        arch = np.sin(np.linspace(0, np.pi, 9))
        points[list(upper), 1] += 0.0016 * arch
        points[list(lower), 1] -= 0.0012 * arch
    return points


def _close_lips(builder: _Builder) -> None:
    """Brings both inner contours onto one contact line and lets the rings of the lips follow."""
    points = np.array(builder.vertices)
    upper, lower = points[list(UPPER_LIP_RINGS[3])], points[list(LOWER_LIP_RINGS[3])]
    contact = (upper + lower) / 2
    contact[:, 2] += 0.0015 * np.sin(np.linspace(0, np.pi, len(contact)))
    for rings, inner in ((UPPER_LIP_RINGS, upper), (LOWER_LIP_RINGS, lower)):
        for ring, part in zip(rings, LIP_CLOSING, strict=True):
            move = part * (contact - inner)
            move[[0, -1]] = 0
            points[list(ring)] += move
    builder.vertices = list(points)


def _cut_mouth(builder: _Builder) -> dict[str, list[int]]:
    """Removes the triangles between the lips and folds each lip inwards; the upper fold ends in a dark curtain."""
    upper, lower = UPPER_LIP_RINGS[3], LOWER_LIP_RINGS[3]
    builder.drop_faces_within(set(upper) | set(lower))
    contact = np.array([builder.vertices[i] for i in upper[1:-1]])
    taper = 0.65 + 0.35 * np.sin(np.linspace(0.15, np.pi - 0.15, len(contact)))[:, None]
    upper_folds = ((1.06, 0.0014, -0.0040), (1.18, 0.0030, -0.0095), (1.3, -0.009, -0.0130), (1.15, -0.026, -0.0180))
    lower_folds = ((1.06, -0.0014, -0.0040), (1.18, -0.0030, -0.0090))
    sets = {}
    for name, ring, folds in (("mouth_upper", upper, upper_folds), ("mouth_lower", lower, lower_folds)):
        row, added = list(ring), []
        for widen, up, inward in folds:
            points = contact * np.array([widen, 1, 1]) + taper * np.array([0, up, inward])
            new = builder.add(points)
            added += new
            _fold_strip(builder, row, new)
            row = new
        sets[name] = added
    return sets


def _fold_strip(builder: _Builder, row: list[int], new: list[int]) -> None:
    """Joins a row to the next one inwards; the first row is longer by its two corners, which close with a triangle."""
    if len(row) == len(new) + 2:
        builder.faces += [(row[0], row[1], new[0]), (row[-2], row[-1], new[-1])]
        row = row[1:-1]
    builder.strip(row, new)


def _set_eye(builder: _Builder, side: str, upper: tuple[int, ...], lower: tuple[int, ...]) -> dict[str, list[int]]:
    """Replaces the triangles between the lids by a lid edge and a cap of the eyeball."""
    contour = [*upper, *lower[-2:0:-1]]
    builder.drop_faces_within(set(contour))
    points = np.array([builder.vertices[i] for i in contour])
    middle = points.mean(axis=0)
    center = np.array([middle[0], middle[1], points[[4, 12], 2].mean() - 0.0008 - EYEBALL_RADIUS])
    row, added = contour, []
    reach = np.linalg.norm((points - middle)[:, :2], axis=1)
    for radius, part in zip(EYE_RINGS_M, EYE_RING_PART, strict=True):
        size = np.minimum(radius / reach, part)[:, None]
        ring = middle + size * (points - middle)
        new = builder.add(_on_eyeball(ring, center, points[:, 2] - 0.0016 if part == 1.0 else None))
        builder.strip([*row, row[0]], [*new, new[0]])
        row = new
        added += new
    apex = builder.add((center + np.array([0, 0, EYEBALL_RADIUS]))[None])
    builder.faces += [(row[i], row[(i + 1) % len(row)], apex[0]) for i in range(len(row))]
    return {side: [*added, *apex]}


def _on_eyeball(points: np.ndarray, center: np.ndarray, depth_limit: np.ndarray | None) -> np.ndarray:
    """Points pushed along z onto the eyeball, not in front of the lids."""
    radial = ((points[:, :2] - center[:2]) ** 2).sum(axis=1)
    depth = center[2] + np.sqrt(np.maximum(EYEBALL_RADIUS**2 - radial, (0.45 * EYEBALL_RADIUS) ** 2))
    if depth_limit is not None:
        depth = np.minimum(depth, depth_limit)
    return np.column_stack([points[:, :2], depth])


def _add_outer_rings(builder: _Builder) -> dict[str, list[int]]:
    """Continues the face beyond MediaPipe's oval: forehead, temples, jaw and the underside of the chin."""
    oval = np.array([builder.vertices[i] for i in FACE_OVAL])
    start = _outward_tangents(builder, oval)
    end, step, turn = _outer_directions(oval)
    row, points, sets = list(FACE_OVAL), oval, {}
    for k in range(OUTER_RINGS):
        t = (1 - (1 - (k + 0.6) / OUTER_RINGS) ** turn)[:, None]
        direction = (1 - t) * start + t * end
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        points = points + step[:, None] * direction
        # what is smoothed is the way from the oval: rings smoothed themselves would shrink and fold at the temples
        way = points - oval
        points = oval + 0.5 * way + 0.25 * (np.roll(way, 1, axis=0) + np.roll(way, -1, axis=0))
        new = builder.add(points)
        builder.strip([*row, row[0]], [*new, new[0]])
        row = new
        sets[f"outer_{k}"] = new
    return sets


def _outward_tangents(builder: _Builder, oval: np.ndarray) -> np.ndarray:
    """Unit vectors that lead out of the oval along the surface, smoothed along it."""
    index = {vertex: i for i, vertex in enumerate(FACE_OVAL)}
    inward = np.zeros_like(oval)
    for face in builder.faces:
        for vertex in face:
            if vertex in index:
                inward[index[vertex]] += sum(builder.vertices[v] - oval[index[vertex]] for v in face if v not in index)
    along = np.roll(oval, -1, axis=0) - np.roll(oval, 1, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    out = -(inward - (inward * along).sum(axis=1, keepdims=True) * along)
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    for _ in range(2):
        out = out + 0.5 * (np.roll(out, 1, axis=0) + np.roll(out, -1, axis=0))
    return out / np.linalg.norm(out, axis=1, keepdims=True)


def _outer_directions(oval: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Last direction, step length and turn at every vertex of the oval, between the table's and mirrored."""
    half: list[int] = list(FACE_OVAL[:19])
    position = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(oval[:19], axis=0), axis=1))])
    known = [position[half.index(vertex)] for vertex in OUTER_DIRECTIONS]
    table = np.array([[*direction, step, turn] for direction, step, turn in OUTER_DIRECTIONS.values()])
    left = np.column_stack([np.interp(position, known, table[:, c]) for c in range(5)])
    right = left[17:0:-1] * np.array([-1, 1, 1, 1, 1])
    both = np.concatenate([left, right])
    direction = both[:, :3] / np.linalg.norm(both[:, :3], axis=1, keepdims=True)
    return direction, both[:, 3], both[:, 4]
