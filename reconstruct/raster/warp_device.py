"""Warp, started quietly, and its kernels launched in order with torch's work on the same device.

Every kernel goes through `launch` and every constant array through `upload`: Warp has CUDA streams of its own, and
what one library queues on its stream is not seen by the other unless both use the same one.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import warp as wp

from mmface4d.quiet import native_stderr_hidden

wp.config.log_level = wp.LOG_ERROR
with native_stderr_hidden():  # it warns of a missing CUDA driver, which is no news on a CPU machine
    wp.init()


def launch(
    kernel: Any, *, dim: int | tuple[int, ...], inputs: Sequence[Any], outputs: Sequence[Any] = (), device: str
) -> None:
    """Queues a kernel behind torch's work on `device` and before what torch queues there later.

    Torch may then free or reuse the tensors at once: its allocator hands memory on in the order of the same stream.
    """
    if device.startswith("cuda"):
        stream = _as_warp_stream(torch.cuda.current_stream(device))
        wp.launch(kernel, dim=dim, inputs=[*inputs], outputs=[*outputs], stream=stream)
    else:
        wp.launch(kernel, dim=dim, inputs=[*inputs], outputs=[*outputs], device=device)


def upload(array: np.ndarray, kind: type, device: str) -> wp.array:
    """A constant array on a device, copied there by torch: its stream is the one that kernels wait for."""
    on_host = np.array(array, dtype=wp.dtype_to_numpy(kind))
    return wp.from_torch(torch.from_numpy(on_host).to(device), dtype=kind)


@lru_cache(maxsize=16)
def _as_warp_stream(stream: torch.cuda.Stream) -> wp.Stream:
    return wp.stream_from_torch(stream)
