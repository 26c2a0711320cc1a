"""Named array shapes, so that a signature tells what goes in.

They are checked in tests (one pytest option) and cost nothing in production.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8, UInt16

Points = Float[np.ndarray, "*batch 3"]
Pixels = Float[np.ndarray, "*batch 2"]
Transform = Float[np.ndarray, "4 4"]
Rotation = Float[np.ndarray, "3 3"]
Quaternion = Float[np.ndarray, "*batch 4"]  # w, x, y, z
Vertices = Float[np.ndarray, "n_verts 3"]
Faces = Int[np.ndarray, "n_faces 3"]
ColorImage = UInt8[np.ndarray, "color_height color_width 3"]  # RGB; a size of its own beside depth and masks
DepthImage = UInt16[np.ndarray, "height width"]  # millimetres, 0 = invalid
Mask = Bool[np.ndarray, "height width"]
TimestampsUsec = Int[np.ndarray, "n_frames"]

__all__ = [
    "ColorImage",
    "DepthImage",
    "Faces",
    "Mask",
    "Pixels",
    "Points",
    "Quaternion",
    "Rotation",
    "TimestampsUsec",
    "Transform",
    "Vertices",
]
