"""Performances as the cameras see them: clips for the virtual stage, rendered once and kept."""

import hashlib
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from capture.virtual.clip_cache import ClipCache
from capture.virtual.performance import Performance
from capture.virtual.rig import Room, Shot, Studio, VirtualHead, VirtualRig
from capture.virtual.stage import Clip
from mmface4d.files import atomic_path
from mmface4d.progress import progress

RENDER_VERSION = 1  # of everything between a head and its pictures; raise it when pictures change


@runtime_checkable
class Face(Protocol):
    """Somebody's face: blendshape weights by ARKit names, and the head's place in the world, as a moving mesh."""

    def __call__(
        self, weights: Float[np.ndarray, "n_frames n_names"], names: tuple[str, ...],
        world_from_head: Float[np.ndarray, "n_frames 4 4"],
    ) -> VirtualHead:  # fmt: skip
        """A frame for each row of weights."""
        ...


class ClipRenderer:
    """A face before a rig: renders performances, or takes them from the cache where they were rendered before."""

    def __init__(self, rig: VirtualRig, face: Face, *, cache: ClipCache | None = None) -> None:
        self.rig, self.face, self.cache = rig, face, cache
        self._room: Room | None = None

    def head(self, performance: Performance) -> VirtualHead:
        """The true surface, frame by frame, in the world."""
        poses = self.rig.world_from_actor @ performance.actor_from_head
        return self.face(performance.weights, performance.names, poses)

    def clip(self, performance: Performance) -> Clip:
        """What all devices record of a performance, and its sound."""
        head = self.head(performance)
        key = clip_key(performance, head, self.rig)
        if self.cache is not None and (kept := self.cache.get(key)) is not None:
            return kept
        clip = Clip(self._shots(head), performance.sound)
        if self.cache is not None:
            self.cache.put(key, clip)
        return clip

    def _shots(self, head: VirtualHead) -> tuple[dict[str, Shot], ...]:
        shots = []
        with progress("render", len(head)) as bar:
            # the room is rendered for the first head only
            same_skin = self._room is not None and np.array_equal(self._room.skin, head.skin)
            studio = Studio(self.rig, head, room=self._room if same_skin else None)
            self._room = studio.room
            for shot in studio.frames():
                shots.append(shot)
                bar.advance()
        return tuple(shots)


def render_clip(performance: Performance, face: Face, rig: VirtualRig, *, cache: ClipCache | None = None) -> Clip:
    """A single clip; who wants several has them sooner from one ClipRenderer."""
    return ClipRenderer(rig, face, cache=cache).clip(performance)


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
