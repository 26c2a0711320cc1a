"""What can be set for a whole lab, with the built-in values: the keys and tables of `lab.toml`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from mmface4d.take_record import SERIAL_PATTERN

MAX_NAME = 200
POSITIONS = ("front", "left", "right")


def _in_the_lab(path: str) -> str:
    parts = path.split("/")
    if path.startswith(("/", "~")) or "\\" in path or ".." in parts or not any(part not in ("", ".") for part in parts):
        raise ValueError("no folder in the lab")
    return path


Serial = Annotated[str, StringConstraints(pattern=f"^$|{SERIAL_PATTERN}")]
Name = Annotated[str, StringConstraints(max_length=MAX_NAME, pattern=r"^[^\x00-\x1f\x7f]*$")]
Folder = Annotated[Name, AfterValidator(_in_the_lab)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Cameras(_Table):
    """The cameras' serial numbers by where they stand, in quotes. Left and right are those of the front camera's picture.

    Where some are named, recording refuses others; where none is, it takes those that are connected.
    """

    front: Serial = Field("", description="In front of the actor.")
    left: Serial = Field("", description="45 degrees to the left.")
    right: Serial = Field("", description="45 degrees to the right.")


class Rig(_Table):
    """How cameras record."""

    master: Serial = Field("", description="Serial number of the master; empty: the sync cables tell.")
    fps: Literal[5, 15, 30] = Field(30, description="Frames a second.")
    mains_hz: Literal[50, 60] = Field(50, description="Of the electric light, which flickers with it.")
    exposure_usec: int = Field(
        10_000, ge=8_000, le=100_000,
        description="Microseconds. The nearest one that does not flicker and fits a frame is taken.",
    )  # fmt: skip
    white_balance_k: int = Field(4500, ge=2500, le=12_500, multiple_of=10, description="Kelvin, in tens.")


class Sound(_Table):
    """The microphone."""

    microphone: Name = Field("", description="A part of its name; empty: the system's default.")
    av_offset_ms: float = Field(0.0, ge=-1000, le=1000, description="Milliseconds; what `take clap` measured.")


class Recording(_Table):
    """The course of a take, in seconds."""

    countdown_s: float = Field(1.0, ge=0, le=30, description="Before the light is green.")
    pre_roll_s: float = Field(0.5, ge=0, le=10, description="Kept from before the green light.")
    post_roll_s: float = Field(0.5, ge=0, le=10, description="Kept from after the end.")


class Reconstruction(_Table):
    """How takes are calibrated and reconstructed."""

    model: Name = Field("canonical", min_length=1, description="One of `mmface4d model list`.")
    solver: Literal["fast", "paper"] = "fast"
    rasterizer: Literal["warp", "nvdiffrast", "pytorch3d"] = "warp"
    device: Literal["cpu", "cuda"] = "cpu"
    landmarker: Name = Field(
        "",
        description="MediaPipe's face_landmarker.task, in this folder or by its whole path; empty: the models inside MediaPipe.",
    )


class Paths(_Table):
    """Folders in the lab. One that is to be on another disk can be a link: ln -s /data/sessions sessions"""

    subjects: Folder = Field("subjects", description="Who was recorded: pseudonyms and consents.")
    sessions: Folder = Field("sessions", description="What was recorded.")
    corpus: Folder = Field("corpus", description="Sentences and scripts.")
    releases: Folder = Field("releases", description="What is published.")


class LabSettings(_Table):
    """The whole of `lab.toml`."""

    format: Literal[1] = 1
    cameras: Cameras = Cameras()
    rig: Rig = Rig()
    sound: Sound = Sound()
    recording: Recording = Recording()
    reconstruction: Reconstruction = Reconstruction()
    paths: Paths = Paths()
