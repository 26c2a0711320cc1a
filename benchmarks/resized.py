"""The same face and the same views, finer and coarser: what cost is measured against."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mmface4d.cameras import Intrinsics
from reconstruct.models.model import LandmarkTable, MorphableModel
from reconstruct.observation import ColorView, DepthView, HeadCrop, Observation


def subdivided(model: MorphableModel) -> MorphableModel:
    """Every triangle cut into four; bases are linear along edges, so that every face of the model keeps its shape."""
    faces = model.faces
    sides = np.sort(np.stack([faces, np.roll(faces, -1, 1)], 2), 2)  # [F, 3, 2]
    edges, index = np.unique(sides.reshape(-1, 2), axis=0, return_inverse=True)
    middle = model.vertex_count + index.reshape(-1, 3)
    (a, b, c), (ab, bc, ca) = faces.T, middle.T
    parts = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    finer = np.concatenate([np.stack(part, 1) for part in parts]).astype(faces.dtype)

    def carry(values: np.ndarray) -> np.ndarray:
        """[..., n_verts, 3]"""
        between = (values[..., edges[:, 0], :] + values[..., edges[:, 1], :]) / 2
        return np.concatenate([values, between.astype(values.dtype)], -2)

    regions = {name: np.concatenate([mask, mask[edges].all(1)]) for name, mask in model.regions.items()}
    return _carried(model, faces=finer, carry=carry, regions=regions, landmarks=model.landmarks)


def decimated(model: MorphableModel, *, part: float) -> MorphableModel:
    """The mean with that part of its triangles (quadric error); bases are the original's at its nearest points."""
    import open3d as o3d

    mesh = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(model.mean), o3d.utility.Vector3iVector(model.faces)
    ).simplify_quadric_decimation(round(len(model.faces) * part))
    faces = np.asarray(mesh.triangles).astype(model.faces.dtype)
    triangle, barycentric = _closest(model.mean, model.faces, np.asarray(mesh.vertices))
    corners = model.faces[triangle]

    def carry(values: np.ndarray) -> np.ndarray:
        """[..., n_verts, 3]"""
        return np.einsum("nk,...nkc->...nc", barycentric, values[..., corners, :]).astype(values.dtype)

    regions = {name: (mask[corners] * barycentric).sum(1) > 0.5 for name, mask in model.regions.items()}
    on, weights = _closest(carry(model.mean), faces, model.landmarks.positions(model.mean.astype(np.float64)))
    landmarks = LandmarkTable(model.landmarks.mediapipe, faces[on], weights, model.landmarks.group)
    return _carried(model, faces=faces, carry=carry, regions=regions, landmarks=landmarks)


def _closest(vertices: np.ndarray, faces: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Triangles and barycentric weights of the points of a mesh nearest to others."""
    import open3d as o3d

    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(vertices.astype(np.float32), faces.astype(np.uint32))
    found = scene.compute_closest_points(points.astype(np.float32))
    uv = found["primitive_uvs"].numpy().astype(np.float64)
    return found["primitive_ids"].numpy().astype(np.int64), np.column_stack([1 - uv.sum(1), uv])


def _carried(
    model: MorphableModel, *, faces: np.ndarray, carry: Callable[[np.ndarray], np.ndarray],
    regions: dict[str, np.ndarray], landmarks: LandmarkTable,
) -> MorphableModel:  # fmt: skip
    mean = carry(model.mean)
    return replace(
        model,
        name=f"{model.name}-{len(mean)}",
        mean=mean,
        faces=faces,
        identity_basis=carry(model.identity_basis),
        expression_basis=carry(model.expression_basis),
        texture_mean=None if model.texture_mean is None else carry(model.texture_mean),
        texture_basis=None if model.texture_basis is None else carry(model.texture_basis),
        regions=regions,
        landmarks=landmarks,
    )


def scaled_pictures(observation: Observation, factor: float) -> Observation:
    """Depth and colour pictures resized in both directions; a coarser depth picture keeps every second pixel."""
    return replace(
        observation,
        depth_views=tuple(_scaled_depth(view, factor) for view in observation.depth_views),
        color_views=tuple(_scaled_color(view, factor) for view in observation.color_views),
    )


def _scaled_depth(view: DepthView, factor: float) -> DepthView:
    """Pixel (u, v) of the result is (u, v) / factor of the view: what lies there, between trusted pixels alone."""
    import cv2

    imager = _scaled_about_pixel(view.imager, factor)
    columns = np.arange(imager.width, dtype=np.float32) / np.float32(factor)
    rows = np.arange(imager.height, dtype=np.float32) / np.float32(factor)
    u, v = np.meshgrid(columns, rows)

    def sampled(values: np.ndarray) -> np.ndarray:
        """Bilinear; a pixel that is not trusted makes NaN of what it touches."""
        full = np.full((view.imager.height * view.imager.width, *values.shape[1:]), np.nan, np.float32)
        full[view.pixel] = values
        picture = full.reshape(view.imager.height, view.imager.width, -1)
        nowhere = (np.nan,) * 4
        return cv2.remap(picture, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=nowhere)

    depth_m = sampled(view.depth_m)
    pixel = np.flatnonzero(np.isfinite(depth_m) & np.isfinite(imager.ray_grid[..., 0]))
    size = imager.width * imager.height
    return replace(
        view,
        imager=imager,
        pixel=pixel,
        ray=imager.ray_grid.reshape(size, 3)[pixel],
        depth_m=depth_m.ravel()[pixel],
        color_px=sampled(view.color_px).reshape(size, 2)[pixel],
        color=sampled(view.color).reshape(size, 3)[pixel],
    )


def _scaled_about_pixel(imager: Intrinsics, factor: float) -> Intrinsics:
    """As Intrinsics.scaled, but the middle of pixel (0, 0) stays where it is."""
    return replace(
        imager,
        width=int((imager.width - 1) * factor) + 1,
        height=int((imager.height - 1) * factor) + 1,
        fx=imager.fx * factor,
        fy=imager.fy * factor,
        cx=imager.cx * factor,
        cy=imager.cy * factor,
    )


def _scaled_color(view: ColorView, factor: float) -> ColorView:
    if view.head is None:
        return view
    import cv2

    imager = view.head.imager.scaled(factor)
    image = cv2.resize(view.head.image, imager.size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    return replace(view, head=HeadCrop(np.asarray(image), imager))
