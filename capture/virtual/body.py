"""What a face model leaves out: the back of the head, the inside of the mouth, neck, torso and the wall behind.

Actor frame: x to the subject's left, y up, z out of the face, metres; the head at rest has its origin there.
"""

from collections import defaultdict

import numpy as np
from jaxtyping import Bool, Float, Int

from capture.virtual.scene import Mesh, join
from mmface4d.arrays import Faces, Vertices

Loop = Int[np.ndarray, "n_loop"]
SKULL_RINGS = 18
SKULL_RADII_M = (0.086, 0.120, 0.112)
SKULL_BELOW_TOP_M, SKULL_BEHIND_M = 0.082, 0.012  # its middle, from the border's top and centre
SKULL_BLEND = 0.5  # radians over which the border's shape is left
HAIR_BELOW_TOP_M = 0.145
EYE_RADIUS_M, EYE_FRONT_M = 0.012, 0.006
IRIS_RADIUS_M, PUPIL_RADIUS_M = 0.0059, 0.0022
EYE_WHITE, IRIS, PUPIL = (0.86, 0.84, 0.82), (0.30, 0.22, 0.15), (0.03, 0.03, 0.03)
BAG_DEPTH_M = 0.035
BAG_RINGS = 5
HAIR = (0.16, 0.11, 0.08)
MOUTH_INSIDE = (0.30, 0.10, 0.10)
# a curved wall, so that every camera sees one
WALL_RADII_M, WALL_HALF_TURN_DEG = (1.7, 0.9), 130.0
WALL_HEIGHT_M, WALL_STEP_M = 3.6, 0.02
NECK_TOP, NECK_FOOT = (0.0, -0.04, -0.06), (0.0, -0.24, -0.095)
NECK_RADIUS_M = 0.048
TORSO_CENTRE, TORSO_RADII = (0.0, -0.46, -0.11), (0.235, 0.25, 0.12)


def boundary_loops(faces: Faces) -> list[Loop]:
    """Closed chains of vertices along a mesh's open edges, the longest first, in the faces' own direction."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    directed = {(int(a), int(b)) for a, b in edges}
    following: dict[int, list[int]] = defaultdict(list)
    for a, b in sorted(directed):
        if (b, a) not in directed:
            following[a].append(b)
    loops = []
    while following:
        start = next(iter(following))
        chain = [start]
        while chain[-1] in following:
            nexts = following[chain[-1]]
            step = nexts.pop()
            if not nexts:
                del following[chain[-1]]
            if step == start:
                break
            chain.append(step)
        if len(chain) > 2:
            loops.append(np.array(chain))
    return sorted(loops, key=len, reverse=True)


class Anatomy:
    """Closes a face: a skull behind its outer border, eyeballs and a dark pocket behind its holes."""

    def __init__(self, faces: Faces, colors: Float[np.ndarray, "n_verts 3"], eyes: Bool[np.ndarray, "n_verts"]) -> None:
        loops = boundary_loops(faces)
        self.outline: Loop | None = loops[0] if loops else None
        self.holes: list[Loop] = loops[1:]
        self._colors, self._eyes = colors, eyes

    def close(self, head: Vertices) -> list[Mesh]:
        """The missing parts of a face whose vertices are given in its head frame."""
        parts = [_bag(head[loop]) for loop in self.holes]
        parts += [_eyeball(head[loop]) for loop in self.holes if self._eyes[loop].mean() > 0.5]
        if self.outline is not None:
            parts.append(_skull(head[self.outline], self._colors[self.outline]))
        return parts


def _skull(border: Vertices, skin: Float[np.ndarray, "n_border 3"]) -> Mesh:
    """Rings from the border to a pole at the back; they leave the border's shape and take on an ellipsoid's."""
    centre = border.mean(0)
    top = border[:, 1].max()
    around = np.arctan2(border[:, 1] - centre[1], border[:, 0] - centre[0])
    arc = np.linspace(0, 0.5 * np.pi, SKULL_RINGS)[:, None]
    middle = np.array([centre[0], top - SKULL_BELOW_TOP_M, centre[2] - SKULL_BEHIND_M])
    width, height, depth = SKULL_RADII_M
    x = middle[0] + width * np.cos(around) * np.cos(arc)
    y = middle[1] + height * np.sin(around) * np.cos(arc)
    z = middle[2] - depth * np.sin(arc) + 0 * around
    share = np.clip(arc / SKULL_BLEND, 0, 1)[..., None]
    share = share * share * (3 - 2 * share)
    vertices = (border + share * (np.stack([x, y, z], -1) - border)).reshape(-1, 3)
    # hair grows above the ears' height and stays below the hairline in front
    above = 1 / (1 + np.exp(-(vertices[:, 1] - (top - HAIR_BELOW_TOP_M)) / 0.004))
    grown = (np.clip(arc * 6, 0, 1) + 0 * around).ravel() * above
    colors = np.tile(skin, (SKULL_RINGS, 1))
    colors = colors + grown[:, None] * (np.array(HAIR) - colors)
    return Mesh(vertices, _tube(len(border), SKULL_RINGS), colors, np.zeros(len(vertices), bool))


def _eyeball(lids: Vertices) -> Mesh:
    """An eyeball that looks straight ahead, hung between the corners of the lids, which do not move when they blink."""
    corners = lids[[lids[:, 0].argmin(), lids[:, 0].argmax()]].mean(0)
    ball, faces = _sphere(48, 48)
    forward = ball[:, [0, 2, 1]] * (1, -1, 1)  # the sphere's pole to the front, as the iris is round
    vertices = corners + EYE_RADIUS_M * forward + (0, 0, EYE_FRONT_M - EYE_RADIUS_M)
    off_axis = EYE_RADIUS_M * np.hypot(forward[:, 0], forward[:, 1])
    colors = np.tile(np.array(EYE_WHITE), (len(ball), 1))
    seen = forward[:, 2] > 0
    colors[seen & (off_axis < IRIS_RADIUS_M)] = IRIS
    colors[seen & (off_axis < PUPIL_RADIUS_M)] = PUPIL
    return Mesh(vertices, faces, colors, np.ones(len(ball), bool))


def _bag(border: Vertices) -> Mesh:
    """A pocket behind a hole; as weak for depth as an open mouth is."""
    centre = border.mean(0)
    arc = np.linspace(0, 0.5 * np.pi, BAG_RINGS)
    rings = centre + np.cos(arc)[:, None, None] * (border - centre)
    rings[..., 2] -= BAG_DEPTH_M * np.sin(arc)[:, None]
    flat = rings.reshape(-1, 3)
    colors = np.tile(np.array(MOUTH_INSIDE), (len(flat), 1))
    return Mesh(flat, _tube(len(border), BAG_RINGS), colors, np.ones(len(flat), bool))


def _tube(around: int, rings: int) -> Faces:
    """Triangles between rings of `around` vertices, facing away from a face whose border runs along its own faces."""
    here = np.arange(around)
    there = (here + 1) % around
    faces = []
    for ring in range(rings - 1):
        near, far = ring * around, (ring + 1) * around
        faces.append(np.stack([there + near, here + near, here + far], 1))
        faces.append(np.stack([there + near, here + far, there + far], 1))
    return np.concatenate(faces)


def room(skin: Float[np.ndarray, "3"], rng: np.random.Generator) -> Mesh:
    """Wall, torso and neck, in the actor's frame; they stand still."""
    cloth = rng.uniform(0.15, 0.5, 3)
    wall = rng.uniform(0.5, 0.65) * rng.uniform(0.93, 1.07, 3)
    return join(_wall(wall, rng), _torso(cloth, rng), _neck(skin))


def _wall(color: np.ndarray, rng: np.random.Generator) -> Mesh:
    from scipy.ndimage import gaussian_filter

    rows, columns = round(WALL_HEIGHT_M / WALL_STEP_M), round(5.5 / WALL_STEP_M)
    turn = np.radians(WALL_HALF_TURN_DEG) * np.linspace(-1, 1, columns)
    height = WALL_HEIGHT_M * np.linspace(-0.5, 0.5, rows)[:, None]
    x, z = WALL_RADII_M[0] * np.sin(turn), -WALL_RADII_M[1] * np.cos(turn)
    vertices = np.stack(np.broadcast_arrays(x, height, z), -1).reshape(-1, 3)
    stains = gaussian_filter(rng.standard_normal((rows, columns)), 6).ravel()
    colors = color * (1 + 0.02 * stains / stains.std())[:, None]
    cells = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    faces = np.concatenate(
        [
            np.stack([cells, cells + 1, cells + columns + 1], 1),
            np.stack([cells, cells + columns + 1, cells + columns], 1),
        ]
    )
    return Mesh(vertices, faces, colors.clip(0, 1), np.zeros(len(vertices), bool))


def _sphere(around: int, rings: int) -> tuple[Vertices, Faces]:
    polar = np.linspace(0, np.pi, rings)[:, None]
    turn = np.arange(around) * 2 * np.pi / around
    x, y = np.sin(polar) * np.sin(turn), np.cos(polar) * np.ones_like(turn)
    z = np.sin(polar) * np.cos(turn)
    return np.stack([x, y, z], -1).reshape(-1, 3), _tube(around, rings)


def _torso(color: np.ndarray, rng: np.random.Generator) -> Mesh:
    from scipy.ndimage import gaussian_filter

    around, rings = 120, 80
    ball, faces = _sphere(around, rings)
    squarer = np.sign(ball) * np.abs(ball) ** 0.8
    vertices = squarer * np.array(TORSO_RADII) + np.array(TORSO_CENTRE)
    weave = gaussian_filter(rng.standard_normal((rings, around)), (1.5, 0.8), mode="wrap").ravel()
    colors = color * (1 + 0.12 * weave / weave.std())[:, None]
    return Mesh(vertices, faces, colors.clip(0, 1), np.zeros(len(vertices), bool))


def _neck(skin: np.ndarray) -> Mesh:
    around, rings = 40, 24
    turn = np.arange(around) * 2 * np.pi / around
    circle = NECK_RADIUS_M * np.stack([np.sin(turn), np.zeros(around), np.cos(turn)], -1)
    axis = np.linspace(np.array(NECK_TOP), np.array(NECK_FOOT), rings)
    wider = 1 + 0.35 * np.linspace(0, 1, rings) ** 3
    vertices = (axis[:, None] + wider[:, None, None] * circle).reshape(-1, 3)
    colors = np.tile(0.93 * skin, (len(vertices), 1))
    return Mesh(vertices, _tube(around, rings), colors, np.zeros(len(vertices), bool))
