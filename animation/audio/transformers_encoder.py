"""HuBERT, wav2vec 2.0 and WavLM by the package transformers, from a folder or from the hub.

How a sound is prepared is read from the weights' own `preprocessor_config.json`: `do_normalize` asks for zero mean and
unit variance, (x - mean) / sqrt(variance + 1e-7), taken over the whole sound and not over its pieces. Sounds are
encoded one by one and never padded; so no attention mask is needed, which the base models were not trained with, and
which the large ones need as soon as there is padding.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from animation.audio.encoder import SPEECH_RATE_HZ, Tokens
from animation.audio.long_speech import LongSpeech, joined
from animation.audio.mel import token_count, token_times_s
from animation.audio.weights import CONFIG, PREPROCESSOR, folder_sha256, only_hashed, weights_file, weights_folder
from animation.audio.windows import Window, windows
from mmface4d.errors import InputError, MissingBackendError, UsageError
from mmface4d.files import read_json

VERSION = 1  # of what the numbers mean; a part of the identity
KINDS = ("hubert", "wav2vec2", "wavlm")
WINDOW_S, CONTEXT_S = 20.0, 2.0  # a piece, and how much of it is thrown away at either end that has a neighbour
MOST_LAYERS, MOST_NUMBER = 1 << 10, 1 << 20  # in a config; what is beyond would be made before it could be refused
NEVER_SAVED = {"masked_spec_embed"}  # used in training only; some published weights lack it


@dataclass(frozen=True)
class Extractor:
    """What the stack of convolutions covers and steps, in samples, and how wide and deep what follows is."""

    window: int
    hop: int
    width: int
    n_layers: int
    normalise: bool


class TransformersEncoder:
    """Tokens of one layer. Layer k is what comes out of the k-th transformer layer; 0 is what goes into the first.

    Of the last layer it is the model's output, after the closing normalisation that the large models have. Weights are
    read when the first sound comes, so that features from the cache need none.
    """

    def __init__(
        self, folder_or_id: str, *, name: str | None = None, layer: int | None = None, device: str = "cpu",
        window_s: float = WINDOW_S, context_s: float = CONTEXT_S,
    ) -> None:  # fmt: skip
        self.folder, self.device = weights_folder(folder_or_id), device
        self.extractor = read_extractor(self.folder)
        self.layer = self.extractor.n_layers if layer is None else layer
        if not 0 <= self.layer <= self.extractor.n_layers:
            raise UsageError(
                f"{folder_or_id} has the layers 0 to {self.extractor.n_layers}, not {self.layer}",
                hint="choose one of these, or leave @LAYER out for the last",
            )
        self.name = name or f"transformers:{Path(folder_or_id).name}"
        self.n_audio = self.extractor.width
        self._length, self._context = (round(s * SPEECH_RATE_HZ / self.extractor.hop) for s in (window_s, context_s))

    @property
    def identity(self) -> str:
        about = f"{self.layer}:{self._length}/{self._context}"
        return f"transformers-{VERSION}:{self._sha256}:{about}"

    @cached_property
    def _sha256(self) -> str:
        return folder_sha256(self.folder)

    @cached_property
    def module(self) -> nn.Module:
        """The model in eval mode, its parameters frozen, without the layers that are not needed.

        Raises InputError where the folder is no longer what `identity` says.
        """
        told = self._sha256
        model: Any = load_model(self.folder)
        if folder_sha256(self.folder) != told:
            raise InputError(f"{self.folder} has changed since it was opened", hint="run again")
        model.encoder.layers = model.encoder.layers[: self.layer + 1]
        return model.requires_grad_(False).eval().to(self.device)

    def tokens(self, samples: Float32[np.ndarray, "n_samples"]) -> Tokens:
        """Of mono speech at 16 kHz, between -1 and 1; raises InputError below 25 ms."""
        return joined(self.token_pieces(LongSpeech.of(samples)))

    def token_pieces(self, speech: LongSpeech) -> Iterator[Tokens]:
        """All tokens in their order, some at a time."""
        window, hop = self.extractor.window, self.extractor.hop
        count = token_count(speech.n_samples, window=window, hop=hop)
        if count < 1:
            raise InputError(
                f"{speech.n_samples} samples are too short for speech features", hint="give at least 25 ms"
            )
        times_s = token_times_s(count, window=window, hop=hop)
        for each in windows(count, length=self._length, context=self._context):
            yield Tokens(self._piece(speech, each), times_s[each.keep_first : each.keep_stop])

    def hidden(self, samples: Float[Tensor, "n_samples"]) -> Float[Tensor, "n_tokens n_audio"]:
        """Of prepared samples in one piece; differentiable where the module's parameters are."""
        with _input_of_layer(self.module, self.layer) as caught:
            told = self.module(samples[None].to(self.device))
        last = self.layer == self.extractor.n_layers
        return (told.last_hidden_state if last else caught[0])[0]

    def _piece(self, speech: LongSpeech, piece: Window) -> Float32[np.ndarray, "n_kept n_audio"]:
        hop, window = self.extractor.hop, self.extractor.window
        # what is left over at the end counts where the first convolution's normalisation looks at the whole piece
        end = speech.n_samples if piece.last else (piece.stop - 1) * hop + window
        heard = speech.read(piece.first * hop, end)
        prepared = torch.from_numpy(speech.standard(heard) if self.extractor.normalise else heard)
        kept = slice(piece.keep_first - piece.first, piece.keep_stop - piece.first)
        try:
            with torch.inference_mode():
                return self.hidden(prepared)[kept].float().cpu().numpy()
        except (RuntimeError, ValueError, ArithmeticError) as error:  # also where a device has too little memory
            told = str(error).strip().partition("\n")[0][:300]
            raise InputError(f"{self.name} cannot encode this sound: {told}", hint="check its config.json") from error


@contextmanager
def _input_of_layer(module: Any, layer: int) -> Iterator[list[Tensor]]:
    """Catches what goes into a layer, whichever way the package's versions hand it over; nothing beyond the last."""
    caught: list[Tensor] = []
    if layer >= len(module.encoder.layers):
        yield caught
        return

    def catch(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        caught.append(given[0] if given else named["hidden_states"])

    handle = module.encoder.layers[layer].register_forward_pre_hook(catch, with_kwargs=True)
    try:
        yield caught
    finally:
        handle.remove()


def normalised(samples: Float32[np.ndarray, "n_samples"]) -> Float32[np.ndarray, "n_samples"]:
    """Zero mean and unit variance, as the package's feature extractor does it; silence stays silent."""
    return LongSpeech.of(samples).standard(samples)


def read_extractor(folder: Path) -> Extractor:
    """From the folder's JSON; raises InputError where it is of another kind of model."""
    config = read_json(folder / CONFIG)
    told = read_json(folder / PREPROCESSOR) if (folder / PREPROCESSOR).is_file() else {}
    try:
        if config["model_type"] not in KINDS:
            raise InputError(f"{folder} is a model of kind {config['model_type']}", hint=f"one of {', '.join(KINDS)}")
        window, hop = coverage(config["conv_kernel"], config["conv_stride"])
        width, n_layers = int(config["hidden_size"]), int(config["num_hidden_layers"])
        n_heads = int(config.get("num_attention_heads", 1))
        if width < 1 or n_heads < 1 or not 1 <= n_layers <= MOST_LAYERS:
            raise ValueError(f"{n_layers} layers of {width} with {n_heads} heads")
        if beyond := [name for name, value in config.items() if isinstance(value, int) and abs(value) > MOST_NUMBER]:
            raise ValueError(f"{beyond[0]} is {config[beyond[0]]}")
        rate = told.get("sampling_rate", SPEECH_RATE_HZ)
        # what the package's feature extractor does where the weights do not say
        normalise = bool(told.get("do_normalize", True))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"{folder / CONFIG} is no audio encoder's: {error!r}", hint="fetch it again") from error
    if rate != SPEECH_RATE_HZ:
        raise InputError(f"{folder} wants {rate} samples a second", hint="choose an encoder for 16 kHz")
    return Extractor(window, hop, width, n_layers, normalise)


def coverage(kernels: list[int], strides: list[int]) -> tuple[int, int]:
    """How many samples one token of a stack of convolutions covers, and by how many the next one is later."""
    window, hop = 1, 1
    for kernel, stride in zip(kernels, strides, strict=True):
        window += (kernel - 1) * hop
        hop *= stride
    whole = all(isinstance(each, int) and each > 0 for each in (*kernels, *strides))
    if not whole or hop > SPEECH_RATE_HZ:  # a token a second is no speech feature
        raise ValueError(f"convolutions of {kernels} with steps of {strides}")
    return window, hop


def load_model(folder: Path) -> nn.Module:
    """Raises InputError where weights are damaged or lack what the model needs; nothing is unpickled."""
    try:
        from transformers import AutoModel
    except ImportError as error:
        raise MissingBackendError(
            f"the audio encoder {folder.name} needs the package transformers", hint="pip install 'mmface4d[animation]'"
        ) from error
    try:
        with _quietly(), only_hashed(folder) as hashed:
            model, report = AutoModel.from_pretrained(
                hashed, local_files_only=True, trust_remote_code=False, output_loading_info=True, dtype=torch.float32
            )
    except Exception as error:  # the package raises a dozen kinds on damaged and hostile files
        told = str(error).strip().partition("\n")[0][:300]
        raise InputError(f"{weights_file(folder)} cannot be read: {told}", hint="fetch the weights again") from error
    missing = sorted(key for key in report["missing_keys"] if key.rpartition(".")[2] not in NEVER_SAVED)
    beyond = sorted(key for key in report["unexpected_keys"] if "encoder.layers." in key)  # heads may be there
    if missing or beyond:
        told = f"lacks {missing[0]}" if missing else f"has {beyond[0]}, which its config does not know"
        raise InputError(f"{weights_file(folder)} {told}", hint="config and weights are of two models; fetch both")
    return model


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the package's bars and reports; what they tell is looked at afterwards."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
