"""Light and albedo by closed-form linear solves, from the colours at the depth pixels.

Source: Deng et al. 2019: T = mean + B_tex delta; C = T * (Y(n) gamma^T), gamma[:, 0] += 0.8, n in the camera's space.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from mmface4d.arrays import Points, Vertices
from mmface4d.transforms import rotate
from reconstruct.hits import hits_in_memory
from reconstruct.observation import Observation
from reconstruct.parameters import Problem
from reconstruct.rows import LEAST_COSINE
from reconstruct.state import Actor, FrameFit, posed
from reconstruct.topology import vertex_normals

AMBIENT = 0.8
LIGHT_RIDGE = 1e-2  # per pixel; keeps the nine coefficients from chasing a texture the model lacks
ROUNDS = 4
MOST_PIXELS = 6000  # per view and keyframe


@dataclass(frozen=True)
class ColorSamples:
    """Colours of one camera on the mesh."""

    corners: Int[np.ndarray, "n 3"]
    barycentric: Float[np.ndarray, "n 3"]
    harmonics: Float[np.ndarray, "n 9"]
    color: Points


def spherical_harmonics(normals: Any) -> Any:
    """The nine basis values Y(n) [..., 9] of unit normals [..., 3] in Deng et al.'s order and signs (numpy, torch)."""
    stack: Any = np.stack if isinstance(normals, np.ndarray) else torch.stack
    x, y, z = normals[..., 0], normals[..., 1], normals[..., 2]
    return stack([
        0.886227 + 0 * x, -1.772454 * y, 1.772454 * z, -1.772454 * x, 2.427032 * x * y, -2.427032 * y * z,
        0.700624 * (3 * z**2 - 1), -2.427032 * x * z, 1.213516 * (x**2 - y**2),
    ], -1)  # fmt: skip


def shading(lighting: Float[np.ndarray, "3 9"], harmonics: Float[np.ndarray, "n 9"]) -> Points:
    """The factor on the albedo [n, 3]."""
    gamma = lighting.copy()
    gamma[:, 0] += AMBIENT
    return harmonics @ gamma.T


def solve_appearance(
    problem: Problem, observations: list[Observation], *, actor: Actor, fits: list[FrameFit]
) -> tuple[Actor, Vertices]:
    """The actor with texture and lighting solved, and the albedo [n_verts, 3] in 0..1 seen on the skin."""
    samples = _gather(problem, observations, actor, fits)
    model = problem.model
    if not samples:
        return actor, np.clip(model.albedo(actor.texture), 0, 1)
    for _ in range(ROUNDS):
        albedo = model.albedo(actor.texture)
        lighting = {serial: _solve_light(part, albedo) for serial, part in samples.items()}
        actor = replace(actor, lighting=lighting)
        actor = replace(actor, texture=_solve_texture(problem, samples, lighting))
    return actor, _seen_albedo(problem, samples, actor)


def _gather(
    problem: Problem, observations: list[Observation], actor: Actor, fits: list[FrameFit]
) -> dict[str, ColorSamples]:
    parts: dict[str, list[ColorSamples]] = {}
    faces = problem.model.faces
    for observation, fit in zip(observations, fits, strict=True):
        vertices = posed(problem.model, actor, fit)
        normals = vertex_normals(vertices, faces)
        for view in observation.depth_views:
            hits = hits_in_memory(problem, view, vertices)
            color = view.color.astype(np.float64)
            close = (hits.triangle >= 0) & (np.abs(hits.depth_m - view.depth_m) < 0.005)
            keep = np.flatnonzero((hits.cosine > LEAST_COSINE) & close & np.isfinite(color[:, 0]))
            keep = keep[:: -(-len(keep) // MOST_PIXELS) or 1]
            corners, weights = faces[hits.triangle[keep]], hits.barycentric[keep]
            normal = rotate(view.depth_from_world, np.einsum("nk,nkc->nc", weights, normals[corners]))
            parts.setdefault(view.serial, []).append(
                ColorSamples(corners, weights, spherical_harmonics(normal), color[keep])
            )
    return {
        serial: ColorSamples(*(np.concatenate([getattr(p, n) for p in some]) for n in ColorSamples.__annotations__))
        for serial, some in parts.items()
    }


def _at(samples: ColorSamples, values: Vertices) -> Points:
    return np.einsum("nk,nkc->nc", samples.barycentric, values[samples.corners])


def _solve_light(samples: ColorSamples, albedo: Vertices) -> Float[np.ndarray, "3 9"]:
    tone = _at(samples, albedo)
    out = np.zeros((3, 9))
    for channel in range(3):
        rows = samples.harmonics * tone[:, channel : channel + 1]
        right = samples.color[:, channel] - rows[:, 0] * AMBIENT
        ridge = LIGHT_RIDGE * max(len(rows), 1) * np.eye(9)
        out[channel] = np.linalg.solve(rows.T @ rows + ridge, rows.T @ right)
    return out


def _solve_texture(
    problem: Problem, samples: dict[str, ColorSamples], lighting: dict[str, np.ndarray]
) -> Float[np.ndarray, "n_texture"]:
    model = problem.model
    if model.texture_basis is None or model.texture_std is None:
        return np.zeros(0)
    count = len(model.texture_basis)
    # a tone of 0.05 is what the basis is not meant to explain: pores, shine, compression
    hessian, gradient = np.diag(0.05**2 * 1e3 / np.maximum(model.texture_std, 1e-9) ** 2), np.zeros(count)
    for serial, part in samples.items():
        light = shading(lighting[serial], part.harmonics)
        columns = np.einsum("nk,tnkc->tnc", part.barycentric, model.texture_basis[:, part.corners]) * light
        rows = columns.reshape(count, -1)
        hessian += rows @ rows.T
        gradient += rows @ (part.color - _at(part, model.albedo()) * light).ravel()
    return np.linalg.solve(hessian, gradient)


def _seen_albedo(problem: Problem, samples: dict[str, ColorSamples], actor: Actor) -> Vertices:
    """Colour over light, averaged at the vertices; the model's albedo where no camera looked."""
    model_albedo = problem.model.albedo(actor.texture)
    total, weight = np.zeros_like(model_albedo), np.zeros(len(model_albedo))
    for serial, part in samples.items():
        tone = part.color / np.maximum(shading(actor.lighting[serial], part.harmonics), 0.1)
        for corner in range(3):
            share = part.barycentric[:, corner]
            weight += np.bincount(part.corners[:, corner], share, len(weight))
            for channel in range(3):
                total[:, channel] += np.bincount(part.corners[:, corner], share * tone[:, channel], len(weight))
    prior = 0.5  # half a pixel's worth of the model's albedo
    return np.clip((total + prior * model_albedo) / (weight + prior)[:, None], 0, 1)
