"""What one mesh sequence's face does: how fast each region moves, and which small regions move together."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from corpus.dataset.parcels import Parcels, face_parcels
from corpus.dataset.regions import REGION_NAMES, FaceRegions
from corpus.dataset.stabilise import CHUNK_FRAMES, Stabiliser, stabiliser, usable_frames
from mmface4d.errors import InputError
from mmface4d.frame_rates import frame_rate
from mmface4d.sequence import STATUS, MeshSequence

MOST_STEADY = 600  # vertices that the head's motion is measured on
LEAST_FRAMES = 2
LEAST_STEPS = 10  # for a correlation
STILL_M = 2e-6  # a region whose frame-to-frame motion along an axis has a smaller RMS does not move along it
MOST_SCALE = 3.0  # of a head against the model's mean; millimetres would be 1000
GAP = 1.5  # frame times; frames further apart are no neighbours


@dataclass(frozen=True)
class Motion:
    """One sequence. Axes are the head's: x to the subject's left, y up, z forward.

    `step_m` is the mean absolute displacement of a region's vertices from a frame to the next along x, y and z;
    `length_m` the mean length of that displacement. `place_m` are the small regions' mean places in the head frame,
    `correlation` is NaN where two small regions have no axis along which both move.
    """

    model: str
    frames: int
    usable: int
    frames_by_status: dict[int, int]
    steps: int
    fps: float
    steady_residual_m: float
    step_m: Float[np.ndarray, "n_regions 3"]
    length_m: Float[np.ndarray, "n_regions"]
    place_m: Float[np.ndarray, "n_parcels 3"]
    correlation: Float[np.ndarray, "n_parcels n_parcels"]

    @property
    def duration_s(self) -> float:
        """From the first frame to the end of the last."""
        return self.frames / self.fps

    @property
    def speed_mm_s(self) -> Float[np.ndarray, "n_regions 3"]:
        """`step_m` as a speed, which does not depend on the frame rate."""
        return self.step_m * self.fps * 1000

    @property
    def length_mm_s(self) -> Float[np.ndarray, "n_regions"]:
        """`length_m` as a speed."""
        return self.length_m * self.fps * 1000


@dataclass(frozen=True)
class Yardstick:
    """What all sequences of one topology are measured with."""

    regions: FaceRegions
    parcels: Parcels
    masks: Bool[np.ndarray, "n_regions n_verts"]


def yardstick(regions: FaceRegions) -> Yardstick:
    """Made once for a topology."""
    masks = np.stack([regions.mask(name) for name in REGION_NAMES])
    return Yardstick(regions, face_parcels(regions), masks)


def measure_motion(sequence: MeshSequence, by: Yardstick) -> Motion:
    """Measures one sequence, a few frames in memory at a time.

    Raises InputError where the sequence has another topology, no frame rate, or no two usable frames.
    """
    fps = frame_rate(sequence)
    frames, held = steadied(sequence, by.regions)
    status = sequence.arrays.get("status")
    follows = _follows(sequence, frames, fps)
    sums, lengths, places = _accumulate(sequence, held, frames=frames, follows=follows, by=by)
    steps = max(int(follows.sum()), 1)
    weights = by.masks / by.masks.sum(axis=1, keepdims=True).clip(1)
    return Motion(
        model=by.regions.name,
        frames=len(sequence),
        usable=len(frames),
        frames_by_status=_by_status(status, len(sequence)),
        steps=int(follows.sum()),
        fps=fps,
        steady_residual_m=held.residual_m,
        step_m=weights @ sums / steps,
        length_m=weights @ lengths / steps,
        place_m=places.mean(axis=0),
        correlation=correlation(np.diff(places, axis=0)[follows[1:]]),
    )


def steadied(sequence: MeshSequence, regions: FaceRegions) -> tuple[Int[np.ndarray, "n_usable"], Stabiliser]:
    """The usable frames of a sequence, and what takes the head's motion out of them.

    Raises InputError where the sequence has another topology, another size, or no two usable frames.
    """
    _check_topology(sequence, regions)
    usable = usable_frames(sequence.arrays.get("status"), _finite(sequence))
    frames = np.flatnonzero(usable)
    if len(frames) < LEAST_FRAMES:
        raise InputError(
            f"{sequence.path} has {len(frames)} usable frames of {len(usable)}", hint="reconstruct the take again"
        )
    steady = _steady(regions)
    head, template = _gathered(sequence, frames, steady), regions.template[steady].astype(np.float64)
    _check_size(sequence, head, template)
    return frames, stabiliser(head, template)


def correlation(
    motion: Float[np.ndarray, "n_steps n_parcels 3"],
) -> Float[np.ndarray, "n_parcels n_parcels"]:
    """Pearson's correlation over time of each two regions' motions, mean over the axes along which both move.

    NaN where there is no such axis, or where there are fewer than 10 steps.
    """
    count = motion.shape[1]
    if len(motion) < LEAST_STEPS:
        return np.full((count, count), np.nan)
    centred = motion - motion.mean(axis=0)
    spread = np.sqrt(np.square(centred).mean(axis=0))
    moves = spread > STILL_M
    scaled = np.divide(centred, spread, out=np.zeros_like(centred), where=moves)
    of_axes = np.einsum("tpc,tqc->pqc", scaled, scaled, optimize=True) / len(motion)
    both = moves[:, None] & moves[None]
    axes = both.sum(axis=2)
    return np.where(axes > 0, np.where(both, of_axes, 0.0).sum(axis=2) / np.maximum(axes, 1), np.nan)


def _check_topology(sequence: MeshSequence, regions: FaceRegions) -> None:
    if sequence.vertices.shape[1] != len(regions.template) or not np.array_equal(sequence.faces, regions.faces):
        raise InputError(
            f"{sequence.path} has another topology than the model {regions.name}",
            hint="it was made with another version of the model; reconstruct it again",
        )


def _check_size(
    sequence: MeshSequence, head: Float[np.ndarray, "n_frames n_some 3"], template: Float[np.ndarray, "n_some 3"]
) -> None:
    """Raises InputError where a head is far from any head's size: another unit, or a fit that went astray."""
    sizes = np.sqrt(np.square(head - head.mean(axis=1, keepdims=True)).sum(axis=2).mean(axis=1))
    usual = float(np.sqrt(np.square(template - template.mean(axis=0)).sum(axis=1).mean()))
    share = float(np.median(sizes)) / usual
    if not 1 / MOST_SCALE < share < MOST_SCALE:
        raise InputError(
            f"{sequence.path} has a head {share:.3g} times as large as the model's", hint="its vertices must be metres"
        )


def _finite(sequence: MeshSequence) -> Bool[np.ndarray, "n_frames"]:
    starts = range(0, len(sequence), CHUNK_FRAMES)
    chunks = [np.isfinite(sequence.vertices[start : start + CHUNK_FRAMES]).all(axis=(1, 2)) for start in starts]
    return np.concatenate(chunks) if chunks else np.zeros(0, dtype=bool)


def _steady(regions: FaceRegions) -> Int[np.ndarray, "n_steady"]:
    vertices = np.flatnonzero(regions.steady)
    return vertices[:: -(-len(vertices) // MOST_STEADY) or 1]


def _gathered(
    sequence: MeshSequence, frames: Int[np.ndarray, "n_usable"], vertices: Int[np.ndarray, "n_some"]
) -> Float[np.ndarray, "n_usable n_some 3"]:
    """Some vertices of some frames, without the others ever being in memory together."""
    found = np.empty((len(frames), len(vertices), 3))
    for row, frame in enumerate(frames.tolist()):
        found[row] = sequence.vertices[frame][vertices]
    return found


def _follows(sequence: MeshSequence, frames: Int[np.ndarray, "n_usable"], fps: float) -> Bool[np.ndarray, "n_usable"]:
    """Whether each usable frame comes right after the one before: nothing between was lost or unusable."""
    seconds = sequence.timestamps_usec[frames] * 1e-6
    apart = np.diff(seconds)
    near = (np.diff(frames) == 1) & (apart > 0) & (apart < GAP / fps)
    return np.concatenate([[False], near])


def _accumulate(
    sequence: MeshSequence, held: Stabiliser, *, frames: np.ndarray, follows: np.ndarray, by: Yardstick
) -> tuple[Float[np.ndarray, "n_verts 3"], Float[np.ndarray, "n_verts"], Float[np.ndarray, "n_usable n_parcels 3"]]:
    """Every vertex's displacements summed, along the axes and their lengths; and the small regions' places."""
    count = len(by.regions.template)
    sums, lengths, places = np.zeros((count, 3)), np.zeros(count), []
    before: np.ndarray | None = None
    for start in range(0, len(frames), CHUNK_FRAMES):
        rows = np.arange(start, min(start + CHUNK_FRAMES, len(frames)))
        head = held.apply(np.asarray(sequence.vertices[frames[rows]], np.float64), rows)
        places.append(by.parcels.means(head))
        joined = head if before is None else np.concatenate([before, head])
        kept = follows[rows] if before is not None else follows[rows][1:]
        steps = np.diff(joined, axis=0)[kept]
        sums += np.abs(steps).sum(axis=0)
        lengths += np.linalg.norm(steps, axis=2).sum(axis=0)
        before = head[-1:]
    return sums, lengths, np.concatenate(places)


def _by_status(status: np.ndarray | None, frames: int) -> dict[int, int]:
    if status is None:
        return {0: frames}
    return {code: int((status == code).sum()) for code in STATUS if (status == code).any()}
