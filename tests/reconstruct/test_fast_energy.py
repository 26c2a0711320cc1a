"""The energy handed to other optimisers is the fast solver's own, and its slope is right."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmface4d.transforms import rotation_from_rotvec
from reconstruct.color import look_at_skin
from reconstruct.depth_noise import sigma_m
from reconstruct.energy import intersect
from reconstruct.fast_energy import FrameEnergy, Unknowns, tracked_energy
from reconstruct.fast_solver import FastSolver
from reconstruct.levenberg_marquardt import minimise
from reconstruct.model_tensors import Poser, tensor
from reconstruct.observation import HeadCrop, Observation
from reconstruct.parameters import Solution, Terms, data_rows, make_problem
from reconstruct.raster import make_rasterizer
from reconstruct.rows import LEAST_COSINE, MOST_CUTS, surface_hits
from reconstruct.state import FrameFit, average_actor, posed
from reconstruct.tracks import ActorFit, Track
from reconstruct.weights import geman_mcclure
from tests.reconstruct.scene import COLOR, bumpy_model, observe, pose_in_front


def fit_at(model, expression, turn=(0.0, 0.0, 0.0), shift=(0.0, 0.0, 0.0), offsets=0.0) -> FrameFit:
    rotation, translation = pose_in_front()
    return FrameFit(
        rotation_from_rotvec(np.array(turn)) @ rotation, translation + shift, np.array(expression, dtype=float),
        np.zeros_like(model.mean) + offsets,
    )  # fmt: skip


def with_pictures(observation: Observation) -> Observation:
    """A smooth random pattern in every picture."""
    import cv2

    noise = np.random.default_rng(3).random((COLOR.height, COLOR.width, 3)).astype(np.float32)
    pattern = cv2.GaussianBlur(noise, (0, 0), 4.0)
    pattern = (pattern - pattern.min()) / (pattern.max() - pattern.min()) * 255
    crop = HeadCrop(pattern.astype(np.uint8), COLOR)
    return replace(observation, color_views=tuple(replace(view, head=crop) for view in observation.color_views))


@pytest.fixture(scope="module")
def scene():
    """A solver, an actor with colour references and landmark bias, a frame, and the frame before it."""
    problem = make_problem(bumpy_model(), make_rasterizer("warp"))
    model, solver = problem.model, FastSolver(problem)
    actor = average_actor(model)
    last = fit_at(model, [0.1, 0.0])
    first = with_pictures(observe(model, posed(model, actor, last)))
    references = solver._learn_references([solver._seen(first)], Solution(actor, [last]))
    bias = {view.serial: np.full((len(problem.table.mediapipe), 2), 0.3) for view in first.color_views}
    found = ActorFit(actor, [0], [last], problem.model.albedo(), bias, references)
    truth = fit_at(model, [0.5, 0.3], turn=(0.0, 0.02, 0.01), shift=(0.002, 0.001, 0.0))
    now = with_pictures(observe(model, posed(model, actor, truth), noise_m=0.0005))
    return solver, replace(now, frame=1, timestamp_usec=1_033_333), found, [Track(last, 1_000_000)]


@pytest.fixture(scope="module")
def energy(scene) -> FrameEnergy:
    return tracked_energy(*scene)


def somewhere(energy: FrameEnergy) -> Unknowns:
    """A point at which every term has a slope."""
    mean = energy.problem.model.mean
    ripple = 0.0004 * np.sin(mean[:, :1] * 60) * np.array([0.3, 0.2, 1.0])
    unknowns = energy.unknowns(replace(energy.around, expression=np.array([0.4, 1.1]), offsets=ripple))
    return replace(unknowns, turn=torch.tensor([0.004, 0.012, 0.006]), shift_m=torch.tensor([0.001, 0.0, 0.0005]))


def with_terms(energy: FrameEnergy, terms: Terms) -> FrameEnergy:
    return FrameEnergy(
        energy.problem, energy.seen, terms, actor=energy.actor, around=energy.around,
        before=energy.around.offsets, offset_solver=energy._offset_solver,
    )  # fmt: skip


def test_it_is_what_the_fast_solvers_parts_report(scene, energy):
    solver, _, found, before = scene
    fit = energy.fit(somewhere(energy))
    _, system = minimise(energy.problem, [energy.seen], Solution(found.actor, [fit]), energy.terms, steps=0)
    offsets, drawn_to = (tensor(values, "cpu") for values in (fit.offsets, before[0].fit.offsets))
    expected = system.energy + solver._frame_offsets.energy(offsets, drawn_to)
    assert float(energy.value(somewhere(energy))) == pytest.approx(expected, rel=1e-4)
    assert energy.at_fit(fit) == pytest.approx(expected, rel=1e-6)


def test_all_terms_count(energy):
    point = somewhere(energy)
    everything = float(energy.value(point))
    for name in ("depth", "landmark", "color", "previous_expression"):
        energy_without = with_terms(energy, replace(energy.terms, **{name: None}))
        assert float(energy_without.value(point)) < everything - 1e-3


def depth_energy(energy: FrameEnergy, vertices: torch.Tensor) -> torch.Tensor:
    """The depth terms by torch's own differentiation, in double precision."""
    term, faces, total = energy.terms.depth, energy.problem.tensors.faces, torch.zeros((), dtype=torch.float64)
    assert term is not None
    for view in energy.seen.depth:
        hits = surface_hits(view, vertices.detach().float(), faces, energy.problem.rasterizer)
        keep = (hits.triangle >= 0) & (hits.cosine > LEAST_COSINE)
        keep &= energy.problem.compared_there[hits.triangle.clamp(min=0).long()]
        in_camera = vertices @ view.pose.rotation.double().T + view.pose.translation.double()
        depth, _ = intersect(in_camera[hits.corners[keep].long()], view.ray[keep].double())
        scaled = (depth - view.depth_m[keep]) / sigma_m(view.depth_m[keep], hits.cosine[keep])
        near = scaled.detach().abs() < MOST_CUTS * term.cut
        cost = geman_mcclure(scaled[near], term.cut).sum() + 2.0 * (len(keep) - int(near.sum()))
        total = total + term.weight * term.cut**2 * cost
    return total


def test_depth_is_what_torch_makes_of_it(energy):
    terms = replace(energy.terms, landmark=None, color=None)
    vertices = energy.vertices(somewhere(energy)).detach().double().requires_grad_()
    expected = depth_energy(energy, vertices)
    expected.backward()
    alone = with_terms(energy, terms)
    mine = vertices.detach().float().requires_grad_()
    value = alone._data(mine)
    value.backward()
    assert float(value.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert mine.grad is not None
    assert vertices.grad is not None
    assert torch.linalg.norm(mine.grad - vertices.grad) < 1e-3 * torch.linalg.norm(vertices.grad)


STEPS = {"turn": 2e-4, "shift_m": 2e-5, "expression": 1e-2, "offsets": 2e-5}


def slope_and_difference(energy: FrameEnergy, name: str, step: torch.Tensor) -> tuple[float, float]:
    """Along a step of one unknown: twice the slope, and the energy ahead minus that behind."""
    point = somewhere(energy)
    free = {key: value.clone().requires_grad_() for key, value in vars(point).items()}
    energy.value(Unknowns(**free)).backward()
    slope = free[name].grad
    assert slope is not None
    ahead, behind = (float(energy.value(moved(point, name, way * step))) for way in (1, -1))
    return 2 * float((slope * step).sum()), ahead - behind


def moved(point: Unknowns, name: str, step: torch.Tensor) -> Unknowns:
    return replace(point, **{name: getattr(point, name) + step})


def random_step(energy: FrameEnergy, name: str) -> torch.Tensor:
    shape = getattr(somewhere(energy), name).shape
    return torch.randn(shape, generator=torch.Generator().manual_seed(5)) * STEPS[name]


@pytest.mark.parametrize("name", STEPS)
def test_the_smooth_terms_slope_is_that_of_central_differences(energy, name):
    smooth = with_terms(energy, replace(energy.terms, depth=None, color=None))
    slope, difference = slope_and_difference(smooth, name, random_step(energy, name))
    assert difference == pytest.approx(slope, rel=2e-3)


@pytest.mark.parametrize("name", STEPS)
def test_the_colour_terms_slope_is_that_of_central_differences(energy, name):
    step, term = random_step(energy, name), energy.terms.color
    points = [moved(somewhere(energy), name, way * step) for way in (-1, 0, 1)]
    references = {}
    for view in energy.seen.color:
        looks = [
            look_at_skin(
                view, energy.vertices(point), energy.problem.tensors.faces, points=energy.problem.skin,
                rasterizer=energy.problem.rasterizer,
            ).visible
            for point in points
        ]  # fmt: skip
        # only points that stay in sight: visibility has no slope
        known = term.references[view.serial]
        held = torch.where(torch.stack(looks).all(0), known.value, torch.nan)
        references[view.serial] = replace(known, value=held)
    color = replace(term, references=references)
    with_color = with_terms(energy, replace(energy.terms, depth=None, landmark=None, color=color))
    without = with_terms(energy, replace(energy.terms, depth=None, landmark=None, color=None))
    pairs = [slope_and_difference(part, name, step) for part in (with_color, without)]
    slope, difference = (a - b for a, b in zip(*pairs, strict=True))
    # slopes are smoothed over a pixel, values are not
    assert difference == pytest.approx(slope, rel=0.08)


def test_tracking_lowers_it(scene, energy):
    solver, now, found, before = scene
    fit = solver.track(now, found, before)
    assert energy.at_fit(fit) < energy.at_fit(energy.around)


def test_a_fit_of_unknowns_has_their_vertices(energy):
    point = somewhere(energy)
    vertices = Poser(energy.problem.tensors, energy.actor).vertices(energy.fit(point))
    assert float((vertices - energy.vertices(point)).abs().max()) < 1e-6


def test_nothing_seen_costs_priors_only(energy):
    blind = replace(energy.seen, depth=(), color=())
    assert data_rows(energy.problem, blind, energy.vertices(energy.unknowns(energy.around)), energy.terms) is None
    alone = FrameEnergy(
        energy.problem, blind, energy.terms, actor=energy.actor, around=energy.around,
        before=energy.around.offsets, offset_solver=energy._offset_solver,
    )  # fmt: skip
    assert 0 < float(alone.value(somewhere(energy))) < float(energy.value(somewhere(energy)))
