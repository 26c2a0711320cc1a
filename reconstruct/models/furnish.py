"""What every adapter adds to the shapes it reads: landmark table, region masks, texture."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from mmface4d.arrays import Faces, Vertices
from mmface4d.errors import ModelError
from reconstruct.models.landmark_sets import IBUG_TO_MEDIAPIPE
from reconstruct.models.landmark_survey import Figure, Survey, survey_landmarks
from reconstruct.models.model import REGIONS, LandmarkTable
from reconstruct.models.regions import regions_of
from reconstruct.models.registration import dense_landmarks
from reconstruct.models.texture import SKIN, Texture, eyeball_colors, random_colors, skin_texture

SURVEYED_HEADS = 100
EYEBALL_COUNTS = (300, 900)  # vertices of a closed ball that may be an eye
EYEBALL_RADIUS_M = (0.009, 0.016)


@dataclass(frozen=True)
class Bare:
    """A model's shapes in the head frame, before it is furnished.

    `person(random)` gives the vertices of a random person with a random expression.
    """

    mean: Vertices
    faces: Faces
    person: Callable[[np.random.Generator], Vertices]
    anchors: LandmarkTable | None = None  # the model's own landmarks, at least the inner 51 iBUG points
    texture: Texture | None = None


@dataclass(frozen=True)
class Furniture:
    """The rest of a MorphableModel; `note` says where the landmarks come from."""

    landmarks: LandmarkTable
    regions: dict[str, Bool[np.ndarray, "n_verts"]]
    texture: Texture
    note: str


def furnish(bare: Bare, *, heads: int = SURVEYED_HEADS) -> Furniture:
    """Landmarks (surveyed on `heads` portraits), regions and texture; 0 heads: bent over from the built-in model.

    Raises ModelError where a model has no landmarks of its own and MediaPipe takes it for no face.
    """
    balls = _eyeballs(bare.mean, bare.faces)
    anchors = bare.anchors or _first_survey(bare, balls, heads=heads).table
    regions = regions_of(bare.mean, bare.faces, anchors)
    for ball in balls:
        regions["eyes"][ball] = True
    regions["face"] &= ~regions["eyes"]
    texture = bare.texture or _painted(bare, anchors, regions, balls)
    survey = survey_landmarks(_figure(bare, texture, heads), bare.mean, bare.faces, regions=regions) if heads else None
    if survey:
        return Furniture(survey.table, regions, texture, str(survey))
    from reconstruct.models.canonical import load_canonical

    table = dense_landmarks(bare.mean, bare.faces, anchors, template=load_canonical(), sides=regions)
    return Furniture(table, regions, texture, f"{len(table)} landmarks bent over from the built-in model")


def outward(vertices: Vertices, faces: Faces) -> Faces:
    """The faces, turned round where the front of the head would look inwards."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return faces if np.cross(b - a, c - a)[:, 2].sum() > 0 else np.ascontiguousarray(faces[:, ::-1])


def _first_survey(bare: Bare, balls: list[Int[np.ndarray, "n_ball"]], *, heads: int) -> Survey:
    """A survey of unpainted heads, for a model that brings no landmarks."""
    plain = np.tile(SKIN, (len(bare.mean), 1))
    for ball in balls:
        plain[ball] = eyeball_colors(bare.mean[ball])
    texture = Texture(plain.astype(np.float32), np.zeros((1, *plain.shape), dtype=np.float32))
    none = {name: np.zeros(len(bare.mean), dtype=bool) for name in REGIONS}
    survey = survey_landmarks(_figure(bare, texture, heads), bare.mean, bare.faces, regions=none) if heads else None
    if survey is None or not set(IBUG_TO_MEDIAPIPE[17:]) <= set(survey.table.mediapipe.tolist()):
        raise ModelError(
            "the model brings no landmarks and its pictures are not recognised as a face",
            hint="put a landmark file beside the model (for FLAME: landmark_embedding.npy)",
        )
    return survey


def _painted(bare: Bare, anchors: LandmarkTable, regions: dict, balls: list[np.ndarray]) -> Texture:
    texture = skin_texture(bare.mean, bare.faces, anchors, regions["lips"])
    mean, basis = texture.mean.copy(), texture.basis.copy()
    for ball in balls:
        mean[ball] = eyeball_colors(bare.mean[ball])
        basis[:, ball] = 0
    return replace(texture, mean=mean, basis=basis)


def _figure(bare: Bare, texture: Texture, heads: int) -> Figure:
    random = np.random.default_rng(0)
    shapes, colors = zip(*((bare.person(random), random_colors(texture, random)) for _ in range(heads)), strict=True)
    return Figure(np.stack(shapes), bare.faces, np.stack(colors), model_vertices=len(bare.mean))


def _eyeballs(vertices: Vertices, faces: Faces) -> list[Int[np.ndarray, "n_ball"]]:
    """Pieces of the mesh that are balls of an eye's size."""
    from scipy import sparse
    from scipy.sparse import csgraph

    pairs = np.concatenate([faces[:, :2], faces[:, 1:]])
    graph = sparse.coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(vertices),) * 2)
    count, label = csgraph.connected_components(graph, directed=False)
    pieces = [np.flatnonzero(label == i) for i in range(count)] if count < 100 else []
    low, high = EYEBALL_COUNTS
    return [piece for piece in pieces if low <= len(piece) <= high and _is_ball(vertices[piece])]


def _is_ball(points: Float[np.ndarray, "n 3"]) -> bool:
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    radius = np.linalg.norm(points - middle, axis=1)
    return bool(EYEBALL_RADIUS_M[0] < radius.mean() < EYEBALL_RADIUS_M[1] and radius.std() < 0.15 * radius.mean())
