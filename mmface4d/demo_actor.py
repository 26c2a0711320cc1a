"""The virtual actor: a person that the model does not contain, who moves and speaks.

The demonstration has one of its own making, `perform`; the virtual rig asks for one by `actor_face`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from mmface4d.arrays import Points, Transform, Vertices
from mmface4d.speech_curves import blinks
from mmface4d.transforms import rigid, rotation_from_rotvec, transform

if TYPE_CHECKING:
    from capture.virtual.rig import VirtualHead
    from capture.virtual.speech import Speech
    from reconstruct.models.model import MorphableModel

IDENTITY_LIMIT = 2.0  # standard deviations
BUMPS, BUMP_RADIUS_M, BUMP_RMS_M = 60, (0.008, 0.020), 0.001
SKIN_TINT = (0.80, 0.74, 0.70)  # against the model's mean skin
MOLES, MOLE_RADIUS_M = 9, (0.0012, 0.0022)
SWAY_DEG, SWAY_M = (4.0, 8.0, 3.0), 0.006  # nod, turn and tilt; shift along each axis
SWAY_HZ = (0.25, 0.7)
BLINKS_S = (0.62, 1.71, 3.4, 5.2, 7.3)
BROW_LIFT = 0.25
SCORED_RADIUS_M = 0.075  # around the tip of the nose: what every face model covers


@dataclass(frozen=True)
class Actor:
    """Somebody's neutral face in the head frame, and the colour of the skin."""

    neutral: Vertices
    colors: Float[np.ndarray, "n_verts 3"]


def make_actor(model: "MorphableModel", *, seed: int) -> Actor:
    """Random identity coefficients, a bumpy field of about 1 mm that no basis holds, another skin, some moles."""
    rng = np.random.default_rng([seed, 10])
    drawn = np.clip(rng.standard_normal(len(model.identity_std)), -IDENTITY_LIMIT, IDENTITY_LIMIT)
    neutral = model.shape(drawn * model.identity_std)
    neutral = neutral + _bumps(neutral, rng)
    colors = np.asarray(model.albedo(), dtype=np.float64) * np.array(SKIN_TINT)
    skin = np.flatnonzero(model.regions["face"] & ~model.regions["lips"] & ~model.regions["eyes"])
    for center in rng.choice(skin, MOLES, replace=False):
        distance = np.linalg.norm(neutral - neutral[center], axis=1)
        colors = colors * (1 - 0.5 * np.exp(-((distance / rng.uniform(*MOLE_RADIUS_M)) ** 2)))[:, None]
    return Actor(neutral, colors.clip(0, 1))


def perform(
    actor: Actor, model: "MorphableModel", *, speech: "Speech", times_s: Float[np.ndarray, "n_frames"],
    world_from_actor: Transform, seed: int,
) -> "VirtualHead":  # fmt: skip
    """The actor speaking, blinking and swaying at some times."""
    weights = expression_weights(model.expression_names, speech, times_s)
    poses = np.stack([world_from_actor @ pose for pose in _sway(times_s, np.random.default_rng([seed, 11]))])
    return animate(actor, model, weights=weights, world_from_head=poses)


def animate(
    actor: Actor, model: "MorphableModel", *, weights: Float[np.ndarray, "n_frames n_expression"],
    world_from_head: Float[np.ndarray, "n_frames 4 4"],
) -> "VirtualHead":  # fmt: skip
    """The actor with the model's expressions, posed; a frame each."""
    from capture.virtual.rig import VirtualHead

    shapes = (actor.neutral + np.tensordot(frame, model.expression_basis, 1) for frame in weights)
    return VirtualHead(
        vertices=np.stack([transform(pose, shape) for pose, shape in zip(world_from_head, shapes, strict=True)]),
        faces=model.faces,
        colors=actor.colors,
        world_from_head=world_from_head,
        eyes=np.asarray(model.regions["eyes"]),
        mouth_inside=np.asarray(model.regions["mouth_interior"]),
    )


def actor_face(actor: Actor, model: "MorphableModel") -> "Callable[..., VirtualHead]":
    """A face for `capture.virtual.render`: weights by ARKit names and poses -> VirtualHead.

    Names that the model lacks move nothing; `_L` and `_R` stand for Left and Right.
    """
    column = {_spelled_out(name): at for at, name in enumerate(model.expression_names)}

    def face(
        weights: Float[np.ndarray, "n_frames n_names"], names: tuple[str, ...],
        world_from_head: Float[np.ndarray, "n_frames 4 4"],
    ) -> "VirtualHead":  # fmt: skip
        own = np.zeros((len(weights), len(model.expression_names)))
        for name, values in zip(names, weights.T, strict=True):
            if name in column:
                own[:, column[name]] = values
        return animate(actor, model, weights=own, world_from_head=world_from_head)

    return face


def expression_weights(
    names: tuple[str, ...], speech: "Speech", times_s: Float[np.ndarray, "n_frames"]
) -> Float[np.ndarray, "n_frames n_expression"]:
    """Blendshape weights by their ARKit names; both sides of a face do the same."""
    from capture.virtual.speech import ARTICULATORS

    curves = speech.curves(times_s)
    wanted = {name: curves[name] for name in ARTICULATORS}
    wanted["eyeBlink"] = blinks(times_s, BLINKS_S)
    wanted["browInnerUp"] = BROW_LIFT * (0.5 - 0.5 * np.cos(2 * np.pi * times_s / 1.3))
    nothing = np.zeros(len(times_s))
    return np.stack([wanted.get(_sideless(name), nothing) for name in names], 1)


def scored_vertices(actor: Actor, model: "MorphableModel") -> Bool[np.ndarray, "n_verts"]:
    """The inner face without what cameras cannot measure: eyes, nostrils, the inside of the mouth."""
    tip = actor.neutral[actor.neutral[:, 2].argmax()]
    inner = np.linalg.norm(actor.neutral - tip, axis=1) <= SCORED_RADIUS_M
    hidden = model.regions["eyes"] | model.regions["nostrils"] | model.regions["mouth_interior"]
    return inner & np.asarray(model.regions["face"] | model.regions["lips"]) & ~hidden


def _sideless(name: str) -> str:
    for side in ("_L", "_R", "Left", "Right"):
        name = name.removesuffix(side)
    return name


def _spelled_out(name: str) -> str:
    for short, side in (("_L", "Left"), ("_R", "Right")):
        if name.endswith(short):
            return name.removesuffix(short) + side
    return name


def _bumps(vertices: Vertices, rng: np.random.Generator) -> Points:
    """Gaussian bumps at random places and in random directions, scaled to BUMP_RMS_M."""
    field = np.zeros_like(vertices)
    for center in vertices[rng.choice(len(vertices), BUMPS)]:
        distance = np.linalg.norm(vertices - center, axis=1)
        radius = rng.uniform(*BUMP_RADIUS_M)
        field += np.exp(-0.5 * (distance / radius) ** 2)[:, None] * rng.standard_normal(3)
    return field * BUMP_RMS_M / np.sqrt((field**2).sum(1).mean())


def _sway(times_s: np.ndarray, rng: np.random.Generator) -> list[Transform]:
    """actor_from_head over time: slow sines about and along every axis."""
    amplitude = np.concatenate([np.radians(SWAY_DEG), np.full(3, SWAY_M)])
    rate, phase = rng.uniform(*SWAY_HZ, 6), rng.uniform(0, 2 * np.pi, 6)
    moves = amplitude * np.sin(2 * np.pi * rate * times_s[:, None] + phase)
    return [rigid(rotation_from_rotvec(move[:3]), move[3:]) for move in moves]
