"""The report: one HTML file that needs nothing beside it and nothing from the network."""

import base64
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmface4d.page import markup
from mmface4d.page.page import write_page
from mmface4d.sequence import STATUS
from reconstruct.view.figures import (
    camera_place,
    duration_s,
    figures,
    fit_counts,
    frame_gaps,
    median,
    missing_frames,
    per_frame,
    verdict,
)
from reconstruct.view.heatmap import SPAN_MM, Residuals, diverging
from reconstruct.view.overlay import HUES
from reconstruct.view.pictures import Picture, jpeg_uri
from reconstruct.view.plots import STATUS_INK, UNKNOWN_INK, line_plot, status_plot
from reconstruct.view.scene import Scene

MAX_EMBEDDED_BYTES = 25_000_000
VERDICT_WORDS = {"good": "Looks good", "look": "Look closer", "poor": "Not usable as it is"}
# per-frame figure: (title, unit, fixed top of the scale)
PLOTS: dict[str, tuple[str, str, float | None]] = {
    "depth_residual_mm": ("Distance of mesh and measured depth (median)", "mm", None),
    "landmark_residual_px": ("Distance of mesh and face landmarks (median)", "px", None),
    "coverage": ("Part of the face that depth supports", "", 1.0),
    "offset_rms": ("Fine shape beyond the face model (RMS)", "mm", None),
}


@dataclass(frozen=True)
class Pictures:
    """What the report shows; None where the scene cannot give it."""

    sheet: Picture
    heat: Picture | None = None
    overlay: Picture | None = None
    poster: Picture | None = None  # stands in the player until it plays


def write_report(
    path: Path, scene: Scene, pictures: Pictures, *, residuals: Residuals | None, video: Path | None
) -> dict[str, Any]:
    """Writes the page; a video beside it is embedded where it is small enough. Returns the figures it shows."""
    parts = [
        _verdict(scene, residuals),
        markup.section("Notes", "", markup.bullets(scene.notes)) if scene.notes else "",
        _cards(scene),
        _video(scene, video, pictures.poster),
        _sheet(scene, pictures.sheet),
        _heat(pictures.heat, residuals),
        _plots(scene),
        _cameras(scene),
        _sync(scene),
        _calibration(scene, pictures.overlay),
    ]
    write_page(path, title=_title(scene), subtitle=_subtitle(scene), parts=parts)
    return figures(scene, residuals)


def _title(scene: Scene) -> str:
    kind = "Take" if scene.sequence is None else "Sequence"
    name = scene.path.resolve().name
    return (
        f"{kind} {name} of {scene.take.name}"
        if scene.sequence is not None and scene.take is not None
        else f"{kind} {name}"
    )


def _subtitle(scene: Scene) -> str:
    parts = [f"{len(scene.frames)} frames", f"{duration_s(scene):.2f} s at {scene.fps:g} frames a second"]
    if scene.sequence is not None:
        parts.append(f"{scene.sequence.vertices.shape[1]:,} vertices")
        parts += [f"{name} {scene.sequence[name]}" for name in ("model", "solver") if name in scene.sequence]
    return " · ".join(parts)


def _verdict(scene: Scene, residuals: Residuals | None) -> str:
    judged = verdict(scene, residuals)
    text = "; ".join(judged.reasons) or "nothing stands out; watch the preview to be sure"
    return markup.verdict(judged.level, VERDICT_WORDS[judged.level], f"{text[0].upper() + text[1:]}.")


def _cards(scene: Scene) -> str:
    items = [("length", f"{duration_s(scene):.2f} s")]
    if scene.take is not None:
        missing = sum(missing_frames(scene, serial) for serial in scene.take.cameras)
        items.append((f"pictures lost by {len(scene.take.cameras)} cameras", str(missing)))
    for name, words, form in (
        ("depth_residual_mm", "mesh to depth, median", "{:.2f} mm"),
        ("landmark_residual_px", "mesh to landmarks, median", "{:.1f} px"),
        ("coverage", "of the face seen by depth", "{:.0%}"),
    ):
        value = median(scene, name)
        if value is not None:
            items.append((words, form.format(value)))
    status = per_frame(scene, "status")
    if status is not None:
        items.append(("frames fitted with all cameras", f"{int((status == 0).sum())} of {len(status)}"))
    how = fit_counts(scene)
    if how is not None:
        items.append(("frames tracked, refitted, carried", f"{how['tracked']}, {how['refitted']}, {how['carried']}"))
    return markup.cards(items)


def _video(scene: Scene, video: Path | None, poster: Picture | None) -> str:
    if video is None:
        return ""
    source = video.name
    if video.stat().st_size <= MAX_EMBEDDED_BYTES:
        source = "data:video/mp4;base64," + base64.b64encode(video.read_bytes()).decode()
    sound = scene.take is not None and scene.take.audio_path is not None
    lead = ("With the take's sound. " if sound else "Without sound. ") + "The menu of the player has slower speeds."
    still = f' poster="{jpeg_uri(poster)}"' if poster is not None else ""
    return markup.section("Preview", lead, f'<video controls loop playsinline{still} src="{source}"></video>')


def _sheet(scene: Scene, sheet: Picture) -> str:
    lead = "Frames from all over the recording, from left to right in time."
    if scene.sequence is not None and scene.take is not None:
        lead += " The blue mesh should lie on the face in every camera; orange: carried over from before."
    return markup.section("Frames", lead, markup.picture(jpeg_uri(sheet), "contact sheet of frames"))


def _heat(heat: Picture | None, residuals: Residuals | None) -> str:
    if heat is None or residuals is None:
        return ""
    lead = (
        f"Mean over {residuals.frame_count} frames and all cameras. Red: the mesh lies outside the measured surface, "
        "towards the cameras; blue: inside. Speckle is sensor noise; patches of one colour are errors. Grey: unseen."
    )
    numbers = residuals.figures()
    rows = [
        ("all cameras, median", _mm(numbers["median_mm"])),
        ("all cameras, median without sign", _mm(numbers["median_absolute_mm"], sign=False)),
        ("all cameras, 95 % are nearer than", _mm(numbers["p95_absolute_mm"], sign=False)),
        *((f"camera {serial}, median", _mm(value)) for serial, value in residuals.by_camera_mm.items()),
    ]
    content = markup.picture(jpeg_uri(heat), "distance of mesh and depth, coloured") + _scale()
    return markup.section(
        "Distance of mesh and measured depth", lead, content + markup.table(("vertices of", "distance"), rows)
    )


def _scale() -> str:
    values = np.linspace(-SPAN_MM, SPAN_MM, 17)
    inks = (np.clip(diverging(values), 0, 1) ** (1 / 2.2) * 255).round().astype(int)
    stops = ",".join(f"rgb({red},{green},{blue})" for red, green, blue in inks.tolist())
    ticks = "".join(
        f"<span>{value:+g}</span>" if value else "<span>0</span>" for value in np.linspace(-SPAN_MM, SPAN_MM, 5)
    )
    return (
        f'<div class="scale"><div class="bar" style="background:linear-gradient(90deg,{stops})"></div>'
        f'<div class="ticks">{ticks}</div>'
        '<div class="ticks"><span>inside</span><span>mm</span><span>outside</span></div></div>'
    )


def _plots(scene: Scene) -> str:
    seconds = (scene.timestamps_usec - scene.timestamps_usec[0]) / 1e6
    blocks = []
    for name, (title, unit, top) in PLOTS.items():
        values = per_frame(scene, name)
        if values is None or not np.isfinite(values).any():
            continue
        scaled = values.astype(float) * (1000 if name == "offset_rms" else 1)
        blocks.append(f"<div><h3>{title}</h3>{line_plot(seconds, scaled, unit=unit, top=top)}</div>")
    status = per_frame(scene, "status")
    if status is not None:
        codes = np.unique(status).tolist()
        legend = markup.key((STATUS_INK.get(code, UNKNOWN_INK), STATUS.get(code, f"status {code}")) for code in codes)
        strip = status_plot(seconds, status.astype(np.int64), frame_s=1 / scene.fps)
        blocks.append(f"<div><h3>Status of each frame</h3>{strip}{legend}</div>")
    if not blocks:
        return ""
    lead = "Steps and spikes are worth a look in the preview at that time."
    return markup.section("Frame by frame", lead, f'<div class="plots">{"".join(blocks)}</div>')


def _cameras(scene: Scene) -> str:
    if scene.take is None:
        return ""
    rows = []
    for serial, camera in scene.take.cameras.items():
        place = camera_place(scene, serial)
        color, depth = camera.rgbd.color, camera.rgbd.depth
        lost = f"{missing_frames(scene, serial)} of {len(scene.frames)}"
        row = [serial, camera.role, f"{color.width}×{color.height}", f"{depth.width}×{depth.height}", lost]
        if scene.calibration is not None:
            row.append("not calibrated" if place is None else f"{place[0]:.0f} mm, {place[1]:.1f}°")
        rows.append(row)
    head = ["camera", "role", "colour", "depth", "lost pictures", "distance and turn from the master"]
    return markup.section("Cameras", "", markup.table(head[: len(rows[0])], rows))


def _sync(scene: Scene) -> str:
    if scene.take is None:
        return ""
    info = scene.take.info
    rows: list[tuple[str, str]] = []
    if info.sync.pairs:
        sync = info.sync
        error = f"median {sync.median_usec:.0f} µs, p99 {sync.p99_usec:.0f} µs, largest {sync.max_usec:.0f} µs"
        rows.append(("cameras apart in time", error))
    rows.append(("instants without any picture", str(frame_gaps(scene))))
    rows.append(("captures without partners", str(len(info.unmatched))))
    for serial, clock in info.clocks.items():
        if serial != info.master:
            rows.append(
                (f"clock of {serial}", f"{clock.offset_usec:+.0f} µs, {clock.rate_ppm:+.1f} ppm against the master's")
            )
    rows.append(("sound", _sound(scene)))
    return markup.section("Synchronisation", "", markup.table(("what", "value"), rows))


def _sound(scene: Scene) -> str:
    assert scene.take is not None  # the caller's condition
    audio = scene.take.info.audio
    if audio is None:
        return "none"
    text = f"{audio.duration_s:.2f} s at {audio.rate} Hz, "
    if audio.start_usec is None:
        return text + "starts at an unknown time"
    lead_s = (int(scene.take.timestamps_usec[0]) - audio.start_usec) / 1e6
    where = "before" if lead_s >= 0 else "after"
    return text + f"starts {abs(lead_s):.3f} s {where} the first frame (known from: {audio.start_source})"


def _calibration(scene: Scene, overlay: Picture | None) -> str:
    if scene.calibration is None:
        return ""
    content = ""
    if overlay is not None:
        keys = ((f"rgb{hue}", serial) for serial, hue in zip(scene.serials, HUES, strict=False))
        content += markup.picture(jpeg_uri(overlay), "surfaces measured by all cameras") + f"<p>{markup.key(keys)}</p>"
    tables = markup.nested(scene.calibration.report, "figure")
    if tables:
        content += markup.folded("Everything that the calibration found out about itself", tables)
    lead = (
        "What each camera measured at one instant, brought together: where the cameras agree, the hues mix finely "
        "and the lines of the slice (right, seen from above) lie on each other."
    )
    return markup.section("Calibration", lead if overlay is not None else "", content) if content else ""


def _mm(value: float | None, *, sign: bool = True) -> str:
    if value is None or math.isnan(value):
        return "not seen"
    return f"{value:+.2f} mm" if sign else f"{value:.2f} mm"
