"""`--device`: the same result on either device, and nothing large that leaves the device while a frame is fitted."""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
import warp as wp
from torch.overrides import TorchFunctionMode

from reconstruct import vertex_offsets
from reconstruct.fast_solver import FastSolver
from reconstruct.observation import HeadCrop, Observation
from reconstruct.parameters import make_problem
from reconstruct.raster import make_rasterizer
from reconstruct.raster.warp_device import upload
from reconstruct.state import FrameFit, average_actor, posed
from reconstruct.tracks import ActorFit, Track
from tests.reconstruct.scene import COLOR, bumpy_model, observe, pose_in_front

SMALL = 500  # elements: a frame's normal system, not its rows, pixels or vertices
TO_HOST = {"cpu", "numpy", "tolist", "item", "__array__", "__float__", "__int__", "__bool__"}

cuda = pytest.mark.skipif(
    not (torch.cuda.is_available() and wp.is_cuda_available()), reason="no CUDA device is on this machine"
)


def fit_at(model, expression, shift=(0.0, 0.0, 0.0)) -> FrameFit:
    rotation, translation = pose_in_front()
    return FrameFit(rotation, translation + shift, np.array(expression, dtype=float), np.zeros_like(model.mean))


def pictured(observation: Observation) -> Observation:
    """With some picture in every view, so that the colour term runs."""
    rows, columns = np.mgrid[:300, :300]
    gray = (120 + 60 * np.sin(columns / 4.1) * np.cos(rows / 5.3)).astype(np.uint8)
    crop = HeadCrop(np.repeat(gray[..., None], 3, 2), COLOR.cropped(330, 120, 300, 300))
    views = tuple(replace(view, head=crop) for view in observation.color_views)
    return replace(observation, color_views=views)


def two_frames(model) -> tuple[Observation, Observation]:
    actor = average_actor(model)
    first, second = (
        pictured(observe(model, posed(model, actor, fit), noise_m=0.0005, seed=seed))
        for seed, fit in enumerate((fit_at(model, (0.3, 0.1)), fit_at(model, (0.2, 0.3), (0.002, 0.0, 0.001))))
    )
    return first, replace(second, frame=1, timestamp_usec=first.timestamp_usec + 33_333)


def tracked(device: str) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of a keyframe and of a frame tracked from it."""
    model = bumpy_model()
    first, second = two_frames(model)
    solver = FastSolver(make_problem(model, make_rasterizer("warp", device)))
    found = solver.fit_actor([first])
    fit = solver.track(second, found, [Track(found.fits[0], first.timestamp_usec)])
    return posed(model, found.actor, found.fits[0]), posed(model, found.actor, fit)


@cuda
def test_cuda_gives_the_vertices_that_the_cpu_gives():
    for there, here in zip(tracked("cuda"), tracked("cpu"), strict=True):
        assert np.linalg.norm(there - here, axis=1).max() < 0.02e-3


@cuda
def test_another_torch_stream_gives_the_same():
    """Kernels follow torch's current stream, whichever it is."""
    plain = tracked("cuda")
    with torch.cuda.stream(torch.cuda.Stream()):
        for there, here in zip(tracked("cuda"), plain, strict=True):
            assert np.linalg.norm(there - here, axis=1).max() < 0.02e-3


@dataclass
class Watch(TorchFunctionMode):
    """Counts what would be copied from the device to the host, by the calling function's name and size."""

    large: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    small: Counter = field(default_factory=Counter)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in TO_HOST and args and isinstance(args[0], torch.Tensor):
            if args[0].numel() > SMALL:
                self.large.append((name, tuple(args[0].shape)))
            else:
                self.small[name] += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture
def ready(monkeypatch) -> tuple[FastSolver, ActorFit, Observation, Track]:
    """A solver that runs on the CPU what it would run on a GPU, and a frame to be tracked."""
    monkeypatch.setattr(vertex_offsets, "_suited", lambda device, count: "dense")
    model = bumpy_model()
    first, second = two_frames(model)
    solver = FastSolver(make_problem(model, make_rasterizer("warp")))
    found = solver.fit_actor([first])
    before = Track(found.fits[0], first.timestamp_usec)
    solver.track(second, found, [before])  # uploads and factors what is made once
    return solver, found, second, before


def test_tracking_keeps_everything_large_on_the_device(ready):
    """All that may come back are the offsets, once a round; each counts as `cpu` and `numpy`."""
    solver, found, observation, before = ready
    with Watch() as watch:
        solver.track(observation, found, [before])
    vertices = (solver.problem.model.vertex_count, 3)
    assert {shape for _, shape in watch.large} <= {vertices}, watch.large
    assert sum(name == "cpu" for name, _ in watch.large) <= solver.settings.frame_rounds
    assert watch.small.total() > 0


def test_the_watch_sees_a_copy():
    with Watch() as watch:
        torch.zeros(1000).cpu()
        torch.zeros(1000).numpy()
        float(torch.zeros(1))
    assert [name for name, _ in watch.large] == ["cpu", "numpy"]
    assert watch.small.total() >= 1


def test_tracking_makes_no_tensor_on_the_default_device(ready):
    """Tensors made without `device=` land elsewhere here, and meeting the others is an error."""
    solver, found, observation, before = ready
    expected = solver.track(observation, found, [before])
    with torch.device("meta"):
        fit = solver.track(observation, found, [before])
    assert np.allclose(fit.offsets, expected.offsets, atol=1e-6)


def test_fitting_the_actor_makes_no_tensor_on_the_default_device(ready):
    solver, found, observation, _ = ready
    with torch.device("meta"):
        again = solver.fit_actor([observation])
        assert solver.start(observation, found) is not None
    assert np.isfinite(again.actor.offsets).all()


def test_uploaded_constants_are_copies():
    array = np.arange(3.0)
    there = upload(array, wp.float32, "cpu")
    array[:] = 7
    assert there.numpy().tolist() == [0.0, 1.0, 2.0]
