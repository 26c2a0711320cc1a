"""What can be set for a whole lab, with the built-in values: the tables and keys of `lab.toml`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from mmface4d.take_record import SERIAL_PATTERN

MAX_NAME = 200
Key = tuple[str, ...]


def _in_the_lab(path: str) -> str:
    parts = path.split("/")
    leaves = path.startswith(("/", "~")) or "\\" in path or ":" in path or ".." in parts
    if leaves or all(part in ("", ".") for part in parts):
        raise ValueError("must be a folder in the lab; to have it on another disk, put a link in its place")
    return path


Serial = Annotated[str, StringConstraints(pattern=f"^$|{SERIAL_PATTERN}")]
Name = Annotated[str, StringConstraints(max_length=MAX_NAME, pattern=r"^[^\x00-\x1f\x7f]*$")]
Folder = Annotated[Name, AfterValidator(_in_the_lab)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Cameras(_Table):
    """Serial numbers by place, in quotes; left and right as seen from behind the front camera.

    Where some are named, `record` refuses a rig that lacks one or has others.
    """

    front: Serial = Field(default="", description="In front of the actor.")
    left: Serial = Field(default="", description="45 degrees to the left.")
    right: Serial = Field(default="", description="45 degrees to the right.")

    @property
    def positions(self) -> dict[str, str]:
        """The place of each camera that is named, by serial number, from left to right."""
        places = {"left": self.left, "front": self.front, "right": self.right}
        return {serial: place for place, serial in places.items() if serial}


class Rig(_Table):
    """How the cameras record."""

    master: Serial = Field(default="", description="Serial number of the master; empty: the sync cables tell.")
    fps: Literal[5, 15, 30] = Field(default=30, description="Frames a second: 5, 15 or 30.")
    mains_hz: Literal[50, 60] = Field(
        default=50, description="Of the electric light, which flickers with it: 50 or 60."
    )
    exposure_usec: int = Field(default=10_000, ge=8_000, le=100_000,
        description="Microseconds; of the times that do not flicker, the nearest is taken.",
    )  # fmt: skip
    white_balance_k: int = Field(default=4500, ge=2500, le=12_500, multiple_of=10, description="Kelvin, in tens.")


class Sound(_Table):
    """The microphone."""

    microphone: Name = Field(default="", description="A part of its name; empty: the system's default.")
    av_offset_ms: float = Field(default=0.0, ge=-1000, le=1000, description="Milliseconds; what `take clap` measured.")


class Recording(_Table):
    """How a take begins and ends, in seconds."""

    countdown_s: float = Field(default=1.0, ge=0, le=30, description="From pressing record to the green light.")
    pre_roll_s: float = Field(default=0.5, ge=0, le=10, description="Kept from before the green light.")
    post_roll_s: float = Field(default=0.5, ge=0, le=10, description="Kept from after the end.")


class Reconstruction(_Table):
    """How takes are calibrated and reconstructed."""

    model: Name = Field(default="canonical", min_length=1, description="One of `mmface4d model list`.")
    solver: Literal["fast", "paper"] = Field(default="fast", description="fast or paper.")
    rasterizer: Literal["warp", "nvdiffrast", "pytorch3d"] = Field(
        default="warp", description="warp, nvdiffrast or pytorch3d."
    )
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="cpu or cuda.")
    landmarker: Name = Field(
        default="", description="MediaPipe's face_landmarker.task, here or by its whole path; empty: built in."
    )


class Paths(_Table):
    """Folders in the lab; for another disk put a link in the place of one."""

    subjects: Folder = Field(default="subjects", description="Pseudonyms and consents.")
    sessions: Folder = Field(default="sessions", description="What was recorded.")
    corpus: Folder = Field(default="corpus", description="Sentences and scripts.")
    releases: Folder = Field(default="releases", description="What is published.")


class LabSettings(_Table):
    """The whole of `lab.toml`."""

    format: Literal[1] = 1
    cameras: Cameras = Cameras()
    rig: Rig = Rig()
    sound: Sound = Sound()
    recording: Recording = Recording()
    reconstruction: Reconstruction = Reconstruction()
    paths: Paths = Paths()


# every table by name, in the order of the file
TABLES: dict[str, type[_Table]] = {
    name: field.annotation for name, field in LabSettings.model_fields.items() if name != "format"
}  # type: ignore[misc]
