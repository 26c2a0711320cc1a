"""What an export did with one clip."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Exported:
    """What was written of a clip: frames at a rate, the largest error of a vertex, and what a user should know."""

    name: str
    frames: int
    fps: float
    max_error_mm: float = 0.0
    notes: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)


def exported_json(done: Exported) -> dict[str, Any]:
    """The figures for scripts."""
    return asdict(done)


def exported_text(done: Exported) -> str:
    """The figures for a person."""
    figures = "".join(f", {count} {name}" for name, count in done.figures.items())
    error = f", vertices within {done.max_error_mm:.4f} mm" if done.max_error_mm else ", vertices exact"
    lines = [f"{done.name}: {done.frames} frames at {done.fps:g} a second{figures}{error}"]
    return "\n".join(lines + [f"  note: {note}" for note in done.notes])
