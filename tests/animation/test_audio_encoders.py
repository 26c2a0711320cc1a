"""Encoders by transformers, on tiny models with random weights: what they give is what the package itself gives."""

import json
import pickle  # noqa: TID251  (writes a hostile file that must not be run)
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from animation.audio import transformers_encoder, weights
from animation.audio.cache import FeatureCache
from animation.audio.features import speech_features
from animation.audio.mel import LogMel
from animation.audio.registry import ENCODER_NAMES, PUBLISHED, open_encoder
from animation.audio.transformers_encoder import TransformersEncoder, coverage
from animation.audio.windows import windows
from animation.data.clip import Sound
from mmface4d.errors import InputError, MissingBackendError, Mmface4dError, UsageError

transformers = pytest.importorskip("transformers")
KINDS = {
    "hubert": (transformers.HubertConfig, transformers.HubertModel),
    "wav2vec2": (transformers.Wav2Vec2Config, transformers.Wav2Vec2Model),
    "wavlm": (transformers.WavLMConfig, transformers.WavLMModel),
}
LARGE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}


def write_tiny(folder: Path, kind: str = "hubert", *, seed: int = 0, normalise: bool = True, **options: Any) -> Path:
    """A model of three layers of 16 numbers with the usual seven convolutions."""
    make_config, make_model = KINDS[kind]
    config = make_config(
        hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32, conv_dim=(8,) * 7,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2, **options,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        make_model(config).save_pretrained(folder)
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=normalise, return_attention_mask=bool(options))
    extractor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("encoders") / "tiny")


@pytest.fixture
def own(tiny: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(tiny, tmp_path / "own")


def speech(seconds: float = 1.0, seed: int = 3) -> np.ndarray:
    return (0.05 + 0.1 * np.random.default_rng(seed).normal(size=round(seconds * 16_000))).astype(np.float32)


def hidden_states(folder: Path, samples: np.ndarray) -> tuple[torch.Tensor, ...]:
    """As the package's documentation shows it: the input of every layer, and the output of the last."""
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    model: Any = transformers.AutoModel.from_pretrained(folder).eval()
    caught: list[torch.Tensor] = []
    for layer in model.encoder.layers:
        layer.register_forward_hook(lambda _m, given, _out: caught.append(given[0]))
    with torch.no_grad():
        last = model(extractor(samples, sampling_rate=16_000, return_tensors="pt").input_values).last_hidden_state
    return *(each[0] for each in caught), last[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("normalise", "options"), [(True, {}), (True, LARGE), (False, {})], ids=["base", "large", "raw"]
)
def test_every_layer_is_what_the_package_gives(
    tmp_path: Path, kind: str, normalise: bool, options: dict[str, Any]
) -> None:
    folder, samples = write_tiny(tmp_path / "tiny", kind, normalise=normalise, **options), speech()
    expected = hidden_states(folder, samples)
    assert len(expected) == 4
    for layer in (0, 2, 3):
        tokens = open_encoder(f"transformers:{folder}@{layer}").tokens(samples)
        assert tokens.values.shape == (49, 16)
        np.testing.assert_allclose(tokens.values, expected[layer].numpy(), atol=2e-5)
    np.testing.assert_array_equal(open_encoder(f"transformers:{folder}").tokens(samples).values, tokens.values)


def test_recorded_tokens_stay(tmp_path: Path) -> None:
    """Of weights that no version's random numbers make, so that another version of a package would be noticed."""
    folder = write_tiny(tmp_path / "tiny", **LARGE)
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    for number, name in enumerate(sorted(state)):
        waves = np.sin(np.arange(state[name].numel()) * 0.7 + number).astype(np.float32).reshape(state[name].shape)
        state[name] = torch.from_numpy(waves * 0.3 + (1.0 if "norm.weight" in name else 0.0))
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    samples = np.sin(np.arange(8000) ** 1.4 * 0.01).astype(np.float32) * 0.2
    found = open_encoder(f"transformers:{folder}").tokens(samples).values
    np.testing.assert_allclose(found[[0, 11, 23], :4], RECORDED, atol=1e-4)


RECORDED = [
    [-2.173608, 1.070737, 1.072332, 0.96584], [-2.174191, 1.093408, 1.062116, 0.963702],
    [-2.179042, 1.061313, 1.071921, 0.965084],
]  # fmt: skip


def test_tokens_stand_on_the_beat_of_mel(tiny: Path) -> None:
    samples = speech(0.73)
    tokens = open_encoder(f"transformers:{tiny}").tokens(samples)
    np.testing.assert_allclose(tokens.times_s, LogMel().tokens(samples).times_s)
    assert tokens.values.dtype == np.float32


def test_silence_is_finite_and_25_ms_are_enough(tiny: Path) -> None:
    encoder = open_encoder(f"transformers:{tiny}")
    assert np.isfinite(encoder.tokens(np.zeros(16_000, np.float32)).values).all()
    assert encoder.tokens(speech(0.025)).values.shape == (1, 16)
    with pytest.raises(InputError, match="too short"):
        encoder.tokens(speech(0.02))


def test_the_same_sound_gives_the_same_tokens(tiny: Path) -> None:
    first, second = (open_encoder(f"transformers:{tiny}").tokens(speech()).values for _ in range(2))
    np.testing.assert_array_equal(first, second)


@given(st.integers(0, 3000), st.integers(3, 400), st.integers(0, 100))
def test_windows_cover_everything_once(n_tokens: int, length: int, context: int) -> None:
    context = min(context, (length - 1) // 2)
    kept = 0
    for window in windows(n_tokens, length=length, context=context):
        assert window.keep_first == kept
        assert window.first <= window.keep_first <= window.keep_stop <= window.stop <= n_tokens
        assert window.stop - window.first <= length
        assert window.keep_first - window.first >= min(context, window.keep_first)
        assert window.stop - window.keep_stop >= min(context, n_tokens - window.keep_stop)
        assert window.last == (window.keep_stop == n_tokens)
        kept = window.keep_stop
    assert kept == n_tokens


def test_long_sound_is_heard_in_windows_on_one_beat(tiny: Path) -> None:
    """Layer 0 looks only as far as the convolution over positions does, so windows change nothing but its ends."""
    make = {"layer": 0, "context_s": 0.5}
    tokens = TransformersEncoder(str(tiny), window_s=2.0, **make).tokens(speech(7.3))
    assert len(tokens.values) == (round(7.3 * 16_000) - 400) // 320 + 1
    part = TransformersEncoder(str(tiny), window_s=2.0, **make)
    for piece in windows(len(tokens.values), length=100, context=25):
        alone = part.hidden(torch.from_numpy(transformers_encoder.normalised(speech(7.3)))[
            320 * piece.first : None if piece.last else 320 * (piece.stop - 1) + 400
        ])[piece.keep_first - piece.first : piece.keep_stop - piece.first]  # fmt: skip
        np.testing.assert_allclose(tokens.values[piece.keep_first : piece.keep_stop], alone.numpy(), atol=1e-6)


def test_windows_of_a_local_model_change_nothing(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "local", feat_extract_norm="layer", conv_bias=True)
    whole = TransformersEncoder(str(folder), layer=0).tokens(speech(7.3)).values
    pieces = TransformersEncoder(str(folder), layer=0, window_s=2.0, context_s=0.5).tokens(speech(7.3)).values
    np.testing.assert_allclose(pieces, whole, atol=1e-5)


def test_the_usual_convolutions_cover_25_ms_every_20() -> None:
    assert coverage([10, 3, 3, 3, 3, 2, 2], [5, 2, 2, 2, 2, 2, 2]) == (400, 320)


def test_convolutions_that_step_over_seconds_are_refused() -> None:
    """Such tokens are longer than a window, of which there would be no end."""
    with pytest.raises(ValueError, match="with steps of"):
        coverage([10, 3], [700_000, 1])


def test_gradients_reach_the_weights_when_they_are_to_be_trained(tiny: Path) -> None:
    encoder = TransformersEncoder(str(tiny), layer=2)
    assert not any(each.requires_grad for each in encoder.module.parameters())
    encoder.module.requires_grad_(True)
    encoder.hidden(torch.from_numpy(speech(0.2))).square().sum().backward()
    layers: Any = encoder.module.encoder
    assert layers.layers[1].attention.k_proj.weight.grad.abs().sum() > 0
    assert len(layers.layers) == 3  # the third gives what the second one hands over


def test_the_identity_is_the_content(tiny: Path, own: Path, tmp_path: Path) -> None:
    def identity(folder: Path, **options: Any) -> str:
        return TransformersEncoder(str(folder), **options).identity

    assert identity(own) == identity(tiny)
    assert str(tmp_path) not in identity(own)
    others = {
        identity(tiny), identity(tiny, layer=1), identity(tiny, window_s=5.0),
        identity(write_tiny(tmp_path / "other", seed=1)),
        identity(write_tiny(tmp_path / "raw", normalise=False)),
    }  # fmt: skip
    assert len(others) == 5


def test_cached_features_need_no_weights(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound, times_s = Sound(speech(), 16_000), np.arange(30) / 30
    first = speech_features(sound, times_s, encoder=open_encoder(f"transformers:{tiny}"), cache=FeatureCache(tmp_path))
    monkeypatch.setattr(transformers_encoder, "load_model", lambda _: pytest.fail("weights are read"))
    encoder = open_encoder(f"transformers:{tiny}")
    assert encoder.n_audio == 16
    np.testing.assert_array_equal(first, speech_features(sound, times_s, encoder=encoder, cache=FeatureCache(tmp_path)))


def sharded(model: Path, target: Path) -> None:
    """The weights of a model in two files and an index, as the package writes large ones."""
    from safetensors.torch import load_file, save_file

    state, where = load_file(model / "model.safetensors"), {}
    for number, names in enumerate((sorted(state)[::2], sorted(state)[1::2]), start=1):
        name = f"model-0000{number}-of-00002.safetensors"
        save_file({each: state[each] for each in names}, target / name, metadata={"format": "pt"})
        where |= dict.fromkeys(names, name)
    index = {"metadata": {"total_size": sum(each.nbytes for each in state.values())}, "weight_map": where}
    (target / "model.safetensors.index.json").write_text(json.dumps(index))


def test_what_is_loaded_is_what_is_hashed(own: Path, tmp_path: Path) -> None:
    """Beside other weights that the package would prefer, and with a config that names some."""
    from safetensors.torch import load_file

    samples, other = speech(), write_tiny(tmp_path / "other", seed=1)
    expected = open_encoder(f"transformers:{own}").tokens(samples).values
    torch.save(load_file(own / "model.safetensors"), own / "pytorch_model.bin")
    (own / "model.safetensors").unlink()
    sharded(other, own)
    np.testing.assert_array_equal(open_encoder(f"transformers:{own}").tokens(samples).values, expected)
    shutil.copy(other / "model.safetensors", own / "other.safetensors")
    change(own / "config.json", transformers_weights="other.safetensors")
    np.testing.assert_array_equal(open_encoder(f"transformers:{own}").tokens(samples).values, expected)


@pytest.mark.parametrize(
    "steering",
    [
        {"return_dict": False}, {"attn_implementation": "somebody/kernels"}, {"_attn_implementation": "eager"},
        {"quantization_config": {"quant_method": "gptq", "bits": 4}}, {"auto_map": {"AutoModel": "theirs.Model"}},
        {"add_adapter": True, "num_adapter_layers": 10**5},
    ],
)  # fmt: skip
def test_a_config_tells_of_the_network_only(tmp_path: Path, steering: dict[str, Any]) -> None:
    """Neither other programs are fetched nor layers made that are not needed."""
    folder, samples = write_tiny(tmp_path / "tiny", "wav2vec2"), speech(0.2)
    expected = open_encoder(f"transformers:{folder}").tokens(samples).values
    change(folder / "config.json", **steering)
    np.testing.assert_array_equal(open_encoder(f"transformers:{folder}").tokens(samples).values, expected)


def test_shards_alone_are_told(own: Path, tiny: Path) -> None:
    (own / "model.safetensors").unlink()
    sharded(tiny, own)
    with pytest.raises(InputError, match=r"has no model\.safetensors"):
        open_encoder(f"transformers:{own}")


def test_weights_that_change_under_way_are_told(own: Path, tmp_path: Path) -> None:
    """Their tokens would be kept under the name of the others."""
    encoder = open_encoder(f"transformers:{own}")
    known = encoder.identity
    shutil.copy(write_tiny(tmp_path / "other", seed=1) / "model.safetensors", own)
    assert encoder.identity == known
    with pytest.raises(InputError, match="has changed since"):
        encoder.tokens(speech())
    again = open_encoder(f"transformers:{own}")
    assert again.identity != known
    again.tokens(speech())


def change(path: Path, **changed: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


def test_other_models_are_refused(own: Path) -> None:
    change(own / "config.json", model_type="bert")
    with pytest.raises(InputError, match="model of kind bert"):
        open_encoder(f"transformers:{own}")
    change(own / "config.json", model_type="hubert", conv_kernel=[10, "x"])
    with pytest.raises(InputError, match="no audio encoder's"):
        open_encoder(f"transformers:{own}")
    (own / "config.json").write_text("[]")
    with pytest.raises(InputError, match="no audio encoder's"):
        open_encoder(f"transformers:{own}")
    (own / "config.json").write_text("{")
    with pytest.raises(InputError, match="not valid JSON"):
        open_encoder(f"transformers:{own}")


@pytest.mark.parametrize(
    "wrong",
    [
        {"hidden_size": float("inf")}, {"hidden_size": 0}, {"num_hidden_layers": -5}, {"conv_stride": [2.5] * 7},
        {"conv_kernel": [1e308] * 7}, {"conv_stride": [0] * 7}, {"num_hidden_layers": 10**8}, {"hidden_size": 10**8},
        {"num_attention_heads": -2}, {"adapter_attn_dim": 10**10},
    ],
)  # fmt: skip
def test_sizes_that_no_network_has_are_told(own: Path, wrong: dict[str, Any]) -> None:
    change(own / "config.json", conv_kernel=[10, 3, 3, 3, 3, 2, 2], conv_stride=[5, 2, 2, 2, 2, 2, 2])
    change(own / "config.json", **wrong)
    with pytest.raises(InputError, match=r"config\.json is no audio encoder's"):
        TransformersEncoder(str(own))


def test_a_network_that_cannot_be_run_is_told(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "tiny", "wavlm")
    change(folder / "config.json", max_bucket_distance=0)
    with pytest.raises(InputError, match="cannot encode this sound: math domain"):
        open_encoder(f"transformers:{folder}").tokens(speech(0.2))


def test_another_rate_is_refused(own: Path) -> None:
    change(own / "preprocessor_config.json", sampling_rate=8000)
    with pytest.raises(InputError, match="wants 8000 samples a second"):
        open_encoder(f"transformers:{own}")


def test_a_layer_that_is_not_there_is_told(tiny: Path) -> None:
    with pytest.raises(UsageError, match="layers 0 to 3, not 4"):
        open_encoder(f"transformers:{tiny}@4")


def test_a_folder_without_weights_is_told(own: Path, tmp_path: Path) -> None:
    (own / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no model\.safetensors"):
        open_encoder(f"transformers:{own}")
    with pytest.raises(InputError, match=r"has no config\.json and no model\.safetensors"):
        open_encoder(f"transformers:{tmp_path}")
    with pytest.raises(InputError, match="is no folder"):
        open_encoder(f"transformers:{tmp_path / 'nothing'}")


@contextmanager
def refused(folder: Path, told: str) -> Iterator[None]:
    yield
    with pytest.raises(InputError, match=told):
        open_encoder(f"transformers:{folder}").tokens(speech())


def test_damaged_weights_are_told(own: Path) -> None:
    path = own / "model.safetensors"
    whole = path.read_bytes()
    for damaged in (b"", whole[:100], whole[:-10], b"\xff" * 64):
        with refused(own, "cannot be read"):
            path.write_bytes(damaged)


def test_weights_of_another_model_are_told(own: Path, tmp_path: Path) -> None:
    with refused(own, "gru_rel_pos"):
        shutil.copy(write_tiny(tmp_path / "wavlm", "wavlm") / "model.safetensors", own)
    with refused(own, r"lacks encoder\.layers\.3"):
        shutil.copy(write_tiny(tmp_path / "hubert") / "model.safetensors", own)
        change(own / "config.json", num_hidden_layers=5)
    with refused(own, "which its config does not know"):
        change(own / "config.json", num_hidden_layers=2)


def test_a_pickle_is_not_run(own: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    (own / "model.safetensors").unlink()
    with refused(own, "cannot be read"):
        (own / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    with refused(own, "cannot be read"):
        torch.save({"weight": Evil()}, own / "pytorch_model.bin")
    assert not (tmp_path / "ran").exists()


def test_old_weight_files_are_read(own: Path) -> None:
    """`pytorch_model.bin`, as many published encoders still have it."""
    samples = speech()
    expected = open_encoder(f"transformers:{own}").tokens(samples).values
    from safetensors.torch import load_file

    torch.save(load_file(own / "model.safetensors"), own / "pytorch_model.bin")
    (own / "model.safetensors").unlink()
    np.testing.assert_array_equal(open_encoder(f"transformers:{own}").tokens(samples).values, expected)


@pytest.mark.parametrize("kind", ["hubert", "wav2vec2"])
def test_published_weights_with_old_names_and_heads_are_read(tmp_path: Path, kind: str) -> None:
    """As in facebook/wav2vec2-base-960h: names under the model's kind, a head for letters, weight_g and weight_v."""
    from safetensors.torch import load_file

    folder, samples = write_tiny(tmp_path / "tiny", kind), speech()
    expected = open_encoder(f"transformers:{folder}").tokens(samples).values
    old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    state = {"lm_head.weight": torch.zeros(32, 16), "lm_head.bias": torch.zeros(32)}
    for name, value in load_file(folder / "model.safetensors").items():
        for new_end, old_end in old.items():
            name = name.replace(new_end, old_end)
        if name != "masked_spec_embed":
            state[f"{kind}.{name}"] = value
    assert any(name.endswith("weight_g") for name in state)
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    np.testing.assert_array_equal(open_encoder(f"transformers:{folder}").tokens(samples).values, expected)


def hub_cache(root: Path, model_id: str, content: Path) -> None:
    """As the hub's client leaves what it has fetched."""
    home = root / f"models--{model_id.replace('/', '--')}"
    shutil.copytree(content, home / "snapshots" / "0123abc")
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("0123abc")


def test_what_the_hub_left_is_used_without_a_network(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    real = huggingface_hub.snapshot_download
    hub_cache(tmp_path, PUBLISHED["hubert-base"][0], tiny)
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download",
        lambda name, **more: real(name, cache_dir=tmp_path, local_files_only=True, **more),
    )  # fmt: skip
    encoder = open_encoder("hubert-base")
    assert encoder.name == "hubert-base"
    np.testing.assert_array_equal(
        encoder.tokens(speech()).values, open_encoder(f"transformers:{tiny}").tokens(speech()).values
    )
    assert open_encoder("hubert-base@1").name == "hubert-base@1"
    with pytest.raises(MissingBackendError, match="wavlm-base-plus cannot be fetched") as error:
        open_encoder("wavlm-base-plus")
    assert "transformers:FOLDER" in str(error.value.hint)


def test_names_are_known_or_told() -> None:
    assert open_encoder("mel").identity == LogMel().identity
    for spec in ("", "melody", "mel@3", "hubert", "transformers:", "hubert-base@x", "@", "@1"):
        with pytest.raises(UsageError, match="no audio encoder") as error:
            open_encoder(spec)
        assert all(name in str(error.value.hint) for name in ENCODER_NAMES)


@settings(max_examples=60)
@given(st.text(max_size=40), st.sampled_from(["", "transformers:", "transformers:~", "transformers:/", "mel@"]))
def test_any_text_is_an_encoder_or_an_error_of_the_users(text: str, before: str) -> None:
    def unreachable(model_id: str) -> Path:
        raise MissingBackendError(f"{model_id} cannot be fetched")

    with pytest.MonkeyPatch.context() as patch, suppress(Mmface4dError):
        patch.setattr(weights, "_from_hub", unreachable)
        assert open_encoder(before + text).name == "mel"


def test_a_name_that_no_file_can_have_is_told() -> None:
    for name in ("x" * 5000, "~nobody-of-this-name/x", "a\0b"):
        with pytest.raises(InputError, match="is no folder"):
            open_encoder(f"transformers:{name}/y/z")


@pytest.mark.parametrize(
    "spec", ["transformers:../other", "transformers:/nowhere", "transformers:a/b/c", "transformers:x"]
)
def test_a_path_is_never_asked_of_the_hub(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_from_hub", lambda _: pytest.fail("asked of the hub"))
    with pytest.raises(InputError, match="is no folder"):
        open_encoder(spec)
