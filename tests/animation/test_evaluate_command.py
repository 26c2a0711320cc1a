"""`mmface4d evaluate` from a checkpoint and a clips folder to numbers, a page and a card."""

import json
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from animation.audio.registry import open_encoder
from animation.data.corpus import Mask, SpeechCorpus
from animation.data.folder import write_folder
from animation.data.normalisation import fit_normalisation
from animation.metrics.across import across, change, changes_of_first, check_alike, told_apart
from animation.metrics.evaluate import evaluate
from animation.metrics.report import STILL, Report, read_report
from animation.metrics.report_page import write_report_page
from animation.metrics.report_text import fair, report_text, reports_text
from animation.models.registry import build_model
from animation.training.checkpoint import ModelConfig, Trained, save_checkpoint
from animation.training.preprocessing import EncoderRecord, Preprocessing
from mmface4d import evaluate_command
from mmface4d.cli import main
from mmface4d.errors import EXIT_PRECONDITION, EXIT_USAGE, InputError
from tests.animation.toy_corpus import toy_corpus

OPTIONS: dict[str, Any] = {"channels": 8, "driver_channels": 8, "decoder_stages": 1}
SPLITS: dict[str, Any] = {"a": "train", "b": "train", "t": "test", "u": "test", "v": "test"}


@pytest.fixture(scope="module")
def corpus() -> SpeechCorpus:
    return toy_corpus(splits=SPLITS, sentences=2, n_frames=12)


@pytest.fixture(scope="module")
def place(corpus: SpeechCorpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips, and models that know nothing yet."""
    folder = tmp_path_factory.mktemp("evaluate")
    write_folder(corpus, folder / "clips")
    for name, seed in (("a0", 0), ("a1", 1)):
        save_checkpoint(folder / name, untrained(corpus, seed))
    return folder


def untrained(corpus: SpeechCorpus, seed: int) -> Trained:
    encoder = open_encoder("mel")
    scale = fit_normalisation(corpus.of_split("train"), corpus.templates)
    heard = EncoderRecord("mel", encoder.identity, encoder.n_audio)
    record = Preprocessing("audio2face", 30.0, corpus.topology, scale, heard, ("a", "b"))
    model = build_model("audio2face", record.shape, OPTIONS, seed=seed).eval()
    return Trained(model, record, ModelConfig(model="audio2face", options=OPTIONS, seed=seed, data="toy <b>"))


def run(place: Path, *arguments: object) -> tuple[object, str, str]:
    """Exit code, stdout and stderr of the program, in this process."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err), chdir(place), pytest.raises(SystemExit) as ended:
        main(["evaluate", *map(str, arguments)])
    return ended.value.code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def found(place: Path) -> dict[str, Any]:
    code, out, err = run(
        place,
        "a0",
        "a1",
        "--data",
        "clips",
        "--json",
        "--html",
        "page.html",
        "--draws",
        2,
        "--protocol",
        "other-subject",
    )
    assert code == 0, err
    return json.loads(out)


@pytest.fixture(scope="module")
def reports(found: dict[str, Any], place: Path) -> list[Report]:
    read = []
    for number, report in enumerate(found["reports"]):
        (place / f"{number}.json").write_text(json.dumps(report))
        read.append(read_report(place / f"{number}.json"))
    return read


def test_models_are_compared_side_by_side(found: dict[str, Any], reports: list[Report], place: Path) -> None:
    assert [each.training_seed for each in reports] == [0, 1]
    assert reports[0].weights_sha256 != reports[1].weights_sha256
    assert reports[0].label.startswith("audio2face, channels = 8")
    values = [each.number("lip_max", "other-subject").value or 0 for each in reports]
    (mean,) = [each for each in found["across"] if (each["metric"], each["protocol"]) == ("lip_max", "other-subject")]
    assert mean["mean"] == pytest.approx(np.mean(values))
    assert mean["sd"] == pytest.approx(np.std(values, ddof=1))
    text = reports_text(reports)
    assert "Trainings: 2 of audio2face" in text
    assert f"{np.mean(values):.4g} ± {np.std(values, ddof=1):.2g}" in text
    page = (place / "page.html").read_text()
    assert page.count("<svg") >= 4
    assert "toy &lt;b&gt;" in page
    assert "toy <b>" not in page


def test_one_model_prints_its_numbers_and_fills_its_card(place: Path, corpus: SpeechCorpus) -> None:
    code, out, err = run(place, "a0", "--data", "clips", "--card", "--protocol", "same-subject-other-clip")
    assert code == 0, err
    report = read_report(place / "a0" / "evaluation.json")
    assert out.rstrip("\n") == report_text(report)
    assert report.protocols == ("still", "same-subject-other-clip")
    lips = corpus.topology.masks["lips"]
    assert f"lips {len(lips.vertices)} vertices {lips.sha256[:12]}" in out
    value = report.number("lip_max", "same-subject-other-clip").value or 0
    card = (place / "a0" / "README.md").read_text()
    assert f"{value:.4g} mm" in card
    assert len(report.vertex_mm["still"]) == corpus.topology.n_verts


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("a0", "--data", "turned"), EXIT_PRECONDITION, "the model was trained on another one"),
        (("a0", "--data", "clips", "--split", "validation"), EXIT_PRECONDITION, "validation"),
        (("nothing", "--data", "clips"), EXIT_PRECONDITION, "no such folder"),
        (("a0", "--data", "clips", "--split", "train", "--card"), EXIT_USAGE, "a card tells of test subjects only"),
        (("a0", "a0", "--data", "clips", "--protocol", "self"), EXIT_PRECONDITION, "one model is among them twice"),
        (("a0", "--data", "clips", "--device", "cuda:99"), EXIT_PRECONDITION, "no device cuda:99"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    arguments: tuple[str, ...], code: int, words: str, place: Path, corpus: SpeechCorpus,
) -> None:  # fmt: skip
    if not (place / "turned").exists():
        faces = corpus.topology.faces[:, [1, 2, 0]]
        write_folder(replace(corpus, topology=replace(corpus.topology, faces=faces)), place / "turned")
    ended, _, said = run(place, *arguments)
    assert ended == code
    assert words in said
    assert "bug:" not in said


@pytest.mark.parametrize(
    ("other", "words"),
    [("nothing", "no such folder"), ("a0", "one model is among them twice"), ("slow", "fps differs")],
)
def test_what_does_not_compare_is_found_before_anything_is_measured(
    other: str, words: str, place: Path, corpus: SpeechCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[object] = []
    monkeypatch.setattr(evaluate_command, "_measured", lambda *_, **__: measured.append(1))
    slow = untrained(corpus, 5)
    save_checkpoint(place / "slow", replace(slow, preprocessing=replace(slow.preprocessing, fps=25.0)))
    code, _, said = run(place, "a0", other, "--data", "clips")
    assert (code, measured) == (EXIT_PRECONDITION, [])
    assert words in said


def test_a_page_that_cannot_be_written_loses_no_number(place: Path) -> None:
    code, out, err = run(place, "a0", "--data", "clips", "--protocol", "self", "--html", "clips")
    assert code == EXIT_PRECONDITION, err
    assert "lips, max, mm" in out


def test_data_are_brought_to_what_the_model_was_trained_with(corpus: SpeechCorpus, tmp_path: Path) -> None:
    """At twice the rate the same speech; a mask of another hash and a familiar name are told."""
    model = untrained(corpus, 0)
    fast = toy_corpus(splits=SPLITS, sentences=2, n_frames=24, fps=60.0)
    masks = {**corpus.topology.masks, "lips": Mask("lips", np.array([0, 1]))}
    changed = replace(fast, topology=replace(fast.topology, masks=masks), splits={**SPLITS, "a": "test"})
    report = evaluate(model, changed, protocols=("self",), cache=tmp_path)
    assert report.fps == 30.0
    assert {each.n_frames for each in report.clips} == {12, 13}
    assert report.options == OPTIONS
    assert report.number("lip_max", "self").mask_vertices == 2
    assert [note.split(" of ")[0] for note in report.notes] == ["the mask lips", "1 subjects"]


def test_another_encoder_is_refused(corpus: SpeechCorpus, tmp_path: Path) -> None:
    model = untrained(corpus, 0)
    heard = replace(model.preprocessing.encoder, identity="an older one")
    other = replace(model, preprocessing=replace(model.preprocessing, encoder=heard))
    with pytest.raises(InputError, match="the encoder mel is not the one of the training"):
        evaluate(other, corpus, cache=tmp_path)


def test_only_what_was_measured_alike_compares(reports: list[Report], tmp_path: Path) -> None:
    one, other = reports
    by, interval = change([one], [other], "lip_max", protocol="other-subject")
    values = [each.number("lip_max", "other-subject").value or 0 for each in reports]
    assert by == pytest.approx(values[0] / values[1] - 1)
    assert interval is not None
    assert interval[0] - 1e-9 <= by <= interval[1] + 1e-9
    renamed = replace(other, model="another")
    assert changes_of_first([one, renamed], "lip_max", protocol="other-subject") == [(by, interval)]
    for name, value in (("split", "train"), ("fps", 25.0), ("data", "others"), ("topology_sha256", "0")):
        with pytest.raises(InputError, match=f"their {name} differs"):
            check_alike((one, replace(other, **{name: value})))
    for name, words in (("encoder", "speech features"), ("trained_on", "data")):
        with pytest.raises(InputError, match=f"was trained with different {words}"):
            across((one, replace(other, **{name: "another"})))
        assert across((one, replace(other, **{name: "another"}, model="another")))
    with pytest.raises(InputError, match="was trained with different settings"):
        across((one, replace(other, settings={"budget.updates": 7})))
    masked = tuple(replace(each, mask_sha256="0") for each in other.numbers)
    with pytest.raises(InputError, match="their masks differ"):
        across((one, replace(other, numbers=masked)))


def test_a_rival_without_any_error_hides_no_number(reports: list[Report], corpus: SpeechCorpus, tmp_path: Path) -> None:
    """As of the upper face in data where it never moves."""
    one, other = reports
    still = tuple(replace(each, shares={**each.shares, "upper_max": (0.0, 1.0)}) for each in other.clips)
    both = [one, replace(other, model="rival", clips=still)]
    assert changes_of_first(both, "upper_max", protocol="other-subject") == [None]
    rows = [line.split() for line in reports_text(both).splitlines() if line.startswith("upper face, max, mm")]
    assert rows[-1] == ["upper", "face,", "max,", "mm", "-"]
    write_report_page(tmp_path / "both.html", both, topology=corpus.topology, template=corpus.templates["t"])
    with pytest.raises(InputError, match="upper_max has no values to compare"):
        change(both[:1], both[1:], "upper_max", protocol="other-subject")


def test_trainings_with_other_settings_are_no_seeds_of_one(
    corpus: SpeechCorpus, place: Path, reports: list[Report]
) -> None:
    """Two seeds of one budget, whose rate was set once and found once, and one that was trained for longer."""
    for name, seed, updates in (("short0", 2, 400), ("short1", 3, 400), ("long", 4, 800)):
        model = untrained(corpus, seed)
        training: dict[str, Any] = {
            "seed": seed, "fps": seed % 2 * 30.0, "budget": {"updates": updates}, "machine": {"devices": seed},
        }  # fmt: skip
        save_checkpoint(place / name, replace(model, config=model.config.model_copy(update={"training": training})))
    code, out, err = run(place, "short0", "short1", "long", "--data", "clips", "--json", "--protocol", "self")
    assert code == 0, err
    found = json.loads(out)
    spread = {each["model"]: each["sd"] for each in found["across"] if each["metric"] == "lip_max"}
    labels = [f"{reports[0].label}, budget.updates = {updates}" for updates in (400, 800)]
    assert list(spread) == labels
    assert spread[labels[0]] is not None
    assert spread[labels[1]] is None
    assert found["reports"][0]["settings"] == {"budget.updates": 400}
    assert told_apart(reports) == reports


def test_the_oracle_stands_for_a_model_only_where_nothing_else_was_measured(reports: list[Report]) -> None:
    number = reports[0].numbers[-1]
    for protocols, chosen in (
        (("still", "other-subject", "self"), "other-subject"),
        (("still", "self", "other-subject", "same-subject-other-clip"), "same-subject-other-clip"),
        (("still", "self"), "self"),
    ):
        assert fair(replace(reports[0], numbers=tuple(replace(number, protocol=each) for each in protocols))) == chosen


def test_a_page_of_one_model_says_what_to_think_of_it(
    reports: list[Report], corpus: SpeechCorpus, tmp_path: Path
) -> None:
    one, other = (replace(each, vertex_mm={"still": each.vertex_mm["still"]}) for each in reports)  # a face each
    write_report_page(tmp_path / "page.html", [one], topology=corpus.topology, template=corpus.templates["t"])
    page = (tmp_path / "page.html").read_text()
    assert "than a face that keeps still" in page
    assert corpus.topology.masks["lips"].sha256 in page
    assert reports[0].weights_sha256 in page
    alone = next(each.clip for each in one.clips if each.protocol == "other-subject")  # the others had no driver
    kept = tuple(each for each in one.clips if each.protocol == STILL or each.clip == alone)
    (still,) = [each.value("lip_max") for each in kept if (each.clip, each.protocol) == (alone, STILL)]
    few = replace(one, clips=kept)
    write_report_page(tmp_path / "left.html", [few], topology=corpus.topology, template=corpus.templates["t"])
    assert f"of a face that keeps still {still:.4g} mm" in (tmp_path / "left.html").read_text()
    rival = replace(other, model="rival <i>")
    both = [one, rival]
    write_report_page(tmp_path / "both.html", both, topology=corpus.topology, template=corpus.templates["t"])
    assert "from rival &lt;i&gt;" in (tmp_path / "both.html").read_text()
    assert "Trainings: 1 of audio2face" in reports_text(both)
    assert "against rival" in reports_text(both)
    odd = Mask("face", np.arange(3))
    masks = {**corpus.topology.masks, "face": odd}
    write_report_page(
        tmp_path / "few.html", [one], topology=replace(corpus.topology, masks=masks),
        template=corpus.templates["t"],
    )  # fmt: skip
