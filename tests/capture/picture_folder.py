"""A small folder of pictures of two cameras, as `take import --layout images` reads it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 64, 48
DEPTH_WIDTH, DEPTH_HEIGHT = 40, 32
SERIALS = ("left-1", "right.2")
FRAMES = 6


def intrinsics(width: int, height: int) -> dict[str, Any]:
    return {"width": width, "height": height, "fx": 50.0, "fy": 50.0, "cx": width / 2, "cy": height / 2}


def camera(role: str) -> dict[str, Any]:
    color_from_depth = np.eye(4)
    color_from_depth[0, 3] = -0.032
    return {
        "role": role,
        "color": intrinsics(WIDTH, HEIGHT),
        "depth": intrinsics(DEPTH_WIDTH, DEPTH_HEIGHT),
        "color_from_depth": color_from_depth.tolist(),
    }


def picture(seed: int) -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([rows * 5 % 256, columns * 4 % 256, np.full_like(rows, 40 * seed % 256)], -1).astype(np.uint8)


def save_color(path: Path, seed: int, **options: Any) -> None:
    Image.fromarray(picture(seed)).save(path, **options)


def depth(seed: int, *, scale: float = 1.0) -> np.ndarray:
    values = np.random.default_rng(seed).integers(700, 1200, (DEPTH_HEIGHT, DEPTH_WIDTH)) * scale
    values[:4] = 0
    return values.astype(np.uint16)


def save_depth(path: Path, values: np.ndarray) -> None:
    Image.fromarray(values).save(path)


def write_json(folder: Path, value: Any) -> None:
    (folder / "cameras.json").write_text(json.dumps(value))


def two_cameras() -> dict[str, Any]:
    """What stands in cameras.json."""
    return {"fps": 30, "cameras": {s: camera("subordinate" if i else "master") for i, s in enumerate(SERIALS)}}


def write_folder(root: Path) -> None:
    """A whole folder of two cameras, six frames."""
    for number, serial in enumerate(SERIALS):
        for kind in ("color", "depth"):
            (root / serial / kind).mkdir(parents=True)
        for frame in range(FRAMES):
            save_color(root / serial / "color" / f"{frame:04d}.jpg", frame, quality=90)
            save_depth(root / serial / "depth" / f"{frame:04d}.png", depth(frame + 100 * number))
    write_json(root, two_cameras())


def first_depth(folder: Path) -> Path:
    return folder / SERIALS[0] / "depth" / "0000.png"


def first_color(folder: Path) -> Path:
    return folder / SERIALS[0] / "color" / "0000.jpg"
