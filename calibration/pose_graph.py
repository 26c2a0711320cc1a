"""Poses of all cameras from alignments between pairs of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float

from mmface4d.arrays import Transform
from mmface4d.errors import CalibrationError
from mmface4d.transforms import cross_matrix, invert, rigid, rotation_from_rotvec, rotvec_from_rotation

ITERATIONS = 50
TOLERANCE = 1e-10


@dataclass(frozen=True)
class Edge:
    """An alignment of two cameras and the information (6x6: turn, then shift, in the target's frame) it holds."""

    source: str
    target: str
    target_from_source: Transform
    information: Float[np.ndarray, "6 6"]


def spanning_edges(edges: Sequence[Edge], *, master: str) -> list[Edge]:
    """The strongest edges that connect cameras to the master without a loop, in the order in which they do."""
    reached, tree = {master}, []
    strongest = sorted(edges, key=lambda edge: -float(np.trace(edge.information)))
    while True:
        for edge in strongest:
            if (edge.source in reached) != (edge.target in reached):
                reached |= {edge.source, edge.target}
                tree.append(edge)
                break
        else:
            return tree


def spanning_poses(edges: Sequence[Edge], *, master: str) -> dict[str, Transform]:
    """`world_from_camera` of the cameras that edges connect to the master, along the strongest edges."""
    poses = {master: np.eye(4)}
    for edge in spanning_edges(edges, master=master):
        if edge.target in poses:
            poses[edge.source] = poses[edge.target] @ edge.target_from_source
        else:
            poses[edge.target] = poses[edge.source] @ invert(edge.target_from_source)
    return poses


def require_connected(serials: Sequence[str], edges: Sequence[Edge], *, master: str) -> None:
    """Raises CalibrationError that names the cameras which no chain of edges connects to the master."""
    lost = [serial for serial in serials if serial not in spanning_poses(edges, master=master)]
    if lost:
        raise CalibrationError(
            f"no overlap connects camera {', '.join(lost)} to the master {master}",
            hint="turn the cameras so that neighbours see the same part of the face, then record and calibrate again",
        )


def optimise(
    serials: Sequence[str], edges: Sequence[Edge], *, master: str
) -> tuple[dict[str, Transform], dict[str, Float[np.ndarray, "6 6"]]]:
    """`world_from_camera` that agrees best with all edges, and each pose's covariance (turn, shift, in the world).

    Gauss-Newton over small motions in the world frame; the master stays where it is.
    """
    require_connected(serials, edges, master=master)
    poses = spanning_poses(edges, master=master)
    free = [serial for serial in serials if serial != master]
    information = np.zeros((0, 0))
    for _ in range(ITERATIONS):
        information, gradient = _linearise(free, edges, poses)
        step = np.linalg.solve(information, gradient) if free else np.zeros(0)
        for row, serial in enumerate(free):
            turn, shift = step[6 * row : 6 * row + 3], step[6 * row + 3 : 6 * row + 6]
            poses[serial] = rigid(rotation_from_rotvec(turn), shift) @ poses[serial]
        if np.abs(step).max(initial=0) < TOLERANCE:
            break
    covariance = np.linalg.inv(information) if free else information
    blocks = {serial: covariance[6 * row : 6 * row + 6, 6 * row : 6 * row + 6] for row, serial in enumerate(free)}
    return poses, {master: np.zeros((6, 6)), **blocks}


def _linearise(
    free: Sequence[str], edges: Sequence[Edge], poses: dict[str, Transform]
) -> tuple[Float[np.ndarray, "n n"], Float[np.ndarray, "n"]]:
    information, gradient = np.zeros((6 * len(free), 6 * len(free))), np.zeros(6 * len(free))
    for edge in edges:
        target_from_world = invert(poses[edge.target])
        predicted = target_from_world @ poses[edge.source]
        error = _twist(edge.target_from_source @ invert(predicted))
        moved = _adjoint(target_from_world)  # a motion in the world, seen from the target
        signs = {free.index(s): sign for s, sign in ((edge.source, 1.0), (edge.target, -1.0)) if s in free}
        for a, sign_a in signs.items():
            gradient[6 * a : 6 * a + 6] += sign_a * moved.T @ edge.information @ error
            for b, sign_b in signs.items():
                block = sign_a * sign_b * moved.T @ edge.information @ moved
                information[6 * a : 6 * a + 6, 6 * b : 6 * b + 6] += block
    return information, gradient


def _twist(motion: Transform) -> Float[np.ndarray, "6"]:
    """Turn (rotation vector, radians) and shift (metres) of a motion."""
    return np.concatenate([rotvec_from_rotation(motion[:3, :3]), motion[:3, 3]])


def _adjoint(target_from_source: Transform) -> Float[np.ndarray, "6 6"]:
    """Carries small motions (turn, shift) from the source frame to the target frame."""
    rotation = target_from_source[:3, :3]
    out = np.zeros((6, 6))
    out[:3, :3] = out[3:, 3:] = rotation
    out[3:, :3] = cross_matrix(target_from_source[:3, 3]) @ rotation
    return out


def loops(edges: Sequence[Edge]) -> list[tuple[tuple[str, str, str], Transform]]:
    """Every triangle of edges and the motion that is left after going round it, in its first camera's frame."""
    steps = {(edge.source, edge.target): edge.target_from_source for edge in edges}
    steps |= {(target, source): invert(motion) for (source, target), motion in steps.items()}
    serials = sorted({serial for pair in steps for serial in pair})
    found = []
    for a, b, c in combinations(serials, 3):
        if (a, b) in steps and (b, c) in steps and (c, a) in steps:
            found.append(((a, b, c), steps[c, a] @ steps[b, c] @ steps[a, b]))
    return found
