"""map.json, which our exporters leave in a folder: what every name was before it was made to suit another program."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from animation.data.corpus import Split
from animation.data.folder import Name, Text
from mmface4d.errors import InputError
from mmface4d.files import read_json
from mmface4d.subject import mistakes

FILE = "map.json"


class _Lenient(BaseModel):
    """Exporters note more than is needed here."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class MappedClip(_Lenient):
    """What a clip was."""

    clip: Name
    subject: Name
    sentence: Text
    split: Split
    text: Text = ""


class MappedTopology(_Lenient):
    """What its mesh was."""

    name: Text


class ExportMap(_Lenient):
    """The part of map.json that leads an export back; clips by their new names."""

    format: Literal[1]
    origin: Text
    licence: Text = ""
    unit: Text
    fps: float = Field(gt=0, le=1000)
    topology: MappedTopology
    clips: dict[Name, MappedClip]


def read_export_map(folder: Path) -> ExportMap | None:
    """The map of a folder; None where there is none of a folder of clips, InputError where it is damaged."""
    path = folder / FILE
    if not path.is_file():
        return None
    value = read_json(path, max_bytes=1 << 30)
    if not isinstance(value, dict) or "layout" not in value:
        return None  # of another exporter
    try:
        return ExportMap.model_validate(value)
    except ValidationError as error:
        raise InputError(f"{path} is damaged: {mistakes(error)}", hint="export the clips again") from error
