"""Evaluations by protocol: what is shown to a model, what the numbers say of themselves, and how they are pooled."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from animation.audio.mel import LogMel
from animation.data.batch import Batch, Style
from animation.data.corpus import Mask, SpeechCorpus
from animation.data.prepared import Prepared, prepare
from animation.metrics.bootstrap import bootstrap, bootstrap_change
from animation.metrics.definitions import Pair, every_definition, masks_of
from animation.metrics.errors import LVE_PRESETS, Share, lve, pooled
from animation.metrics.evaluate import evaluate_prepared, predict, weights_sha256
from animation.metrics.numbers import numbers_of
from animation.metrics.protocols import PROTOCOLS, choose_driver, drivers
from animation.metrics.report import STILL, ClipScore, Report, read_report
from animation.models.interface import LOSS, AnimationModel, Capabilities, ModelShape
from animation.models.registry import MODELS, build_model
from mmface4d.errors import InputError
from mmface4d.files import write_json
from tests.animation.toy_corpus import toy_corpus

SPLITS: dict[str, Any] = {"a": "train", "b": "train", "t": "test", "u": "test", "v": "test"}


class Parrot(AnimationModel):
    """Says what its driver said, from the start and again."""

    style: Any = "clip"

    def __init__(self, shape: ModelShape) -> None:
        super().__init__(shape)
        self.gain = nn.Parameter(torch.ones(()))
        self.asked: list[int] = []

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(style=self.style, autoregressive=False, halo_frames=0)

    def loss(self, batch: Batch, *, stage: str) -> dict[str, Tensor]:
        return {LOSS: self.gain}

    def generate(self, audio: Tensor, template: Tensor, style: Style) -> Tensor:
        self.asked.append(int(style.subject[0]))
        frames = torch.arange(audio.shape[1]) % style.driver.shape[1]
        return self.gain * (style.driver[:, frames] if self.style == "clip" else torch.zeros(1))


class Numbered(Parrot):
    """Knows speakers by number; moves nothing."""

    style: Any = "subject"

    def generate(self, audio: Tensor, template: Tensor, style: Style) -> Tensor:
        self.asked.append(int(style.subject[0]))
        return torch.zeros(1, audio.shape[1], template.shape[1], 3)


@pytest.fixture(scope="module")
def corpus() -> SpeechCorpus:
    return toy_corpus(splits=SPLITS, sentences=3, n_frames=12)


@pytest.fixture(scope="module")
def prepared(corpus: SpeechCorpus, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(corpus, encoder=LogMel(), fps=30.0, cache=tmp_path_factory.mktemp("prepared"))


def parrot(prepared: Prepared, kind: type[Parrot] = Parrot) -> Parrot:
    return kind(ModelShape(prepared.topology.n_verts, prepared.n_audio, 2, prepared.fps)).eval()


@pytest.fixture(scope="module")
def report(prepared: Prepared) -> Report:
    return evaluate_prepared(parrot(prepared), prepared, seeds=(0, 1, 2))


def test_a_driver_keeps_to_its_protocol(prepared: Prepared) -> None:
    by_name = {clip.name: clip for clip in prepared.clips}
    for clip in prepared.of_split("test"):
        assert choose_driver(prepared, clip, "self", seed=0) is clip
        for seed in range(5):
            same = choose_driver(prepared, clip, "same-subject-other-clip", seed=seed)
            other = choose_driver(prepared, clip, "other-subject", seed=seed)
            assert (same.subject, other.split) == (clip.subject, "test")
            assert same.sentence != clip.sentence
            assert other.subject != clip.subject
    shuffled = replace(prepared, clips=tuple(reversed(prepared.clips)))
    chosen = [
        [choose_driver(each, by_name["t_00"], "other-subject", seed=seed).name for seed in range(20)]
        for each in (prepared, shuffled)
    ]
    assert chosen[0] == chosen[1]
    assert len(set(chosen[0])) > 3


def test_the_same_text_is_no_other_clip(prepared: Prepared) -> None:
    clips = tuple(replace(clip, sentence="00") for clip in prepared.clips)
    same_text = replace(prepared, clips=clips)
    assert drivers(same_text, clips[0], "same-subject-other-clip") == []
    with pytest.raises(InputError, match="a_00 has no driver by the protocol same-subject-other-clip"):
        choose_driver(same_text, clips[0], "same-subject-other-clip", seed=0)
    report = evaluate_prepared(parrot(prepared), same_text)
    assert report.protocols == (STILL, "self", "other-subject")
    with pytest.raises(InputError, match="no style can be shown: same-subject-other-clip: no driver for 9 of 9 clips"):
        evaluate_prepared(parrot(prepared), same_text, protocols=("same-subject-other-clip",))
    assert report.notes == ("same-subject-other-clip: no driver for 9 of 9 clips, such as t_00; left out",)


def test_a_text_with_two_ids_is_one_sentence(corpus: SpeechCorpus, tmp_path: Path) -> None:
    """As where a sentence is said in several emotions, each with an id of its own."""
    texts = {"00": "Good morning.", "01": " good  Morning.", "02": ""}
    clips = tuple(replace(clip, text=texts[clip.sentence]) for clip in corpus.clips)
    twice = prepare(replace(corpus, clips=clips), encoder=LogMel(), fps=30.0, cache=tmp_path)
    by_name = {clip.name: clip for clip in twice.clips}
    assert [each.name for each in drivers(twice, by_name["t_00"], "same-subject-other-clip")] == ["t_02"]
    assert len(drivers(twice, by_name["t_02"], "same-subject-other-clip")) == 2


def test_an_id_means_what_the_subject_says_under_it(corpus: SpeechCorpus, tmp_path: Path) -> None:
    """Sessions may number their sentences anew."""
    texts = {"a": ["Yes.", "No.", "Well."], "t": ["Well.", "Yes.", "No way."]}
    clips = tuple(replace(clip, text=texts.get(clip.subject, texts["a"])[int(clip.sentence)]) for clip in corpus.clips)
    told = prepare(replace(corpus, clips=clips), encoder=LogMel(), fps=30.0, cache=tmp_path)
    for clip in told.clips:
        assert len(drivers(told, clip, "same-subject-other-clip")) == 2


def test_an_oracle_makes_no_error_and_a_stranger_makes_some(report: Report) -> None:
    for name in ("lip_max", "lip_mean", "upper_max", "face_max", "mesh_mean", "lve_codetalker", "fve_mmhead"):
        assert report.number(name, "self").value == pytest.approx(0, abs=1e-4)
    assert report.number("dtw_lips", "self").value == pytest.approx(0, abs=1e-5)
    assert report.number("speed_lips_ratio", "self").value == pytest.approx(1, abs=1e-4)
    for protocol in (STILL, *PROTOCOLS[1:]):
        assert (report.number("lip_max", protocol).value or 0) > 0.5
    assert report.number("speed_lips_ratio", STILL).value == 0
    assert (report.number("fdd_code", STILL).value or 0) == pytest.approx(0, abs=1e-12)  # the upper face keeps still


def test_a_still_face_is_as_wrong_as_the_mouth_is_open(prepared: Prepared, report: Report) -> None:
    clips = prepared.of_split("test")
    open_mm = [1000 * np.linalg.norm(clip.displacement_m(), axis=2) for clip in clips]
    lips = prepared.topology.masks["lips"].vertices
    largest = [each[:, lips].max(axis=1).mean() for each in open_mm]
    assert report.number("lip_max", STILL).value == pytest.approx(np.mean(largest), rel=1e-5)
    of_clip = {each.clip: each.value("lip_max") for each in report.clips if each.protocol == STILL}
    assert of_clip == pytest.approx(dict(zip([clip.name for clip in clips], largest, strict=True)), rel=1e-5)


def test_numbers_are_those_of_the_plain_functions(prepared: Prepared, report: Report) -> None:
    model, truth, predicted = parrot(prepared), [], []
    for clip in prepared.of_split("test"):
        driver = choose_driver(prepared, clip, "other-subject", seed=1)
        predicted.append(predict(model, prepared, clip, driver=driver))
        truth.append((prepared.templates[clip.subject] + clip.displacement_m()).astype(np.float32))
    once = evaluate_prepared(model, prepared, protocols=("other-subject",), seeds=(1,))
    for preset, flags in LVE_PRESETS.items():
        ours = once.number(f"lve_{preset}", "other-subject").value
        assert ours == pytest.approx(lve(predicted, truth, prepared.topology.masks["lips"], **flags), rel=1e-12)


def test_every_number_says_what_it_depends_on(prepared: Prepared, report: Report) -> None:
    masks = prepared.topology.masks
    for each in report.numbers:
        assert each.unit in ("mm", "m", "m²", "mm/s", "")
        assert each.pooling
        assert each.source
        if each.mask in masks:
            assert each.mask_sha256 == masks[each.mask].sha256
        some = (3 * (12 + 13 + 14), 9, 3) if each.value is not None else (0, 0, 0)  # an upper face that keeps still
        assert (each.n_frames, each.n_sequences, each.n_subjects) == some
        assert each.seeds == ((0, 1, 2) if each.protocol in PROTOCOLS[1:] else (0,))
        if each.value is not None and each.interval is not None:
            assert each.interval[0] - 1e-9 <= each.value <= each.interval[1] + 1e-9
    assert {each.metric for each in report.numbers} == {each.name for each in every_definition()}
    assert len({each.name for each in every_definition()}) == len(every_definition())


def test_seeds_choose_drivers_and_their_spread_is_told(prepared: Prepared, report: Report) -> None:
    alone = [
        evaluate_prepared(parrot(prepared), prepared, protocols=("other-subject",), seeds=(seed,)) for seed in range(3)
    ]
    for metric in ("lip_max", "lve_codetalker", "speed_lips_ratio", "fdd_paper"):
        values = [each.number(metric, "other-subject").value or 0.0 for each in alone]
        together = report.number(metric, "other-subject")
        assert together.value == pytest.approx(np.mean(values))
        assert together.sd_over_seeds == pytest.approx(np.std(values, ddof=1))
        assert alone[0].number(metric, "other-subject").sd_over_seeds is None


def test_who_knows_speakers_by_number_is_told_the_drivers(prepared: Prepared) -> None:
    model = parrot(prepared, Numbered)
    report = evaluate_prepared(model, prepared, seeds=(0, 1))
    assert set(model.asked) == {-1}
    assert len(model.asked) == 9  # once a clip: nobody unseen changes what it says
    assert {each.driver for each in report.clips} == {None}
    model.asked.clear()
    evaluate_prepared(model, prepared, split="train", protocols=("other-subject",))
    assert set(model.asked) == {0, 1}


@pytest.mark.parametrize("name", list(MODELS))
def test_every_model_is_measured(prepared: Prepared, name: str) -> None:
    few = replace(prepared, clips=tuple(clip for clip in prepared.clips if clip.name in ("t_00", "t_01", "u_00")))
    shape = ModelShape(prepared.topology.n_verts, prepared.n_audio, 2, prepared.fps, masks=vertices_of(prepared))
    model = build_model(name, shape, {}, seed=0).eval()
    first, again = (evaluate_prepared(model, few, protocols=("self", "other-subject")) for _ in range(2))
    assert first == again
    values = [first.number("lip_max", protocol).value for protocol in ("self", "other-subject")]
    assert values[0] is not None
    assert (values[0] == values[1]) == (model.capabilities.style != "clip")


def vertices_of(prepared: Prepared) -> dict[str, tuple[int, ...]]:
    return {name: tuple(mask.vertices.tolist()) for name, mask in prepared.topology.masks.items()}


def test_a_report_comes_back_from_its_file(report: Report, tmp_path: Path) -> None:
    write_json(tmp_path / "report.json", report.to_json())
    assert read_report(tmp_path / "report.json") == report
    damaged = json.loads((tmp_path / "report.json").read_text()) | {"numbers": 3}
    write_json(tmp_path / "report.json", damaged)
    with pytest.raises(InputError, match="no report of an evaluation"):
        read_report(tmp_path / "report.json")


def test_a_model_that_says_no_numbers_and_an_empty_split_are_refused(prepared: Prepared) -> None:
    model = parrot(prepared)
    with torch.no_grad():
        model.gain.fill_(float("nan"))
    with pytest.raises(InputError, match="the model predicts no numbers for t_00"):
        evaluate_prepared(model, prepared)
    with pytest.raises(InputError, match="0 clips in the split validation of toy"):
        evaluate_prepared(model, prepared, split="validation")
    with pytest.raises(InputError, match="was not measured by the protocol"):
        evaluate_prepared(parrot(prepared), prepared, protocols=("self",)).number("lip_max", "other-subject")


def test_weights_have_a_hash_of_their_own(prepared: Prepared) -> None:
    one, other = parrot(prepared), parrot(prepared)
    assert weights_sha256(one) == weights_sha256(other)
    with torch.no_grad():
        other.gain.add_(1e-6)
    assert weights_sha256(one) != weights_sha256(other)


def test_an_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(300):
        shares = [Share(float(value), 1.0) for value in rng.normal(1, 1, 40)]
        low, high = bootstrap(shares, resamples=400, seed=seed) or (0, 0)
        hits += low <= 1 <= high
    assert 0.89 < hits / 300 < 0.98


def test_intervals_of_pooled_means_and_of_people() -> None:
    rng = np.random.default_rng(1)
    people = [str(k // 10) for k in range(60)]
    values = np.repeat(rng.normal(5, 2, 6), 10) + rng.normal(0, 0.1, 60)
    weights = rng.integers(10, 100, 60).astype(float)
    shares = [Share(float(value * weight), float(weight)) for value, weight in zip(values, weights, strict=True)]
    by_clip, by_person = bootstrap(shares), bootstrap(shares, groups=people)
    assert by_clip is not None
    assert by_person is not None
    assert by_clip[0] < pooled(shares) < by_clip[1]
    assert by_person[1] - by_person[0] > 1.5 * (by_clip[1] - by_clip[0])
    assert bootstrap(shares) == by_clip
    assert bootstrap(shares[:2]) is None
    assert bootstrap(shares[:20], groups=people[:20]) is None
    with pytest.raises(InputError, match="no interval of level 95"):
        bootstrap(shares, level=95.0)


def test_a_change_in_pairs_is_surer_than_two_intervals() -> None:
    rng = np.random.default_rng(2)
    hard = rng.uniform(1, 10, 30)
    theirs = [Share(float(value), 1.0) for value in hard]
    ours = [Share(float(0.8 * value), 1.0) for value in hard + rng.normal(0, 0.1, 30)]
    low, high = bootstrap_change(ours, theirs) or (0, 0)
    assert -0.22 < low < -0.19 < high + 0.01
    assert high < -0.18
    with pytest.raises(InputError, match="no pairs"):
        bootstrap_change(ours, theirs[:3])


def test_a_protocol_or_a_seed_given_twice_is_measured_once(prepared: Prepared) -> None:
    model = parrot(prepared)
    once = evaluate_prepared(model, prepared, protocols=("self", "other-subject"), seeds=(0, 1))
    twice = evaluate_prepared(model, prepared, protocols=("self", "other-subject", "self"), seeds=(0, 1, 1))
    assert twice == once


def test_a_face_that_moves_where_the_true_one_keeps_still_counts_in_the_ratio() -> None:
    """Two clips of two frames and one vertex: the truth moves in one of them, the prediction in both."""
    moving, still = np.zeros((2, 1, 3)), np.zeros((2, 1, 3))
    moving[1] = (0.001, 0.0, 0.0)
    masks = masks_of({name: Mask(name, np.array([0])) for name in ("lips", "upper_face", "face")}, 1)
    definitions = every_definition()
    scores = []
    for name, truth in (("a", moving), ("b", still)):
        pair = Pair(moving, truth, np.zeros((1, 3)), 30.0)
        shares = {each.name: each.measure(pair, masks[each.mask]) for each in definitions}
        told = {name: (share.total, share.weight) for name, share in shares.items()}
        scores.append(ClipScore(name, name, 2, "self", 0, None, told))
    numbers = {each.metric: each for each in numbers_of(scores, definitions, masks)}
    assert numbers["speed_lips_ratio"].value == pytest.approx(2.0)
    assert numbers["speed_lips_ratio"].n_sequences == 2


def test_a_resample_of_nothing_that_has_weight_is_left_out() -> None:
    low, high = bootstrap([Share(1.0, 0.0), Share(2.0, 0.0), Share(1.0, 1.0)]) or (0.0, 0.0)
    assert 1.0 <= low < high < 10.0
