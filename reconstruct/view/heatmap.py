"""How far the mesh lies from what the depth cameras measured, and a picture of it.

Sign: a distance is positive where the mesh lies outside the measured surface, that is, on the cameras' side of it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from mmface4d.arrays import DepthImage, Faces, Points, Vertices
from mmface4d.cameras import RgbdCamera
from mmface4d.progress import Progress
from mmface4d.rig_calibration import RigCalibration
from mmface4d.transforms import transform
from reconstruct.view.cameras import free_view
from reconstruct.view.pictures import Picture, draw_mesh, plate
from reconstruct.view.render import PosedMesh, View, interpolate
from reconstruct.view.scene import Scene

SPAN_MM = 2.0  # the colours reach from minus to plus this
FAR_MM = 30.0  # further apart than this is another surface: hair, hand, collar
MIN_FACING = 0.35  # cosine; steeper than 70 degrees the sensor's noise has no bound
MAX_STEP_MM = 15.0  # of depth between neighbouring pixels; more is a silhouette
FRAMES = 12
TURNS_DEG = (-50.0, 0.0, 50.0)
SIZE = (400, 480)
WHITE = (255, 255, 255)
UNSEEN = np.array([0.30, 0.31, 0.33])  # linear light; vertices that no depth supports
# blue, pale, red in linear light: a diverging scale that the colour-blind can read
BLUE, PALE, RED = np.array([0.02, 0.12, 0.45]), np.array([0.86, 0.86, 0.84]), np.array([0.50, 0.02, 0.03])


@dataclass(frozen=True)
class Residuals:
    """Signed distances in mm of the vertices, the mean over cameras and frames (NaN: never seen), and how many.

    `by_camera_mm` is the median over all of a camera's distances, which shows a camera that stands or measures wrong.
    """

    mean_mm: Float[np.ndarray, "n_verts"]
    count: Int[np.ndarray, "n_verts"]
    by_camera_mm: dict[str, float]
    frame_count: int

    def figures(self) -> dict[str, float | None]:
        """Median, median of the absolute values and 95th percentile of them over the vertices, in mm."""
        seen = self.mean_mm[np.isfinite(self.mean_mm)]
        if not len(seen):
            return {"median_mm": None, "median_absolute_mm": None, "p95_absolute_mm": None, "seen": 0.0}
        return {
            "median_mm": float(np.median(seen)),
            "median_absolute_mm": float(np.median(np.abs(seen))),
            "p95_absolute_mm": float(np.percentile(np.abs(seen), 95)),
            "seen": len(seen) / len(self.mean_mm),
        }


def depth_distance_mm(
    mesh: PosedMesh, depth_mm: DepthImage, *, camera: RgbdCamera, rig: RigCalibration
) -> Float[np.ndarray, "n_verts"]:
    """Signed distance of every vertex to the surface that one depth picture shows at its pixel, along its normal.

    NaN where the camera does not see the vertex, or sees no clear surface there.
    """
    view = View(camera.depth, rig.world_from_depth(camera.serial))
    eye = view.world_from_camera[:3, 3]
    towards_eye = eye - mesh.vertices
    towards_eye /= np.linalg.norm(towards_eye, axis=1, keepdims=True)
    pixels = view.project(mesh.vertices)
    inside = ((pixels > -0.5) & (pixels < np.array(camera.depth.size) - 0.5)).all(1)  # false for NaN too
    seen = inside & (np.einsum("nc,nc->n", mesh.normals, towards_eye) > MIN_FACING)
    seen[seen] = mesh.unoccluded(eye)[seen]
    columns, rows = np.round(pixels[seen]).astype(int).T
    seen[seen] = _clear(depth_mm)[rows, columns]
    columns, rows = np.round(pixels[seen]).astype(int).T
    measured = _measured(view, depth_mm, (rows, columns))
    out = np.full(len(mesh.vertices), np.nan)
    out[seen] = np.einsum("nc,nc->n", mesh.normals[seen], mesh.vertices[seen] - measured) * 1000
    out[np.abs(out) > FAR_MM] = np.nan
    return out


def _measured(view: View, depth_mm: DepthImage, pixels: tuple[np.ndarray, np.ndarray]) -> Points:
    """Points in the world of depth pixels (rows, columns)."""
    rays = view.intrinsics.ray_grid[pixels].astype(np.float64)
    return transform(view.world_from_camera, rays * depth_mm[pixels][:, None] * 1e-3)


def _clear(depth_mm: DepthImage) -> np.ndarray:
    """Pixels whose neighbours are all valid and about as deep: no silhouette, no flying pixel."""
    import cv2

    neighbours = np.ones((3, 3), np.uint8)
    low, high = cv2.erode(depth_mm, neighbours), cv2.dilate(depth_mm, neighbours)
    return (low > 0) & (high.astype(int) - low < MAX_STEP_MM)


def can_measure(scene: Scene) -> bool:
    """Whether there is a mesh, and calibrated cameras to compare it with."""
    return scene.sequence is not None and scene.calibration is not None and scene.take is not None


def measure(scene: Scene, bar: Progress) -> Residuals | None:
    """Distances over some frames of a scene; None where no depth was seen near the mesh."""
    assert scene.sequence is not None  # the caller asks can_measure first
    assert scene.calibration is not None
    faces, vertex_count = np.asarray(scene.sequence.faces), scene.sequence.vertices.shape[1]
    total, count = np.zeros(vertex_count), np.zeros(vertex_count, dtype=np.int64)
    gathered: dict[str, list[np.ndarray]] = {serial: [] for serial in scene.serials}
    frame_count = 0
    for position in scene.spread(FRAMES):
        vertices = scene.vertices(position)
        bar.advance()
        if vertices is None:
            continue
        mesh = PosedMesh(vertices, faces)
        frame_count += 1
        for serial in scene.serials:
            depth_mm = scene.depth_mm(position, serial)
            if depth_mm is None:
                continue
            distance = depth_distance_mm(
                mesh, depth_mm, camera=scene.calibration.cameras[serial], rig=scene.calibration
            )
            good = np.isfinite(distance)
            total[good] += distance[good]
            count += good
            gathered[serial].append(distance[good])
    if not count.any():
        return None
    mean_mm = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    medians = {serial: float(np.median(np.concatenate(parts))) for serial, parts in gathered.items() if _any(parts)}
    return Residuals(mean_mm, count, medians, frame_count)


def _any(parts: list[np.ndarray]) -> bool:
    return any(len(part) for part in parts)


def diverging(values_mm: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n 3"]:
    """Linear light of distances: blue at -SPAN_MM and below, pale at 0, red at +SPAN_MM and above; grey for NaN."""
    position = np.clip(values_mm / SPAN_MM, -1, 1)[:, None]
    end = np.where(position < 0, BLUE, RED)
    # mixing the roots keeps the middle of the scale from looking washed out
    mixed = (np.sqrt(PALE) * (1 - np.abs(position)) + np.sqrt(end) * np.abs(position)) ** 2
    return np.where(np.isfinite(position), mixed, UNSEEN)


def heat_pictures(
    mean_mm: Float[np.ndarray, "n_verts"], vertices: Vertices, faces: Faces, *, world_from_head: np.ndarray
) -> Picture:
    """The mesh coloured by distance from the subject's right, the front and the left, beside each other on white."""
    mesh, colors = PosedMesh(vertices, faces), diverging(mean_mm)
    pictures = []
    for turn_deg in TURNS_DEG:
        view = free_view(vertices, world_from_head, turn_deg=turn_deg, size=SIZE)
        hits = mesh.look(view)
        albedo = interpolate(colors, mesh.faces[hits.triangles], hits.weights.astype(np.float64))
        pictures.append(draw_mesh(plate(*SIZE, WHITE), hits, albedo, flat=True))
    return np.concatenate(pictures, 1)
