"""Whether the disk that takes go to is fast enough and has room, measured by writing."""

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from capture.doctor.finding import Finding, ok, problem, read_text, warning

# One Kinect: 1080p MJPEG of a room is 0.3 to 0.5 MB, NFOV depth packs at least four times (640 x 576 x 2 bytes / 4)
CAMERAS, FPS, JPEG_BYTES, DEPTH_BYTES = 3, 30, 500_000, 184_320
SOUND_BYTES_S = 48_000 * 3
NEEDED_BYTES_S = CAMERAS * FPS * (JPEG_BYTES + DEPTH_BYTES) + SOUND_BYTES_S
AMPLE = 2.0  # times the needed speed: disks slow down as they fill, and pause
LEAST_MINUTES, AMPLE_MINUTES = 10.0, 60.0  # a hundred sentences with their rolls are some ten minutes
BLOCK_BYTES, MOST_BYTES, MOST_S = 4 << 20, 512 << 20, 4.0
SPARE_BYTES = 1 << 30  # the measurement leaves so much free
NETWORK_KINDS = re.compile(r"nfs|cifs|smb|9p|afs|ceph|gluster|lustre|ncpfs|davfs|sshfs|rclone|s3fs|gcsfuse|virtiofs")
FREE_SOME = "free some space, or give another disk with --folder"


def check_folder(folder: Path) -> Finding:
    """Takes can be written there."""
    if not folder.is_dir():
        return problem("folder", f"{folder} is no folder", remedy=f"make it: mkdir -p {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        return problem("folder", f"{folder} may not be written", remedy="choose another folder, or change its owner")
    return ok("folder", str(folder.resolve()))


def check_space(folder: Path) -> Finding | None:
    """Minutes of three cameras that fit."""
    if not folder.is_dir():
        return None
    free = shutil.disk_usage(folder).free
    minutes = free / NEEDED_BYTES_S / 60
    found = f"{free / 1e9:.0f} GB free: {minutes:.0f} minutes of {CAMERAS} cameras at {NEEDED_BYTES_S / 1e6:.0f} MB/s"
    if minutes < LEAST_MINUTES:
        return problem("disk space", found, remedy=FREE_SOME)
    if minutes < AMPLE_MINUTES:
        return warning("disk space", found, remedy=f"enough for one script; for a day, {FREE_SOME}")
    return ok("disk space", found)


def check_speed(folder: Path, *, measure: Callable[[Path], float] | None = None) -> Finding | None:
    """The disk takes what the cameras give."""
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return None
    if shutil.disk_usage(folder).free < MOST_BYTES + SPARE_BYTES:
        return warning("disk speed", "not measured: the disk is nearly full", remedy=FREE_SOME)
    speed = (measure or write_speed)(folder)
    found = f"{speed / 1e6:.0f} MB/s, {CAMERAS} cameras need {NEEDED_BYTES_S / 1e6:.0f}"
    if speed < NEEDED_BYTES_S:
        return problem("disk speed", found, remedy="record to a local SSD")
    if speed < AMPLE * NEEDED_BYTES_S:
        return warning("disk speed", found, remedy="a local SSD is advised; close programs that write")
    return ok("disk speed", found)


def write_speed(folder: Path) -> float:
    """Bytes a second, written one after another and brought to the disk; the file has no name and leaves nothing."""
    block = memoryview(os.urandom(BLOCK_BYTES))  # nothing that a file system could pack
    written = 0
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        started = time.monotonic()
        while written < MOST_BYTES and time.monotonic() - started < MOST_S:
            written += file.write(block)
            if written % (16 * BLOCK_BYTES) == 0:
                os.fsync(file.fileno())  # so that a slow disk ends the loop in time
        os.fsync(file.fileno())
        return written / (time.monotonic() - started)


def check_file_system(folder: Path, root: Path = Path("/")) -> Finding | None:
    """A disk of this machine: networks pause, and the recorder would lose frames."""
    mount = _mount_of(folder.resolve(), read_text(root / "proc/self/mountinfo") or "")
    if mount is None:
        return None
    kind, place = mount
    if NETWORK_KINDS.search(kind):
        return warning(
            "file system", f"{kind} at {place}, over the network",
            remedy="record to a local disk and copy takes afterwards",
        )  # fmt: skip
    return ok("file system", f"{kind} at {place}")


def _mount_of(folder: Path, mountinfo: str) -> tuple[str, Path] | None:
    """Kind and place of the file system that holds a folder; later mounts hide earlier ones (proc_pid_mountinfo(5))."""
    best: tuple[str, Path] | None = None
    for line in mountinfo.splitlines():
        before, dash, after = line.partition(" - ")
        if not dash or len(before.split()) < 5 or not after.split():
            continue
        place = Path(re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), before.split()[4]))
        if folder.is_relative_to(place) and (best is None or len(place.parts) >= len(best[1].parts)):
            best = after.split()[0], place
    return best
