"""The picture of a model for `model show -o`: views, identities, expressions, regions and landmarks on one sheet."""

from pathlib import Path

import numpy as np

from mmface4d.arrays import ColorImage
from mmface4d.files import atomic_path
from reconstruct.models.model import MorphableModel
from reconstruct.models.portrait import PortraitCamera, draw_head

COLUMNS = 4
SHOWN_EXPRESSIONS = ("jawOpen", "mouthSmile_L", "mouthPucker", "eyeBlink_L", "browInnerUp", "browInnerUp_L")
REGION_COLORS = {
    "face": (0.80, 0.72, 0.65),
    "upper_face": (0.62, 0.70, 0.82),
    "eyes": (0.30, 0.55, 0.90),
    "upper_lip": (0.85, 0.35, 0.40),
    "lower_lip": (0.95, 0.60, 0.35),
    "nostrils": (0.35, 0.65, 0.35),
    "mouth_interior": (0.35, 0.10, 0.35),
    "boundary": (0.25, 0.25, 0.25),
}
GROUP_COLORS = {
    "brow": (120, 60, 20), "eye": (20, 90, 220), "nose": (20, 140, 60), "lip_outer": (210, 30, 40),
    "lip_inner": (250, 140, 20), "cheek": (40, 40, 40), "contour": (170, 60, 200),
}  # fmt: skip


def draw_model(model: MorphableModel, path: Path) -> None:
    """Writes the sheet as PNG."""
    import cv2

    camera = PortraitCamera(view_m=1.15 * float(np.ptp(model.mean, axis=0)[:2].max()))
    panels = [*_heads(model, camera), _regions(model, camera), *_landmarks(model, camera)]
    panels += [np.full_like(panels[0], 255)] * (-len(panels) % COLUMNS)
    rows = [np.concatenate(panels[i : i + COLUMNS], axis=1) for i in range(0, len(panels), COLUMNS)]
    sheet = np.concatenate(rows, axis=0)
    with atomic_path(path if path.suffix == ".png" else path.with_suffix(".png")) as partial:
        partial.write_bytes(cv2.imencode(".png", sheet[..., ::-1])[1].tobytes())


def _heads(model: MorphableModel, camera: PortraitCamera) -> list[ColorImage]:
    """The mean from three sides, three random people, a few expressions."""
    random = np.random.default_rng(0)
    panels = [_labelled(_draw(model, model.mean, _turned(camera, yaw)), f"mean {yaw:+d}") for yaw in (-45, 0, 45)]
    for seed in range(3):
        identity = random.normal(size=len(model.identity_basis)) * model.identity_std
        panels.append(_labelled(_draw(model, model.shape(identity), camera), f"person {seed}"))
    named = [name for name in SHOWN_EXPRESSIONS if name in model.expression_names] or model.expression_names[:4]
    for name in named:
        weights = np.zeros(len(model.expression_basis))
        place = model.expression_names.index(name)
        weights[place] = 1.0 if np.isfinite(model.expression_range[1]) else 2 * model.expression_std[place]
        panels.append(_labelled(_draw(model, model.shape(None, weights), camera), name))
    return panels


def _regions(model: MorphableModel, camera: PortraitCamera) -> ColorImage:
    colors = np.full((model.vertex_count, 3), 0.9)
    for name, color in REGION_COLORS.items():
        colors[model.regions[name]] = color
    return _labelled(draw_head(model.mean.astype(np.float64), model.faces, colors, camera), "regions")


def _landmarks(model: MorphableModel, camera: PortraitCamera) -> list[ColorImage]:
    import cv2

    panels = []
    points = model.landmarks.positions(model.mean)
    for yaw in (0, 40):
        turned = _turned(camera, yaw, size_px=2 * camera.size_px)
        panel = _draw(model, model.mean, turned)
        for (x, y), group in zip(turned.project(points), model.landmarks.group, strict=True):
            cv2.circle(panel, (round(float(x)), round(float(y))), 3, GROUP_COLORS[group], -1, cv2.LINE_AA)
        panel = cv2.resize(panel, (camera.size_px,) * 2, interpolation=cv2.INTER_AREA)
        panels.append(_labelled(panel, f"landmarks {yaw:+d}"))
    return panels


def _turned(camera: PortraitCamera, yaw_deg: int, *, size_px: int | None = None) -> PortraitCamera:
    return PortraitCamera(np.deg2rad(yaw_deg), size_px=size_px or camera.size_px, view_m=camera.view_m)


def _draw(model: MorphableModel, vertices: np.ndarray, camera: PortraitCamera) -> ColorImage:
    return draw_head(vertices.astype(np.float64), model.faces, model.albedo(), camera)


def _labelled(panel: ColorImage, text: str) -> ColorImage:
    import cv2

    return cv2.putText(panel.copy(), text, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (30, 30, 30), 1, cv2.LINE_AA)
