"""Devices, processes and precision of a training, by Lightning Fabric."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from animation.training.config import Machine
from mmface4d.errors import DeviceError, MissingBackendError, UsageError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Anything = TypeVar("Anything")
# what launchers tell a process of its place: ours, torchrun, Slurm
RANKS = ("RANK", "SLURM_PROCID", "LOCAL_RANK")


def is_first_process(machine: Machine) -> bool:
    """Whether this is the process that writes, as far as is known before processes find each other."""
    if machine.devices == 1:
        return True  # whatever number a cluster gave it among other jobs' steps
    return all(os.environ.get(name, "0") == "0" for name in RANKS)


def make_fabric(machine: Machine, *, batch_size: int) -> "Fabric":
    """What runs the updates; raises UsageError, DeviceError or MissingBackendError where that cannot be."""
    if batch_size % machine.devices:
        raise UsageError(
            f"batches.size is {batch_size}, which {machine.devices} devices cannot share evenly",
            hint=f"choose a multiple of {machine.devices}",
        )
    try:
        import lightning_fabric
    except ImportError as error:
        raise MissingBackendError(
            f"training needs lightning-fabric: {error}", hint='pip install "mmface4d[animation]"'
        ) from error
    # as PyTorch's notes on reproducibility ask; of no effect once a GPU was used
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)  # it advertises
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of srun on every node of a Slurm cluster, and of what is refused below
            fabric = lightning_fabric.Fabric(
                accelerator=machine.accelerator,
                devices=machine.devices,
                strategy="auto" if machine.devices == 1 else "ddp",
                precision=machine.precision,
            )
    except Exception as error:  # Fabric has no error class of its own for a device that is not there
        raise DeviceError(
            f"no {machine.devices} devices of the kind {machine.accelerator}: {error}",
            hint="set machine.accelerator and machine.devices",
        ) from error
    if machine.precision == "16-mixed" and fabric.device.type == "cpu":
        raise UsageError("machine.precision 16-mixed needs a GPU", hint="choose bf16-mixed or 32-true")
    # Fabric would round all that a loss is given, the truth too; autocast knows where that is safe
    fabric.strategy.precision.convert_input = _as_given
    return fabric


def _as_given(data: Any) -> Any:
    return data


def agreed(fabric: "Fabric", value: Anything) -> Anything:
    """The first process' view, in all of them: clocks and signals differ between processes, their updates may not."""
    return fabric.broadcast(value) if fabric.world_size > 1 else value


@contextmanager
def repeatable(wanted: bool) -> Iterator[None]:
    """Refuses operations whose results vary, where wanted; what was set before is set again."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(wanted or before)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Dropout and the like draw from this seed in the block; outside of it nothing has changed."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed other GPUs too, for good
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        elif device.type == "mps":
            torch.mps.manual_seed(seed)
        yield
