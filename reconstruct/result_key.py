"""What a result depends on: a stored one is used again only where all of it is the same."""

import hashlib
import json
from pathlib import Path
from typing import Any

from mmface4d import __version__
from mmface4d.files import file_sha256
from mmface4d.rig_calibration import RigCalibration
from mmface4d.take import Take
from reconstruct.models.model import MorphableModel
from reconstruct.settings import ReconstructSettings

RESULT_VERSION = 2  # raise it when the same inputs give other frames


def result_key(
    take: Take,
    calibration: RigCalibration,
    model: MorphableModel,
    *,
    settings: ReconstructSettings,
    actor: Path | None = None,
) -> dict[str, Any]:
    """Names and hashes of all inputs, and of the program that reads them."""
    return {
        "program": program_version(),
        "take": str(take.path.resolve()),
        "frames": content_hash(take.info.frames.model_dump(mode="json")),
        "cameras": content_hash({s: camera.record().model_dump(mode="json") for s, camera in take.cameras.items()}),
        "calibration": content_hash(calibration.record()),
        "model": model.content_hash,
        "actor": None if actor is None else file_sha256(actor),
        "settings": [
            settings.solver,
            settings.rasterizer,
            settings.device,
            settings.keyframes,
            settings.refine_rig,
            settings.frames,
        ],
    }


def program_version() -> list[Any]:
    """What changes when the same inputs may give another result."""
    from calibration.landmarks import detector_version

    return [__version__, RESULT_VERSION, detector_version()]


def content_hash(content: Any) -> str:
    """SHA-256 of a value as JSON, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
