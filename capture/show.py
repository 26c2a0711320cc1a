"""What a take holds, as numbers and as a page of text."""

import re
from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np

from capture.check_sound import SOUND_TOLERANCE_S
from capture.gaps import camera_gaps, present_frames
from mmface4d.take import Take

MOST_GAPS_SHOWN = 5


def summarize_take(take: Take) -> dict[str, Any]:
    """Cameras, frames, gaps, sync error and sound of a take; plain numbers, ready for JSON."""
    return {
        "name": take.name,
        "frames": len(take),
        "fps": take.fps,
        "duration_s": duration_s(take),
        "master": take.master,
        "bytes": sum(path.stat().st_size for path in take.path.iterdir() if path.is_file()),
        "cameras": {serial: _camera(take, serial) for serial in take.cameras},
        "sync": take.info.sync.model_dump(),
        "unmatched": {"count": len(take.info.unmatched), "reasons": _reasons(take)},
        "audio": _audio(take),
        "source": take.info.source,
        "notes": take.info.notes,
    }


def duration_s(take: Take) -> float:
    """From the first frame to the end of the last."""
    if not len(take):
        return 0.0
    return round(float(take.timestamps_usec[-1] - take.timestamps_usec[0]) / 1e6 + 1.0 / take.fps, 6)


def _camera(take: Take, serial: str) -> dict[str, Any]:
    camera, clock = take.cameras[serial], take.info.clocks.get(serial)
    present = present_frames(take, serial)
    index = np.flatnonzero(present)
    return {
        "role": camera.role,
        "color_size": list(camera.rgbd.color.size),
        "depth_size": list(camera.rgbd.depth.size),
        "depth_delay_usec": camera.depth_delay_usec,
        "subordinate_delay_usec": camera.subordinate_delay_usec,
        "frames": int(present.sum()),
        "missing": int((~present).sum()),
        "first_frame": int(index[0]) if len(index) else None,
        "last_frame": int(index[-1]) if len(index) else None,
        "gaps": [asdict(gap) for gap in camera_gaps(take, serial)],
        "clock": clock.model_dump() if clock else None,
        "settings": camera.settings,
    }


def _reasons(take: Take) -> dict[str, int]:
    """How often each reason stands; numbers in a reason do not make it another."""
    return dict(Counter(re.sub(r"^\d+ us away", "too far", record.reason) for record in take.info.unmatched))


def _audio(take: Take) -> dict[str, Any] | None:
    audio = take.info.audio
    if audio is None:
        return None
    start_s = beyond_s = None
    if audio.start_usec is not None and len(take):
        start_s = round((audio.start_usec - int(take.timestamps_usec[0])) / 1e6, 6)
        beyond_s = round((audio.start_usec - int(take.timestamps_usec[-1])) / 1e6 + audio.duration_s, 6)
    return {
        "duration_s": audio.duration_s,
        "rate": audio.rate,
        "channels": audio.channels,
        "samples": audio.samples,
        "start_s": start_s,
        "start_source": audio.start_source,
        "beyond_last_frame_s": beyond_s,
    }


def summary_text(summary: dict[str, Any]) -> str:
    """The summary for a person to read."""
    size_mb = summary["bytes"] / 1e6
    lines = [
        f"{summary['name']}: {summary['frames']} frames at {summary['fps']:g} fps, {summary['duration_s']:.2f} s, "
        f"{len(summary['cameras'])} cameras, {size_mb:.1f} MB",
        "",
        *_camera_table(summary),
        "",
        f"gaps       {_gaps_text(summary)}",
        f"sync       {_sync_text(summary)}",
        f"unmatched  {_unmatched_text(summary['unmatched'])}",
        f"audio      {_audio_text(summary['audio'])}",
    ]
    return "\n".join([*lines, *(f"note       {note}" for note in summary["notes"])])


def _camera_table(summary: dict[str, Any]) -> list[str]:
    rows = [("camera", "role", "colour", "depth", "delay", "frames", "missing", "clock")]
    for serial, camera in summary["cameras"].items():
        rate = "master" if serial == summary["master"] else "unknown"
        if camera["clock"]:
            # exactly zero is what stands there when a take is too short to measure a rate
            rate_ppm = camera["clock"]["rate_ppm"]
            rate = f"{rate_ppm:+.1f} ppm" if rate_ppm else "too short"
        rows.append(
            (
                _named(serial, camera), camera["role"], _size(camera["color_size"]), _size(camera["depth_size"]),
                f"{camera['depth_delay_usec']:+d} µs", str(camera["frames"]), str(camera["missing"]), rate,
            )
        )  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _named(serial: str, camera: dict[str, Any]) -> str:
    place = camera["settings"].get("position")
    return f"{serial} ({place})" if place else serial


def _size(size: list[int]) -> str:
    return f"{size[0]}x{size[1]}"


def _gaps_text(summary: dict[str, Any]) -> str:
    found = [(gap["start_s"], serial, gap) for serial, camera in summary["cameras"].items() for gap in camera["gaps"]]
    if not found:
        return "none"
    found.sort(key=lambda item: item[:2])
    lost = sum(gap["lost"] for _, _, gap in found)
    texts = [f"{serial} at {at:.3f} s for {gap['duration_ms']:.0f} ms" for at, serial, gap in found[:MOST_GAPS_SHOWN]]
    more = f" and {len(found) - MOST_GAPS_SHOWN} more" if len(found) > MOST_GAPS_SHOWN else ""
    return f"{len(found)}, {lost} captures lost: {'; '.join(texts)}{more}"


def _sync_text(summary: dict[str, Any]) -> str:
    sync = summary["sync"]
    if not sync["pairs"]:
        return "one camera" if len(summary["cameras"]) == 1 else "not measured"
    text = f"median {sync['median_usec']:.1f} µs, p99 {sync['p99_usec']:.1f} µs, max {sync['max_usec']:.1f} µs"
    return f"{text} ({sync['pairs']} pairs)"


def _unmatched_text(unmatched: dict[str, Any]) -> str:
    if not unmatched["count"]:
        return "none"
    return f"{unmatched['count']}: " + ", ".join(f"{count} {reason}" for reason, count in unmatched["reasons"].items())


def _audio_text(audio: dict[str, Any] | None) -> str:
    if audio is None:
        return "none"
    channels = {1: "mono", 2: "stereo"}.get(audio["channels"], f"{audio['channels']} channels")
    text = f"{audio['duration_s']:.3f} s, {audio['rate']} Hz, {channels}"
    if audio["start_s"] is None:
        return f"{text}; its start is not known"
    text = f"{text}; starts {audio['start_s']:+.3f} s from the first frame ({audio['start_source']})"
    if audio["beyond_last_frame_s"] < -SOUND_TOLERANCE_S:
        text = f"{text}; WARNING: it ends {-audio['beyond_last_frame_s']:.3f} s before the last frame"
    return text
