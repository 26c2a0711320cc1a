"""MediaPipe's 468-point mesh: its numbers and the names of its parts, as everybody who uses it knows them.

"Right" and "left" are the subject's. The midline's points have one index, the others a mirror image (`mirror_of`).
"""

from importlib import resources

import numpy as np
from jaxtyping import Float, Int

MEDIAPIPE_COUNT = 468
SOURCE_FILE = "geometry_pipeline_metadata_landmarks.binarypb"

# contours of the right half, from the right corner; the midline point belongs to both halves
RIGHT_EYE_UPPER = (33, 246, 161, 160, 159, 158, 157, 173, 133)  # from the outer to the inner corner
RIGHT_EYE_LOWER = (33, 7, 163, 144, 145, 153, 154, 155, 133)
LEFT_EYE_UPPER = (263, 466, 388, 387, 386, 385, 384, 398, 362)
LEFT_EYE_LOWER = (263, 249, 390, 373, 374, 380, 381, 382, 362)
# from the right to the left corner, outermost ring first; every ring is closed by its two corners
UPPER_LIP_RINGS = (
    (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
    (76, 184, 74, 73, 72, 11, 302, 303, 304, 408, 306),
    (62, 183, 42, 41, 38, 12, 268, 271, 272, 407, 292),
    (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),
)
LOWER_LIP_RINGS = (
    (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291),
    (76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306),
    (62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292),
    (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308),
)
RIGHT_BROW_UPPER = (70, 63, 105, 66, 107)  # from the temple to the nose
RIGHT_BROW_LOWER = (46, 53, 52, 65, 55)
LEFT_BROW_UPPER = (300, 293, 334, 296, 336)
LEFT_BROW_LOWER = (276, 283, 282, 295, 285)
FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
NOSE_BRIDGE = (168, 6, 197, 195, 5, 4, 1)
NOSE_BASE = (98, 97, 2, 326, 327, 64, 294, 19, 94)
RIGHT_NOSTRIL = (79, 166, 59, 75, 60, 20, 238, 239, 241, 242)
LEFT_NOSTRIL = (309, 392, 289, 305, 290, 250, 458, 459, 461, 462)
CHEEKS = (50, 101, 36, 205, 187, 207, 280, 330, 266, 425, 411, 427)


def read_mediapipe_mesh() -> tuple[Float[np.ndarray, "468 3"], Int[np.ndarray, "898 3"]]:
    """MediaPipe's canonical mesh: metres, x to the subject's left, y up, z out of the face; and its triangles."""
    from mediapipe.modules.face_geometry.protos import geometry_pipeline_metadata_pb2

    metadata = geometry_pipeline_metadata_pb2.GeometryPipelineMetadata()  # pyright: ignore[reportAttributeAccessIssue]
    metadata.ParseFromString((resources.files("reconstruct.models") / "data" / SOURCE_FILE).read_bytes())
    mesh = metadata.canonical_mesh
    vertices_cm = np.array(mesh.vertex_buffer, dtype=np.float64).reshape(-1, 5)[:, :3]
    return vertices_cm / 100.0, np.array(mesh.index_buffer, dtype=np.int64).reshape(-1, 3)


def mirror_pairs(
    vertices: Float[np.ndarray, "n_verts 3"], faces: Int[np.ndarray, "n_faces 3"]
) -> Int[np.ndarray, "n_verts"]:
    """For every vertex of a symmetric mesh the one on the other side.

    Points of the two lips coincide where they touch, so neighbours are compared too.
    """
    from scipy.spatial import KDTree

    around, count = np.zeros_like(vertices), np.zeros((len(vertices), 1))
    for k in range(3):
        np.add.at(around, faces[:, k], vertices[faces[:, (k + 1) % 3]] + vertices[faces[:, (k + 2) % 3]])
        np.add.at(count, faces[:, k], 2)
    feature = np.concatenate([vertices, around / count], axis=1)
    distance, nearest = KDTree(feature).query(feature * np.tile([-1.0, 1.0, 1.0], 2))
    other = np.asarray(nearest)
    if np.max(distance) > 5e-4 or not np.array_equal(other[other], np.arange(len(vertices))):
        raise ValueError(f"the mesh is not symmetric: {np.max(distance) * 1000:.3f} mm")
    return other
