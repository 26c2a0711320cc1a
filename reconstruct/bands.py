"""What of a colour picture holds vertices to the skin: its detail, free of light.

The logarithm turns light into a summand; what is left between two Gaussian blurs is pores, moles, brows and lip lines.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mmface4d.cameras import Intrinsics
from reconstruct.observation import HeadCrop

# inner and outer blur of each band, pixels: coarse catches larger motions, fine is exact
BANDS_PX = ((3.0, 9.0), (1.0, 4.0))
DARKEST = 0.03  # added before the logarithm, of full scale: what noise does to black is no detail


@dataclass(frozen=True)
class Bands:
    """Band-passed log intensity with its slope along u and v, for each band."""

    imager: Intrinsics  # of the crop
    levels: Float[Tensor, "n_bands 3 height width"]

    def sample(self, pixels: Float[Tensor, "n 2"], level: int) -> Float[Tensor, "3 n"]:
        """Bilinear values and slopes at pixels; zero outside."""
        height, width = self.levels.shape[-2:]
        scale = pixels.new_tensor([2.0 / (width - 1), 2.0 / (height - 1)])
        grid = (pixels * scale - 1)[None, None]
        return torch.nn.functional.grid_sample(self.levels[level : level + 1], grid, align_corners=True)[0, :, 0]


def bands_of(crop: HeadCrop, device: str) -> Bands:
    """Filters a picture (on the CPU) and uploads it."""
    import cv2

    gray = crop.image.astype(np.float32) @ np.array([0.25, 0.5, 0.25], np.float32) / 255
    detail = np.log(gray + DARKEST)
    levels = []
    for inner, outer in BANDS_PX:
        value = cv2.GaussianBlur(detail, (0, 0), inner) - cv2.GaussianBlur(detail, (0, 0), outer)
        along_u = cv2.Sobel(value, cv2.CV_32F, 1, 0, ksize=1) / 2
        along_v = cv2.Sobel(value, cv2.CV_32F, 0, 1, ksize=1) / 2
        levels.append(np.stack([value, along_u, along_v]))
    return Bands(crop.imager, torch.from_numpy(np.stack(levels)).to(device))
