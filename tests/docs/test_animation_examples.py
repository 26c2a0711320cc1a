"""The Python that the animation pages show does what they say."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from animation.data.folder import write_folder
from mmface4d.cli import main
from tests.animation.toy_corpus import toy_corpus

DOCS = Path(__file__).resolve().parents[2] / "docs"
SMALL = (
    'TrainConfig(model="audio2face", options={"channels": 8, "driver_channels": 8, "decoder_stages": 1}, '
    'budget={"updates": 2}, batches={"size": 2, "crop_frames": 8})'
)


def examples(page: str) -> list[str]:
    found = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    return [code.replace('TrainConfig(model="audio2face")', SMALL) for code in found]


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the first example leaves, in a folder with data, a checkpoint that was measured, and a sound."""
    monkeypatch.chdir(tmp_path)
    write_folder(toy_corpus(sentences=2, n_frames=16), tmp_path / "toy")
    noise = np.random.default_rng(0).normal(scale=0.1, size=12_000)
    soundfile.write("speech.wav", noise, 48_000)
    (code,) = examples("animation.md")
    left: dict[str, Any] = {}
    exec(code, left)
    (tmp_path / "runs" / "toy").symlink_to("python")
    return left


def test_training(names: dict[str, Any]) -> None:
    assert names["trained"].config.model == "audio2face"


def test_animating(names: dict[str, Any]) -> None:
    live, whole = examples("animate.md")
    exec(whole, names)
    assert names["frames"].shape[1:] == names["template"].shape
    names["samples"] = np.zeros(4800, np.float32)
    exec(live, names)
    assert len(names["frames"]) + len(names["rest"]) == 3


def test_measuring(names: dict[str, Any]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", "runs/toy", "--data", "toy", "--card", "--draws", "1"])
    assert ended.value.code == 0
    Path("runs/first").symlink_to("toy")
    Path("clips").symlink_to("toy")
    shape = (5, names["trained"].preprocessing.topology.n_verts, 3)
    names |= {"predicted": np.zeros(shape), "truth": np.ones(shape)}
    (code,) = examples("animation-metrics.md")
    exec(code, names)
