"""The contract every rasteriser backend keeps."""

import numpy as np
import pytest
import torch

from mmface4d.errors import MissingBackendError, UsageError
from reconstruct.energy import intersect
from reconstruct.raster import BACKENDS, make_rasterizer


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


def test_equal_depths_go_to_the_lower_index():
    raster = make_rasterizer("warp")
    vertices = torch.tensor([[[2.0, 2.0, 1.0], [2.0, 30.0, 1.0], [30.0, 2.0, 1.0]]])
    faces = torch.tensor([[0, 1, 2], [0, 1, 2]], dtype=torch.int32)
    found = raster.rasterize(vertices, faces, height=32, width=32).triangle
    assert set(found.unique().tolist()) == {-1, 0}


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
