"""FLAME: generic_model.pkl, with masks and landmarks where their files lie beside it.

FLAME turns the jaw by a joint, the model interface is linear: the motions of the jaw at a moderate angle stand behind
the expressions as columns of their own. Metres, axes of the head frame; coefficients have a standard deviation of 1.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from mmface4d.arrays import Faces, Vertices
from mmface4d.errors import ModelError
from mmface4d.safe_pickle import dense, read_pickle
from reconstruct.models.furnish import SURVEYED_HEADS, Bare, furnish, outward
from reconstruct.models.landmark_sets import IBUG_GROUP, IBUG_TO_MEDIAPIPE
from reconstruct.models.model import LandmarkTable, MorphableModel

KEYS = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights")
SHAPE_COLUMNS, EXPRESSION_COLUMNS = 300, 100
KEPT_SHAPES, KEPT_EXPRESSIONS = 100, 50  # the usual subset
JAW = 2  # joints: root, neck, jaw, two eyes
# name -> axis and angle of coefficient 1; opening is positive about x, turning to the subject's left positive about y
JAW_MOTIONS = {"jaw_open": (0, 0.2), "jaw_turn": (1, 0.1)}
FACE_RADIUS_M, FACE_DEPTH_M = 0.105, 0.095  # from the tip of the nose: the face without ears, scalp and neck
MASKS, EMBEDDINGS = "FLAME_masks.pkl", ("flame_static_embedding.pkl", "landmark_embedding.npy")
SOURCE = "FLAME, under the FLAME licence of whoever added it"


@dataclass(frozen=True)
class Flame:
    """The file's arrays."""

    v_template: Vertices
    f: Faces
    shapedirs: Float[np.ndarray, "n_verts 3 n_shapes"]
    posedirs: Float[np.ndarray, "n_verts 3 n_pose"]
    J_regressor: Float[np.ndarray, "n_joints n_verts"]
    weights: Float[np.ndarray, "n_verts n_joints"]


def read_flame(path: Path, *, name: str = "flame", region: str = "face", heads: int = SURVEYED_HEADS) -> MorphableModel:
    """Reads FLAME's pickle without running it; with region `head` the mask `face` takes in scalp, ears and neck.

    Raises ModelError where the file is another, is damaged, or asks for code to be run.
    """
    flame = _read(path)
    masks = _masks(path.parent / MASKS, len(flame.v_template))
    face = masks.get("face", _front(flame.v_template))
    mean = flame.v_template - flame.v_template[face].mean(axis=0)
    faces = outward(mean, flame.f)
    identity = np.moveaxis(flame.shapedirs[:, :, :KEPT_SHAPES], 2, 0)
    lines = flame.shapedirs[:, :, SHAPE_COLUMNS : SHAPE_COLUMNS + KEPT_EXPRESSIONS]
    jaw = [jaw_motion(flame, axis=axis, angle_rad=angle) for axis, angle in JAW_MOTIONS.values()]
    expression = np.concatenate([np.moveaxis(lines, 2, 0), np.stack(jaw)])

    def person(random: np.random.Generator) -> Vertices:
        weights = 0.5 * random.normal(size=len(expression))
        weights[-2] = max(random.uniform(-1, 1), 0)  # every second mouth stays shut
        some = 0.8 * random.normal(size=len(identity))
        return mean + np.tensordot(some, identity, 1) + np.tensordot(weights, expression, 1)

    furniture = furnish(Bare(mean, faces, person, _anchors(path.parent, flame.f)), heads=heads)
    if region == "face":
        furniture.regions["face"] &= face
    return MorphableModel(
        name=name,
        mean=mean.astype(np.float32),
        faces=faces,
        identity_basis=identity.astype(np.float32),
        identity_std=np.ones(len(identity), dtype=np.float32),
        expression_basis=expression.astype(np.float32),
        expression_std=np.ones(len(expression), dtype=np.float32),
        expression_names=(*(f"expression{i:02d}" for i in range(KEPT_EXPRESSIONS)), *JAW_MOTIONS),
        landmarks=furniture.landmarks,
        regions=furniture.regions,
        texture_mean=furniture.texture.mean,
        texture_basis=furniture.texture.basis,
        texture_std=furniture.texture.std,
        source=f"{SOURCE}; region {region}; {furniture.note}",
    )


def jaw_motion(flame: Flame, *, axis: int, angle_rad: float) -> Float[np.ndarray, "n_verts 3"]:
    """Displacement of the mean for a turn of the jaw: pose correctives, then linear blend skinning (SMPL, eq. 2-5)."""
    turn = np.zeros((3, 3))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    turn[axis, axis], turn[i, i], turn[j, j] = 1, np.cos(angle_rad), np.cos(angle_rad)
    turn[j, i], turn[i, j] = np.sin(angle_rad), -np.sin(angle_rad)
    feature = np.zeros(flame.posedirs.shape[2])
    feature[9 * (JAW - 1) : 9 * JAW] = (turn - np.eye(3)).ravel()  # the root has no correctives
    corrected = flame.v_template + flame.posedirs @ feature
    joint = flame.J_regressor[JAW] @ flame.v_template
    turned = (corrected - joint) @ turn.T + joint
    moved = corrected + flame.weights[:, JAW, None] * (turned - corrected)
    return moved - flame.v_template


def _read(path: Path) -> Flame:
    content = read_pickle(path)
    missing = [key for key in KEYS if not isinstance(content, dict) or key not in content]
    if missing:
        raise ModelError(f"{path} is not FLAME's model: it has no {', '.join(missing)}", hint=_HINT)
    arrays = {}
    for key in KEYS:
        try:
            arrays[key] = dense(content[key]).astype(np.int32 if key == "f" else np.float64)
        except ModelError as error:
            raise ModelError(f"{path}: {key}: {error.message}", hint=error.hint) from error
    count = len(arrays["v_template"])
    expected = {
        "v_template": (count, 3),
        "f": (len(arrays["f"]), 3),
        "shapedirs": (count, 3, SHAPE_COLUMNS + EXPRESSION_COLUMNS),
        "posedirs": (count, 3, 36),
        "J_regressor": (5, count),
        "weights": (count, 5),
    }
    for key, shape in expected.items():
        if arrays[key].shape != shape or not np.isfinite(arrays[key]).all():
            raise ModelError(f"{path} is not FLAME's model: {key} is {arrays[key].shape}, not {shape}", hint=_HINT)
    if not ((arrays["f"] >= 0) & (arrays["f"] < count)).all():
        raise ModelError(f"{path} is damaged: its faces name vertices that are not there", hint=_HINT)
    return Flame(**arrays)


_HINT = "give generic_model.pkl of FLAME 2020 or 2023, from flame.is.tue.mpg.de"


def _masks(path: Path, count: int) -> dict[str, Bool[np.ndarray, "n_verts"]]:
    """FLAME_masks.pkl, where there is one."""
    if not path.is_file():
        return {}
    content = read_pickle(path)
    masks = {}
    for name, indices in (content if isinstance(content, dict) else {}).items():
        rows = dense(indices)
        if rows.ndim != 1 or rows.dtype.kind not in "iu" or (rows.size and not 0 <= rows.min() <= rows.max() < count):
            raise ModelError(f"{path}: {name} does not belong to this model", hint="fetch FLAME_masks.pkl again")
        masks[str(name)] = np.isin(np.arange(count), rows)
    return masks


def _front(vertices: Vertices) -> Bool[np.ndarray, "n_verts"]:
    """What lies around the tip of the nose, the foremost vertex."""
    tip = vertices[vertices[:, 2].argmax()]
    near = np.linalg.norm((vertices - tip)[:, :2], axis=1) < FACE_RADIUS_M
    return near & (vertices[:, 2] > tip[2] - FACE_DEPTH_M)


def _anchors(folder: Path, faces: Faces) -> LandmarkTable | None:
    """The inner 51 points of a landmark file beside the model; None where there is none that can be read safely."""
    for name in EMBEDDINGS:
        path = folder / name
        if not path.is_file():
            continue
        content = _embedding(path)
        if content is None:
            continue
        face, weights = content
        if face.shape != (51,) or weights.shape != (51, 3) or not 0 <= face.min() <= face.max() < len(faces):
            raise ModelError(f"{path} does not belong to this model", hint="fetch it again, or move it away")
        return LandmarkTable(
            mediapipe=np.array(IBUG_TO_MEDIAPIPE[17:], dtype=np.int32),
            corners=faces[face.astype(np.int64)],
            barycentric=weights.astype(np.float32),
            group=IBUG_GROUP[17:],
        )
    return None


def _embedding(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Face indices and barycentrics; None for files that hold torch tensors, which would have to be run."""
    keys = (
        ("lmk_face_idx", "lmk_b_coords")
        if path.suffix == ".pkl"
        else ("static_lmk_faces_idx", "static_lmk_bary_coords")
    )
    try:
        content = read_pickle(path, after=0 if path.suffix == ".pkl" else _npy_header_bytes(path))
        if isinstance(content, np.ndarray) and content.dtype == object and content.size == 1:
            content = content.ravel()[0]
        if not isinstance(content, dict):
            return None
        return dense(content[keys[0]]).ravel(), dense(content[keys[1]])
    except (ModelError, KeyError):
        return None  # MediaPipe's survey places the landmarks just as well


def _npy_header_bytes(path: Path) -> int:
    with path.open("rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            read(file)
        except ValueError as error:
            raise ModelError(f"{path} is no npy file", hint="fetch it again, or move it away") from error
        return file.tell()
