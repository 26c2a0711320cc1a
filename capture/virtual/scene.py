"""Coloured meshes under lamps, and what a ray that hits them brings back.

World frame: the master's colour camera (x right, y down, z forward), metres. Light is linear RGB; colours are sRGB.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32

from mmface4d.arrays import Faces, Mask, Points, Transform, Vertices
from mmface4d.transforms import rotate, transform

Rays = Float32[np.ndarray, "height width 6"]
SHADOW_LIFT_M = 1.5e-3  # above the surface, so that a vertex does not shade itself


@dataclass(frozen=True)
class Mesh:
    """A surface with one sRGB colour (0..1) a vertex; `weak` marks what depth sees badly (eyes, mouth inside)."""

    vertices: Vertices
    faces: Faces
    colors: Float[np.ndarray, "n_verts 3"]
    weak: Bool[np.ndarray, "n_verts"]

    def moved(self, target_from_source: Transform) -> "Mesh":
        """The same mesh in another frame."""
        return Mesh(transform(target_from_source, self.vertices), self.faces, self.colors, self.weak)


def join(*meshes: Mesh) -> Mesh:
    """Several meshes as one; the first keeps its vertex numbers."""
    first = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.faces + start for mesh, start in zip(meshes, first, strict=True)]),
        np.concatenate([mesh.colors for mesh in meshes]),
        np.concatenate([mesh.weak for mesh in meshes]),
    )


@dataclass(frozen=True)
class Lamp:
    """A point light without falloff: position in the world and linear RGB strength."""

    position: tuple[float, float, float]
    strength: tuple[float, float, float]


@dataclass(frozen=True)
class Lighting:
    """Lamps, and light from everywhere that is a little stronger from above."""

    lamps: tuple[Lamp, ...]
    ambient: float
    up: tuple[float, float, float]


def room_lighting(world_from_actor: Transform) -> Lighting:
    """A key lamp, a weaker one from the other side, one from above; given around the actor."""
    around_actor = (
        Lamp((0.9, 0.9, 1.4), (0.80, 0.77, 0.72)),
        Lamp((-1.2, 0.4, 1.2), (0.45, 0.47, 0.50)),
        Lamp((0.1, 1.7, 0.3), (0.30, 0.30, 0.30)),
    )
    lamps = tuple(
        Lamp(tuple(transform(world_from_actor, np.array(lamp.position)).tolist()), lamp.strength)
        for lamp in around_actor
    )
    up = rotate(world_from_actor, np.array([0.0, 1.0, 0.0]))
    return Lighting(lamps, ambient=0.32, up=tuple(up.tolist()))


def linear_from_srgb(srgb: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
    """Light of sRGB values in 0..1 (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb.clip(0) + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(linear: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
    """The inverse of `linear_from_srgb`, clipped to 0..1."""
    linear = linear.clip(0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def vertex_normals(vertices: Vertices, faces: Faces) -> Points:
    """Unit normals [n,3], weighted by the faces' areas; they point to where faces are counter-clockwise."""
    corners = vertices[faces]
    of_face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    out = np.stack([np.bincount(faces.ravel(), np.repeat(of_face[:, axis], 3), len(vertices)) for axis in range(3)], 1)
    return out / np.linalg.norm(out, axis=1, keepdims=True).clip(1e-12)


@dataclass(frozen=True)
class Hits:
    """What rays met: depth along the camera's axis (inf: nothing), light, cosine of incidence, weak surfaces."""

    depth_m: Float32[np.ndarray, "height width"]
    light: Float32[np.ndarray, "height width 3"]
    cosine: Float32[np.ndarray, "height width"]
    weak: Mask

    def in_front_of(self, behind: "Hits") -> "Hits":
        """The nearer of two casts of the same rays."""
        mine = self.depth_m < behind.depth_m
        return Hits(
            np.where(mine, self.depth_m, behind.depth_m),
            np.where(mine[..., None], self.light, behind.light),
            np.where(mine, self.cosine, behind.cosine),
            np.where(mine, self.weak, behind.weak),
        )

    def part(self, rows: slice, columns: slice) -> "Hits":
        """A rectangle of the pixels."""
        at = (rows, columns)
        return Hits(self.depth_m[at], self.light[at], self.cosine[at], self.weak[at])


class Surface:
    """A lit mesh that rays can be cast at. Lambert's law is evaluated at the vertices, and so are shadows if wanted."""

    def __init__(self, mesh: Mesh, lighting: Lighting, *, shadows: bool = True) -> None:
        self.mesh, self._shadows = mesh, shadows
        self._scene = _raycasting_scene(mesh)
        normals = vertex_normals(mesh.vertices, mesh.faces)
        light = linear_from_srgb(mesh.colors) * self._irradiance(normals, lighting)
        self._attributes = np.concatenate([light, normals, mesh.weak[:, None]], 1).astype(np.float32)

    def cast(self, rays: Rays, *, light_only: bool = False) -> Hits:
        """Casts rays (origin, direction) in the world; directions have unit z in their camera: length is depth.

        With `light_only`, the cosine and the weakness of what they meet stay 0, which is quicker.
        """
        answer = self._scene.cast_rays(rays)
        # what is kept must not be Open3D's own memory: it ends a program with exit code 1 that still holds some
        depth_m = answer["t_hit"].numpy().copy()
        hit = np.isfinite(depth_m)
        corners = self.mesh.faces[answer["primitive_ids"].numpy()[hit]]
        second, third = answer["primitive_uvs"].numpy()[hit].T[..., None]
        known = self._attributes[:, :3] if light_only else self._attributes
        attributes = known[corners[:, 0]] * (1 - second - third)
        attributes += known[corners[:, 1]] * second
        attributes += known[corners[:, 2]] * third
        light = np.zeros((*hit.shape, 3), np.float32)
        cosine, weak = np.zeros(hit.shape, np.float32), np.zeros(hit.shape, bool)
        light[hit] = attributes[:, :3]
        if not light_only:
            cosine[hit] = _cosine(attributes[:, 3:6], rays[hit][:, 3:])
            weak[hit] = attributes[:, 6] > 0.5
        return Hits(depth_m, light, cosine, weak)

    def _irradiance(self, normals: Points, lighting: Lighting) -> Float[np.ndarray, "n_verts 3"]:
        total = lighting.ambient * (0.75 + 0.25 * normals @ np.array(lighting.up))[:, None] * np.ones(3)
        lifted = self.mesh.vertices + SHADOW_LIFT_M * normals
        for lamp in lighting.lamps:
            toward = np.array(lamp.position) - lifted
            cosine = (normals * toward).sum(1) / np.linalg.norm(toward, axis=1)
            if self._shadows:
                rays = np.concatenate([lifted, toward], 1).astype(np.float32)
                cosine = cosine * ~self._scene.test_occlusions(rays, tnear=0.0, tfar=1.0).numpy()
            total = total + cosine.clip(0)[:, None] * np.array(lamp.strength)
        return total


def _cosine(normal: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Of the angle between a surface's normal and the way back along a ray."""
    scale = np.linalg.norm(normal, axis=1) * np.linalg.norm(direction, axis=1)
    return -(normal * direction).sum(1) / scale.clip(1e-9)


def _raycasting_scene(mesh: Mesh) -> Any:
    import open3d as o3d

    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(mesh.vertices.astype(np.float32), mesh.faces.astype(np.uint32))
    return scene


def camera_rays(ray_grid: Float32[np.ndarray, "height width 3"], world_from_imager: Transform) -> Rays:
    """Rays in the world of a camera's ray grid; pixels that the lens does not reach get rays of length zero."""
    direction = ray_grid @ world_from_imager[:3, :3].T.astype(np.float32)
    origin = np.broadcast_to(world_from_imager[:3, 3].astype(np.float32), direction.shape)
    return np.nan_to_num(np.concatenate([origin, direction], -1))
