"""The commented `lab.toml` of a new lab, written from what can be set."""

import json
import textwrap
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from mmface4d.lab_settings import TABLES

HEAD = """\
# Settings of this lab. What stands behind a # is a comment, and built in: take the # away to set something else.
# A command's own options come before this file. What is in force, and why: mmface4d lab show

format = 1
"""
WIDTH = 118


def lab_toml(chosen: Mapping[str, Any] | None = None) -> str:
    """The text of a `lab.toml`: what is `chosen` (by names as `rig.fps`) is set, all else is there as a comment."""
    chosen = chosen or {}
    return HEAD + "".join(_table(name, table, chosen) for name, table in TABLES.items())


def _table(name: str, table: type[BaseModel], chosen: Mapping[str, Any]) -> str:
    lines = [f"\n[{name}]"]
    for paragraph in (table.__doc__ or "").split("\n\n"):
        lines += [f"# {line}" for line in textwrap.wrap(" ".join(paragraph.split()), WIDTH)]
    for key, field in table.model_fields.items():
        full = f"{name}.{key}"
        value = chosen.get(full, field.default)
        setting = f"{key} = {json.dumps(value, ensure_ascii=False)}"
        lines.append(f"{setting if full in chosen else f'# {setting}':34}# {field.description}")
    return "\n".join(lines) + "\n"
