"""The model's card: what it is, what it was trained on and under which terms, how good it was measured to be."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from animation.metrics.report import STILL, Number, Report
from animation.metrics.report_text import FIRST
from animation.models.interface import LOSS
from animation.training.checkpoint import ModelConfig, read_config
from animation.training.curves import read_curves
from animation.training.preprocessing import Preprocessing, read_preprocessing
from mmface4d.files import atomic_path

CARD_FILE = "README.md"
UNMEASURED = "Not measured on test subjects yet: `mmface4d evaluate` does it."
RIGHTS = (
    "Use the weights only as the data's licence allows, and where these are recordings of people's faces and voices, "
    "these people's consent; the faces they make may resemble real people."
)
NO_LICENCE = "The data came without a stated licence: ask who gave them before you pass the weights on."


def write_card(folder: Path, *, reports: Sequence[Report] = ()) -> None:
    """Writes the `README.md` of a checkpoint's folder, with the numbers of evaluations where there are some."""
    config, preprocessing = read_config(folder), read_preprocessing(folder)
    parts = [
        _front(config),
        f"# {config.model}, trained on {_plain(config.data)}",
        "Speech, a neutral face and a manner of speaking in; the moving face out. Made by mmface4d "
        f"{_plain(config.version)}.",
        _use(folder),
        "## What it was made of",
        _table(("", ""), _made_of(config, preprocessing)),
        "## Terms",
        _terms(config),
        "## How good it is",
        *_measured(folder, config, reports),
    ]
    with atomic_path(folder / CARD_FILE) as partial:
        partial.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _front(config: ModelConfig) -> str:
    """What a model hub reads."""
    lines = ["library_name: mmface4d", "tags:"]
    lines += [f"- {tag}" for tag in ("talking-head", "face-animation", "3d", _word(config.model))]
    licence = ["license: other", f"license_name: {_quoted(config.licence)}"] if config.licence else []
    return "\n".join(["---", *licence, *lines, "---"])


def _use(folder: Path) -> str:
    name = _word(folder.resolve().name)
    return f"```\nmmface4d animate speech.wav --template neutral.ply --checkpoint {name} -o animation.npz\n```"


def _made_of(config: ModelConfig, preprocessing: Preprocessing) -> list[tuple[str, str]]:
    topology, encoder = preprocessing.topology, preprocessing.encoder
    options = ", ".join(f"{name} = {value}" for name, value in config.options.items()) or "as built in"
    return [
        ("data", config.data),
        ("training subjects", str(len(preprocessing.subjects))),
        ("frames a second", f"{preprocessing.fps:g}"),
        ("mesh", f"{topology.name}, {topology.n_verts} vertices, sha256 {topology.sha256[:16]}"),
        ("speech features", f"{encoder.spec}, {encoder.n_audio} numbers a frame"),
        ("options", options),
        ("seed", str(config.seed)),
        *(
            (f"mask {name}", f"{len(m.vertices)} vertices, sha256 {m.sha256[:16]}")
            for name, m in topology.masks.items()
        ),
    ]


def _terms(config: ModelConfig) -> str:
    said = f"Licence of the data, which holds for the weights too: {_plain(config.licence)}." if config.licence else ""
    return f"{said or NO_LICENCE} {RIGHTS}"


def _measured(folder: Path, config: ModelConfig, reports: Sequence[Report]) -> list[str]:
    parts = [part for report in reports for part in _report(report)] or [UNMEASURED]
    return parts + _validation(folder, config)


def _report(report: Report) -> list[str]:
    told = [number for number in report.numbers if number.protocol != STILL and number.metric in FIRST]
    lead = (
        f"On the {report.split} subjects of {_plain(report.data)}. The protocol says whose clip shows the manner of "
        "speaking; `self` is an oracle, because it is shown the answer's own statistics."
    )
    return [lead, _table(("metric", "value", "95 %", "mask", "pooling", "protocol", "clips"), map(_row, told))]


def _row(number: Number) -> tuple[str, ...]:
    value = "" if number.value is None else f"{number.value:.4g} {number.unit}"
    interval = "" if number.interval is None else f"{number.interval[0]:.4g} to {number.interval[1]:.4g}"
    mask = f"{number.mask} ({number.mask_sha256[:8]})"
    return number.title, value, interval, mask, number.pooling, number.protocol, str(number.n_sequences)


def _validation(folder: Path, config: ModelConfig) -> list[str]:
    """What decided when to stop: of no use for comparisons, because the best of many was taken."""
    curves = read_curves(folder)
    points = [] if curves is None else curves.validation
    points = [point for point in points if point.stage == points[-1].stage]
    if not points:
        return []
    settings = config.training.get("validation")
    measure = settings.get("measure") if isinstance(settings, dict) else None
    best = min(points, key=lambda point: point.values.get(str(measure), point.values.get(LOSS, math.inf)))
    lead = f"The validation at update {best.update}, by which the weights were chosen (so not for comparisons):"
    return [
        lead,
        _table(("measure", "value"), [(name.replace("_", " "), f"{v:.4g}") for name, v in best.values.items()]),
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_plain(cell) for cell in line) + " |" for line in lines)


def _plain(text: str) -> str:
    """One line that does not end a table's cell, nor begin a tag."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line.replace("|", "/").replace("<", "&lt;").replace("`", "'")


def _quoted(text: str) -> str:
    return '"' + _plain(text).replace("\\", "/").replace('"', "'") + '"'


def _word(text: str) -> str:
    """Letters, digits, dots, dashes."""
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in text) or "checkpoint"
