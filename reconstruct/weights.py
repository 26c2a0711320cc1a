"""The weights of the one energy that both solvers minimise, and its robust function."""

from dataclasses import dataclass
from typing import Any


def geman_mcclure(x: Any, c: float) -> Any:
    """rho(x; c) = 2 (x/c)^2 / ((x/c)^2 + 4), the published robust function (numpy or torch)."""
    square = (x / c) ** 2
    return 2 * square / (square + 4)


def geman_mcclure_weight(x: Any, c: float) -> Any:
    """rho'(x) / x: the weight that turns 1/2 w x^2 into a quadratic with the robust function's gradient."""
    return (16 / c**2) / ((x / c) ** 2 + 4) ** 2


@dataclass(frozen=True)
class EnergyWeights:
    """Weights of the terms. Lengths are metres unless the name says otherwise.

    depth:        depth * sum rho((z_model - z_seen) / sigma; depth_cut); mean, not sum, if `mean_over_pixels`
    landmarks 2D: landmark * sum rho(|pixel distance| / landmark_px; landmark_cut), all views
    landmarks 3D: landmark_3d * sum |V_k - P_k|^2, front camera, without offsets
    colour:       color * mean rho(|I_model - I_seen|; color_cut)
    priors:       prior * (identity |alpha/sd|^2 + expression |beta/sd|^2 + lighting |gamma|^2 + texture |delta/sd|^2)
    offsets:      edge * sum |d_i - d_j|^2 + laplacian * |L d|^2 + offset * |d|^2
    """

    depth: float
    depth_cut: float
    sensor_sigma: bool  # divide depth residuals by the sensor's sigma; otherwise by 1 m
    mean_over_pixels: bool
    landmark: float
    landmark_px: float
    landmark_cut: float
    landmark_3d: float
    color: float
    color_cut: float
    identity: float
    expression: float
    lighting: float
    texture: float
    edge: float
    laplacian: float
    offset: float


# The published weights. The authors' model unit is the decimetre, so their weights of squared offsets are times 100.
PAPER = EnergyWeights(
    depth=2.0, depth_cut=0.002, sensor_sigma=False, mean_over_pixels=True,
    landmark=0.0, landmark_px=1.0, landmark_cut=3.0, landmark_3d=100.0,
    color=1.0, color_cut=0.1,
    identity=5e-3, expression=1e-4, lighting=1e-4, texture=1e-4,
    edge=20.0 * 100, laplacian=20.0 * 100, offset=0.01 * 100,
)  # fmt: skip
