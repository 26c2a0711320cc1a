"""The device that somebody names on the command line."""

import torch

from mmface4d.errors import MissingBackendError


def usable_device(name: str) -> torch.device:
    """The device, such as cpu or cuda:1; raises MissingBackendError where torch cannot compute on it."""
    try:
        number = torch.zeros(1, device=name)
        number.item()  # the device "meta" computes nothing
        return number.device
    except (RuntimeError, AssertionError, ImportError) as error:  # NotImplementedError is a RuntimeError
        said = str(error).splitlines()[0]
        raise MissingBackendError(f"no device {name}: {said}", hint="use --device cpu") from error
