"""The head as one depth image shows it: smoothed points with normals, without what cannot be trusted."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from mmface4d.arrays import DepthImage
from mmface4d.cameras import RgbdCamera
from mmface4d.transforms import invert, rotate, transform

# around the middle of the face: head and shoulders. Everything that stands still for a frame is worth its points:
# against a radius of 0.15 m (the head alone) the poses' errors halve, in turns even more
REGION_RADIUS_M = 0.35
JUMP_PART = 0.024  # neighbours that differ by more than this part of the depth are two surfaces
MAX_INCIDENCE_DEG = 70.0
# local quadratic fits: the sensor's noise is correlated over a few pixels, and normals need more room than positions
POSITION_SIGMA_PX, NORMAL_SIGMA_PX = 2.0, 3.5
MIN_SUPPORT = 0.6  # of the fit's window must be valid
TERMS = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))  # powers of (column, row)


@dataclass(frozen=True)
class Surface:
    """Points (metres, colour frame), unit normals towards the camera, expected noise along the normals (metres).

    `pixels` holds each point's (row, column) in the depth image; `index` is -1 where a depth pixel has no point.
    """

    camera: RgbdCamera
    points: Float[np.ndarray, "n 3"]
    normals: Float[np.ndarray, "n 3"]
    noise_m: Float[np.ndarray, "n"]
    pixels: Int[np.ndarray, "n 2"]
    index: Int[np.ndarray, "height width"]

    def __len__(self) -> int:
        return len(self.points)

    def thinned(self, stride: int) -> Int[np.ndarray, "m"]:
        """Indices of the points on every `stride`-th row and column."""
        return np.flatnonzero((self.pixels % stride == 0).all(1))

    def under(self, points_in_color: Float[np.ndarray, "n 3"]) -> Int[np.ndarray, "n"]:
        """Index of the surface point that this camera sees in the direction of each given point; -1 for none."""
        in_depth = transform(invert(self.camera.color_from_depth), points_in_color)
        ahead = in_depth[:, 2] > 0.05
        column, row = np.zeros((2, len(in_depth)), dtype=int)
        column[ahead], row[ahead] = np.rint(self.camera.depth.project(in_depth[ahead])).astype(int).T
        height, width = self.index.shape
        inside = ahead & (row >= 0) & (row < height) & (column >= 0) & (column < width)
        found = np.full(len(in_depth), -1)
        found[inside] = self.index[row[inside], column[inside]]
        return found


def head_surface(camera: RgbdCamera, depth_mm: DepthImage, center: Float[np.ndarray, "3"]) -> Surface:
    """The surface around `center` (colour frame, metres), without flying pixels and grazing views."""
    region = _region(camera, depth_mm, center)
    if not region.any():
        return _empty(camera, depth_mm.shape)
    window = _window(region, margin=round(3 * NORMAL_SIGMA_PX))
    rows, columns, depth_m, slopes = _smoothed(depth_mm[window].astype(np.float64) * 1e-3, region[window])
    rows, columns = rows + window[0].start, columns + window[1].start
    points, normals = _points_and_normals(camera, rows, columns, depth_m=depth_m, slopes=slopes)
    distance = np.linalg.norm(points, axis=1)
    cosine = -np.einsum("ni,ni->n", normals, points) / distance
    good = cosine > np.cos(np.radians(MAX_INCIDENCE_DEG))
    index = np.full(depth_mm.shape, -1)
    index[rows[good], columns[good]] = np.arange(good.sum())
    return Surface(
        camera=camera,
        points=transform(camera.color_from_depth, points[good]),
        normals=rotate(camera.color_from_depth, normals[good]),
        noise_m=depth_noise_m(distance[good], cosine[good]) * cosine[good],
        pixels=np.stack([rows[good], columns[good]], 1),
        index=index,
    )


def depth_noise_m(distance_m: Float[np.ndarray, "n"], cosine: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """Standard deviation of depth on skin: 0.5 mm to 0.9 m, 0.75 at 1.1 m; x1.5 at 30 degrees, x3 at 50."""
    straight = np.interp(distance_m, [0.9, 1.1, 1.75, 3.5], [0.5e-3, 0.75e-3, 1.0e-3, 2.0e-3])
    incidence_deg = np.degrees(np.arccos(np.clip(cosine, 0, 1)))
    return straight * np.interp(incidence_deg, [0, 30, 50, 65, 75], [1.0, 1.5, 3.0, 5.0, 8.0])


def _region(camera: RgbdCamera, depth_mm: DepthImage, center: np.ndarray) -> Bool[np.ndarray, "height width"]:
    """Valid pixels near the center, away from silhouettes, where pixels fly."""
    import cv2

    depth, kernel = depth_mm.astype(np.float32), np.ones((3, 3), np.uint8)
    low, high = np.asarray(cv2.erode(depth, kernel)), np.asarray(cv2.dilate(depth, kernel))
    in_depth = transform(invert(camera.color_from_depth), center)
    # the region's pixels have depths in this slab; without it every wall pixel would be unprojected
    near_mm, far_mm = (in_depth[2] - REGION_RADIUS_M) * 1e3, (in_depth[2] + REGION_RADIUS_M) * 1e3
    trusted = (low > max(near_mm, 0)) & (high < far_mm) & (high - low < JUMP_PART * depth)
    points, flat = camera.points_in_color(np.where(trusted, depth_mm, 0).astype(depth_mm.dtype))
    region = np.zeros(depth_mm.shape, dtype=bool)
    region.ravel()[flat[np.linalg.norm(points - center, axis=1) < REGION_RADIUS_M]] = True
    return region


def _window(region: Bool[np.ndarray, "height width"], *, margin: int) -> tuple[slice, slice]:
    """The rectangle around a region."""
    spans = []
    for axis, size in ((1, region.shape[0]), (0, region.shape[1])):
        used = np.flatnonzero(region.any(axis))
        spans.append(slice(max(int(used[0]) - margin, 0), min(int(used[-1]) + margin + 1, size)))
    return spans[0], spans[1]


def _smoothed(
    depth_m: Float[np.ndarray, "h w"], valid: Bool[np.ndarray, "h w"]
) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"], Float[np.ndarray, "n"], Float[np.ndarray, "n 2"]]:
    """Rows, columns, depths and slopes (metres per column and per row) by local quadratic fits."""
    middle = float(np.median(depth_m[valid]))
    height_m = np.where(valid, depth_m - middle, 0)
    position, solved = _local_quadratics(height_m, valid, sigma_px=POSITION_SIGMA_PX)
    slope, sloped = _local_quadratics(height_m, valid, sigma_px=NORMAL_SIGMA_PX)
    rows, columns = np.nonzero(solved & sloped & valid)
    return rows, columns, position[rows, columns, 0] + middle, slope[rows, columns, 1:3]


def _local_quadratics(
    height_m: Float[np.ndarray, "h w"], valid: Bool[np.ndarray, "h w"], *, sigma_px: float
) -> tuple[Float[np.ndarray, "h w 6"], Bool[np.ndarray, "h w"]]:
    """Coefficients (see TERMS) of a Gaussian-weighted quadratic around every valid pixel, and where there is one.

    All windows' normal equations come from a few separable filters of the mask and of the masked heights.
    """
    import cv2

    offset = np.arange(-round(2 * sigma_px), round(2 * sigma_px) + 1, dtype=np.float64)
    gauss = np.exp(-0.5 * (offset / sigma_px) ** 2)
    mask = valid.astype(np.float64)

    def moment(image: np.ndarray, power: tuple[int, int]) -> np.ndarray:
        kernels = gauss * offset ** power[0], gauss * offset ** power[1]
        return np.asarray(cv2.sepFilter2D(image, cv2.CV_64F, *kernels, borderType=cv2.BORDER_CONSTANT))

    moments = {(i, j): moment(mask, (i, j)) for i in range(5) for j in range(5 - i)}
    solved = valid & (moments[0, 0] > MIN_SUPPORT * gauss.sum() ** 2)
    matrix = np.stack([[moments[a + c, b + d][solved] for c, d in TERMS] for a, b in TERMS])
    vector = np.stack([moment(height_m, power)[solved] for power in TERMS])
    coefficients = np.zeros((*valid.shape, 6))
    coefficients[solved] = np.linalg.solve(matrix.transpose(2, 0, 1), vector.T[..., None])[..., 0]
    return coefficients, solved


def _points_and_normals(
    camera: RgbdCamera, rows: np.ndarray, columns: np.ndarray, *, depth_m: np.ndarray, slopes: np.ndarray
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
    """Points and unit normals towards the camera, depth frame."""
    grid = camera.depth.ray_grid
    height, width = grid.shape[:2]
    ray = grid[rows, columns].astype(np.float64)
    # neighbours for the derivative of the rays; at the image's border one-sided
    left, right = np.maximum(columns - 1, 0), np.minimum(columns + 1, width - 1)
    above, below = np.maximum(rows - 1, 0), np.minimum(rows + 1, height - 1)
    along_column = (grid[rows, right] - grid[rows, left]) / (right - left)[:, None]
    along_row = (grid[below, columns] - grid[above, columns]) / (below - above)[:, None]
    points = ray * depth_m[:, None]
    tangent_column = along_column * depth_m[:, None] + ray * slopes[:, :1]
    tangent_row = along_row * depth_m[:, None] + ray * slopes[:, 1:]
    normals = np.cross(tangent_row, tangent_column)
    return points, normals / np.linalg.norm(normals, axis=1, keepdims=True)


def _empty(camera: RgbdCamera, shape: tuple[int, ...]) -> Surface:
    nothing = np.zeros((0, 3))
    return Surface(
        camera=camera, points=nothing, normals=nothing, noise_m=np.zeros(0), pixels=np.zeros((0, 2), dtype=int),
        index=np.full(shape, -1),
    )  # fmt: skip
