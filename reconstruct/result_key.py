"""What a result depends on: a stored one is used again only where all of it is the same."""

import hashlib
import json
from pathlib import Path
from typing import Any

from mmface4d import __version__
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
    from calibration.landmarks import detector_version

    return {
        "program": [__version__, RESULT_VERSION, detector_version()],
        "take": str(take.path.resolve()),
        "frames": _hash(take.info.frames.model_dump(mode="json")),
        "cameras": _hash({serial: camera.record().model_dump(mode="json") for serial, camera in take.cameras.items()}),
        "calibration": _hash(calibration.record()),
        "model": model.content_hash,
        "actor": None if actor is None else hashlib.sha256(actor.read_bytes()).hexdigest(),
        "settings": [
            settings.solver,
            settings.rasterizer,
            settings.device,
            settings.keyframes,
            settings.refine_rig,
            settings.frames,
        ],
    }


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
