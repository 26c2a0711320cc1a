"""A small analytic face-like model and what three cameras see of it: ground truth for fitting tests."""

import numpy as np

from mmface4d.cameras import Intrinsics, RgbdCamera
from mmface4d.rig_calibration import RigCalibration
from mmface4d.transforms import invert, rotation_from_rotvec, transform
from reconstruct.models.model import REGIONS, LandmarkTable, MorphableModel
from reconstruct.observation import ColorView, DepthView, Observation

DEPTH = Intrinsics(320, 288, 504.0, 504.0, 160.0, 144.0, distortion=(0.1, -0.05, 1e-4, -2e-4, 0.01, 0.1, 0.0, 0.0))
COLOR = Intrinsics(960, 540, 450.0, 451.0, 480.0, 270.0, distortion=(0.08, -0.04, 2e-4, 1e-4, 0.0, 0.05, 0.0, 0.0))
SERIALS = ("left", "front", "right")


def bumpy_model(side: int = 41) -> MorphableModel:
    """A patch of an ellipsoid with bumps, metres, z out of the face; three identity and two expression modes."""
    u = np.linspace(-1, 1, side)
    x, y = np.meshgrid(u * 0.07, u * 0.09)
    z = 0.09 * np.sqrt(1 - (x / 0.1) ** 2 - (y / 0.13) ** 2)
    z += 0.02 * np.exp(-(x**2 + y**2) / 0.012**2) + 0.006 * np.sin(x * 140) * np.cos(y * 110)
    mean = np.stack([x, y, z], -1).reshape(-1, 3)
    mean -= mean.mean(0)
    index = np.arange(side * side).reshape(side, side)
    a, b, c, d = (index[s].ravel() for s in (np.s_[:-1, :-1], np.s_[:-1, 1:], np.s_[1:, 1:], np.s_[1:, :-1]))
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.int32)
    picks = index[4:-4:3, 4:-4:3].ravel()
    regions = {name: np.zeros(len(mean), bool) for name in REGIONS}
    regions["face"][:] = True
    regions["boundary"][np.r_[index[0], index[-1], index[:, 0], index[:, -1]]] = True
    radius = np.linalg.norm(mean[:, :2], axis=1, keepdims=True)
    identity = np.stack([
        mean * [0.04, 0, 0], mean * [0, 0.04, 0], np.exp(-((radius / 0.03) ** 2)) * [0, 0, 0.004],
    ])  # fmt: skip
    expression = np.stack(
        [
            np.exp(-(((mean - mean[picks[3]]) / 0.02) ** 2).sum(1, keepdims=True)) * [0, -0.01, 0.002],
            np.exp(-(((mean - mean[picks[-4]]) / 0.02) ** 2).sum(1, keepdims=True)) * [0.006, 0, 0.003],
        ]
    )
    return MorphableModel(
        name="bumpy",
        mean=mean,
        faces=faces,
        identity_basis=identity,
        identity_std=np.ones(3),
        expression_basis=expression,
        expression_std=np.full(2, 0.5),
        expression_names=("up", "side"),
        landmarks=LandmarkTable(
            mediapipe=np.arange(len(picks)),
            corners=np.repeat(picks[:, None], 3, 1),
            barycentric=np.tile([1.0, 0.0, 0.0], (len(picks), 1)),
            group=("nose",) * len(picks),
        ),
        regions=regions,
    )


def rig() -> RigCalibration:
    """Three cameras at 0 and 35 degrees around a head 0.7 m in front of the master."""
    center = np.array([0.0, 0.0, 0.7])
    poses = {}
    for serial, degrees in zip(SERIALS, (35, 0, -35), strict=True):
        pose = np.eye(4)
        pose[:3, :3] = rotation_from_rotvec(np.radians([0.0, degrees, 0.0]))
        pose[:3, 3] = center - pose[:3, :3] @ center
        poses[serial] = pose
    color_from_depth = np.eye(4)
    color_from_depth[:3, 3] = [-0.03, -0.002, 0.004]
    cameras = {serial: RgbdCamera(serial, COLOR, DEPTH, color_from_depth) for serial in SERIALS}
    return RigCalibration(master="front", cameras=cameras, world_from_camera=poses)


def pose_in_front() -> tuple[np.ndarray, np.ndarray]:
    """world_from_head rotation (y and z flip) and translation of a head that looks at the master."""
    return rotation_from_rotvec(np.array([0.08, -0.1, 0.05])) @ np.diag([1.0, -1.0, -1.0]), np.array([0.005, 0.01, 0.7])


def observe(model: MorphableModel, vertices: np.ndarray, *, noise_m: float = 0.0, seed: int = 0) -> Observation:
    """What the rig sees of posed vertices, by Open3D's ray casting (not the project's rasteriser)."""
    import open3d as o3d

    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(vertices.astype(np.float32), model.faces.astype(np.uint32))
    calibration, rng = rig(), np.random.default_rng(seed)
    depth_views, color_views = [], []
    for serial in SERIALS:
        world_from_depth = calibration.world_from_depth(serial)
        rays = DEPTH.ray_grid.reshape(-1, 3).astype(np.float64)
        directions = rays @ world_from_depth[:3, :3].T
        origins = np.broadcast_to(world_from_depth[:3, 3], directions.shape)
        depth = scene.cast_rays(np.concatenate([origins, directions], 1).astype(np.float32))["t_hit"].numpy()
        pixel = np.flatnonzero(np.isfinite(depth))
        seen = depth[pixel] + noise_m * rng.normal(size=len(pixel)).astype(np.float32)
        camera = calibration.cameras[serial]
        color_px = COLOR.project(transform(camera.color_from_depth, rays[pixel] * seen[:, None]))
        depth_views.append(
            DepthView(
                serial=serial,
                imager=DEPTH,
                depth_from_world=invert(world_from_depth),
                pixel=pixel,
                ray=DEPTH.ray_grid.reshape(-1, 3)[pixel],
                depth_m=seen.astype(np.float32),
                color_px=color_px,
                color=np.full((len(pixel), 3), 0.5, np.float32),
            )
        )
        color_from_world = invert(calibration.world_from_camera[serial])
        landmarks_px = np.full((478, 2), np.nan)
        lifted = np.full((478, 3), np.nan)
        points = model.landmarks.positions(vertices)
        landmarks_px[model.landmarks.mediapipe] = COLOR.project(transform(color_from_world, points))
        lifted[model.landmarks.mediapipe] = points
        color_views.append(ColorView(serial, COLOR, color_from_world, landmarks_px, lifted))
    return Observation(0, 1_000_000, tuple(depth_views), tuple(color_views))
