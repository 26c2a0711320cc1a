"""Rendered clips on disk, so that a sentence is rendered once.

One zip a clip, stored without compression (pictures are compressed already): `clip.json`, `sound.npy`, and for every
frame and device a JPEG and a packed depth picture. The zip's checksums tell a damaged one, which is then forgotten.
"""

import io
import json
import os
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np

from capture.virtual.rig import Shot
from capture.virtual.stage import Clip
from mmface4d.depth_codec import decode_depth, encode_depth
from mmface4d.errors import DiskFullError, TakeError
from mmface4d.files import atomic_path, user_cache_folder

FORMAT = 1
MAX_BYTES = 6 << 30  # some forty sentences at 30 fps
STALE_S = 24 * 3600.0  # after which what a killed process left is removed
# what a zip with any one bit flipped raises; RuntimeError is "encrypted" and "compressed in an unknown way"
_DAMAGE = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, KeyError, RuntimeError, TakeError)
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)  # equal clips are equal files


class ClipCache:
    """Clips by key in a folder whose size is bounded: the ones that were not asked for the longest go first."""

    def __init__(self, folder: Path | None = None, *, max_bytes: int = MAX_BYTES) -> None:
        self.folder = folder or user_cache_folder() / "clips"
        self.max_bytes = max_bytes

    def path(self, key: str) -> Path:
        """Where a clip lies if it is there."""
        return self.folder / f"{key}.zip"

    def get(self, key: str) -> Clip | None:
        """The clip, or None where there is none; a damaged one is deleted."""
        path = self.path(key)
        if not path.is_file():
            return None
        try:
            clip = _read(path)
            os.utime(path)
        except _DAMAGE:
            path.unlink(missing_ok=True)
            return None
        return clip

    def put(self, key: str, clip: Clip) -> bool:
        """Keeps a clip and makes room for it; False where the disk has none, which is no error."""
        try:
            with atomic_path(self.path(key)) as partial:
                _write(partial, clip)
        except (DiskFullError, PermissionError):
            return False
        self._make_room(keep=self.path(key))
        return True

    def _make_room(self, *, keep: Path) -> None:
        now = time.time()
        sizes: dict[Path, tuple[float, int]] = {}
        for path in self.folder.glob("*.zip"):
            try:
                state = path.stat()
            except FileNotFoundError:
                continue  # another process made room as well
            if not path.name.startswith("."):
                sizes[path] = (state.st_mtime, state.st_size)
            elif now - state.st_mtime > STALE_S:
                path.unlink(missing_ok=True)
        total = sum(size for _, size in sizes.values())
        for path in sorted(sizes, key=lambda path: sizes[path][0]):
            if total <= self.max_bytes:
                return
            if path != keep:
                path.unlink(missing_ok=True)
                total -= sizes[path][1]


def _write(path: Path, clip: Clip) -> None:
    serials = sorted(clip.shots[0]) if clip.shots else []
    sizes = {serial: list(clip.shots[0][serial].depth_mm.shape) for serial in serials}
    head = {"format": FORMAT, "frames": len(clip.shots), "depth_shape": sizes}
    sound = io.BytesIO()
    np.save(sound, clip.sound, allow_pickle=False)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        _add(file, "clip.json", json.dumps(head).encode())
        _add(file, "sound.npy", sound.getvalue())
        for frame, shots in enumerate(clip.shots):
            for serial in serials:
                _add(file, f"{frame:06d}.{serial}.jpg", shots[serial].color_jpeg)
                _add(file, f"{frame:06d}.{serial}.depth", encode_depth(shots[serial].depth_mm))


def _add(file: zipfile.ZipFile, name: str, data: bytes) -> None:
    file.writestr(zipfile.ZipInfo(name, _FIXED_TIME), data)


def _read(path: Path) -> Clip:
    with zipfile.ZipFile(path) as file:
        head = json.loads(file.read("clip.json"))
        if head["format"] != FORMAT:
            raise ValueError("another format")
        sound = np.load(io.BytesIO(file.read("sound.npy")), allow_pickle=False)
        shots = []
        for frame in range(head["frames"]):
            shot = {}
            for serial, (height, width) in head["depth_shape"].items():
                depth_mm = decode_depth(file.read(f"{frame:06d}.{serial}.depth"), width=width, height=height)
                shot[serial] = Shot(file.read(f"{frame:06d}.{serial}.jpg"), depth_mm)
            shots.append(shot)
    return Clip(tuple(shots), sound)
