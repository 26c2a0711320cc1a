"""What a second of animation costs: encoders of speech, heads, and the step from components to vertices, one by one.

    python benchmarks/animation_speed.py [--vertices 5023] [--device cpu] [--large]

Batch 1, random weights, one core by its processor time, or a GPU by the wall's clock after it has finished. Every case
runs once to warm up; the median of the others counts. FaceFormer decodes in its three ways, which give the same faces:
`last-row` sees the whole past anew for every frame, as the authors' code does; `cached` keeps its keys and values;
`folded` also goes from frame to frame without the vertices. Prints JSON.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
import torch
from common import print_json, say

from animation.audio.encoder import SPEECH_RATE_HZ
from animation.data.batch import UNKNOWN_SUBJECT, Style
from animation.models.interface import AnimationModel, ModelShape
from animation.models.registry import build_model

FPS, N_AUDIO, SUBJECTS = 30.0, 768, 8
DRIVER_S = 10  # the clip that shows the style
LENGTHS_S = (1, 4, 10, 20, 30)
ONLY_OURS_S = 60
ENCODER_S = 10
HEADS: dict[str, tuple[str, dict[str, Any]]] = {
    "audio2face": ("audio2face", {}),
    "faceformer folded": ("faceformer", {"decoding": "folded"}),
    "faceformer cached": ("faceformer", {"decoding": "cached"}),
    "faceformer last-row": ("faceformer", {"decoding": "last-row"}),
}
# published sizes of the encoders: layers, width, heads, inner width
SIZES = {"hubert-base": (12, 768, 12, 3072), "hubert-large": (24, 1024, 16, 4096)}


@dataclass(frozen=True)
class Stopwatch:
    """Times calls on a device."""

    device: str
    repeats: int

    def seconds(self, call: Callable[[], object]) -> float:
        """The median, after one call that does not count."""
        return median([self._once(call) for _ in range(self.repeats + 1)][1:])

    def _once(self, call: Callable[[], object]) -> float:
        clock = time.process_time if self.device == "cpu" else time.perf_counter
        started = clock()
        call()
        if self.device != "cpu":
            torch.cuda.synchronize()
        return clock() - started


def make_style(n_verts: int, device: str) -> Style:
    """Somebody unknown, shown for DRIVER_S seconds."""
    frames = round(DRIVER_S * FPS)
    driver = 0.1 * torch.randn(1, frames, n_verts, 3, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(1, frames, dtype=torch.bool)
    return Style(driver, mask, torch.tensor([UNKNOWN_SUBJECT])).to(device)


def head(name: str, shape: ModelShape, watch: Stopwatch, *, style: Style) -> dict[str, Any]:
    """Seconds for a second of animation by length; the style of audio2face is encoded once and told apart."""
    kind, options = HEADS[name]
    model = build_model(kind, shape, options, seed=0).to(watch.device).eval()
    template = torch.zeros(1, shape.n_verts, 3, device=watch.device)
    found: dict[str, Any] = {}
    for length_s in (*LENGTHS_S, *((ONLY_OURS_S,) if kind == "audio2face" else ())):
        audio = torch.randn(1, round(length_s * FPS), N_AUDIO, generator=torch.Generator().manual_seed(2))
        call = _animation(model, audio.to(watch.device), template, style)
        found[f"{length_s} s"] = round(watch.seconds(call) / length_s, 5)
        say({name: {f"{length_s} s": found[f"{length_s} s"]}})
    return found


def _animation(
    model: AnimationModel, audio: torch.Tensor, template: torch.Tensor, style: Style
) -> Callable[[], object]:  # fmt: skip
    from animation.models.interface import ChunkableModel

    if isinstance(model, ChunkableModel):
        code = model.encode_style(style)
        return lambda: model.decode(audio, template, code)
    return lambda: model.generate(audio, template, style)


def parts(shape: ModelShape, watch: Stopwatch, *, style: Style) -> dict[str, float]:
    """Of audio2face: a style of DRIVER_S seconds, once a clip; and components to vertices, a part of its head."""
    from animation.models.audio2face import Audio2Face

    model = build_model("audio2face", shape, {}, seed=0).to(watch.device).eval()
    if not isinstance(model, Audio2Face):
        raise click.ClickException("audio2face is another model than it was")
    matrix = model.decoding_matrix().T
    weights = torch.zeros(1, round(ENCODER_S * FPS), matrix.shape[1], device=watch.device)
    return {
        f"style of {DRIVER_S} s, once": round(watch.seconds(lambda: model.encode_style(style)), 5),
        "vertices, a second": round(
            watch.seconds(lambda: torch.nn.functional.linear(weights, matrix)) / ENCODER_S, 5
        ),
    }  # fmt: skip


def encoders(watch: Stopwatch, *, names: tuple[str, ...]) -> dict[str, float]:
    """Seconds for a second of speech; HuBERT has random weights of the published sizes."""
    from animation.audio.registry import open_encoder

    samples = 0.1 * np.random.default_rng(0).standard_normal(ENCODER_S * SPEECH_RATE_HZ).astype(np.float32)
    found = {"mel": round(watch.seconds(lambda: open_encoder("mel").tokens(samples)) / ENCODER_S, 5)}
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            _write_hubert(Path(folder), *SIZES[name])
            encoder = open_encoder(f"transformers:{folder}", device=watch.device)
            found[name] = round(watch.seconds(lambda encoder=encoder: encoder.tokens(samples)) / ENCODER_S, 5)
        say({name: found[name]})
    return found


def _write_hubert(folder: Path, layers: int, width: int, heads: int, inner: int) -> None:
    from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

    large = width > SIZES["hubert-base"][1]
    config = HubertConfig(
        num_hidden_layers=layers, hidden_size=width, num_attention_heads=heads, intermediate_size=inner,
        do_stable_layer_norm=large, feat_extract_norm="layer" if large else "group", conv_bias=large,
    )  # fmt: skip
    HubertModel(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=large).save_pretrained(folder)


def verdict(heads: dict[str, Any]) -> dict[str, Any]:
    """The goals: 0.015 s a second at every length, and how many times faster than FaceFormer at 10 and at 20 s."""
    ours = heads["audio2face"]
    times = {
        name: {length: round(found[length] / ours[length], 1) for length in ("10 s", "20 s")}
        for name, found in heads.items()
        if name != "audio2face"
    }
    return {
        "slowest second": max(ours.values()),
        "30 s against 4 s": round(ours["30 s"] / ours["4 s"], 3),
        "times faster": times,
    }


@click.command()
@click.option("--vertices", default=5023, show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--repeats", default=3, show_default=True)
@click.option("--large", is_flag=True, help="HuBERT-large too, which needs 3 GB.")
def main(vertices: int, device: str, repeats: int, large: bool) -> None:
    """Time everything."""
    torch.set_num_threads(1)
    watch = Stopwatch(device, repeats)
    shape = ModelShape(n_verts=vertices, n_audio=N_AUDIO, n_subjects=SUBJECTS, fps=FPS)
    style = make_style(vertices, device)
    with torch.inference_mode():
        heads = {name: head(name, shape, watch, style=style) for name in HEADS}
        found = {
            "device": device, "vertices": vertices, "fps": FPS, "dtype": "float32", "batch": 1, "threads": 1,
            "heads, seconds a second": heads, "parts of audio2face": parts(shape, watch, style=style),
            "encoders, seconds a second": encoders(watch, names=tuple(SIZES)[: 2 if large else 1]),
            "verdict": verdict(heads),
        }  # fmt: skip
    print_json(found)


if __name__ == "__main__":
    main()
