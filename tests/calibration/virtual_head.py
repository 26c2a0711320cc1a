"""An analytic, bumpy head seen by ideal depth cameras: what the calibration tests measure against."""

import numpy as np

from calibration.surface import head_surface
from calibration.views import INNER_FACE, View
from mmface4d.cameras import Intrinsics, RgbdCamera
from mmface4d.transforms import invert, rigid, rotate, rotation_from_rotvec, transform

HALF_AXES_M = np.array([0.075, 0.11, 0.095])
DISTORTION = (0.4, -2.6, 0.0005, -0.0002, 1.5, 0.3, -2.4, 1.4)  # as a Kinect's colour camera bends


def kinect_like(serial: str) -> RgbdCamera:
    """A quarter of a Kinect's pixels, with its distortion and its baseline."""
    return RgbdCamera(
        serial=serial,
        color=Intrinsics(960, 540, 457.0, 456.0, 478.0, 272.0, DISTORTION),
        depth=Intrinsics(320, 288, 252.0, 252.0, 160.0, 168.0, (0.5, 0.3, 0.0, 0.0, 0.01, 0.8, 0.5, 0.06)),
        color_from_depth=rigid(rotation_from_rotvec(np.array([0.1, 0.003, 0.001])), np.array([-0.032, -0.002, 0.004])),
    )


def implicit(points: np.ndarray) -> np.ndarray:
    """Below zero inside the head (head frame: x right, y down, z away from the front camera)."""
    x, y, z = (points / HALF_AXES_M).T
    bumps = 0.06 * np.sin(5 * x + 1) * np.cos(4 * y) + 0.05 * np.sin(6 * y + 2 * x) + 0.04 * np.cos(7 * x - 3 * z)
    nose = 0.25 * np.exp(-((x / 0.25) ** 2) - ((y - 0.1) / 0.35) ** 2) * (z < 0)
    return np.sqrt(x * x + y * y + z * z) - 1 - bumps - nose


def cast(origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Distances along unit directions to the head; NaN where they miss."""
    passing = np.linalg.norm(np.cross(origins, directions), axis=1) < 0.16  # the head fits into this radius
    found = np.full(len(origins), np.nan)
    found[passing] = _march(origins[passing], directions[passing])
    return found


def _march(origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
    closest = -np.einsum("ni,ni->n", origins, directions)
    t = np.maximum(closest - 0.17, 0.0)
    hit = np.full(len(t), np.nan)
    before = implicit(origins + t[:, None] * directions)
    for _ in range(110):
        after = implicit(origins + (t + 0.003)[:, None] * directions)
        crossing = np.isnan(hit) & (before > 0) & (after <= 0)
        hit[crossing] = t[crossing]
        t, before = t + 0.003, after
    low, high = hit, hit + 0.003
    for _ in range(20):
        middle = (low + high) / 2
        inside = implicit(origins + np.nan_to_num(middle)[:, None] * directions) <= 0
        low, high = np.where(inside, low, middle), np.where(inside, middle, high)
    return (low + high) / 2


def depth_image(camera: RgbdCamera, camera_from_head: np.ndarray, *, noise_m: float = 0.0, seed: int = 0) -> np.ndarray:
    """uint16 millimetres of the head before a far wall."""
    rays = camera.depth.ray_grid.reshape(-1, 3).astype(float)
    head_from_depth = invert(camera_from_head) @ camera.color_from_depth
    known = np.isfinite(rays).all(axis=1)
    length = np.linalg.norm(rays[known], axis=1)
    directions = rotate(head_from_depth, rays[known]) / length[:, None]
    origins = np.broadcast_to(head_from_depth[:3, 3], directions.shape)
    depth_m = np.zeros(len(rays))
    hit = cast(origins, directions) / length
    noise = np.random.default_rng(seed).normal(0, noise_m, len(hit))
    depth_m[known] = np.where(np.isnan(hit), 1.8, hit + noise)
    return np.rint(depth_m * 1e3).astype(np.uint16).reshape(camera.depth.height, camera.depth.width)


def face_points() -> np.ndarray:
    """As many points on the front of the head as there are inner-face landmarks (head frame)."""
    random = np.random.default_rng(7)
    across = random.uniform(-0.6, 0.6, (len(INNER_FACE), 2)) * HALF_AXES_M[:2]
    origins = np.column_stack([across, np.full(len(across), -0.5)])
    directions = np.tile([0.0, 0.0, 1.0], (len(across), 1))
    return origins + cast(origins, directions)[:, None] * directions


def seen_from(eye: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Which points of the head are visible from a place (head frame)."""
    directions = points - eye
    distance = np.linalg.norm(directions, axis=1)
    hit = cast(np.broadcast_to(eye, points.shape), directions / distance[:, None])
    return np.abs(hit - distance) < 0.003


def view_of(camera: RgbdCamera, camera_from_head: np.ndarray, *, noise_m: float, bias_m: float, seed: int) -> View:
    """A view as calibration gathers it; each view's landmarks are off by its own `bias_m`, as a detector's are."""
    random = np.random.default_rng(seed)
    points = face_points()
    landmarks = transform(camera_from_head, points) + random.normal(0, bias_m, points.shape)
    landmarks[~seen_from(invert(camera_from_head)[:3, 3], points)] = np.nan
    depth_mm = depth_image(camera, camera_from_head, noise_m=noise_m, seed=seed)
    return View(landmarks, head_surface(camera, depth_mm, transform(camera_from_head, np.array([0.0, 0.0, -0.09]))))


def ring_of_cameras(angles_deg: tuple[float, ...], *, distance_m: float = 0.7) -> dict[str, np.ndarray]:
    """`world_from_camera` of cameras that look at a head before the first one, whose frame is the world."""
    head = np.array([0.0, 0.0, distance_m])
    poses = {}
    for index, angle_deg in enumerate(angles_deg):
        turn = rotation_from_rotvec(np.array([0.01 * index, np.radians(angle_deg), 0.02 * index]))
        poses[f"cam{index}"] = rigid(turn, head - turn @ head)
    first = invert(poses["cam0"])
    return {serial: first @ pose for serial, pose in poses.items()}


def head_poses(count: int, *, distance_m: float = 0.7) -> list[np.ndarray]:
    """`world_from_head` of a head that moves a little from frame to frame."""
    random = np.random.default_rng(3)
    return [
        rigid(
            rotation_from_rotvec(random.normal(0, 0.06, 3)), np.array([0, 0, distance_m]) + random.normal(0, 0.008, 3)
        )
        for _ in range(count)
    ]
