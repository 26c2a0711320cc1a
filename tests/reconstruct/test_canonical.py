"""The built-in model: a closed-mouthed, symmetric face that opens its lips and that MediaPipe recognises."""

import numpy as np
import pytest

from reconstruct.models.canonical import load_canonical
from reconstruct.models.model import REGIONS, MorphableModel

ARKIT_SIDED = (
    "browDown", "browOuterUp", "cheekSquint", "eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp",
    "eyeSquint", "eyeWide", "mouthDimple", "mouthFrown", "mouthLowerDown", "mouthPress", "mouthSmile", "mouthStretch",
    "mouthUpperUp", "noseSneer", "jaw", "mouth",
)  # fmt: skip
ARKIT_WHOLE = (
    "browInnerUp", "cheekPuff", "jawForward", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthRollLower",
    "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper",
)  # fmt: skip


@pytest.fixture(scope="module")
def model() -> MorphableModel:
    return load_canonical()


def expressed(model: MorphableModel, **weights: float) -> np.ndarray:
    coefficients = np.zeros(len(model.expression_names))
    for name, weight in weights.items():
        coefficients[model.expression_names.index(name)] = weight
    return model.shape(None, coefficients)


def landmark(model: MorphableModel, vertices: np.ndarray, index: int) -> np.ndarray:
    return model.landmarks.positions(vertices)[list(model.landmarks.mediapipe).index(index)]


def mirrored_index(model: MorphableModel) -> np.ndarray:
    from reconstruct.models.build.topology import mirror_pairs

    return mirror_pairs(model.mean.astype(np.float64), model.faces.astype(np.int64))


def test_shapes_agree(model: MorphableModel) -> None:
    n = model.vertex_count
    assert 5_000 <= n <= 15_000
    assert model.faces.min() == 0
    assert model.faces.max() == n - 1
    assert model.identity_basis.shape == (len(model.identity_std), n, 3)
    assert model.expression_basis.shape == (len(model.expression_names), n, 3)
    assert model.texture_basis is not None
    assert model.texture_basis.shape[1:] == (n, 3)
    assert all(np.isfinite(a).all() for a in (model.mean, model.identity_basis, model.expression_basis))
    assert np.abs(model.mean.mean(axis=0)).max() < 1e-6


def test_expressions_are_arkits_but_for_the_tongue(model: MorphableModel) -> None:
    sided = {f"{name}{side}" for name in ARKIT_SIDED for side in ("Left", "Right")}
    assert set(model.expression_names) == sided | set(ARKIT_WHOLE)
    assert len(model.expression_names) == 51
    assert (np.abs(model.expression_basis).max(axis=(1, 2)) > 1e-3).all()


def test_size_is_human(model: MorphableModel) -> None:
    def at(index: int) -> np.ndarray:
        return landmark(model, model.mean, index)

    assert at(263)[0] - at(33)[0] == pytest.approx(0.089, abs=0.003)  # outer corners of the eyes
    assert at(454)[0] - at(234)[0] == pytest.approx(0.142, abs=0.004)  # breadth before the ears
    assert at(168)[1] - at(152)[1] == pytest.approx(0.124, abs=0.006)  # nasion to chin
    assert at(1)[2] > at(168)[2] > at(234)[2]


def test_regions_are_sensible(model: MorphableModel) -> None:
    regions = model.regions
    assert set(regions) == set(REGIONS)
    assert all(mask.any() and mask.dtype == bool for mask in regions.values())
    for other in ("eyes", "mouth_interior", "boundary", "nostrils"):
        assert not (regions["face"] & regions[other]).any()
    assert not (regions["upper_lip"] & regions["lower_lip"]).any()
    assert (regions["upper_lip"] <= regions["lips"]).all()
    assert (regions["lower_lip"] <= regions["lips"]).all()
    x, y, _ = model.mean.T
    assert y[regions["upper_lip"]].mean() > y[regions["lower_lip"]].mean()
    assert regions["eyes"][x > 0].sum() == regions["eyes"][x < 0].sum()


def test_mesh_is_one_manifold_piece_that_looks_outwards(model: MorphableModel) -> None:
    import trimesh

    mesh = trimesh.Trimesh(model.mean, model.faces, process=False)
    assert mesh.is_winding_consistent
    assert mesh.body_count == 1
    assert np.bincount(mesh.edges_unique_inverse).max() == 2
    skin = model.regions["face"][model.faces].all(axis=1) & (mesh.triangles_center[:, 2] > 0)
    assert (mesh.face_normals[skin, 2] > -0.5).mean() > 0.99
    assert mesh.face_normals[skin, 2].mean() > 0.5
    degrees = np.degrees(mesh.face_angles[skin].min(axis=1))
    assert np.percentile(degrees, 1) > 8
    edge_mm = mesh.edges_unique_length[model.regions["face"][mesh.edges_unique].all(axis=1)] * 1000
    assert np.median(edge_mm) < 4
    assert edge_mm.max() < 8


def test_lips_do_not_share_vertices_nor_cross(model: MorphableModel) -> None:
    import open3d as o3d

    regions = model.regions
    inside = np.abs(model.mean[:, 0]) < 0.018
    touching = (regions["upper_lip"] & inside)[model.faces].any(axis=1) & (regions["lower_lip"] & inside)[
        model.faces
    ].any(axis=1)
    assert not touching.any()
    rng = np.random.default_rng(0)
    for vertices in (model.mean.astype(np.float64), model.shape(rng.normal(size=len(model.identity_std)))):
        mesh = o3d.geometry.TriangleMesh(
            o3d.utility.Vector3dVector(vertices), o3d.utility.Vector3iVector(model.faces.astype(np.int32))
        )
        crossing = np.asarray(mesh.get_self_intersecting_triangles()).reshape(-1)
        assert not (regions["lips"] | regions["face"])[model.faces[crossing]].any()


def test_jaw_opens_the_lips_and_leaves_the_upper_one(model: MorphableModel) -> None:
    opened = expressed(model, jawOpen=1.0)
    moved_mm = np.linalg.norm(opened - model.mean, axis=1) * 1000
    aperture_mm = np.linalg.norm(landmark(model, opened, 13) - landmark(model, opened, 14)) * 1000
    assert 22 < aperture_mm < 34
    assert np.linalg.norm(landmark(model, model.mean, 13) - landmark(model, model.mean, 14)) < 0.001
    middle = np.abs(model.mean[:, 0]) < 0.009
    assert moved_mm[model.regions["upper_lip"] & middle].max() < 0.6
    assert moved_mm[model.regions["lower_lip"] & middle].min() > 20
    assert moved_mm[model.regions["upper_face"]].max() < 1.5
    corner_mm = np.linalg.norm(landmark(model, opened, 61) - landmark(model, model.mean, 61)) * 1000
    assert 6 < corner_mm < 18


def test_mouth_close_shuts_an_open_jaw(model: MorphableModel) -> None:
    closed = expressed(model, jawOpen=1.0, mouthClose=1.0)
    for upper, lower in ((13, 14), (81, 178), (311, 402)):
        assert np.linalg.norm(landmark(model, closed, upper) - landmark(model, closed, lower)) < 0.002


def test_blink_closes_one_eye(model: MorphableModel) -> None:
    blink = expressed(model, eyeBlinkLeft=1.0)

    def opening_mm(vertices: np.ndarray, upper: int, lower: int) -> float:
        return float(landmark(model, vertices, upper)[1] - landmark(model, vertices, lower)[1]) * 1000

    assert opening_mm(model.mean, 386, 374) > 7
    assert abs(opening_mm(blink, 386, 374)) < 1.0
    assert opening_mm(blink, 159, 145) == pytest.approx(opening_mm(model.mean, 159, 145), abs=0.05)


def test_mean_and_sided_expressions_are_symmetric(model: MorphableModel) -> None:
    other = mirrored_index(model)
    flip = np.array([-1.0, 1.0, 1.0])
    assert np.abs(model.mean[other] * flip - model.mean).max() < 2e-6
    for name in model.expression_names:
        shape = model.expression_basis[model.expression_names.index(name)]
        if name.endswith("Left"):
            partner = model.expression_basis[model.expression_names.index(name.removesuffix("Left") + "Right")]
        elif name.endswith("Right"):
            continue
        else:
            partner = shape
        assert np.abs(shape[other] * flip - partner).max() < 5e-5, name


def test_landmarks_lie_on_their_triangles(model: MorphableModel) -> None:
    table = model.landmarks
    faces = {tuple(sorted(face)) for face in model.faces.tolist()}
    assert all(tuple(sorted(corners)) in faces for corners in table.corners.tolist())
    assert np.allclose(table.barycentric.sum(axis=1), 1)
    groups = {"brow", "eye", "nose", "lip_outer", "lip_inner", "cheek", "contour"}
    assert set(table.group) == groups
    assert len(np.unique(table.mediapipe)) == len(table)
    inner = table.select(("lip_inner",))
    lip_of = {13: "upper_lip", 312: "upper_lip", 14: "lower_lip", 317: "lower_lip"}
    for index, corners in zip(inner.mediapipe, inner.corners, strict=True):
        if int(index) in lip_of:
            assert model.regions[lip_of[int(index)]][corners[0]]


def test_identities_differ_like_people(model: MorphableModel) -> None:
    skin = model.regions["face"]
    spread_mm = np.sqrt((model.identity_basis[:, skin] ** 2).sum(axis=(0, 2))) * 1000
    assert 3 < np.median(spread_mm) < 9
    # half of the space is no use where modes nearly repeat each other
    flat = model.identity_basis.reshape(len(model.identity_std), -1)
    assert np.linalg.cond(flat @ flat.T) < 1e5


def test_texture_is_a_color(model: MorphableModel) -> None:
    rng = np.random.default_rng(1)
    assert model.texture_mean is not None
    assert model.texture_std is not None
    assert model.texture_mean.min() >= 0
    assert model.texture_mean.max() <= 1
    red, green, blue = model.albedo(rng.normal(size=len(model.texture_std)))[model.regions["face"]].mean(axis=0)
    assert red > green > blue


@pytest.mark.slow
@pytest.mark.parametrize("yaw_deg", [0.0, 45.0, -45.0])
@pytest.mark.parametrize("face_px", [180, 300])
def test_mediapipe_finds_the_face(model: MorphableModel, yaw_deg: float, face_px: int) -> None:
    import mediapipe as mp

    picture, points_px = rendered(model, yaw_deg=yaw_deg, face_px=face_px)
    face_mesh = mp.solutions.face_mesh  # pyright: ignore[reportAttributeAccessIssue]
    with face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True) as detector:
        found = detector.process(picture).multi_face_landmarks
    assert found
    detected = np.array([[p.x, p.y] for p in found[0].landmark]) * picture.shape[0] - 0.5
    error_mm = np.linalg.norm(detected[model.landmarks.mediapipe] - points_px, axis=1) * 150 / face_px
    for group in ("eye", "brow", "lip_outer"):
        of_group = np.array([g == group for g in model.landmarks.group])
        assert np.median(error_mm[of_group]) < 4, group


def rendered(model: MorphableModel, *, yaw_deg: float, face_px: int, size: int = 800) -> tuple[np.ndarray, np.ndarray]:
    """A shaded picture of the mean face, 0.76 m away, and where its landmarks are in it."""
    import open3d as o3d
    from scipy.spatial.transform import Rotation

    turned = Rotation.from_euler("y", yaw_deg, degrees=True).apply(model.mean)
    focal_px, away_m = face_px / 0.150 * 0.76, 0.76

    def pixels(points: np.ndarray) -> np.ndarray:
        return size / 2 + focal_px * points[:, :2] * [1, -1] / (away_m - points[:, 2:])

    grid = (np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1) - size / 2) / focal_px
    rays = np.zeros((size, size, 6), dtype=np.float32)
    rays[..., 2] = away_m
    rays[..., 3:] = np.concatenate([grid * [1, -1], np.full((size, size, 1), -1.0)], axis=-1)
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(o3d.core.Tensor(turned.astype(np.float32)), o3d.core.Tensor(model.faces.astype(np.uint32)))
    hits = scene.cast_rays(o3d.core.Tensor(rays))
    face, uv = hits["primitive_ids"].numpy().astype(np.int64), hits["primitive_uvs"].numpy()
    seen = face < len(model.faces)
    corners = model.faces[np.where(seen, face, 0)]
    weights = np.concatenate([1 - uv.sum(axis=-1, keepdims=True), uv], axis=-1)
    normals = vertex_normals(turned, model.faces)
    light = 0.35 + 0.65 * np.clip(normals @ (np.array([0.3, 0.5, 0.8]) / np.linalg.norm([0.3, 0.5, 0.8])), 0, 1)
    shaded = (model.albedo() ** 2.2 * light[:, None]) ** (1 / 2.2)
    color = np.where(seen[..., None], (shaded[corners] * weights[..., None]).sum(axis=-2), 0.4)
    picture = (np.clip(color, 0, 1) * 255).astype(np.uint8)
    return picture, pixels(Rotation.from_euler("y", yaw_deg, degrees=True).apply(model.landmarks.positions(model.mean)))


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    normals = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(normals, faces[:, k], np.cross(b - a, c - a))
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


@pytest.mark.slow
def test_shipped_file_is_what_the_script_builds(model: MorphableModel) -> None:
    from reconstruct.models.build.canonical import build_arrays
    from reconstruct.models.canonical import _model

    built = _model(build_arrays())
    assert np.array_equal(built.faces, model.faces)
    assert built.landmarks.group == model.landmarks.group
    assert all(np.array_equal(built.regions[name], model.regions[name]) for name in REGIONS)
    assert np.abs(built.mean - model.mean).max() < 1e-6
    assert np.abs(built.expression_basis - model.expression_basis).max() < 1e-5
    # a mode that is odd about the face's middle has two largest entries, and rounding chooses which is positive
    sign = np.sign((built.identity_basis * model.identity_basis).sum((1, 2)))[:, None, None]
    assert np.abs(sign * built.identity_basis - model.identity_basis).max() < 1e-4
    assert built.texture_basis is not None
    assert model.texture_basis is not None
    assert np.abs(built.texture_basis - model.texture_basis).max() < 1e-3
