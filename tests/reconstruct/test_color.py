"""The colour term: what of a picture counts, where the skin is seen, and what it says of motion along the surface."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from mmface4d.cameras import Intrinsics
from mmface4d.transforms import invert, transform
from reconstruct.bands import BANDS_PX, bands_of
from reconstruct.color import (
    LEAST_SIGMA,
    SPACING_M,
    ColorTerm,
    SkinPoints,
    SkinReference,
    color_rows,
    learn_references,
    look_at_skin,
    skin_values,
)
from reconstruct.levenberg_marquardt import minimise
from reconstruct.model_tensors import tensor
from reconstruct.observation import HeadCrop, Observation
from reconstruct.parameters import Problem, Solution, Terms, make_problem
from reconstruct.raster import make_rasterizer
from reconstruct.rows import DepthTerm
from reconstruct.seen import Seen, SeenColor
from reconstruct.state import FrameFit, average_actor, posed
from reconstruct.topology import face_normals
from tests.reconstruct.scene import SERIALS, bumpy_model, observe, pose_in_front, rig

CROP = Intrinsics(200, 240, 450.0, 451.0, 100.0, 120.0)


@pytest.fixture(scope="module")
def problem():
    return make_problem(bumpy_model(), make_rasterizer("warp"))


def albedo(points: np.ndarray) -> np.ndarray:
    """A pattern fixed to the head, of waves of 5 to 25 mm; 0.2 to 0.8."""
    rng = np.random.default_rng(3)
    waves = rng.normal(size=(40, 3))
    waves *= (2 * np.pi / rng.uniform(0.005, 0.025, 40) / np.linalg.norm(waves, axis=1))[:, None]
    pattern = np.sin(points @ waves.T + rng.uniform(0, 6, 40)).sum(1) / np.sqrt(20)
    return np.clip(0.5 + 0.12 * pattern, 0.2, 0.8)


def picture(problem: Problem, vertices: np.ndarray, serial: str, *, gain: float = 1.0, noise: float = 0.0) -> HeadCrop:
    """What a colour camera sees of the pattern on posed vertices, by Open3D's ray casting."""
    import open3d as o3d

    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(vertices.astype(np.float32), problem.model.faces.astype(np.uint32))
    world_from_color = rig().world_from_camera[serial]
    camera = rig().cameras[serial].color
    u, v = camera.project(transform(invert(world_from_color), vertices.mean(0)))
    left, top = int(u) - 90, int(v) - 100
    imager = camera.cropped(left, top, 180, 200)
    directions = imager.ray_grid.reshape(-1, 3).astype(np.float64) @ world_from_color[:3, :3].T
    origins = np.broadcast_to(world_from_color[:3, 3], directions.shape)
    cast = scene.cast_rays(np.concatenate([origins, directions], 1).astype(np.float32))
    hit = np.isfinite(cast["t_hit"].numpy())
    u, v = cast["primitive_uvs"].numpy()[hit].astype(float).T
    corners = problem.model.mean[problem.model.faces[cast["primitive_ids"].numpy()[hit]]]
    on_head = (1 - u - v)[:, None] * corners[:, 0] + u[:, None] * corners[:, 1] + v[:, None] * corners[:, 2]
    value = np.full(len(hit), 0.35)
    value[hit] = albedo(on_head)
    value = gain * value + noise * np.random.default_rng(0).normal(size=len(value))
    gray = np.clip(np.round(value * 255), 0, 255).astype(np.uint8).reshape(200, 180)
    return HeadCrop(np.repeat(gray[..., None], 3, 2), imager)


def pictured(problem: Problem, vertices: np.ndarray, **options) -> Observation:
    """What the rig sees of posed vertices, the pictures too."""
    seen = observe(problem.model, vertices)
    views = [replace(view, head=picture(problem, vertices, view.serial, **options)) for view in seen.color_views]
    return replace(seen, color_views=tuple(views))


def fit_at(model, shift=(0.0, 0.0, 0.0)) -> FrameFit:
    rotation, translation = pose_in_front()
    return FrameFit(rotation, translation + rotation @ np.array(shift), np.zeros(2), np.zeros_like(model.mean))


@dataclass(frozen=True)
class Still:
    """The textured head at rest, as seen and as learned."""

    vertices: np.ndarray
    seen: Seen
    references: dict[str, SkinReference]


def learned(problem: Problem, seen: Seen, vertices: np.ndarray) -> dict[str, SkinReference]:
    looks = {}
    for view in seen.color:
        look = look_at_skin(
            view, tensor(vertices, "cpu"), problem.tensors.faces, points=problem.skin, rasterizer=problem.rasterizer
        )
        looks[view.serial] = [skin_values(view, look)]
    return learn_references(looks)


@pytest.fixture(scope="module")
def still(problem) -> Still:
    vertices = posed(problem.model, average_actor(problem.model), fit_at(problem.model))
    seen = Seen.of(pictured(problem, vertices), "cpu")
    return Still(vertices, seen, learned(problem, seen, vertices))


def crop_of(image: np.ndarray) -> HeadCrop:
    return HeadCrop(np.repeat(np.clip(np.round(image), 0, 255).astype(np.uint8)[..., None], 3, 2), CROP)


def waves(low: float, high: float) -> np.ndarray:
    rows, columns = np.mgrid[:240, :200]
    pattern = np.sin(columns / 3.1) * np.cos(rows / 4.3) + np.sin((columns + 2 * rows) / 7.7)
    return low + (high - low) * (pattern + 2) / 4


def test_bands_do_not_see_how_bright_the_light_is():
    dark, bright = (bands_of(crop_of(gain * waves(60, 120)), "cpu") for gain in (1.0, 2.0))
    for level in range(len(BANDS_PX)):
        value = dark.levels[level, 0]
        assert value.std() > 0.01
        # DARKEST and rounding to bytes are what is left
        assert (bright.levels[level, 0] - value).abs().max() < 0.12 * value.abs().max()
    flat = bands_of(crop_of(np.full((240, 200), 90.0)), "cpu")
    assert flat.levels.abs().max() < 1e-5


def test_bands_do_not_see_smooth_light():
    rows = np.mgrid[:240, :200][0]
    shaded = bands_of(crop_of(60 + 100 * rows / 240), "cpu")
    inner = shaded.levels[:, 0, 40:-40, 40:-40]
    assert inner.abs().max() < 0.02
    assert bands_of(crop_of(waves(60, 160)), "cpu").levels[:, 0].std() > 0.05


def test_slopes_are_those_of_the_values():
    bands = bands_of(crop_of(waves(60, 160)), "cpu")
    rng = np.random.default_rng(0)
    pixels = tensor(rng.uniform(20, 180, size=(500, 2)).round(), "cpu")
    for level in range(len(BANDS_PX)):
        _, along_u, along_v = bands.sample(pixels, level)
        for axis, slope in enumerate((along_u, along_v)):
            step = torch.eye(2)[axis]
            above, below = (bands.sample(pixels + sign * step, level)[0] for sign in (1, -1))
            assert ((above - below) / 2 - slope).abs().max() < 1e-4


def test_sampling_is_at_pixel_centres():
    bands = bands_of(crop_of(waves(60, 160)), "cpu")
    at = torch.tensor([[0.0, 0.0], [10.0, 20.0], [199.0, 239.0], [50.5, 60.0]])
    value = bands.sample(at, 1)[0]
    plane = bands.levels[1, 0]
    expected = [plane[0, 0], plane[20, 10], plane[239, 199], (plane[60, 50] + plane[60, 51]) / 2]
    assert np.allclose(value, expected, atol=2e-5)
    assert bands.sample(torch.tensor([[-50.0, 20.0]]), 1)[0] == 0


def test_skin_points_are_spread_evenly(problem):
    model, points = problem.model, problem.skin
    area = np.linalg.norm(face_normals(model.mean, model.faces), axis=1) / 2
    left_out = ~np.isin(np.arange(len(area)), points.triangle.numpy())
    assert left_out[~problem.compared].all()
    assert len(points) == pytest.approx(area[problem.compared].sum() / SPACING_M**2, rel=0.01)
    # in every patch of the face, as many as its area says
    middle = model.mean[model.faces].mean(1)
    for x in np.linspace(-0.05, 0.05, 4):
        for y in np.linspace(-0.07, 0.07, 4):
            patch = problem.compared & (np.abs(middle[:, :2] - [x, y]) < 0.012).all(1)
            found = patch[points.triangle.numpy()].sum()
            assert found == pytest.approx(area[patch].sum() / SPACING_M**2, rel=0.05, abs=2)
    assert np.allclose(points.barycentric.sum(1), 1, atol=1e-6)
    assert points.barycentric.min() >= 0
    again = SkinPoints.spread(model.mean, model.faces, compared=problem.compared, device="cpu")
    assert torch.equal(again.barycentric, points.barycentric)


@pytest.mark.parametrize("region", ["lips", "eyes", "mouth_interior", "nostrils"])
def test_no_skin_points_on_lips_and_eyes(region):
    model = bumpy_model()
    spot = np.linalg.norm(model.mean[:, :2] - [0.01, -0.03], axis=1) < 0.012
    marked = replace(model, regions={**model.regions, region: spot})
    skin = make_problem(marked, make_rasterizer("warp")).skin
    assert not spot[skin.corners.numpy()].any()
    assert len(skin) > 1000


def test_points_that_face_away_are_not_seen(problem, still):
    turned = (still.vertices - still.vertices.mean(0)) @ np.diag([-1.0, 1.0, -1.0]) + still.vertices.mean(0)
    for view in still.seen.color:
        options = {"points": problem.skin, "rasterizer": problem.rasterizer}
        there = look_at_skin(view, tensor(still.vertices, "cpu"), problem.tensors.faces, **options)
        away = look_at_skin(view, tensor(turned, "cpu"), problem.tensors.faces, **options)
        assert there.visible.float().mean() > 0.4
        assert not away.visible.any()


def test_points_outside_the_picture_are_not_seen(problem, still):
    view = still.seen.color[1]
    moved = tensor(still.vertices + [0.5, 0, 0], "cpu")
    look = look_at_skin(view, moved, problem.tensors.faces, points=problem.skin, rasterizer=problem.rasterizer)
    assert not look.visible.any()


def test_points_behind_something_are_not_seen(problem, still):
    """A plate of the mesh itself, 5 cm in front of the face, hides just what lies behind it."""
    plate = np.array([[-0.02, -0.03, 0.65], [0.03, -0.03, 0.65], [0.03, 0.04, 0.65], [-0.02, 0.04, 0.65]])
    count = len(still.vertices)
    vertices = np.concatenate([still.vertices, plate])
    both = np.concatenate([problem.model.faces, count + np.array([[0, 2, 1], [0, 3, 2]])]).astype(np.int32)
    view = still.seen.color[1]  # the master: world is its frame
    options = {"points": problem.skin, "rasterizer": problem.rasterizer}
    free = look_at_skin(view, tensor(still.vertices, "cpu"), problem.tensors.faces, **options)
    hidden = look_at_skin(view, tensor(vertices, "cpu"), torch.from_numpy(both), **options)
    at = free.points_in_camera.numpy()
    through = at[:, :2] * (0.65 / at[:, 2:])
    behind = (through > plate[0, :2] + 0.001).all(1) & (through < plate[2, :2] - 0.001).all(1)
    beside = (through < plate[0, :2] - 0.001).any(1) | (through > plate[2, :2] + 0.001).any(1)
    assert free.visible.numpy()[behind].mean() > 0.9
    assert not hidden.visible.numpy()[behind].any()
    assert np.array_equal(hidden.visible.numpy()[beside], free.visible.numpy()[beside])


def rows_of(problem: Problem, still: Still, view: SeenColor, vertices: np.ndarray, level: int = 1):
    term = ColorTerm(still.references, level=level)
    return color_rows(
        view, tensor(vertices, "cpu"), problem.tensors.faces, points=problem.skin, rasterizer=problem.rasterizer,
        term=term,
    )  # fmt: skip


def test_no_residual_at_the_truth(problem, still):
    for view in still.seen.color:
        rows = rows_of(problem, still, view, still.vertices)
        assert rows is not None
        assert len(rows) > 2000
        assert rows.residual.abs().max() < 1e-6
        assert rows.cost == pytest.approx(0.0, abs=1e-6)


def test_no_rows_without_picture_or_reference(problem, still):
    view = still.seen.color[0]
    assert rows_of(problem, still, replace(view, bands=None), still.vertices) is None
    assert rows_of(problem, still, replace(view, serial="another"), still.vertices) is None


@pytest.mark.parametrize("level", [0, 1])
def test_gradient_of_the_rows_against_central_differences(problem, still, level):
    rng = np.random.default_rng(0)
    start = still.vertices + [0.0004, -0.0003, 0.0002]
    for view in still.seen.color:
        rows = rows_of(problem, still, view, start, level)
        assert rows is not None
        for _ in range(3):
            # differences over two pixels take the slope of the finest waves, 3 pixels long, for less than it is
            direction = 0.0006 * rng.normal(size=3) / np.sqrt(3)
            above, below = (rows_of(problem, still, view, start + sign * direction, level) for sign in (1, -1))
            assert above is not None
            assert below is not None
            kept = [set(map(tuple, r.barycentric.numpy())) for r in (rows, above, below)]
            common = kept[0] & kept[1] & kept[2]
            there, up, down = (
                r.taken(torch.tensor([tuple(b) in common for b in r.barycentric.numpy()])) for r in (rows, above, below)
            )
            slope = (there.gradient @ tensor(direction, "cpu")).numpy()
            change = ((up.residual - down.residual) / 2).numpy()
            assert len(slope) > 2000
            assert np.corrcoef(slope, change)[0, 1] > (0.99, 0.95)[level]
            assert (slope * change).sum() / (change**2).sum() == pytest.approx(1.0, abs=(0.06, 0.2)[level])


def test_references_are_medians_of_what_was_seen():
    nan = torch.nan
    looks = [
        torch.tensor([[1.0, 5.0, nan, nan], [0.0, 0.0, 0.0, nan]]),
        torch.tensor([[2.0, nan, nan, nan], [0.5, 0.0, 0.0, nan]]),
        torch.tensor([[9.0, 7.0, 4.0, nan], [0.1, 0.0, 0.0, nan]]),
    ]
    reference = learn_references({"left": looks, "right": looks[:2]})
    assert np.allclose(reference["left"].value, [[2, 6, 4, nan], [0.1, 0, 0, nan]], equal_nan=True)
    # of an even number the middle between the inner two
    assert np.allclose(reference["right"].value, [[1.5, 5, nan, nan], [0.25, 0, 0, nan]], equal_nan=True)
    # |deviations| of band 0: 1 0 7 | 1 1 | 0
    assert float(reference["left"].sigma[0]) == pytest.approx(1.4826)
    assert float(reference["left"].sigma[1]) == pytest.approx(LEAST_SIGMA)


def test_a_camera_that_saw_nothing_has_a_reference_without_values():
    reference = learn_references({"left": [torch.full((2, 5), torch.nan)]})["left"]
    assert torch.isnan(reference.value).all()
    assert np.allclose(reference.sigma, LEAST_SIGMA)


@pytest.mark.parametrize("gain", [1.0, 0.8])
def test_motion_along_the_surface_is_found(problem, still, gain):
    """A pattern on a sphere's cap that turns under the depth cameras: they see nothing of it, the pictures do."""
    smooth = cap(problem.model)
    capped = make_problem(smooth, make_rasterizer("warp"))
    actor, rest = average_actor(smooth), fit_at(smooth)
    vertices = posed(smooth, actor, rest)
    seen = Seen.of(pictured(capped, vertices), "cpu")
    references = learned(capped, seen, vertices)
    center = rest.rotation @ sphere_center(smooth) + rest.translation
    turn = np.r_[rest.rotation @ np.array([0.6, 0.8, 0.0]) * 0.001 / RADIUS_M, 0, 0, 0]
    truth = rest.moved(turn, center)
    moved = posed(smooth, actor, truth)
    middle = np.linalg.norm(smooth.mean[:, :2], axis=1) < 0.03
    assert np.linalg.norm(moved - vertices, axis=1)[middle].mean() == pytest.approx(0.001, rel=0.1)
    again = [Seen.of(pictured(capped, moved, gain=gain, noise=0.004), "cpu")]
    blind, _ = minimise(capped, again, Solution(actor, [rest]), Terms(DepthTerm(), None), steps=5)
    at = Solution(actor, [rest])
    for level in (0, 1):
        terms = Terms(DepthTerm(), None, ColorTerm(references, level=level))
        at, _ = minimise(capped, again, at, terms, steps=5)

    def off(solution: Solution) -> float:
        return float(np.linalg.norm(posed(smooth, actor, solution.fits[0]) - moved, axis=1)[middle].mean())

    assert off(blind) > 0.0007
    assert off(at) < 0.00015


RADIUS_M = 0.1


def sphere_center(model) -> np.ndarray:
    """Of the cap that `cap` makes, head frame."""
    return np.array([0.0, 0.0, model.mean[:, 2].max() - RADIUS_M])


def cap(model):
    """The scene's patch, bent to a sphere's cap: its turns about the centre leave its shape."""
    x, y = model.mean[:, 0] * 0.9, model.mean[:, 1] * 0.7
    mean = np.stack([x, y, np.sqrt(RADIUS_M**2 - x**2 - y**2)], 1)
    mean[:, 2] -= mean[:, 2].mean()
    return replace(
        model, mean=mean, expression_basis=model.expression_basis * 0, identity_basis=model.identity_basis * 0
    )


def test_pictures_are_those_of_all_cameras(still):
    assert {view.serial for view in still.seen.color} == set(SERIALS)
    assert set(still.references) == set(SERIALS)
