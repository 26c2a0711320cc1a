"""How far a calibration can be trusted, in numbers that its residuals alone would not tell."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float

from calibration.pairs import HELD_OUT, PairFit, Views
from calibration.pose_graph import loops
from calibration.views import FrameRef
from mmface4d.arrays import Points, Transform
from mmface4d.transforms import rotation_angle_deg, transform

# cameras farther apart see few landmarks in common: what one guesses on the far side of the nose says nothing of poses
SAME_SIDE_DEG = 60.0


def make_report(
    frames: Sequence[FrameRef], views: Views, fits: Sequence[PairFit], *, poses: Mapping[str, Transform],
    covariances: Mapping[str, Float[np.ndarray, "6 6"]], rejected: Sequence[int],
) -> dict[str, Any]:  # fmt: skip
    """The report in `calibration.json`; lengths in millimetres at the head, angles in degrees."""
    center = _head_center(views, poses)
    return {
        "frames": [
            {"take": ref.take.name, "frame": ref.frame, "used": i not in rejected} for i, ref in enumerate(frames)
        ],
        "faces_found": {serial: sum(view is not None for view in mine) for serial, mine in views.items()},
        "pairs": [_pair(fit) for fit in fits],
        "loop_closure": _loop_closure(fits, poses, center),
        "held_out_landmarks": _held_out(views, poses),
        "standard_error": {serial: _standard_error(covariances[serial], center) for serial in poses},
    }


def _pair(fit: PairFit) -> dict[str, Any]:
    """One edge; `repeatability` is the RMS difference of single frames' alignments from that of all."""
    moves = np.array(list(fit.moves().values())).reshape(-1, 2)
    turn_deg, move_mm = np.sqrt((moves**2).mean(axis=0)) if len(moves) else (0.0, 0.0)
    return {
        "source": fit.source,
        "target": fit.target,
        "frames": len(moves),
        "residual_mm": round(fit.alignment.residual_mm, 4),
        "overlap": round(fit.alignment.overlap, 4),
        "inliers": fit.alignment.inliers,
        "repeatability_deg": round(float(turn_deg), 4),
        "repeatability_mm": round(float(move_mm), 4),
    }


def _loop_closure(fits: Sequence[PairFit], poses: Mapping[str, Transform], center: Points) -> dict[str, Any] | None:
    """What is left after going round each triangle of pairs; None without a triangle."""
    closed = []
    for serials, motion in loops([fit.edge for fit in fits]):
        at = transform(np.linalg.inv(poses[serials[0]]), center)
        moved_mm = float(np.linalg.norm(transform(motion, at) - at) * 1e3)
        turned_deg = rotation_angle_deg(motion[:3, :3])
        closed.append({"cameras": list(serials), "deg": round(turned_deg, 4), "mm": round(moved_mm, 4)})
    if not closed:
        return None
    return {"deg": max(loop["deg"] for loop in closed), "mm": max(loop["mm"] for loop in closed), "loops": closed}


def _held_out(views: Views, poses: Mapping[str, Transform]) -> dict[str, Any] | None:
    """Distances between the cameras' own 3-D positions of landmarks that no fit used; None without a near pair."""
    by_pair, everything = [], []
    for a, b in combinations(poses, 2):
        if _axes_apart_deg(poses[a], poses[b]) > SAME_SIDE_DEG:
            continue
        gaps = [
            transform(poses[a], one.landmarks[HELD_OUT]) - transform(poses[b], other.landmarks[HELD_OUT])
            for one, other in zip(views[a], views[b], strict=True)
            if one is not None and other is not None
        ]
        distance_mm = np.linalg.norm(np.concatenate(gaps), axis=1) * 1e3 if gaps else np.zeros(0)
        distance_mm = distance_mm[np.isfinite(distance_mm)]
        if len(distance_mm):
            by_pair.append({"source": a, "target": b, **_spread(distance_mm)})
            everything.append(distance_mm)
    return {**_spread(np.concatenate(everything)), "pairs": by_pair} if everything else None


def _axes_apart_deg(world_from_a: Transform, world_from_b: Transform) -> float:
    """The angle between two cameras' optical axes."""
    cosine = float(world_from_a[:3, 2] @ world_from_b[:3, 2])
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def _spread(distance_mm: Float[np.ndarray, "n"]) -> dict[str, Any]:
    return {
        "median_mm": round(float(np.median(distance_mm)), 3),
        "p90_mm": round(float(np.percentile(distance_mm, 90)), 3),
        "within_10_mm": round(float((distance_mm < 10).mean()), 3),
        "count": len(distance_mm),
    }


def _standard_error(covariance: Float[np.ndarray, "6 6"], center: Points) -> dict[str, float]:
    """What the sensor's noise alone makes uncertain; a depth bias of a device comes on top."""
    x, y, z = center
    shift_of_motion = np.hstack([np.array([[0, z, -y], [-z, 0, x], [y, -x, 0]]), np.eye(3)])
    at_head = shift_of_motion @ covariance @ shift_of_motion.T
    return {
        "deg": round(float(np.degrees(np.sqrt(np.trace(covariance[:3, :3])))), 4),
        "mm": round(float(np.sqrt(np.trace(at_head)) * 1e3), 4),
    }


def _head_center(views: Views, poses: Mapping[str, Transform]) -> Points:
    """The middle of all views' landmarks, world frame."""
    points = [
        transform(poses[serial], view.landmarks[np.isfinite(view.landmarks).all(axis=1)])
        for serial, mine in views.items()
        for view in mine
        if view is not None
    ]
    return np.mean(np.concatenate(points), axis=0)
