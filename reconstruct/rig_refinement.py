"""How far a calibrated rig is off, as the fitting sees it: camera poses, and each depth imager's constant error."""

from dataclasses import dataclass, field, replace

import numpy as np

from mmface4d.arrays import Points, Transform
from mmface4d.rig_calibration import RigCalibration
from mmface4d.transforms import invert, rotation_from_rotvec, rotvec_from_rotation, transform
from reconstruct.observation import Observation

# what a calibration and a sensor may be off by, as standard deviations
TURN_STD = np.radians(0.15)
SHIFT_STD_M = 0.0015
DEPTH_BIAS_STD_M = 0.002
UNKNOWNS = 7  # of a camera: rotation vector, shift (world axes), depth bias


@dataclass(frozen=True)
class RigCorrection:
    """World transforms that move cameras to where they are, and what their depth imagers see too far, by serial."""

    moves: dict[str, Transform] = field(default_factory=dict)
    depth_bias_m: dict[str, float] = field(default_factory=dict)

    def move(self, serial: str) -> Transform:
        """True pose of a camera = move @ its calibrated pose."""
        return self.moves.get(serial, np.eye(4))

    def bias(self, serial: str) -> float:
        """Metres to take off a camera's depth."""
        return self.depth_bias_m.get(serial, 0.0)

    def stepped(self, serial: str, delta: np.ndarray, pivot: Points) -> "RigCorrection":
        """A camera turned about `pivot` by delta[:3] and shifted by delta[3:6]; its bias grown by delta[6]."""
        step = np.eye(4)
        step[:3, :3] = rotation_from_rotvec(np.asarray(delta[:3], dtype=float))
        step[:3, 3] = pivot - step[:3, :3] @ pivot + delta[3:6]
        return RigCorrection(
            {**self.moves, serial: step @ self.move(serial)},
            {**self.depth_bias_m, serial: self.bias(serial) + float(delta[6])},
        )

    def deviation(self, serial: str, pivot: Points) -> np.ndarray:
        """How far a camera has been moved, as the seven unknowns of `stepped` from the calibration on."""
        move = self.move(serial)
        return np.r_[rotvec_from_rotation(move[:3, :3]), transform(move, pivot) - pivot, self.bias(serial)]

    def applied(self, observation: Observation) -> Observation:
        """The observation as the corrected rig sees it."""
        if not self.moves and not self.depth_bias_m:
            return observation
        return replace(
            observation,
            depth_views=tuple(
                replace(
                    view,
                    depth_from_world=view.depth_from_world @ invert(self.move(view.serial)),
                    depth_m=view.depth_m - np.float32(self.bias(view.serial)),
                )
                for view in observation.depth_views
            ),
            color_views=tuple(
                replace(
                    view,
                    color_from_world=view.color_from_world @ invert(self.move(view.serial)),
                    lifted_in_world=transform(self.move(view.serial), view.lifted_in_world),
                )
                for view in observation.color_views
            ),
        )

    def calibration(self, calibrated: RigCalibration) -> RigCalibration:
        """The corrected poses."""
        poses = {s: self.move(s) @ pose for s, pose in calibrated.world_from_camera.items()}
        return replace(calibrated, world_from_camera=poses)
