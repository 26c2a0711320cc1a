"""An observation on a device, as the fitting reads it."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mmface4d.cameras import Intrinsics
from reconstruct.bands import Bands, bands_of
from reconstruct.model_tensors import tensor
from reconstruct.observation import ColorView, DepthView, Observation
from reconstruct.rig_refinement import RigCorrection


@dataclass(frozen=True)
class Placed:
    """A camera's pose on a device."""

    rotation: Float[Tensor, "3 3"]  # camera_from_world
    translation: Float[Tensor, "3"]

    @classmethod
    def of(cls, camera_from_world: np.ndarray, device: str) -> "Placed":
        """Uploads a pose."""
        return cls(tensor(camera_from_world[:3, :3], device), tensor(camera_from_world[:3, 3], device))

    def moved(self, move: np.ndarray) -> "Placed":
        """The pose after the camera has been moved by a world transform."""
        rotation = self.rotation @ tensor(move[:3, :3].T, str(self.rotation.device))
        return Placed(rotation, self.translation - rotation @ tensor(move[:3, 3], str(self.rotation.device)))

    def points(self, in_world: Tensor) -> Tensor:
        """Points [n, 3] in the camera's frame."""
        return in_world @ self.rotation.T + self.translation

    def gradients(self, in_camera: Tensor) -> Tensor:
        """Gradients [n, 3] with respect to points, from the camera's axes to the world's."""
        return in_camera @ self.rotation


@dataclass(frozen=True)
class SeenDepth:
    """The trusted depth pixels of one camera."""

    serial: str
    imager: Intrinsics
    pose: Placed
    pixel: Int[Tensor, "n_pixels"]  # int32
    ray: Float[Tensor, "n_pixels 3"]
    depth_m: Float[Tensor, "n_pixels"]

    @classmethod
    def of(cls, view: DepthView, device: str) -> "SeenDepth":
        """Uploads a view."""
        return cls(
            view.serial,
            view.imager,
            Placed.of(view.depth_from_world, device),
            torch.from_numpy(view.pixel.astype(np.int32)).to(device),
            tensor(view.ray, device),
            tensor(view.depth_m, device),
        )


@dataclass(frozen=True)
class SeenColor:
    """Landmarks of one camera, and the picture's bands around the head."""

    serial: str
    imager: Intrinsics
    pose: Placed
    landmarks_px: Float[Tensor, "478 2"]
    bands: Bands | None

    @classmethod
    def of(cls, view: ColorView, device: str) -> "SeenColor":
        """Uploads a view."""
        return cls(
            view.serial,
            view.imager,
            Placed.of(view.color_from_world, device),
            tensor(view.landmarks_px, device),
            None if view.head is None else bands_of(view.head, device),
        )


@dataclass(frozen=True)
class Seen:
    """All views of one instant."""

    timestamp_usec: int
    depth: tuple[SeenDepth, ...]
    color: tuple[SeenColor, ...]

    @classmethod
    def of(cls, observation: Observation, device: str) -> "Seen":
        """Uploads an observation."""
        return cls(
            observation.timestamp_usec,
            tuple(SeenDepth.of(view, device) for view in observation.depth_views),
            tuple(SeenColor.of(view, device) for view in observation.color_views),
        )

    def moved(self, rig: RigCorrection) -> "Seen":
        """The same, as a corrected rig sees it."""
        if not rig.moves and not rig.depth_bias_m:
            return self
        return replace(
            self,
            depth=tuple(
                replace(view, pose=view.pose.moved(rig.move(view.serial)), depth_m=view.depth_m - rig.bias(view.serial))
                for view in self.depth
            ),
            color=tuple(replace(view, pose=view.pose.moved(rig.move(view.serial))) for view in self.color),
        )
