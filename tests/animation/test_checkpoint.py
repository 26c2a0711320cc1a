"""Checkpoints: round trips, and files that are damaged, hostile or of two models."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import JsonValue
from safetensors.torch import load_file, save_file

from animation.data.batch import Style
from animation.data.corpus import Mask, Topology
from animation.data.normalisation import Normalisation
from animation.models.audio2face import Audio2Face
from animation.models.registry import MODELS, build_model
from animation.training.card import write_card
from animation.training.checkpoint import ModelConfig, Trained, load_checkpoint, save_checkpoint, settings_sha256
from animation.training.preprocessing import EncoderRecord, Preprocessing, read_preprocessing, write_preprocessing
from mmface4d.errors import InputError, MissingBackendError

OPTIONS: dict[str, JsonValue] = {"channels": 8, "driver_channels": 8, "decoder_stages": 1}
FACES = np.array([[0, 1, 2], [1, 3, 2], [3, 4, 2]], np.int32)
MASKS = {name: Mask(name, np.array(vertices, np.int32)) for name, vertices in (("lips", [0, 2]), ("upper_face", [3]),
                                                                              ("face", [0, 1, 2, 3]))}  # fmt: skip


def preprocessing() -> Preprocessing:
    return Preprocessing(
        model="audio2face",
        fps=29.97,
        topology=Topology("five", 5, FACES, MASKS),
        normalisation=Normalisation(np.array([0.1, 1 / 3, -1e-7]), 0.0123456789),
        encoder=EncoderRecord("mel", "log-mel 80", 7),
        subjects=("p1", "p2"),
    )


def trained(seed: int = 0) -> Trained:
    record = preprocessing()
    model = build_model("audio2face", record.shape, OPTIONS, seed=seed).eval()
    return Trained(model, record, ModelConfig(model="audio2face", options=OPTIONS, seed=seed, licence="CC0"))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "model", trained())
    return tmp_path / "model"


def output(of: Trained) -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    style = Style(torch.randn(1, 9, 5, 3, generator=draw), torch.ones(1, 9, dtype=torch.bool), torch.tensor([0]))
    with torch.inference_mode():
        return of.model.generate(torch.randn(1, 11, 7, generator=draw), torch.randn(1, 5, 3, generator=draw), style)


def test_without_safetensors_it_is_told_what_to_install(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(MissingBackendError) as caught:
        load_checkpoint(checkpoint)
    assert caught.value.hint == 'pip install "mmface4d[animation]"'


def test_preprocessing_comes_back_as_it_was(tmp_path: Path) -> None:
    write_preprocessing(tmp_path, preprocessing())
    back, wanted = read_preprocessing(tmp_path), preprocessing()
    assert replace(back, topology=wanted.topology, normalisation=wanted.normalisation) == wanted
    assert np.array_equal(back.normalisation.mean, wanted.normalisation.mean)
    assert back.normalisation.std == wanted.normalisation.std
    assert np.array_equal(back.topology.faces, FACES)
    assert back.topology.sha256 == wanted.topology.sha256
    assert {name: mask.sha256 for name, mask in back.topology.masks.items()} == {n: m.sha256 for n, m in MASKS.items()}
    assert back.shape == wanted.shape


def test_a_model_comes_back_as_it_was(checkpoint: Path) -> None:
    back = load_checkpoint(checkpoint)
    assert torch.equal(output(back), output(trained()))
    assert not back.model.training
    assert back.config == trained().config


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16, torch.int32, torch.int16, torch.uint8, torch.bool])
def test_a_model_may_count_and_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: torch.dtype) -> None:
    """One of somebody's own, that keeps other numbers than parameters."""

    class Marking(Audio2Face):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.register_buffer("marks", torch.tensor([0, 1, 1]).to(kind))

    monkeypatch.setitem(MODELS, "audio2face", replace(MODELS["audio2face"], model=Marking))
    save_checkpoint(tmp_path, trained())
    back = load_checkpoint(tmp_path).model.state_dict()["marks"]
    assert (back.dtype, back.tolist()) == (kind, [0, 1, 1])


def test_no_pickle_is_written(checkpoint: Path) -> None:
    assert {path.name for path in checkpoint.iterdir()} == {
        "config.json", "model.safetensors", "preprocess.json", "topology.npz",
    }  # fmt: skip


def test_equal_weights_are_equal_files(checkpoint: Path) -> None:
    told = dict.fromkeys("abcdefgé", "told")
    files = set()
    for _ in range(5):
        save_checkpoint(checkpoint, trained(), told=told)
        files.add((checkpoint / "model.safetensors").read_bytes())
    assert len(files) == 1
    assert torch.equal(output(load_checkpoint(checkpoint)), output(trained()))


def test_weights_of_another_model_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "other", trained(seed=1))
    (tmp_path / "other" / "model.safetensors").replace(checkpoint / "model.safetensors")
    with pytest.raises(InputError, match="belongs to another"):
        load_checkpoint(checkpoint)


def change_json(name: str, change: Callable[[dict], None]) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        value = json.loads((folder / name).read_text())
        change(value)
        (folder / name).write_text(json.dumps(value))

    return do


def _not_a_number(folder: Path) -> None:
    path = folder / "model.safetensors"
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        told = file.metadata()
    state = load_file(path)
    state[next(iter(state))].view(-1)[0] = torch.nan
    save_file(state, path, metadata=told)


def _saved_again(folder: Path, about: Preprocessing, config: ModelConfig) -> None:
    """The same weights as if they were those of other settings."""
    write_preprocessing(folder, about)
    (folder / "config.json").write_text(config.model_dump_json())
    path = folder / "model.safetensors"
    save_file(load_file(path), path, metadata={"settings_sha256": settings_sha256(folder)})


def _more_than_any_memory(folder: Path) -> None:
    mesh = Topology("five", 10_000_000, FACES, MASKS)
    config = trained().config.model_copy(update={"options": {"channels": 4096, "decoder_stages": 16}})
    _saved_again(folder, replace(preprocessing(), topology=mesh), config)


def _no_such_model(folder: Path) -> None:
    config = trained().config.model_copy(update={"model": "audio9face"})
    _saved_again(folder, replace(preprocessing(), model="audio9face"), config)


def _no_such_option(folder: Path) -> None:
    _saved_again(folder, preprocessing(), trained().config.model_copy(update={"options": {"chanels": 3}}))


def _of_other_sizes(folder: Path) -> None:
    _saved_again(folder, preprocessing(), trained().config.model_copy(update={"options": {**OPTIONS, "channels": 16}}))


def _of_another_kind(folder: Path) -> None:
    path = folder / "model.safetensors"
    state = {name: value.to(torch.float8_e4m3fn) for name, value in load_file(path).items()}
    save_file(state, path, metadata={"settings_sha256": settings_sha256(folder)})


def _truncate(name: str) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:-9])

    return do


def _remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


BROKEN = {
    "no weights": _remove("model.safetensors"),
    "no settings": _remove("config.json"),
    "no triangles": _remove("topology.npz"),
    "half the weights": _truncate("model.safetensors"),
    "half the triangles": _truncate("topology.npz"),
    "half the settings": _truncate("preprocess.json"),
    "a weight that is no number": _not_a_number,
    "weights of other sizes": _of_other_sizes,
    "weights of eight bits": _of_another_kind,
    "settings that want more than any memory": _more_than_any_memory,
    "a model that there is not": _no_such_model,
    "an option that there is not": _no_such_option,
    "another rate": change_json("preprocess.json", lambda value: value.update(fps=25)),
    "an impossible rate": change_json("preprocess.json", lambda value: value.update(fps=-1)),
    "an unknown key": change_json("config.json", lambda value: value.update(code="import os")),
    "another model": change_json("config.json", lambda value: value.update(model="meshtalk")),
    "options that are none": change_json("config.json", lambda value: value["options"].update(channels="many")),
    "another mask": change_json("preprocess.json", lambda v: v["topology"]["masks"]["lips"].update(vertices=[0, 1])),
    "a vertex too many": change_json("preprocess.json", lambda v: v["topology"]["masks"]["lips"].update(vertices=[9])),
    "no mask of the lips": change_json("preprocess.json", lambda value: value["topology"]["masks"].pop("lips")),
    "another mesh": change_json("preprocess.json", lambda value: value["topology"].update(n_verts=6)),
    "a name that is no text": change_json("config.json", lambda value: value.update(model="\ud800")),
    "a subject whose name is no text": change_json("preprocess.json", lambda value: value["subjects"].append("\ud800")),
    "no scale": change_json("preprocess.json", lambda value: value["normalisation"].update(std=0)),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_broken_checkpoints_are_told(checkpoint: Path, broken: Callable[[Path], None]) -> None:
    broken(checkpoint)
    with pytest.raises(InputError) as error:
        load_checkpoint(checkpoint)
    assert str(checkpoint) in error.value.message
    assert error.value.hint


def test_triangles_beyond_the_mesh_are_told_though_their_hash_fits(tmp_path: Path) -> None:
    mesh = Topology("five", 5, FACES + np.int32(2), MASKS)
    write_preprocessing(tmp_path, replace(preprocessing(), topology=mesh))
    with pytest.raises(InputError, match="vertices that there are not"):
        read_preprocessing(tmp_path)


@pytest.mark.parametrize("content", ["[]", "{}", '{"model": "m", "data": "d", "training": [], "validation": [3]}', "{"])
def test_a_card_tells_damaged_curves(checkpoint: Path, content: str) -> None:
    (checkpoint / "curves.json").write_text(content)
    with pytest.raises(InputError, match=r"curves\.json") as error:
        write_card(checkpoint)
    assert error.value.hint


def test_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        load_checkpoint(tmp_path / "nothing")
