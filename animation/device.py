"""The device that somebody names on the command line."""

import torch

from mmface4d.errors import MissingBackendError


def usable_device(name: str) -> torch.device:
    """The device, such as cpu or cuda:1; raises MissingBackendError where torch cannot compute on it."""
    try:
        return torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        said = str(error).splitlines()[0]
        raise MissingBackendError(f"no device {name}: {said}", hint="use --device cpu") from error
