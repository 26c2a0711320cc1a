"""Performances as the cameras see them: clips for the virtual stage, rendered once and kept."""

import hashlib
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Float

from capture.virtual.clip_cache import ClipCache
from capture.virtual.performance import Performance
from capture.virtual.rig import Studio, VirtualHead, VirtualRig
from capture.virtual.stage import Clip
from mmface4d.files import atomic_path
from mmface4d.progress import progress

RENDER_VERSION = 1  # of everything between a head and its pictures; raise it when pictures change


class Face(Protocol):
    """Somebody's face: blendshape weights by ARKit names, and the head's place in the world, as a moving mesh."""

    def __call__(
        self, weights: Float[np.ndarray, "n_frames n_names"], names: tuple[str, ...],
        world_from_head: Float[np.ndarray, "n_frames 4 4"],
    ) -> VirtualHead:  # fmt: skip
        """A frame for each row of weights."""
        ...


def performed_head(performance: Performance, face: Face, rig: VirtualRig) -> VirtualHead:
    """The true surface, frame by frame, before a rig's cameras."""
    return face(performance.weights, performance.names, rig.world_from_actor @ performance.actor_from_head)


def render_clip(performance: Performance, face: Face, rig: VirtualRig, *, cache: ClipCache | None = None) -> Clip:
    """What all devices record of a performance; from the cache where it was rendered before, and kept there."""
    head = performed_head(performance, face, rig)
    key = clip_key(performance, head, rig)
    if cache is not None and (kept := cache.get(key)) is not None:
        return kept
    shots = []
    with progress("render", len(head)) as bar:
        for shot in Studio(rig, head).frames():
            shots.append(shot)
            bar.advance()
    clip = Clip(tuple(shots), performance.sound)
    if cache is not None:
        cache.put(key, clip)
    return clip


def clip_key(performance: Performance, head: VirtualHead, rig: VirtualRig) -> str:
    """A digest of everything that decides a clip: surface, colours, devices, room, sound and the renderer's version."""
    digest = hashlib.blake2b(digest_size=20)
    for array in (
        head.vertices, head.faces, head.colors, head.world_from_head, head.eyes, head.mouth_inside,
        rig.world_from_actor, performance.sound,
    ):  # fmt: skip
        digest.update(repr((array.dtype.str, array.shape)).encode())
        digest.update(np.ascontiguousarray(array).data)
    digest.update(repr((RENDER_VERSION, performance.fps, rig.seed)).encode())
    for device in rig.devices:
        digest.update(repr((device.serial, device.seed, device.sensors, device.factory_blob)).encode())
        digest.update(np.ascontiguousarray(device.world_from_camera).data)
    return digest.hexdigest()


def save_truth(path: Path, performance: Performance, head: VirtualHead) -> None:
    """Writes what nobody has to estimate as `.npz`: vertices (float32), poses, weights by name, phonemes and times."""
    with atomic_path(path) as partial:
        np.savez(
            partial,
            vertices=head.vertices.astype(np.float32),
            faces=head.faces,
            world_from_head=head.world_from_head,
            times_s=performance.times_s,
            names=np.array(performance.names),
            weights=performance.weights,
            phonemes=np.array([phoneme.ipa for phoneme in performance.phonemes], dtype="U16"),
            phoneme_spans_s=np.array([(p.start_s, p.end_s) for p in performance.phonemes]).reshape(-1, 2),
        )
