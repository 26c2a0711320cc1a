"""Builds the `canonical` model: `python -m reconstruct.models.build.canonical OUT.npz`.

Everything follows from MediaPipe's mesh and the tables in this folder; the same numbers come out every time.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

from mmface4d.files import atomic_path
from reconstruct.models.build import topology as t
from reconstruct.models.build.control_mesh import OUTER_RINGS, ControlMesh, build_control_mesh
from reconstruct.models.build.expression_table import ExpressionTable
from reconstruct.models.build.identity import identity_modes
from reconstruct.models.build.subdivide import control_for_limit, refine
from reconstruct.models.build.texture import SkinPaint
from reconstruct.models.model import REGIONS

IDENTITY_MODES = 80
LIMIT_PART = 0.9  # full interpolation of the 468 points would ripple
# edges longer than this (metres) are split, at each step of the subdivision
LONGEST_EDGE = (0.0014, 0.0033, 0.0050)
LIP_GAP = 0.00006  # half the gap of the closed lips, metres
EXPRESSION_STD = 0.28


@dataclass(frozen=True)
class Refined:
    """The refined mean face and what is needed to carry things over from the control mesh."""

    control: ControlMesh
    mirror_of_control: Int[np.ndarray, "n_control"]
    matrix: sparse.csr_matrix
    vertices: Float[np.ndarray, "n_verts 3"]
    faces: Int[np.ndarray, "n_faces 3"]

    def carry(self, vertices: list[int] | tuple[int, ...]) -> Float[np.ndarray, "n_verts"]:
        """How much each refined vertex belongs to a set of control vertices, 0..1."""
        indicator = np.zeros(len(self.control.vertices))
        indicator[list(vertices)] = 1.0
        return np.asarray(self.matrix @ indicator)


def refined_mean() -> Refined:
    """The mean face on the limit surface, with its origin at the mean of its vertices and the lips just touching."""
    control = build_control_mesh()
    mirror = t.mirror_pairs(control.vertices, control.faces)
    wanted = control_for_limit(control.vertices, control.faces, part=LIMIT_PART)
    mesh = refine(wanted, control.faces, longest=LONGEST_EDGE, coarseness=_coarseness(control))
    vertices = np.asarray(mesh.matrix @ wanted)
    vertices = _parted_lips(vertices, mesh.matrix, control)
    vertices = _symmetric(vertices, mesh.faces)
    return Refined(control, mirror, mesh.matrix, vertices, mesh.faces)


def _coarseness(control: ControlMesh) -> np.ndarray:
    """Finer where something is painted or moves in detail, coarser outside the face."""
    field = np.ones(len(control.vertices))
    for k in range(OUTER_RINGS):
        field[control.sets[f"outer_{k}"]] = 1.25
    field[control.sets["mouth_upper"] + control.sets["mouth_lower"]] = 2.0
    field[[v for ring in (*t.UPPER_LIP_RINGS, *t.LOWER_LIP_RINGS) for v in ring]] = 0.72
    field[[*t.RIGHT_BROW_UPPER, *t.RIGHT_BROW_LOWER, *t.LEFT_BROW_UPPER, *t.LEFT_BROW_LOWER]] = 0.5
    field[control.sets["left_eye"] + control.sets["right_eye"]] = 0.8
    return field


def _symmetric(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Removes the last digits' asymmetry."""
    other = t.mirror_pairs(vertices, faces)
    return (vertices + vertices[other] * np.array([-1.0, 1.0, 1.0])) / 2


def _parted_lips(vertices: np.ndarray, matrix: sparse.csr_matrix, control: ControlMesh) -> np.ndarray:
    """Pushes each lip to its own side of the surface on which they meet, so that they touch and do not cross."""
    inner = list(t.UPPER_LIP_RINGS[3])
    line = control.vertices[inner]
    vertices = vertices.copy()
    for name, rings, sign in (("mouth_upper", t.UPPER_LIP_RINGS, 1.0), ("mouth_lower", t.LOWER_LIP_RINGS, -1.0)):
        indicator = np.zeros(len(control.vertices))
        indicator[[v for ring in rings[1:] for v in ring[1:-1]]] = 1
        indicator[control.sets[name][:18]] = 1  # the folds, not the curtain
        own = np.asarray(matrix @ indicator) > 0.05
        own &= np.abs(vertices[:, 0]) < abs(line[0, 0])
        meeting_y = np.interp(vertices[:, 0], line[:, 0], line[:, 1])
        beyond = own & (sign * (vertices[:, 1] - meeting_y) < LIP_GAP)
        vertices[beyond, 1] = meeting_y[beyond] + sign * LIP_GAP
    return vertices


def regions(mesh: Refined) -> dict[str, Bool[np.ndarray, "n_verts"]]:
    """All of REGIONS as masks."""
    sets, marks = mesh.control.sets, mesh.vertices[: t.MEDIAPIPE_COUNT]
    upper = mesh.carry([v for ring in t.UPPER_LIP_RINGS for v in ring[1:-1]])
    lower = mesh.carry([v for ring in t.LOWER_LIP_RINGS for v in ring[1:-1]])
    corner = mesh.carry([v for ring in t.UPPER_LIP_RINGS for v in (ring[0], ring[-1])])
    interior = mesh.carry(sets["mouth_upper"] + sets["mouth_lower"]) > 0.4
    masks = {"mouth_interior": interior}
    masks["upper_lip"] = (upper >= 0.49) & ~interior
    masks["lower_lip"] = (lower >= 0.49) & ~interior
    masks["lips"] = (upper + lower + corner >= 0.49) & ~interior
    masks["eyes"] = _eye_region(mesh)
    masks["nostrils"] = mesh.carry((*t.RIGHT_NOSTRIL, *t.LEFT_NOSTRIL)) > 0.3
    masks["boundary"] = _border(mesh.faces, len(mesh.vertices), rings=2)
    masks["face"] = ~(masks["eyes"] | interior | masks["boundary"] | masks["nostrils"])
    masks["upper_face"] = masks["face"] & (mesh.vertices[:, 1] > marks[5, 1])
    return {name: masks[name] for name in REGIONS}


def _eye_region(mesh: Refined) -> np.ndarray:
    """Eyeballs, lids and lashes: what lies within 3.5 mm of a lid's edge, and all between the lids."""
    from scipy.spatial import KDTree

    sets = mesh.control.sets
    balls = mesh.carry(sets["left_eye"] + sets["right_eye"]) > 0.2
    contour = [*t.RIGHT_EYE_UPPER, *t.RIGHT_EYE_LOWER, *t.LEFT_EYE_UPPER, *t.LEFT_EYE_LOWER]
    near = KDTree(mesh.vertices[contour]).query(mesh.vertices)[0] < 0.0035
    return balls | near


def _border(faces: np.ndarray, vertex_count: int, *, rings: int) -> np.ndarray:
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    edges, counts = np.unique(edges, axis=0, return_counts=True)
    mask = np.zeros(vertex_count, dtype=bool)
    mask[edges[counts == 1]] = True
    for _ in range(rings - 1):
        mask[faces[mask[faces].any(axis=1)]] = True
    return mask


def landmarks(mesh: Refined) -> dict[str, np.ndarray]:
    """MediaPipe's points as vertices of the refined mesh (they keep their numbers), with their groups."""
    group = dict.fromkeys(range(t.MEDIAPIPE_COUNT), "cheek")
    inner_rings = [v for ring in (*t.UPPER_LIP_RINGS[1:3], *t.LOWER_LIP_RINGS[1:3]) for v in ring]
    for name, vertices in (
        ("nose", (*t.NOSE_BRIDGE, *t.NOSE_BASE)),
        ("brow", (*t.RIGHT_BROW_UPPER, *t.RIGHT_BROW_LOWER, *t.LEFT_BROW_UPPER, *t.LEFT_BROW_LOWER)),
        ("eye", (*t.RIGHT_EYE_UPPER, *t.RIGHT_EYE_LOWER, *t.LEFT_EYE_UPPER, *t.LEFT_EYE_LOWER)),
        ("lip_outer", (*t.UPPER_LIP_RINGS[0], *t.LOWER_LIP_RINGS[0])),
        ("lip_inner", (*t.UPPER_LIP_RINGS[3], *t.LOWER_LIP_RINGS[3])),
        ("contour", t.FACE_OVAL),
    ):
        group |= dict.fromkeys(vertices, name)
    # where MediaPipe's own mesh folds over itself, its points are a guess
    for vertex in (*inner_rings, *t.RIGHT_NOSTRIL, *t.LEFT_NOSTRIL):
        group.pop(vertex, None)
    of_vertex = {}
    for face in mesh.faces.tolist():
        for k in range(3):
            of_vertex.setdefault(face[k], face[k:] + face[:k])
    index = np.array(sorted(group))
    return {
        "landmark_mediapipe": index.astype(np.int32),
        "landmark_corners": np.array([of_vertex[i] for i in index], dtype=np.int32),
        "landmark_barycentric": np.tile([1.0, 0.0, 0.0], (len(index), 1)),
        "landmark_group": np.array([group[i] for i in index]),
    }


def _importance(mesh: Refined) -> np.ndarray:
    """Area of each vertex, less far from the nose: what the identity modes should explain."""
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 6
    weight = np.zeros(len(mesh.vertices))
    for k in range(3):
        np.add.at(weight, mesh.faces[:, k], area)
    distance = np.linalg.norm(mesh.vertices - mesh.vertices[4], axis=1)
    return weight * (0.35 + np.exp(-((distance / 0.055) ** 2)))


def quantized(basis: Float[np.ndarray, "modes n_verts 3"]) -> dict[str, np.ndarray]:
    """int16 and a scale for each mode: a step is below 1/60000 of the mode's largest value."""
    scale = np.abs(basis).max(axis=(1, 2)) / 32767
    return {"values": np.rint(basis / scale[:, None, None]).astype(np.int16), "scale": scale.astype(np.float64)}


def build_arrays() -> dict[str, np.ndarray]:
    """Every array of the file."""
    mesh = refined_mean()
    origin = mesh.vertices.mean(axis=0)
    marks = mesh.vertices[: t.MEDIAPIPE_COUNT]
    masks = regions(mesh)
    soft_sets = {
        "lips": 0.5 * mesh.carry([v for ring in (*t.UPPER_LIP_RINGS, *t.LOWER_LIP_RINGS) for v in ring])
        + 0.5 * mesh.carry([v for ring in (*t.UPPER_LIP_RINGS[1:], *t.LOWER_LIP_RINGS[1:]) for v in ring]),
        "eyeballs": mesh.carry(mesh.control.sets["left_eye"] + mesh.control.sets["right_eye"]),
        "nostrils": mesh.carry((*t.RIGHT_NOSTRIL, *t.LEFT_NOSTRIL)),
        "mouth_interior": mesh.carry(mesh.control.sets["mouth_upper"] + mesh.control.sets["mouth_lower"]),
    }
    paint = SkinPaint(mesh.vertices, marks, soft_sets)
    shapes = ExpressionTable(mesh.control, mesh.mirror_of_control).build()
    expressions = np.stack([mesh.matrix @ shape for shape in shapes.values()])
    identity = identity_modes(
        mesh.vertices, centers=mesh.control.vertices, marks=marks, importance=_importance(mesh), count=IDENTITY_MODES
    )
    arrays = {"format": np.array(1), "mean": (mesh.vertices - origin).astype(np.float32)}
    arrays |= {"faces": mesh.faces.astype(np.int32), "texture_mean": paint.mean().astype(np.float32)}
    arrays |= {f"region_{name}": mask for name, mask in masks.items()} | landmarks(mesh)
    for name, basis in (("identity", identity), ("expression", expressions), ("texture", paint.modes())):
        arrays |= {f"{name}_{key}": value for key, value in quantized(basis).items()}
    arrays["expression_names"] = np.array(list(shapes))
    arrays["expression_std"] = np.full(len(shapes), EXPRESSION_STD)
    return arrays


def write(path: Path) -> None:
    """Writes the model's file; its bytes depend on nothing but the numbers."""
    import io
    import zipfile

    with atomic_path(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in build_arrays().items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED, 9)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
