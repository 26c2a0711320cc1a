"""The contract every rasteriser backend keeps."""

import numpy as np
import pytest
import torch
import warp as wp

from mmface4d.errors import MissingBackendError, UsageError
from reconstruct.energy import intersect
from reconstruct.raster import BACKENDS, Fragments, make_rasterizer


def backend(name: str):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return make_rasterizer(name, device)
    except MissingBackendError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def scene():
    """A wavy sheet of 1 682 triangles with a triangle in front of it; pixels and metres."""
    side = 30
    u, v = np.meshgrid(np.linspace(20.3, 107.7, side), np.linspace(15.2, 80.9, side))
    z = 0.7 + 0.05 * np.sin(u / 15) * np.cos(v / 11)
    sheet = np.stack([u, v, z], -1).reshape(-1, 3)
    index = np.arange(side * side).reshape(side, side)
    a, b, c, d = (index[s].ravel() for s in (np.s_[:-1, :-1], np.s_[:-1, 1:], np.s_[1:, 1:], np.s_[1:, :-1]))
    faces = np.concatenate([np.stack([a, c, b], 1), np.stack([a, d, c], 1)])
    front = np.array([[40.1, 30.2, 0.5], [60.3, 62.4, 0.52], [75.6, 28.7, 0.55]])
    vertices = np.concatenate([sheet, front])
    faces = np.concatenate([faces, [[len(sheet), len(sheet) + 1, len(sheet) + 2]]])
    return torch.tensor(vertices, dtype=torch.float32)[None], torch.tensor(faces, dtype=torch.int32)


def reference(vertices: np.ndarray, faces: np.ndarray, height: int, width: int):
    """Every pixel against every triangle, in double precision; also how far the pixel is from the nearest edge."""
    y, x = np.mgrid[:height, :width].astype(float)
    best = np.full((height, width), np.inf)
    triangle = np.full((height, width), -1)
    margin = np.full((height, width), np.inf)
    for index, corners in enumerate(faces):
        a, b, c = vertices[corners]
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if area >= 0:
            continue
        weights = []
        for p, q in ((b, c), (c, a), (a, b)):
            signed = ((q[0] - p[0]) * (y - p[1]) - (q[1] - p[1]) * (x - p[0])) / area
            weights.append(signed)
            margin = np.minimum(margin, np.abs(signed * area) / np.hypot(*(q - p)[:2]))
        wa, wb, wc = weights
        z = 1 / (wa / a[2] + wb / b[2] + wc / c[2])
        nearer = (wa >= 0) & (wb >= 0) & (wc >= 0) & (z < best)
        best[nearer], triangle[nearer] = z[nearer], index
    return triangle, best, margin


@pytest.mark.parametrize("name", list(BACKENDS))
def test_agrees_with_brute_force(name, scene):
    raster = backend(name)
    vertices, faces = scene
    found = raster.rasterize(vertices.to(raster.device), faces.to(raster.device), height=96, width=128)
    triangle, depth_m, margin = reference(vertices[0].double().numpy(), faces.numpy(), 96, 128)
    clear = margin > 1e-3
    assert (found.triangle[0].cpu().numpy() == triangle)[clear].mean() >= 0.999
    same = (found.triangle[0].cpu().numpy() == triangle) & (triangle >= 0)
    assert same.sum() > 4000
    assert np.abs(found.depth_m[0].cpu().numpy() - depth_m)[same].max() < 10e-6
    barycentric = found.barycentric[0].cpu().double().numpy()[same]
    points = np.einsum("nk,nkc->nc", barycentric, vertices[0].double().numpy()[faces.numpy()[triangle[same]]])
    assert np.abs(barycentric.sum(1) - 1).max() < 1e-4
    # perspective-correct weights give the depth itself
    assert np.abs(points[:, 2] - depth_m[same]).max() < 1e-5


@pytest.mark.parametrize("name", list(BACKENDS))
def test_back_faces_are_culled(name, scene):
    raster = backend(name)
    vertices, faces = scene
    flipped = faces.flip(1).to(raster.device)
    assert (raster.rasterize(vertices.to(raster.device), flipped, height=96, width=128).triangle == -1).all()
    both = raster.rasterize(vertices.to(raster.device), flipped, height=96, width=128, cull_backfaces=False)
    assert (both.triangle >= 0).sum() > 4000


def weights_at(vertices: np.ndarray, faces: np.ndarray, triangle: np.ndarray) -> np.ndarray:
    """Perspective-correct weights [height, width, 3] of given triangles at the pixels, in double precision."""
    y, x = np.mgrid[: triangle.shape[0], : triangle.shape[1]].astype(float)
    a, b, c = (vertices[faces[triangle.clip(0), k]] for k in range(3))

    def edge(p: np.ndarray, q: np.ndarray) -> np.ndarray:
        return (q[..., 0] - p[..., 0]) * (y - p[..., 1]) - (q[..., 1] - p[..., 1]) * (x - p[..., 0])

    weights = np.stack([edge(b, c) / a[..., 2], edge(c, a) / b[..., 2], edge(a, b) / c[..., 2]], -1)
    return weights / weights.sum(-1, keepdims=True)


@pytest.mark.parametrize("name", list(BACKENDS))
def test_weights_are_perspective_correct(name, scene):
    raster = backend(name)
    vertices, faces = scene
    found = raster.rasterize(vertices.to(raster.device), faces.to(raster.device), height=96, width=128)
    triangle, _, margin = reference(vertices[0].double().numpy(), faces.numpy(), 96, 128)
    expected = weights_at(vertices[0].double().numpy(), faces.numpy(), triangle)
    same = (found.triangle[0].cpu().numpy() == triangle) & (triangle >= 0) & (margin > 1e-3)
    # the plain front triangle spans 5 cm of depth: weights that are not perspective-correct would be off by 1e-2
    assert (triangle[same] == len(faces) - 1).sum() > 300
    assert np.abs(found.barycentric[0].cpu().numpy() - expected)[same].max() < 1e-4
    nothing = found.triangle[0].cpu().numpy() < 0
    assert (found.depth_m[0].cpu().numpy()[nothing] == 0).all()
    assert (found.barycentric[0].cpu().numpy()[nothing] == 0).all()


@pytest.mark.parametrize("name", list(BACKENDS))
def test_integers_are_pixel_centres_and_all_of_the_border_is_seen(name):
    """A plate from -0.4 to width - 0.6 covers every pixel's centre; one pushed half a pixel off loses a row."""
    raster = backend(name)
    height, width = 24, 40
    faces = torch.tensor([[0, 2, 1], [0, 3, 2]], dtype=torch.int32, device=raster.device)

    def covered(left: float, top: float, right: float, bottom: float) -> np.ndarray:
        corners = [[left, top, 1.0], [right, top, 1.0], [right, bottom, 1.0], [left, bottom, 1.0]]
        vertices = torch.tensor([corners], device=raster.device)
        return raster.rasterize(vertices, faces, height=height, width=width).triangle[0].cpu().numpy() >= 0

    assert covered(-0.4, -0.4, width - 0.6, height - 0.6).all()
    inner = covered(0.1, 0.1, width - 1.1, height - 1.1)
    assert inner[1:-1, 1:-1].all()
    assert inner.sum() == (height - 2) * (width - 2)
    one = covered(6.6, 3.7, 7.4, 4.3)
    assert np.argwhere(one).tolist() == [[4, 7]]


@pytest.mark.parametrize("name", list(BACKENDS))
def test_views_are_told_apart(name, scene):
    raster = backend(name)
    vertices, faces = (part.to(raster.device) for part in scene)
    moved = vertices + torch.tensor([7.0, -4.0, 0.1], device=vertices.device)
    both = raster.rasterize(torch.cat([vertices, moved]), faces, height=96, width=128)
    for index, alone in enumerate((vertices, moved)):
        single = raster.rasterize(alone, faces, height=96, width=128)
        assert torch.equal(both.triangle[index], single.triangle[0])
        assert torch.allclose(both.depth_m[index], single.depth_m[0], atol=1e-6)


def test_equal_depths_go_to_the_lower_index():
    raster = make_rasterizer("warp", "cuda" if torch.cuda.is_available() else "cpu")
    vertices = torch.tensor([[[2.0, 2.0, 1.0], [2.0, 30.0, 1.0], [30.0, 2.0, 1.0]]], device=raster.device)
    for count in (2, 5):
        faces = torch.tensor([[0, 1, 2]] * count, dtype=torch.int32, device=raster.device)
        found = raster.rasterize(vertices, faces, height=32, width=32).triangle
        assert set(found.unique().tolist()) == {-1, 0}


@pytest.mark.skipif(
    not (torch.cuda.is_available() and wp.is_cuda_available()), reason="no CUDA device is on this machine"
)
def test_warp_on_cuda_is_warp_on_the_cpu(scene):
    vertices, faces = scene
    here = make_rasterizer("warp", "cpu").rasterize(vertices, faces, height=96, width=128)
    there = make_rasterizer("warp", "cuda").rasterize(vertices.cuda(), faces.cuda(), height=96, width=128)
    same = there.triangle.cpu() == here.triangle
    assert same.float().mean() > 0.999
    assert (there.depth_m.cpu() - here.depth_m)[same].abs().max() < 10e-6
    assert (there.barycentric.cpu() - here.barycentric)[same].abs().max() < 1e-4


@pytest.mark.parametrize("name", list(BACKENDS))
def test_depth_at_pixels_has_the_gradient_of_what_is_rendered(name, scene):
    """The slope of the exact intersection against central differences of the depth that the backend renders."""
    raster = backend(name)
    vertices, faces = (part.to(raster.device) for part in scene)
    focal, center = 500.0, torch.tensor([64.0, 48.0], dtype=torch.float64, device=raster.device)

    def points(pixels: torch.Tensor) -> torch.Tensor:
        depth = pixels[..., 2:].double()
        return torch.cat([(pixels[..., :2].double() - center) / focal * depth, depth], -1)

    def rendered(at: torch.Tensor) -> Fragments:
        pixels = torch.cat([at[:, :2] / at[:, 2:] * focal + center, at[:, 2:]], 1)
        return raster.rasterize(pixels.float()[None], faces, height=96, width=128)

    at = points(vertices[0]).requires_grad_()
    first = rendered(at.detach())
    rng = np.random.default_rng(0)
    move = torch.tensor(rng.normal(size=(len(at), 3)) * 1e-4, device=raster.device)
    up, down = rendered(at.detach() + move), rendered(at.detach() - move)
    keep = (first.triangle[0] >= 0) & (up.triangle[0] == first.triangle[0]) & (down.triangle[0] == first.triangle[0])
    row, column = torch.nonzero(keep).T
    ray = torch.stack([(column - center[0]) / focal, (row - center[1]) / focal, torch.ones_like(row)], 1)
    depth, _ = intersect(at[faces[first.triangle[0][keep].long()].long()], ray)
    assert (depth - first.depth_m[0][keep]).abs().max() < 10e-6
    (slope,) = torch.autograd.grad(depth.sum(), at)
    change = (up.depth_m[0][keep].double() - down.depth_m[0][keep].double()).sum() / 2
    assert len(depth) > 3000
    assert float((slope * move).sum()) == pytest.approx(float(change), rel=0.02)


def test_what_is_behind_or_unprojectable_is_left_out():
    raster = make_rasterizer("warp")
    good = [[2.0, 2.0, 1.0], [2.0, 30.0, 1.0], [30.0, 2.0, 1.0]]
    for bad in (-1.0, 0.0, float("nan")):
        vertices = torch.tensor([[*good[:2], [30.0, 2.0, bad]]])
        faces = torch.tensor([[0, 1, 2]], dtype=torch.int32)
        assert (raster.rasterize(vertices, faces, height=32, width=32).triangle == -1).all()


def test_gradient_of_the_intersection_against_central_differences():
    rng = np.random.default_rng(0)
    corners = torch.tensor(rng.normal(size=(8, 3, 3)) * 0.05 + [0, 0, 0.7], dtype=torch.float64, requires_grad=True)
    middle = corners.detach().mean(1)
    ray = middle / middle[:, 2:]
    assert torch.autograd.gradcheck(lambda c: intersect(c, ray), (corners,), eps=1e-7, atol=1e-5)


def test_unknown_backend_is_a_usage_error():
    with pytest.raises(UsageError, match="unknown rasteriser"):
        make_rasterizer("opengl")
