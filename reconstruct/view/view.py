"""One call that looks at a scene: preview, pictures, figures, report."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmface4d.errors import InputError
from mmface4d.files import disk_full_is_an_error
from mmface4d.progress import Progress, progress
from reconstruct.view import heatmap
from reconstruct.view.overlay import overlay_pictures
from reconstruct.view.panels import MeshPanel, Panel, make_panel
from reconstruct.view.pictures import Picture, fit
from reconstruct.view.report import Pictures, write_report
from reconstruct.view.scene import Scene
from reconstruct.view.video import Sound, write_video

VIDEO_NAME, REPORT_NAME = "preview.mp4", "report.html"
SHEET_FRAMES = 6
SHEET_COLUMN = 196
SHEET_GAP = 4
PAPER = (255, 255, 255)


def look_at(scene: Scene, folder: Path, *, with_video: bool = True) -> dict[str, Any]:
    """Writes `preview.mp4` and `report.html` into a folder, replacing those of an earlier call.

    Returns the paths and the figures. Raises InputError where the folder cannot be made.
    """
    try:
        with disk_full_is_an_error(folder):
            folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise InputError(f"{folder} is a file", hint="give a folder with -o") from error
    panel = make_panel(scene)
    video = folder / VIDEO_NAME if with_video else None
    if video is not None:
        with progress("preview", len(scene.frames)) as bar:
            write_preview(video, scene, panel, bar)
    residuals = None
    if heatmap.can_measure(scene):
        with progress("distances", len(scene.spread(heatmap.FRAMES))) as bar:
            residuals = heatmap.measure(scene, bar)
    pictures = make_pictures(scene, panel, residuals)
    found = write_report(folder / REPORT_NAME, scene, pictures, residuals=residuals, video=video)
    return {"report": str(folder / REPORT_NAME), "video": str(video) if video else None, **found}


def write_preview(path: Path, scene: Scene, panel: Panel, bar: Progress) -> None:
    """The video of a scene, with the take's sound where it has any whose time is known."""

    def frames() -> Iterator[Picture]:
        for position in range(len(scene.frames)):
            yield panel.draw(position)
            bar.advance()

    write_video(
        path, frames(), timestamps_usec=scene.timestamps_usec, frame_usec=round(1e6 / scene.fps), sound=_sound(scene)
    )


def _sound(scene: Scene) -> Sound | None:
    if scene.take is None or scene.take.audio_path is None or not scene.take.audio_path.is_file():
        return None
    start_usec = scene.take.audio_start_usec
    if start_usec is None:
        scene.notes.append("When the sound starts is not known: the preview plays it from the take's first frame on.")
        start_usec = int(scene.take.timestamps_usec[0])
    return Sound(scene.take.audio_path, start_usec)


def make_pictures(scene: Scene, panel: Panel, residuals: heatmap.Residuals | None) -> Pictures:
    """The still pictures of the report."""
    best = _representative(scene)
    heat, axes = None, None
    if isinstance(panel, MeshPanel):
        axes = panel.world_from_head
        vertices = scene.vertices(best)
        if residuals is not None and vertices is not None and scene.sequence is not None:
            faces = np.asarray(scene.sequence.faces)
            heat = heatmap.heat_pictures(residuals.mean_mm, vertices, faces, world_from_head=axes)
    overlay = overlay_pictures(scene, position=best, world_from_head=axes)
    return Pictures(contact_sheet(scene, panel), heat, overlay, poster=panel.draw(best))


def contact_sheet(scene: Scene, panel: Panel) -> Picture:
    """A column a frame: the cameras' pictures with the mesh in place and the mesh alone, or colour and depth."""
    columns = []
    for position in scene.spread(SHEET_FRAMES):
        tiles = [fit_width(tile, SHEET_COLUMN) for tile in panel.tiles(position)]
        columns.append(np.concatenate([_edged(tile) for tile in tiles], 0))
    return np.concatenate(columns, 1)


def fit_width(image: Picture, width: int) -> Picture:
    """A picture resized to a width."""
    return fit(image, width, round(image.shape[0] * width / image.shape[1]))


def _edged(tile: Picture) -> Picture:
    return np.pad(tile, ((0, SHEET_GAP), (0, SHEET_GAP), (0, 0)), constant_values=PAPER[0])


def _representative(scene: Scene) -> int:
    """A frame near the middle that has a mesh and as many cameras as any."""
    middle = len(scene.frames) // 2
    if scene.take is None:
        return next((p for p in _around(scene, middle) if scene.vertices(p) is not None), middle)
    present = [len(scene.take.present(frame)) if frame >= 0 else 0 for frame in scene.take_frames.tolist()]
    candidates = [p for p in _around(scene, middle) if present[p] == max(present)]
    if scene.sequence is None:
        return candidates[0]
    return next((p for p in candidates if scene.vertices(p) is not None), candidates[0])


def _around(scene: Scene, middle: int) -> list[int]:
    return sorted(range(len(scene.frames)), key=lambda position: abs(position - middle))
