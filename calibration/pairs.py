"""How each pair of cameras stands: first from landmarks, then from surfaces."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float

from calibration.icp import LEVELS, Alignment, Level, align
from calibration.pose_graph import Edge, require_connected, spanning_edges, spanning_poses
from calibration.rigid import RansacSettings, robust_rigid
from calibration.views import INNER_FACE, View
from mmface4d.arrays import Points, Transform
from mmface4d.errors import CalibrationError
from mmface4d.progress import progress
from mmface4d.transforms import invert, rotation_angle_deg, transform

HELD_OUT = np.arange(len(INNER_FACE)) % 3 == 1  # landmarks that no fit uses, for the report
MIN_AGREEING = 8  # landmarks
MIN_OVERLAP, MIN_INLIERS = 0.05, 150
MAX_MOVE_DEG, MAX_MOVE_M = 20.0, 0.030  # how far surfaces may move a pair from where landmarks put it
AGREEING_M, MAX_LANDMARK_GAP_M = 0.008, 0.020  # and how far landmarks that agreed may part then
MAX_SETTLE_DEG, MAX_SETTLE_M = 4.0, 0.010  # and a pair from where the other pairs put it
STABLE_OVERLAP = 0.3  # pairs that overlap less are too loose to judge single frames by
ODD_MM, ODD_SPREADS = 1.5, 5.0
ONE_FRAME = (Level(0.008, 4, 4.0, iterations=12),)

Views = dict[str, list[View | None]]


@dataclass(frozen=True)
class PairFit:
    """How two cameras stand to each other: one alignment over all frames, and each frame's own by its index.

    `center` is the middle of the head in the target's frame (metres).
    """

    source: str
    target: str
    alignment: Alignment
    per_frame: dict[int, Transform]
    center: Points

    @property
    def edge(self) -> Edge:
        """As an edge of the pose graph."""
        return Edge(self.source, self.target, self.alignment.target_from_source, self.alignment.information)

    def moves(self) -> dict[int, tuple[float, float]]:
        """How far each frame's own alignment lies from that of all: degrees, and millimetres at the head."""
        pooled = self.alignment.target_from_source
        return {frame: _move(own, pooled, self.center) for frame, own in self.per_frame.items()}


def fit_landmarks(views: Views) -> list[Edge]:
    """Edges of the pairs of cameras that share enough landmarks; the held-out ones are not used."""
    edges = []
    for source, target in combinations(views, 2):
        both = _both(views, source, target)
        if not both:
            continue
        moving = np.concatenate([view.landmarks[~HELD_OUT] for _, view, _ in both])
        fixed = np.concatenate([view.landmarks[~HELD_OUT] for _, _, view in both])
        try:
            pose, agree = robust_rigid(moving, fixed, RansacSettings(min_inliers=MIN_AGREEING))
        except CalibrationError:
            continue  # these two see different sides of the face; others may connect them
        edges.append(Edge(source, target, pose, np.eye(6) * agree.sum()))
    return edges


def fit_surfaces(views: Views, landmark_edges: Sequence[Edge], *, master: str) -> list[PairFit]:
    """Aligns the surfaces of every overlapping pair.

    The pairs with most common landmarks connect the cameras; the others begin from where those put them, because a
    narrow overlap has false optima farther off. Raises CalibrationError where a camera stays unconnected.
    """
    pairs = list(combinations(views, 2))
    with progress("aligning cameras", len(pairs)) as bar:
        carrying = _carrying_fits(views, landmark_edges, master=master)
        bar.advance(len(carrying))
        poses = spanning_poses([fit.edge for fit in carrying], master=master)
        fits = {(fit.source, fit.target): fit for fit in carrying}
        for source, target in pairs:
            if (source, target) not in fits:
                guess = invert(poses[target]) @ poses[source]
                fit = _fit_pair(views, Edge(source, target, guess, np.eye(6)), levels=LEVELS[-1:])
                if fit is not None and _is_near(fit, guess, deg=MAX_SETTLE_DEG, metres=MAX_SETTLE_M):
                    fits[source, target] = fit
                bar.advance()
    return [fits[pair] for pair in pairs if pair in fits]


def _carrying_fits(views: Views, landmark_edges: Sequence[Edge], *, master: str) -> list[PairFit]:
    """Coarse-to-fine fits of a tree of pairs that connects all cameras."""
    usable = list(landmark_edges)
    done: dict[tuple[str, str], PairFit] = {}
    while True:
        require_connected(list(views), usable, master=master)
        tree = spanning_edges(usable, master=master)
        missing = [edge for edge in tree if (edge.source, edge.target) not in done]
        if not missing:
            return [done[edge.source, edge.target] for edge in tree]
        for edge in missing:
            fit = _fit_from_landmarks(views, edge)
            if fit is None:
                usable.remove(edge)
            else:
                done[edge.source, edge.target] = fit


def _fit_from_landmarks(views: Views, guess: Edge) -> PairFit | None:
    """The coarse-to-fine alignment, begun at a finer level where a narrow overlap leads the coarse ones astray.

    None where every one leaves the landmarks that agreed with the guess.
    """
    agreed = _landmark_gaps_m(views, guess, guess.target_from_source) < AGREEING_M
    for first in range(len(LEVELS)):
        fit = _fit_pair(views, guess, levels=LEVELS[first:])
        if fit is not None and _is_near(fit, guess.target_from_source, deg=MAX_MOVE_DEG, metres=MAX_MOVE_M):
            gaps_m = _landmark_gaps_m(views, guess, fit.alignment.target_from_source)[agreed]
            if np.median(gaps_m) < MAX_LANDMARK_GAP_M:
                return fit
    return None


def _landmark_gaps_m(views: Views, pair: Edge, target_from_source: Transform) -> Float[np.ndarray, "n"]:
    """Distances between the two cameras' positions of each landmark in each frame; NaN where one has none."""
    gaps = [
        np.linalg.norm(transform(target_from_source, a.landmarks) - b.landmarks, axis=1)
        for _, a, b in _both(views, pair.source, pair.target)
    ]
    return np.concatenate(gaps)


def _fit_pair(views: Views, guess: Edge, *, levels: Sequence[Level]) -> PairFit | None:
    """The alignment of one pair; None where it does not overlap enough."""
    both = _both(views, guess.source, guess.target)
    moving, fixed = [view.surface for _, view, _ in both], [view.surface for _, _, view in both]
    alignment = align(moving, fixed, guess.target_from_source, levels=levels)
    if alignment.overlap < MIN_OVERLAP or alignment.inliers < MIN_INLIERS:
        return None
    pose = alignment.target_from_source
    per_frame = {
        frame: align([a.surface], [b.surface], pose, levels=ONE_FRAME).target_from_source for frame, a, b in both
    }
    center = np.mean([surface.points.mean(axis=0) for surface in fixed if len(surface)], axis=0)
    return PairFit(guess.source, guess.target, alignment, per_frame, center)


def odd_frames(fits: Sequence[PairFit]) -> list[int]:
    """Frames that pull a well-overlapping pair far from where all frames put it, as one out of sync does."""
    odd: set[int] = set()
    for fit in fits:
        moves_mm = {frame: move_mm for frame, (_, move_mm) in fit.moves().items()}
        if fit.alignment.overlap < STABLE_OVERLAP or len(moves_mm) < 4:
            continue
        limit_mm = max(ODD_MM, ODD_SPREADS * float(np.median(list(moves_mm.values()))))
        odd |= {frame for frame, move_mm in moves_mm.items() if move_mm > limit_mm}
    return sorted(odd)


def _both(views: Views, source: str, target: str) -> list[tuple[int, View, View]]:
    """Frames that both cameras see, and the two views."""
    pairs = enumerate(zip(views[source], views[target], strict=True))
    return [(i, a, b) for i, (a, b) in pairs if a is not None and b is not None]


def _is_near(fit: PairFit, guess: Transform, *, deg: float, metres: float) -> bool:
    turned_deg, moved_mm = _move(fit.alignment.target_from_source, guess, fit.center)
    return turned_deg < deg and moved_mm < metres * 1e3


def _move(after: Transform, before: Transform, center: Points) -> tuple[float, float]:
    """Degrees, and millimetres at a point of the target frame, between two poses."""
    motion = after @ invert(before)
    return rotation_angle_deg(motion[:3, :3]), float(np.linalg.norm(transform(motion, center) - center) * 1e3)
