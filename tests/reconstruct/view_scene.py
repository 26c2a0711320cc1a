"""A tiny world to look at: a ball before two cameras, drawn by exact ray-ball intersections."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import soundfile

from mmface4d.cameras import Intrinsics, RgbdCamera
from mmface4d.rig_calibration import RigCalibration
from mmface4d.sequence import write_sequence
from mmface4d.take import FrameTable, Take, TakeCamera, TakeWriter
from mmface4d.transforms import invert, rigid, rotation_from_rotvec, transform

CENTER_M, RADIUS_M = np.array([0.02, 0.01, 0.8]), 0.09
LENS = (0.12, -0.09, 6e-4, -4e-4, 0.02, 0.0, 0.0, 0.0)
COLOR = Intrinsics(width=320, height=180, fx=300.0, fy=302.0, cx=161.0, cy=88.0, distortion=LENS)
DEPTH = Intrinsics(width=160, height=144, fx=160.0, fy=160.0, cx=80.5, cy=71.0, distortion=LENS)
COLOR_FROM_DEPTH = rigid(rotation_from_rotvec(np.array([0.1, 0.0, 0.01])), np.array([-0.032, -0.002, 0.004]))
SERIALS = ("MASTER", "SIDE")
START_USEC, STEP_USEC = 1_000_000, 33_333
AUDIO_RATE, AUDIO_LEAD_S = 16_000, 0.2


@dataclass(frozen=True)
class World:
    """Where the files of the tiny world lie."""

    take: Path
    sequence: Path
    calibration: Path
    timestamps_usec: np.ndarray


def make_rig(serials: tuple[str, ...] = SERIALS) -> RigCalibration:
    """Cameras that look at the ball, the second 40 degrees from the first and further ones between them."""
    cameras = {serial: RgbdCamera(serial, COLOR, DEPTH, COLOR_FROM_DEPTH) for serial in serials}
    poses = {"MASTER": np.eye(4)}
    for index, serial in enumerate(serials[1:]):
        turn = rotation_from_rotvec(np.array([0.0, np.radians(40 - 7 * index), 0.0]))
        poses[serial] = rigid(turn, CENTER_M - turn @ np.array([0.0, 0.0, 0.8]))
    return RigCalibration("MASTER", cameras, poses, {"loop_mm": 0.25, "<b>": "<i>x</i>"})


def ball_depth_mm(rig: RigCalibration, serial: str) -> np.ndarray:
    """What a depth camera measures of the ball, rounded to millimetres."""
    center = transform(invert(rig.world_from_depth(serial)), CENTER_M)
    rays = rig.cameras[serial].depth.ray_grid.astype(np.float64)
    a, b = (rays**2).sum(-1), rays @ center
    root = b**2 - a * (center @ center - RADIUS_M**2)
    with np.errstate(invalid="ignore"):
        z = (b - np.sqrt(root)) / a
    return np.where(root > 0, np.nan_to_num(z) * 1000 + 0.5, 0).astype(np.uint16)


def ball_mesh(radius_m: float = RADIUS_M, rings: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """The half of the ball that faces the master, as vertices float32 [N,3] and faces, counter-clockwise outside."""
    polar, around = np.meshgrid(np.linspace(0.01, np.pi / 2, rings), np.linspace(0, 2 * np.pi, rings), indexing="ij")
    points = np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), -np.cos(polar)], -1)
    grid = np.arange(rings * rings).reshape(rings, rings)
    a, b, c, d = grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]
    faces = np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([a, d, c], -1).reshape(-1, 3)])
    return (CENTER_M + radius_m * points.reshape(-1, 3)).astype(np.float32), faces.astype(np.int32)


def make_take(folder: Path, rig: RigCalibration, timestamps_usec: np.ndarray, *, sound: bool = True) -> Take:
    """A take of the ball; SIDE misses frame 1. The sound is one click, at the time of frame 3."""
    cameras = [TakeCamera(s, "master" if s == "MASTER" else "subordinate", rig.cameras[s]) for s in rig.cameras]
    _, jpeg = cv2.imencode(".jpg", np.full((COLOR.height, COLOR.width, 3), (60, 120, 200), np.uint8))
    device_usec = {serial: timestamps_usec.copy() for serial in rig.cameras}
    if "SIDE" in device_usec:
        device_usec["SIDE"][1] = -1
    with TakeWriter(folder, cameras, fps=30.0) as writer:
        for serial in rig.cameras:
            depth_mm = ball_depth_mm(rig, serial)
            for usec in device_usec[serial][device_usec[serial] >= 0].tolist():
                writer.write(
                    serial, color_jpeg=jpeg.tobytes(), depth_mm=depth_mm, color_usec=int(usec), depth_usec=int(usec)
                )
        audio = None
        if sound:
            samples = np.zeros(int(AUDIO_RATE * 2), dtype=np.float32)
            click_s = AUDIO_LEAD_S + (timestamps_usec[3] - timestamps_usec[0]) / 1e6
            samples[round(click_s * AUDIO_RATE) : round(click_s * AUDIO_RATE) + 80] = 0.8
            soundfile.write(folder.with_suffix(".wav"), samples, AUDIO_RATE, subtype="PCM_16")
            start_usec = int(timestamps_usec[0] - AUDIO_LEAD_S * 1e6)
            audio = writer.set_audio(folder.with_suffix(".wav"))
            audio = audio.model_copy(update={"start_usec": start_usec, "start_source": "given"})
        return writer.finish(FrameTable(timestamps_usec, device_usec, device_usec), audio=audio)


def make_world(
    folder: Path, *, sound: bool = True, take_name: str = "take", serials: tuple[str, ...] = SERIALS
) -> World:
    """A take of eight frames with two lost instants, its calibration, and the sequence of the true surface."""
    timestamps_usec = START_USEC + STEP_USEC * np.array([0, 1, 2, 3, 6, 7, 8, 9])
    rig = make_rig(serials)
    rig.save(folder / "calibration.json")
    make_take(folder / take_name, rig, timestamps_usec, sound=sound)
    vertices, faces = ball_mesh()

    def frame(index: int) -> dict[str, np.ndarray]:
        status = np.array(1 if index == 1 else 0, np.uint8)
        residual = np.array(np.nan if index == 5 else 0.3, np.float32)
        return {
            "vertices": vertices, "timestamps_usec": np.array(timestamps_usec[index]), "status": status,
            "depth_residual_mm": residual, "coverage": np.array(0.9, np.float32),
        }  # fmt: skip

    text = (folder / "calibration.json").read_text()
    of_sequence = {"faces": faces, "fps": 30.0, "model": "ball", "take": take_name, "calibration_json": text}
    write_sequence(folder / "sequence.npz", of_sequence=of_sequence, frame_count=8, read_frame=frame)
    return World(folder / take_name, folder / "sequence.npz", folder / "calibration.json", timestamps_usec)
