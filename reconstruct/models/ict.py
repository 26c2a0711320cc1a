"""USC-ICT's FaceKit light model: a FaceXModel folder of OBJ files (MIT licence), full shapes in centimetres.

Axes are those of the head frame (x to the subject's left, y up, z out of the face); expressions are weights in 0..1.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from mmface4d.arrays import Faces, Vertices
from mmface4d.errors import ModelError, UsageError
from mmface4d.files import read_json
from mmface4d.progress import progress
from reconstruct.models.furnish import SURVEYED_HEADS
from reconstruct.models.landmark_sets import ibug_table
from reconstruct.models.landmark_survey import Figure, survey_landmarks
from reconstruct.models.model import MorphableModel
from reconstruct.models.obj import read_obj_polygons, read_obj_vertices, triangulate
from reconstruct.models.regions import regions_of
from reconstruct.models.texture import Texture, eyeball_colors, random_colors, skin_texture

NEUTRAL, INDICES = "generic_neutral_mesh.obj", "vertex_indices.json"
VERTEX_COUNT = 26719
# FaceKit numbers its parts one after another: face, head and neck, mouth socket, eye sockets, gums, teeth, ...
REGION_ENDS = {"face": 9409, "head": 11248}
PART_ENDS = {
    **REGION_ENDS, "mouth socket": 13294, "eye sockets": 14062, "gums": 17039, "teeth": 21451, "eyeballs": 24591,
}  # fmt: skip
PART_COLORS = {
    "mouth socket": (0.30, 0.12, 0.12),
    "eye sockets": (0.55, 0.36, 0.32),
    "gums": (0.55, 0.25, 0.25),
    "teeth": (0.85, 0.82, 0.76),
}
METRES_PER_UNIT = 0.01
STILL_M = 3e-4  # shapes that move nothing by more are left out: pupils and gazes, where only the face is kept
EXPRESSION_STD = 0.25  # of weights between 0 and 1
SOURCE = "ICT Face Model Light (USC-ICT/ICT-FaceKit), MIT licence"


@dataclass(frozen=True)
class FaceKit:
    """The folder's content: metres, all vertices, axes of the head frame but the kit's own origin."""

    neutral: Vertices
    faces: Faces
    landmarks: Int[np.ndarray, "68"]
    identities: Float[np.ndarray, "n_identity n_verts 3"]
    expressions: Float[np.ndarray, "n_expression n_verts 3"]
    expression_names: tuple[str, ...]


def read_ict(folder: Path, *, name: str = "ict", region: str = "face", heads: int = SURVEYED_HEADS) -> MorphableModel:
    """Reads a FaceXModel folder, with whatever identities and expressions it has.

    Landmarks are surveyed on `heads` portraits; with none of them the kit's own 68 stay.
    Raises ModelError where the folder is something else, UsageError for an unknown region.
    """
    if region not in REGION_ENDS:
        raise UsageError(f"{region!r} is no region of ICT-FaceKit", hint=f"one of {', '.join(REGION_ENDS)}")
    return _model_of(read_facekit(folder), name=name, region=region, heads=heads)


def read_facekit(folder: Path) -> FaceKit:
    """All of the folder's shapes, as they are."""
    neutral = _read_shape(_required(folder, NEUTRAL))
    landmarks, order = _read_indices(_required(folder, INDICES))
    identities, expressions = _shape_files(folder, order)
    shapes = {}
    with progress("shapes", len(identities) + len(expressions)) as bar:
        for path in [*identities, *expressions]:
            shapes[path] = (_read_shape(path) - neutral).astype(np.float32)
            bar.advance()
    return FaceKit(
        neutral=neutral,
        faces=triangulate(neutral, read_obj_polygons(folder / NEUTRAL)),
        landmarks=landmarks,
        identities=np.stack([shapes[path] for path in identities]),
        expressions=np.stack([shapes[path] for path in expressions]),
        expression_names=tuple(path.stem for path in expressions),
    )


def _head_figure(kit: FaceKit, texture: Texture, *, count: int, seed: int = 0) -> Figure:
    """Random people with random expressions, eyes and teeth included, for MediaPipe to look at."""
    random = np.random.default_rng(seed)
    skin = len(texture.mean)
    drawn = kit.faces[(kit.faces < PART_ENDS["eyeballs"]).all(axis=1)]
    origin = kit.neutral[: REGION_ENDS["face"]].mean(axis=0)
    jaw = [i for i, name in enumerate(kit.expression_names) if name == "jawOpen"]
    shapes, colors = [], []
    for _ in range(count):
        identity = 0.8 * random.normal(size=len(kit.identities))
        shape = kit.neutral - origin + np.tensordot(identity, kit.identities, 1)
        for one in (*random.choice(len(kit.expressions), 3), *jaw):
            # every second mouth stays shut, the others open up to a third
            weight = random.uniform(-0.33, 0.33) if one in jaw else random.uniform(0, 0.5)
            shape = shape + max(weight, 0.0) * kit.expressions[one]
        color = _part_colors(kit, drawn=PART_ENDS["eyeballs"])
        color[:skin] = random_colors(texture, random)
        shapes.append(shape[: PART_ENDS["eyeballs"]])
        colors.append(color)
    return Figure(np.stack(shapes), drawn, np.stack(colors), model_vertices=skin)


def _part_colors(kit: FaceKit, *, drawn: int) -> Float[np.ndarray, "n_drawn 3"]:
    """sRGB of what is not the face's skin: sockets and gums dark, teeth, and eyes with an iris that looks ahead."""
    colors = np.tile(np.array([0.70, 0.54, 0.46]), (drawn, 1))
    starts = dict(zip(PART_ENDS, [0, *PART_ENDS.values()], strict=False))
    for part, color in PART_COLORS.items():
        colors[starts[part] : PART_ENDS[part]] = color
    first = starts["eyeballs"]
    balls = kit.neutral[first:drawn]
    for side in (balls[:, 0] > 0, balls[:, 0] < 0):
        colors[first + np.flatnonzero(side)] = eyeball_colors(balls[side])
    return colors


def _model_of(kit: FaceKit, *, name: str, region: str, heads: int) -> MorphableModel:
    end = REGION_ENDS[region]
    faces = kit.faces[(kit.faces < end).all(axis=1)]
    # the face region's mean is the origin for both regions, so that a pose means the same
    mean = kit.neutral[:end] - kit.neutral[: REGION_ENDS["face"]].mean(axis=0)
    moving = np.linalg.norm(kit.expressions[:, :end], axis=2).max(axis=1) > STILL_M
    anchors = ibug_table(kit.landmarks)
    regions = regions_of(mean, faces, anchors)
    texture = skin_texture(mean, faces, anchors, regions["lips"])
    figure = _head_figure(kit, texture, count=heads) if heads else None
    survey = survey_landmarks(figure, mean, faces, regions=regions) if figure else None
    return MorphableModel(
        name=name,
        mean=mean.astype(np.float32),
        faces=faces,
        identity_basis=kit.identities[:, :end],
        identity_std=np.ones(len(kit.identities), dtype=np.float32),
        expression_basis=kit.expressions[moving, :end],
        expression_std=np.full(int(moving.sum()), EXPRESSION_STD, dtype=np.float32),
        expression_names=tuple(n for n, kept in zip(kit.expression_names, moving, strict=True) if kept),
        landmarks=survey.table if survey else anchors,
        regions=regions,
        texture_mean=texture.mean,
        texture_basis=texture.basis,
        texture_std=texture.std,
        expression_range=(0.0, 1.0),
        source=f"{SOURCE}; region {region}; {survey or '68 landmarks of the kit'}",
    )


def _required(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise ModelError(
            f"{folder} is not an ICT-FaceKit folder: it has no {name}",
            hint="give the folder FaceXModel of ICT-FaceKit, which holds OBJ files and vertex_indices.json",
        )
    return path


def _read_shape(path: Path) -> Vertices:
    vertices = read_obj_vertices(path)
    if len(vertices) != VERTEX_COUNT:
        raise ModelError(
            f"{path} has {len(vertices)} vertices, ICT-FaceKit has {VERTEX_COUNT}",
            hint="it belongs to another model, or was exported by a program that merged or split vertices",
        )
    return vertices * METRES_PER_UNIT


def _read_indices(path: Path) -> tuple[Int[np.ndarray, "68"], list[str]]:
    """Vertices of the 68 landmarks, and the expressions' names in the kit's order."""
    table = read_json(path)
    landmarks = table.get("idx_to_landmark_verts") if isinstance(table, dict) else None
    valid = isinstance(landmarks, list) and len(landmarks) == 68 and all(isinstance(i, int) for i in landmarks)
    if not valid or not all(0 <= i < REGION_ENDS["face"] for i in landmarks or ()):
        raise ModelError(f"{path} has no 68 landmark vertices", hint="it is not ICT-FaceKit's own file; fetch it again")
    names = table.get("expressions")
    return np.array(landmarks, dtype=np.int64), names if isinstance(names, list) else []


def _shape_files(folder: Path, order: list[str]) -> tuple[list[Path], list[Path]]:
    """Identity and expression files; expressions in the kit's order, those it does not name after them."""
    files = [path for path in sorted(folder.glob("*.obj")) if path.name != NEUTRAL]
    identities = [path for path in files if re.fullmatch(r"identity\d+", path.stem)]
    place = {stem: i for i, stem in enumerate(order)}
    expressions = sorted(set(files) - set(identities), key=lambda p: (place.get(p.stem, len(place)), p.stem))
    for kind, found in (("identityNNN.obj", identities), ("expression .obj", expressions)):
        if not found:
            raise ModelError(f"{folder} has no {kind} files", hint="copy the whole FaceXModel folder of ICT-FaceKit")
    return identities, expressions
