"""The benchmark on virtual actors: nothing of the held-out sentence is trained on, and its numbers are what they say.

The whole of it takes many minutes, for it renders and reconstructs: it is its own test.
"""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from animation.data.folder import read_folder
from animation.data.synthetic import make_corpus
from corpus.starter import starter_files
from reconstruct.models.library import load_model

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def scripts() -> Iterator[tuple[Any, Any]]:
    """The scripts, which find their neighbours as scripts do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("animation_virtual"), importlib.import_module("virtual_speech")


def test_the_sentences_are_of_the_starter_corpus(scripts: tuple[Any, Any]) -> None:
    starter = "".join(path.read_text(encoding="utf-8") for path in starter_files())
    texts = scripts[1].training_texts(6)
    assert len(set(texts)) == 6
    assert all(text in starter for text in [*texts, scripts[1].HELD_OUT.text])
    assert scripts[1].HELD_OUT.text not in texts


def test_the_held_out_sentence_is_not_written(scripts: tuple[Any, Any], tmp_path: Path) -> None:
    corpus = make_corpus(subjects=4, sentences=2, seed=0, n_verts=100)
    held_out = corpus.clips[0].sentence
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scripts[0], "HELD_OUT", scripts[1].HELD_OUT.model_copy(update={"id": held_out}))
        written = read_folder(scripts[0].write_training_clips(corpus, tmp_path / "clips"))
    assert {clip.name for clip in written.clips} == {clip.name for clip in corpus.clips if clip.sentence != held_out}
    assert set(written.splits.values()) == {"train"}


def test_errors_are_those_of_a_known_shift(scripts: tuple[Any, Any]) -> None:
    still = np.zeros((5, 4, 3))
    moved = still.copy()
    moved[:, 0, 1] = 0.003
    masks = {"lips": np.array([0, 1]), "face": np.arange(4)}
    found = scripts[0].errors(moved, still, masks)
    assert found == {"lips_max_mm": 3.0, "lips_mean_mm": 1.5, "face_mean_mm": 0.75}


def test_a_jaw_that_opens_parts_the_lips(scripts: tuple[Any, Any]) -> None:
    model = load_model("canonical")
    jaw = model.expression_basis[model.expression_names.index("jawOpen")]
    weights = np.linspace(0, 1, 4)
    found = scripts[0].opening_mm(model.mean + weights[:, None, None] * jaw)
    assert (np.diff(found) > 2).all()


def test_the_true_motion_rests_where_nobody_speaks_and_opens_the_mouth_later(scripts: tuple[Any, Any]) -> None:
    short = scripts[1].HELD_OUT.model_copy(update={"text": "Dinner."})
    moved = scripts[1].true_motion(short, seed=3)
    lips = load_model("canonical").regions["lips"]
    far_mm = 1000 * np.linalg.norm(moved[:, lips], axis=2).max(axis=1)
    assert far_mm[0] < 2 < far_mm.max()


def test_the_frames_that_are_shown_are_open_and_closed_by_turns(scripts: tuple[Any, Any]) -> None:
    opening = np.tile([1.0, 5.0, 0.0], 4)
    assert scripts[0].telling_frames(opening) == [1, 5, 7, 11]


def test_an_actor_keeps_its_seed_where_another_ones_take_is_missing(scripts: tuple[Any, Any]) -> None:
    names = ("P01", "virtual-P02", "virtual-P10")  # of a session, and of a lab's clips
    assert [scripts[1].actor_seed(subject, seed=11) for subject in names] == [11, 12, 20]
