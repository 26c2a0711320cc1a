"""Pictures of a mesh by casting the exact rays of a camera, lens distortion included, on the CPU."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from mmface4d.arrays import Faces, Transform, Vertices
from mmface4d.cameras import Intrinsics
from mmface4d.transforms import invert, rotate, transform

# directions to the lights in the camera's frame (x right, y down, z forward) and their strengths
KEY_LIGHT, KEY_STRENGTH = np.array([-0.55, -0.6, -0.6]), 0.75
FILL_LIGHT, FILL_STRENGTH = np.array([0.8, 0.1, -0.5]), 0.28
AMBIENT = 0.16
GLOSS, GLOSS_EXPONENT = 0.14, 24.0
INSIDE = 0.12  # how dark the inner side is, so that openings look open
BOX_MARGIN_PX = 3


@dataclass(frozen=True)
class View:
    """A camera as one picture has it: its image may be a cropped and resized part of the camera's."""

    intrinsics: Intrinsics
    world_from_camera: Transform

    @cached_property
    def directions(self) -> Float[np.ndarray, "height width 3"]:
        """Unit rays through every pixel in the world frame, float32; NaN where the lens model does not reach."""
        rays_in_world = rotate(self.world_from_camera, self.intrinsics.ray_grid.astype(np.float64))
        return (rays_in_world / np.linalg.norm(rays_in_world, axis=-1, keepdims=True)).astype(np.float32)

    def project(self, points_in_world: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 2"]:
        """Pixels of points, NaN where they lie behind the camera."""
        points_in_camera = transform(invert(self.world_from_camera), points_in_world.astype(np.float64))
        pixels = self.intrinsics.project(points_in_camera)
        pixels[points_in_camera[:, 2] <= 0] = np.nan
        return pixels


@dataclass(frozen=True)
class Hits:
    """Where a mesh was hit: `mask` of the picture; for each of its n set pixels triangle, weights, normal, ray."""

    mask: Bool[np.ndarray, "height width"]
    triangles: Int[np.ndarray, "n"]
    weights: Float[np.ndarray, "n 3"]
    normals_in_camera: Float[np.ndarray, "n 3"]
    rays_in_camera: Float[np.ndarray, "n 3"]


class PosedMesh:
    """One frame's mesh, ready to be looked at from many views."""

    def __init__(self, vertices: Vertices, faces: Faces) -> None:
        import open3d as o3d

        self.vertices, self.faces = np.asarray(vertices, dtype=np.float32), faces
        self.normals = vertex_normals(self.vertices, faces)
        self._tensor = o3d.core.Tensor
        self._scene = o3d.t.geometry.RaycastingScene()
        corners = np.ascontiguousarray(faces, dtype=np.uint32)
        self._scene.add_triangles(self._tensor(self.vertices), self._tensor(corners))

    def look(self, view: View) -> Hits:
        """Casts a view's rays, only where the mesh can be."""
        height, width = view.intrinsics.height, view.intrinsics.width
        mask = np.zeros((height, width), dtype=bool)
        rows, columns = self._box(view)
        directions = view.directions[rows, columns]
        origin = view.world_from_camera[:3, 3].astype(np.float32)
        rays = np.concatenate([np.broadcast_to(origin, directions.shape), np.nan_to_num(directions)], -1)
        answer = self._scene.cast_rays(self._tensor(np.ascontiguousarray(rays)))
        hit = np.isfinite(answer["t_hit"].numpy()) & np.isfinite(directions[..., 0])
        mask[rows, columns] = hit
        triangles = answer["primitive_ids"].numpy()[hit].astype(np.int64)
        uv = answer["primitive_uvs"].numpy()[hit]
        weights = np.stack([1 - uv[:, 0] - uv[:, 1], uv[:, 0], uv[:, 1]], -1)
        normals = interpolate(self.normals, self.faces[triangles], weights)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
        turn = view.world_from_camera[:3, :3].astype(np.float32)
        return Hits(mask, triangles, weights, normals @ turn, directions[hit] @ turn)

    def unoccluded(
        self, eye_in_world: Float[np.ndarray, "3"], *, slack_m: float = 0.003
    ) -> Bool[np.ndarray, "n_verts"]:
        """Which vertices the mesh itself does not hide from a point."""
        eye = eye_in_world.astype(np.float32)
        rays = np.concatenate([np.broadcast_to(eye, self.vertices.shape), self.vertices - eye], 1)
        distance_m = np.linalg.norm(self.vertices - eye, axis=1)
        first = self._scene.cast_rays(self._tensor(np.ascontiguousarray(rays)))["t_hit"].numpy()
        return first > 1 - slack_m / np.maximum(distance_m, 1e-6)

    def _box(self, view: View) -> tuple[slice, slice]:
        """Rows and columns of the picture that the mesh can cover."""
        pixels = view.project(self.vertices)
        pixels = pixels[np.isfinite(pixels).all(1)]
        if not len(pixels):
            return slice(0, 0), slice(0, 0)
        low = np.floor(pixels.min(0)).astype(int) - BOX_MARGIN_PX
        high = np.ceil(pixels.max(0)).astype(int) + BOX_MARGIN_PX
        low, high = np.maximum(low, 0), np.maximum(high, 0)
        return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def vertex_normals(vertices: Vertices, faces: Faces) -> Vertices:
    """Area-weighted unit normals, float32; zero where a vertex has no triangle."""
    a, b, c = (vertices[faces[:, corner]].astype(np.float64) for corner in range(3))
    crosses = np.cross(b - a, c - a)
    out = np.empty((len(vertices), 3))
    flat = faces.ravel()
    for axis in range(3):
        out[:, axis] = np.bincount(flat, np.repeat(crosses[:, axis], 3), minlength=len(vertices))
    return (out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-20)).astype(np.float32)


def interpolate(
    values: Float[np.ndarray, "n_verts 3"], corners: Int[np.ndarray, "n 3"], weights: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "n 3"]:
    """Values of vertices at points in triangles."""
    return np.einsum("nk,nkc->nc", weights, values[corners])


def shade(hits: Hits, albedo: Float[np.ndarray, "*n 3"]) -> UInt8[np.ndarray, "n 3"]:
    """sRGB of the hit pixels: two lights that stand with the camera, a little ambient light and gloss.

    `albedo` is linear light in 0..1, one colour for all or one a pixel.
    """
    normals, inside = facing(hits)
    key, fill = _unit(KEY_LIGHT), _unit(FILL_LIGHT)
    light = AMBIENT * (1 - 0.4 * normals[:, 1])  # more from above
    light = light + KEY_STRENGTH * np.clip(normals @ key, 0, None) + FILL_STRENGTH * np.clip(normals @ fill, 0, None)
    halfway = key - hits.rays_in_camera
    halfway = halfway / np.linalg.norm(halfway, axis=1, keepdims=True)
    gloss = GLOSS * np.clip(np.einsum("nc,nc->n", normals, halfway), 0, None) ** GLOSS_EXPONENT
    linear = (albedo * light[:, None] + gloss[:, None]) * np.where(inside, INSIDE, 1.0)[:, None]
    return (np.clip(linear, 0, 1) ** (1 / 2.2) * 255 + 0.5).astype(np.uint8)


def shade_flat(hits: Hits, albedo: Float[np.ndarray, "*n 3"]) -> UInt8[np.ndarray, "n 3"]:
    """sRGB of the hit pixels with only a hint of form, so that colours can be read against their scale."""
    normals, inside = facing(hits)
    towards = -np.einsum("nc,nc->n", normals, hits.rays_in_camera)
    light = (0.62 + 0.38 * np.clip(towards, 0, 1)) * np.where(inside, INSIDE, 1.0)
    return (np.clip(albedo * light[:, None], 0, 1) ** (1 / 2.2) * 255 + 0.5).astype(np.uint8)


def facing(hits: Hits) -> tuple[Float[np.ndarray, "n 3"], Bool[np.ndarray, "n"]]:
    """Normals turned towards the viewer, and where the mesh is seen from inside (through eyes and mouth)."""
    inside = np.einsum("nc,nc->n", hits.normals_in_camera, hits.rays_in_camera) > 0
    return np.where(inside[:, None], -hits.normals_in_camera, hits.normals_in_camera), inside


def _unit(vector: np.ndarray) -> np.ndarray:
    return (vector / np.linalg.norm(vector)).astype(np.float32)
