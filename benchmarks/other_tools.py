"""What a user would pick instead of this project: registration by trimesh and by Open3D, each given the same scan.

A scan is one frame's trusted depth points of all views in the world with normals, and the landmarks that depth lifts.
Tools that keep the model's topology move vertices that are given to them: the mean at the landmarks' rigid pose, or
what they made of the frame before.
"""

from dataclasses import dataclass

import numpy as np
import open3d as o3d
from scipy.spatial import KDTree

from mmface4d.arrays import Faces, Points, Vertices
from mmface4d.cameras import Intrinsics
from mmface4d.transforms import transform
from reconstruct.initial import rigid_fit
from reconstruct.models.model import LandmarkTable, MorphableModel
from reconstruct.observation import DepthView, Observation

NORMAL_RADIUS_M, NORMAL_NEIGHBOURS = 0.006, 40
POISSON_DEPTH = 8
FAR_FROM_POINTS_M = 0.003  # Poisson closes holes; what lies farther from any point is invented
TARGET_TRIANGLES = 20_000
TSDF_VOXEL_M, TSDF_TRUNCATION_M = 0.0015, 0.006
ICP_REACH_M = 0.010
ARAP_ROUNDS, ARAP_ITERATIONS, ARAP_HANDLES = 3, 10, 600


@dataclass(frozen=True)
class Scan:
    """One frame as other tools are given it; world frame, metres."""

    points: Points
    normals: Points
    landmark: np.ndarray  # rows of the model's landmark table
    landmark_points: Points

    @classmethod
    def of(cls, observation: Observation, table: LandmarkTable | None = None) -> "Scan":
        """Fuses the views' points; normals look at the camera that saw them. Without a table there are no landmarks."""
        clouds = [_with_normals(view) for view in observation.depth_views]
        lifted = np.empty((0, 3)) if table is None else observation.lifted_landmarks()[table.mediapipe]
        known = np.flatnonzero(np.isfinite(lifted).all(1))
        return cls(
            np.concatenate([np.asarray(cloud.points) for cloud in clouds]),
            np.concatenate([np.asarray(cloud.normals) for cloud in clouds]),
            known,
            lifted[known],
        )

    def cloud(self) -> o3d.geometry.PointCloud:
        """As Open3D has it."""
        cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(self.points))
        cloud.normals = o3d.utility.Vector3dVector(self.normals)
        return cloud


def _with_normals(view: DepthView) -> o3d.geometry.PointCloud:
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(view.points_in_world))
    cloud.estimate_normals(o3d.geometry.KDTreeSearchParamHybrid(NORMAL_RADIUS_M, NORMAL_NEIGHBOURS))
    pose = view.depth_from_world
    cloud.orient_normals_towards_camera_location(-pose[:3, :3].T @ pose[:3, 3])
    return cloud


def mesh_of(vertices: Vertices, faces: Faces) -> o3d.geometry.TriangleMesh:
    """As Open3D has it."""
    return o3d.geometry.TriangleMesh(o3d.utility.Vector3dVector(vertices), o3d.utility.Vector3iVector(faces))


def landmark_pose(model: MorphableModel, scan: Scan) -> Vertices:
    """The model's mean where its landmarks lie on the scan's, rigidly."""
    source = model.landmarks.positions(model.mean.astype(np.float64))[scan.landmark]
    pose = rigid_fit(source, scan.landmark_points)
    if pose is None:
        raise ValueError("too few landmarks have depth")
    return model.mean @ pose[0].T + pose[1]


# surfaces without the model's topology


def poisson(scan: Scan) -> o3d.geometry.TriangleMesh:
    """The points' Poisson surface, cut back to where points are, decimated."""
    mesh, _ = o3d.geometry.TriangleMesh.create_from_point_cloud_poisson(scan.cloud(), depth=POISSON_DEPTH)
    far = KDTree(scan.points).query(np.asarray(mesh.vertices), distance_upper_bound=FAR_FROM_POINTS_M)[0]
    mesh.remove_vertices_by_mask(~np.isfinite(far))
    return mesh.simplify_quadric_decimation(TARGET_TRIANGLES)


def tsdf(observation: Observation) -> o3d.geometry.TriangleMesh:
    """The views' depth fused into a truncated signed distance field."""
    volume = o3d.pipelines.integration.ScalableTSDFVolume(
        TSDF_VOXEL_M, TSDF_TRUNCATION_M, o3d.pipelines.integration.TSDFVolumeColorType.NoColor
    )
    for view in observation.depth_views:
        depth_m = _pinhole_depth_m(view)
        picture = o3d.geometry.RGBDImage.create_from_color_and_depth(
            o3d.geometry.Image(np.zeros((*depth_m.shape, 3), np.uint8)), o3d.geometry.Image(depth_m),
            depth_scale=1.0, depth_trunc=3.0, convert_rgb_to_intensity=False,
        )  # fmt: skip
        volume.integrate(picture, _pinhole(view.imager), view.depth_from_world)
    return volume.extract_triangle_mesh()


def _pinhole(imager: Intrinsics) -> o3d.camera.PinholeCameraIntrinsic:
    return o3d.camera.PinholeCameraIntrinsic(
        imager.width, imager.height, imager.fx, imager.fy, imager.cx, imager.cy
    )  # fmt: skip


def _pinhole_depth_m(view: DepthView) -> np.ndarray:
    """The depth as an imager without distortion sees it: Open3D's fusion knows no lens."""
    import cv2

    imager = view.imager
    depth_m = np.zeros((imager.height, imager.width), np.float32)
    depth_m.flat[view.pixel] = view.depth_m
    u, v = np.meshgrid(np.arange(imager.width), np.arange(imager.height))
    x, y = imager.distort((u - imager.cx) / imager.fx, (v - imager.cy) / imager.fy)
    seen_u, seen_v = (x * imager.fx + imager.cx).astype(np.float32), (y * imager.fy + imager.cy).astype(np.float32)
    return cv2.remap(depth_m, seen_u, seen_v, cv2.INTER_NEAREST)


# the model's mean, moved


def rigid_icp(vertices: Vertices, skin: np.ndarray, scan: Scan) -> Vertices:
    """Point-to-plane ICP of the model's skin to the points."""
    registration = o3d.pipelines.registration
    source = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(vertices[skin]))
    found = registration.registration_icp(
        source, scan.cloud(), ICP_REACH_M, np.eye(4), registration.TransformationEstimationPointToPlane()
    )
    return transform(found.transformation, vertices)


def generalized_icp(vertices: Vertices, faces: Faces, skin: np.ndarray, scan: Scan) -> Vertices:
    """Generalised (plane-to-plane) ICP of the model's skin to the points."""
    registration = o3d.pipelines.registration
    mesh = mesh_of(vertices, faces)
    mesh.compute_vertex_normals()
    source = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(vertices[skin]))
    source.normals = o3d.utility.Vector3dVector(np.asarray(mesh.vertex_normals)[skin])
    found = registration.registration_generalized_icp(
        source, scan.cloud(), ICP_REACH_M, np.eye(4), registration.TransformationEstimationForGeneralizedICP()
    )
    return transform(found.transformation, vertices)


def arap(vertices: Vertices, skin: np.ndarray, scan: Scan, *, model: MorphableModel) -> Vertices:
    """As rigid as possible, drawn by landmarks and by spread skin vertices towards their nearest points' planes."""
    tree, spread = KDTree(scan.points), skin[:: max(len(skin) // ARAP_HANDLES, 1)]
    marks = _nearest_corner(model.landmarks)[scan.landmark]
    for _ in range(ARAP_ROUNDS):
        gap, nearest = tree.query(vertices[spread])
        normal = scan.normals[nearest]
        off = ((scan.points[nearest] - vertices[spread]) * normal).sum(1, keepdims=True)
        target = dict(zip(marks.tolist(), scan.landmark_points, strict=True))
        near = gap < ICP_REACH_M
        target |= dict(zip(spread[near].tolist(), (vertices[spread] + off * normal)[near], strict=True))
        moved = mesh_of(vertices, model.faces).deform_as_rigid_as_possible(
            o3d.utility.IntVector(list(target)), o3d.utility.Vector3dVector(np.array(list(target.values()))),
            max_iter=ARAP_ITERATIONS,
        )  # fmt: skip
        vertices = np.asarray(moved.vertices)
    return vertices


def _nearest_corner(table: LandmarkTable) -> np.ndarray:
    return table.corners[np.arange(len(table)), table.barycentric.argmax(1)]


def nricp(
    vertices: Vertices, scan: Scan, target: o3d.geometry.TriangleMesh, *, model: MorphableModel, kind: str
) -> Vertices:
    """trimesh's non-rigid ICP (`amberg` or `sumner`) at its own settings, onto the points' surface."""
    import trimesh

    surface = trimesh.Trimesh(np.asarray(target.vertices), np.asarray(target.triangles), process=False)
    source = trimesh.Trimesh(vertices, model.faces, process=False)
    register = {"amberg": trimesh.registration.nricp_amberg, "sumner": trimesh.registration.nricp_sumner}[kind]
    triangle, barycentric = _landmark_triangles(model)
    return np.asarray(
        register(
            source, surface, source_landmarks=(triangle[scan.landmark], barycentric[scan.landmark]),
            target_positions=scan.landmark_points,
        )
    )  # fmt: skip


def _landmark_triangles(model: MorphableModel) -> tuple[np.ndarray, np.ndarray]:
    """Of each landmark the triangle it lies on, and its barycentric weights in the order of that triangle's corners."""
    faces, table = model.faces, model.landmarks
    triangle_of = {tuple(corners): index for index, corners in enumerate(np.sort(faces, 1).tolist())}
    triangle = np.array([triangle_of[tuple(sorted(corners))] for corners in table.corners.tolist()])
    same = table.corners[:, None, :] == faces[triangle][:, :, None]
    return triangle, (same * table.barycentric[:, None, :]).sum(2)
