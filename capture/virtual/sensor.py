"""From perfect pictures to what a Kinect's two imagers would have recorded.

Figures: published and measured noise of the Azure Kinect in NFOV mode on surfaces like skin.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from capture.virtual.scene import Hits, srgb_from_linear
from mmface4d.arrays import ColorImage, DepthImage

SIGMA_MM = ((900, 1100, 1500, 2000, 3000), (0.5, 0.75, 1.0, 1.6, 3.0))  # by distance in mm, at normal incidence
SIGMA_GROWTH = ((0, 30, 50, 65, 75), (1.0, 1.5, 3.0, 5.0, 8.0))  # by angle of incidence in degrees
CORRELATION_PX = 1.5  # of the Gaussian that makes neighbouring pixels alike
RANGE_MM = (500, 3860)  # of NFOV unbinned
EDGE_MM, EDGE_PART = 25.0, 0.03  # a jump in depth between neighbours that makes an edge: the larger of the two
EDGE_LOSS = 0.5  # part of an edge's pixels that are lost; the others fly between its two sides
FLYING_REACH_MM = 1500.0  # behind the near side
LOST_BEYOND_DEG = 75.0
WEAK_LOSS = 0.35  # part of eyes and open mouths without depth
JPEG_QUALITY = 92
BLUR_PX = 0.6
ROWS = 24  # of a 1080p picture that are worked on at a time
NOISE_FLOOR, NOISE_SLOPE = 1.2, 1.3  # of the 8-bit value: floor + slope * sqrt(value / 255)


@dataclass(frozen=True)
class SensorSettings:
    """How far from perfect a device is; `noise=False` leaves geometry, rounding and JPEG."""

    noise: bool = True
    sigma_scale: float = 1.0
    bias_mm: float = 0.0
    exposure: float = 1.0
    white_balance: tuple[float, float, float] = (1.0, 1.0, 1.0)


def depth_sigma_mm(
    depth_mm: Float[np.ndarray, "*batch"], cosine: Float[np.ndarray, "*batch"]
) -> Float[np.ndarray, "*batch"]:
    """Standard deviation of one depth pixel by its distance and the cosine of its angle of incidence."""
    return np.interp(depth_mm, *SIGMA_MM) * np.interp(_incidence_deg(cosine), *SIGMA_GROWTH)


def _incidence_deg(cosine: np.ndarray) -> np.ndarray:
    return np.degrees(np.arccos(np.clip(cosine, 0, 1)))


@dataclass(frozen=True)
class Uncertainty:
    """What decides the noise of each depth pixel: its standard deviation, and the angle of incidence in degrees."""

    sigma_mm: Float[np.ndarray, "height width"]
    incidence_deg: Float[np.ndarray, "height width"]

    @staticmethod
    def of(hits: Hits) -> "Uncertainty":
        """Of what some rays met."""
        return Uncertainty(depth_sigma_mm(_known_mm(hits), hits.cosine), _incidence_deg(hits.cosine))

    def pasted(self, front: "Uncertainty", window: tuple[slice, slice]) -> "Uncertainty":
        """The same with another one in a window of it."""
        whole = Uncertainty(self.sigma_mm.copy(), self.incidence_deg.copy())
        whole.sigma_mm[window], whole.incidence_deg[window] = front.sigma_mm, front.incidence_deg
        return whole


def depth_image(
    hits: Hits, settings: SensorSettings, rng: np.random.Generator, *, uncertainty: Uncertainty | None = None
) -> DepthImage:
    """What the depth imager reports, whole millimetres, 0 = nothing; `uncertainty` is that of the hits, if known."""
    depth_mm = hits.depth_m.astype(np.float32) * 1000
    if settings.noise:
        depth_mm = _noisy(depth_mm, hits, settings, rng, uncertainty or Uncertainty.of(hits))
    depth_mm = depth_mm + np.float32(settings.bias_mm)
    invalid = ~np.isfinite(depth_mm) | (depth_mm < RANGE_MM[0]) | (depth_mm > RANGE_MM[1])
    return np.rint(np.where(invalid, 0, depth_mm)).astype(np.uint16)


def _known_mm(hits: Hits) -> Float32[np.ndarray, "height width"]:
    """Distances, far away where there is nothing."""
    depth_mm = hits.depth_m.astype(np.float32) * 1000
    return np.where(np.isfinite(depth_mm), depth_mm, 1e5).astype(np.float32)


def _noisy(
    depth_mm: np.ndarray, hits: Hits, settings: SensorSettings, rng: np.random.Generator, uncertainty: Uncertainty
) -> np.ndarray:
    import cv2

    known = _known_mm(hits)
    noisy = known + uncertainty.sigma_mm * settings.sigma_scale * correlated_noise(known.shape, rng)
    kernel = np.ones((3, 3), np.uint8)
    near, far = cv2.erode(known, kernel), cv2.dilate(known, kernel)
    edge = far - near > np.maximum(EDGE_MM, EDGE_PART * known)
    # a footprint on two surfaces: values at either end are likelier than in the middle
    share = rng.beta(0.6, 0.6, int(edge.sum()))
    noisy[edge] = near[edge] * share + np.minimum(far, near + FLYING_REACH_MM)[edge] * (1 - share)
    patches = correlated_noise(known.shape, rng)
    lost = edge & (rng.random(known.shape) < EDGE_LOSS)
    lost |= uncertainty.incidence_deg > LOST_BEYOND_DEG + 2 * patches
    lost |= hits.weak & (patches > _quantile_of_normal(1 - WEAK_LOSS))
    return np.where(lost | ~np.isfinite(depth_mm), np.inf, noisy)


def _quantile_of_normal(part: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(part)


def correlated_noise(shape: tuple[int, ...], rng: np.random.Generator) -> Float32[np.ndarray, "height width"]:
    """Gaussian noise of unit variance whose neighbours are alike over about CORRELATION_PX."""
    import cv2

    kernel = cv2.getGaussianKernel(13, CORRELATION_PX)
    white = rng.standard_normal(shape, np.float32)
    return cv2.sepFilter2D(white, -1, kernel, kernel) / np.float32((kernel**2).sum())


def exposed(
    light: Float32[np.ndarray, "height width 3"], settings: SensorSettings
) -> Float32[np.ndarray, "height width 3"]:
    """sRGB times 255 of some light (linear RGB), behind the lens but before noise."""
    import cv2

    light = cv2.GaussianBlur(light, (0, 0), BLUR_PX) if settings.noise else light
    gain = settings.exposure * np.array(settings.white_balance)
    return (255 * srgb_from_linear(light * gain)).astype(np.float32)


class ColorSensor:
    """White balance, lens blur, shot noise and JPEG; keeps a sheet of grain, because drawing one a frame is slow."""

    GRAIN = (1400, 2300)

    def __init__(self, settings: SensorSettings, rng: np.random.Generator) -> None:
        self.settings = settings
        self._rng = rng
        self._grain = rng.standard_normal((*self.GRAIN, 3), np.float32)

    def expose(self, light: Float32[np.ndarray, "height width 3"]) -> Float32[np.ndarray, "height width 3"]:
        """sRGB times 255 of some light (linear RGB), behind the lens but before noise."""
        return exposed(light, self.settings)

    def grainy(self, values: Float32[np.ndarray, "height width 3"]) -> ColorImage:
        """An 8-bit picture with this frame's noise."""
        height, width = values.shape[:2]
        out = np.empty(values.shape, np.uint8)
        top, left = self._rng.integers(0, np.array(self.GRAIN) - (height, width)) if self.settings.noise else (0, 0)
        # a few rows at a time stay in the processor's cache: three times as fast
        for first in range(0, height, ROWS):
            part = values[first : first + ROWS]
            grain = self._grain[top + first : top + first + len(part), left : left + width]
            out[first : first + ROWS] = self._rounded(part, grain)
        return out

    def _rounded(self, values: np.ndarray, grain: np.ndarray) -> np.ndarray:
        if self.settings.noise:
            noise = np.sqrt(values / np.float32(255))
            noise *= NOISE_SLOPE
            noise += NOISE_FLOOR
            noise *= grain
            noise += values
        else:
            noise = values.copy()
        noise += np.float32(0.5)
        np.maximum(noise, 0, out=noise)
        np.minimum(noise, 255, out=noise)
        return noise.astype(np.uint8)


def jpeg(image: ColorImage) -> bytes:
    """The picture as the device's MJPEG stream would hold it (4:2:2)."""
    import cv2

    flags = [
        cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    ]  # fmt: skip
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), flags)[1].tobytes()
