"""Animations that hear by HuBERT: long sounds from files, and live ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from animation.audio.features import speech_features
from animation.audio.registry import open_encoder
from animation.data.clip import Sound
from animation.models.registry import build_model
from animation.training.checkpoint import Trained
from animation.training.preprocessing import EncoderRecord
from animation.use.generate import Drawer
from animation.use.streaming import Streamer
from mmface4d.cli import main
from mmface4d.sequence import load_sequence
from tests.animation.test_audio_encoders import write_tiny
from tests.animation.test_generate import TEMPLATE, random_style, voice
from tests.animation.toy_models import SMALL
from tests.animation.toy_trained import saved, toy_trained

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=[("hubert", True), ("wavlm", False)], ids=lambda kind: kind[0])
def trained(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Trained:
    """A model that hears by a HuBERT or a WavLM with random weights."""
    kind, normalise = request.param
    folder = write_tiny(tmp_path_factory.mktemp("encoders") / "tiny", kind, normalise=normalise)
    encoder = open_encoder(f"transformers:{folder}")
    plain = toy_trained(composite=False)
    record = EncoderRecord(f"transformers:{folder}", encoder.identity, encoder.n_audio)
    about = replace(plain.preprocessing, encoder=record)
    options = {**SMALL["audio2face"], "composite": False}
    model = build_model("audio2face", about.shape, options, seed=0).eval()
    with torch.no_grad():
        model.get_parameter("components.weight").normal_(std=0.01, generator=torch.Generator().manual_seed(0))
    return Trained(model, about, plain.config.model_copy(update={"options": options}))


def test_a_long_file_is_heard_as_the_whole_sound_is(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    samples = voice(31.0)
    soundfile.write("long.wav", samples, 16_000, subtype="FLOAT")
    np.save("face.npy", TEMPLATE)
    saved(tmp_path / "run", trained)
    with pytest.raises(SystemExit) as ended:
        main(["animate", "long.wav", "--checkpoint", "run", "--template", "face.npy", "-o", "a.npz"])
    assert not ended.value.code
    encoder = open_encoder(trained.preprocessing.encoder.spec)
    rows = speech_features(Sound(samples, 16_000), np.arange(930) / 30, encoder=encoder)
    wanted = Drawer(trained, TEMPLATE, random_style()).draw(rows)
    found = load_sequence(Path("a.npz")).vertices * np.array([1, -1, -1], np.float32)
    assert np.abs(np.diff(wanted, axis=0)).max() > 1e-4
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_live_it_hears_the_last_seconds(trained: Trained) -> None:
    live = Streamer(trained, template=TEMPLATE, style=random_style())
    assert not live.exact
    assert live.look_ahead_s <= 0.6
    found = np.concatenate(list(live.follow(np.array_split(voice(6.0), 12))))
    assert found.shape == (180, *TEMPLATE.shape)
    assert np.isfinite(found).all()
