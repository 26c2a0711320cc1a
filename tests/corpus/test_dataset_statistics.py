"""`mmface4d stats`: many sequences once each, what they say together, and the page."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import date
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from corpus.dataset import survey as survey_module
from corpus.dataset.findings import findings, findings_json, group_matrix
from corpus.dataset.findings_report import findings_text, write_findings_report
from corpus.dataset.gather import Gathered, of_files, of_lab, recording_of
from corpus.dataset.motion import Motion, measure_motion
from corpus.dataset.regions import REGION_NAMES
from corpus.dataset.summary import Person, speeds, style_share
from corpus.dataset.survey import Recording, Surveyed, content_fingerprint, survey
from corpus.release.writer import BuildOptions, build_release
from mmface4d.errors import InputError, Mmface4dError
from mmface4d.lab import Lab, create_lab
from mmface4d.model_topology import model_topology
from mmface4d.sequence import MeshSequence, load_sequence
from mmface4d.session import ScriptItem
from tests.corpus.faces_in_motion import Offsets, canonical, nodding, wave, write_face
from tests.corpus.in_process import run_here
from tests.corpus.small_lab import PERIOD_USEC, START_USEC, TODAY, add_session, person, sentences

TALKING: Offsets = {"lips": wave(1, amplitude_mm=2, hertz=3), "brows": wave(2, amplitude_mm=1, hertz=2)}
LIPS = REGION_NAMES.index("lips")


def of(regions=None) -> dict:
    return {"canonical": regions or canonical().regions}


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return recording_of(write_face(tmp_path / "s.npz", TALKING, frames=16), name="s")


def same(one: Motion, other: Motion) -> bool:
    close = partial(np.allclose, atol=5.1e-4, equal_nan=True)  # correlations are kept in thousandths
    return close(one.correlation, other.correlation) and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in vars(one) if name != "correlation"
    )


def test_what_is_kept_is_what_was_measured(recording: Recording, tmp_path: Path) -> None:
    (first,) = survey([recording], of(), workers=1, cache=tmp_path / "cache")
    (again,) = survey([recording], of(), workers=1, cache=tmp_path / "cache")
    assert first.motion is not None
    assert again.motion is not None
    assert same(first.motion, again.motion)


def test_what_is_kept_is_not_measured_again(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    survey([recording], of(), workers=1, cache=tmp_path / "cache")
    monkeypatch.setattr(survey_module, "measure_motion", lambda *_: pytest.fail("measured again"))
    survey([replace(recording, name="moved", subject="P01")], of(), workers=1, cache=tmp_path / "cache")


def test_another_content_or_other_regions_are_measured(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    survey([recording], of(), workers=1, cache=tmp_path / "cache")
    measured = []
    monkeypatch.setattr(survey_module, "measure_motion", lambda *each: measured.append(1) or measure_motion(*each))
    other = write_face(tmp_path / "other.npz", TALKING, frames=17)
    survey([recording_of(other, name="s")], of(), workers=1, cache=tmp_path / "cache")
    fewer = replace(canonical().regions, part_of=np.where(np.arange(9548) % 50, canonical().regions.part_of, -1))
    survey([recording], of(fewer), workers=1, cache=tmp_path / "cache")
    assert len(measured) == 2


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"place_m": "x"}', b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_record_is_measured_again(recording: Recording, tmp_path: Path, damage: bytes) -> None:
    survey([recording], of(), workers=1, cache=tmp_path / "cache")
    (kept,) = (tmp_path / "cache").iterdir()
    kept.write_bytes(damage)
    (again,) = survey([recording], of(), workers=1, cache=tmp_path / "cache")
    assert again.motion is not None
    assert json.loads(kept.read_text())["frames"] == 16


def test_the_fingerprint_is_the_contents(tmp_path: Path) -> None:
    one = write_face(tmp_path / "one.npz", TALKING, frames=3)
    same_again = write_face(tmp_path / "two.npz", TALKING, frames=3)
    other = write_face(tmp_path / "three.npz", TALKING, frames=3, noise_mm=1e-3)
    assert content_fingerprint(one) == content_fingerprint(same_again) != content_fingerprint(other)


def _die() -> MeshSequence:
    os._exit(9)


@pytest.mark.slow
def test_a_worker_that_dies_is_told(recording: Recording, tmp_path: Path) -> None:
    dying = [replace(recording, fingerprint=str(number), read=_die) for number in range(8)]
    with pytest.raises(Mmface4dError, match="a worker process was ended"):
        survey(dying, of(), workers=2, cache=tmp_path / "cache")


@pytest.mark.slow
def test_workers_find_the_same(tmp_path: Path) -> None:
    recordings = [
        recording_of(write_face(tmp_path / f"{number}.npz", TALKING, frames=4 + number), name=str(number))
        for number in range(9)
    ]
    alone = survey(recordings, of(), workers=1, cache=tmp_path / "one")
    together = survey(recordings, of(), workers=2, cache=tmp_path / "two")
    assert [each.recording.name for each in together] == [str(number) for number in range(9)]
    for one, other in zip(alone, together, strict=True):
        assert one.motion is not None
        assert other.motion is not None
        assert same(one.motion, other.motion)


@pytest.mark.slow
def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    files = [write_face(tmp_path / f"{number}.npz", TALKING, frames=60 + number) for number in range(12)]
    command = [sys.executable, "-m", "mmface4d.cli", "stats", *map(str, files), "--json", "--workers", "2"]
    cache = tmp_path / "cache"
    environment = {**os.environ, "MMFACE4D_CACHE": str(cache)}
    running = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, start_new_session=True)
    kept = cache / "statistics"
    for _ in range(600):
        if len(list(kept.glob("[!.]*.json"))) >= 2 or running.poll() is not None:
            break
        time.sleep(0.1)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    before = {path.name: path.stat().st_mtime_ns for path in kept.glob("[!.]*.json")}
    assert before
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["sequences"] == 12
    after = {path.name: path.stat().st_mtime_ns for path in kept.glob("[!.]*.json")}
    assert len(after) == 12
    assert all(after[name] == when for name, when in before.items())


def surveyed(
    path: Path, plan: dict[tuple[str, str], Offsets], *, frames: int = 24, fps: float = 30.0
) -> list[Surveyed]:
    """A sequence for each subject, emotion (with a number) and motion."""
    found = []
    for (subject, emotion), moves in plan.items():
        file = write_face(path / f"{subject}-{emotion}.npz", moves, frames=frames, fps=fps)
        known = recording_of(file, name=file.stem, subject=subject, emotion=emotion.partition("-")[0])
        found.append(Surveyed(known, measure_motion(load_sequence(file), canonical())))
    return found


def summed(each: list[Surveyed], **left_out: int):
    gathered = Gathered("lab", [one.recording for one in each])
    for name, reason in left_out.items():
        gathered.left_out[name.replace("_", " ")] += reason
    gathered.people = {str(one.recording.subject): Person(str(one.recording.subject), 30, "female") for one in each}
    return findings(gathered, each, {"canonical": canonical()})


def lips(amplitude_mm: float, axis: int = 1) -> Offsets:
    return {"lips": wave(axis, amplitude_mm=amplitude_mm, hertz=3)}


def test_speeds_are_weighted_by_frames_and_rates_by_time(tmp_path: Path) -> None:
    slow = surveyed(tmp_path, {("P01", "neutral"): {"lips": lambda s: (0.0, 0.010 * s, 0.0)}}, frames=61, fps=60)
    quick = surveyed(tmp_path, {("P02", "neutral"): {"lips": lambda s: (0.0, 0.040 * s, 0.0)}}, frames=91)
    whole = speeds([each.motion for each in slow + quick if each.motion])
    assert whole is not None
    assert whole.of("lips")[1] == pytest.approx((1 * 10 + 3 * 40) / 4, rel=1e-3)  # 1 s and 3 s
    assert whole.step_m[LIPS, 1] == pytest.approx((60 * 0.010 / 60 + 90 * 0.040 / 30) / 150, rel=1e-3)


def test_style_tells_subjects_that_speak_differently(tmp_path: Path) -> None:
    apart = {(f"P0{n}", f"neutral-{k}"): lips((1, 2, 4)[n] + 0.02 * k) for n in range(3) for k in range(3)}
    assert style_share(surveyed(tmp_path, apart, frames=12)) == pytest.approx(1, abs=0.02)
    alike = {(f"P0{n}", f"neutral-{k}"): lips((1, 2, 4)[k]) for n in range(3) for k in range(3)}
    assert style_share(surveyed(tmp_path, alike, frames=12)) == 0
    assert style_share(surveyed(tmp_path, {("P01", "neutral"): lips(1)}, frames=12)) is None


def test_emotions_are_compared_with_the_same_subjects_neutral(tmp_path: Path) -> None:
    def smile(seconds: float) -> tuple[float, float, float]:
        return (0.0, 0.004 + 2 * wave(1, amplitude_mm=1, hertz=3)(seconds)[1], 0.0)

    plan = {
        ("P01", "neutral"): lips(1), ("P01", "happy"): {"lips": smile},
        ("P02", "happy"): lips(9),  # nothing to compare with
    }  # fmt: skip
    (neutral, happy) = summed(surveyed(tmp_path, plan, frames=41)).expressed
    assert (neutral.emotion, happy.emotion) == ("neutral", "happy")
    assert neutral.shift_mm["mouth"] == pytest.approx(0, abs=1e-3)
    assert happy.speed_ratio["mouth"] == pytest.approx(2, rel=1e-3)
    parts = canonical().parcels.parts
    assert happy.parcel_shift_mm[parts.index("upper_lip")] == pytest.approx(4, abs=0.01)
    assert happy.parcel_shift_mm[parts.index("forehead")] == pytest.approx(0, abs=0.01)
    assert happy.shift_mm["brows"] == pytest.approx(0, abs=0.01)


def test_the_graph_parts_mouth_from_brow(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    speech, lifts = rng.standard_normal((2, 60, 3)) * 0.002
    moves = {
        "mouth": lambda s: tuple(speech[round(30 * s)]), "jaw": lambda s: tuple(speech[round(30 * s)]),
        "brows": lambda s: tuple(lifts[round(30 * s)]),
    }  # fmt: skip
    found = summed(surveyed(tmp_path, {("P01", "neutral"): moves}, frames=60))
    (graph,) = found.graphs
    names, values = group_matrix(graph, canonical())
    assert values[names.index("lower_lip"), names.index("jaw")] > 0.95
    assert abs(values[names.index("lower_lip"), names.index("brows")]) < 0.3
    parts = canonical().parcels.parts
    below = {"upper_lip", "lower_lip", "around_mouth", "chin", "jaw_left", "jaw_right"}
    assert graph.edges
    assert {(parts[one] in below, parts[other] in below) for one, other, _ in graph.edges} == {
        (True, True), (False, False)
    }  # fmt: skip
    assert all(value >= 0.5 for *_, value in graph.edges)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_stands_alone_and_trusts_no_text(tmp_path: Path) -> None:
    plan = {
        ("<script>P1", "neutral"): lips(1), ("<script>P1", "happy"): lips(2),
        ("P02&", "neutral"): lips(3), ("P02&", "sad"): lips(1),
    }  # fmt: skip
    each = surveyed(tmp_path, {(s.replace("<script>", "lt"), e): m for (s, e), m in plan.items()})
    each = [
        replace(one, recording=replace(one.recording, subject=f"<script>{one.recording.subject}", name="<b>&"))
        for one in each
    ]
    failed = Surveyed(replace(each[0].recording, name="x"), None, "<i>x</i> is damaged")
    write_findings_report(tmp_path / "r.html", summed([*each, failed], not_reconstructed=2))
    text = (tmp_path / "r.html").read_text()
    page = _Page()
    page.feed(text)
    assert not {"script", "b>", "i>"} & set(page.tags)
    assert page.links
    assert all(link.startswith("data:image/") for link in page.links)
    assert page.tags.count("svg") >= 8
    for words in (
        "How fast the face moves",
        "Speaking style",
        "Expressiveness",
        "What moves together",
        "Ages",
        "2 not",
    ):
        assert words in text
    assert len(text) < 2_000_000


def test_the_numbers_have_units_and_are_plain(tmp_path: Path) -> None:
    found = summed(surveyed(tmp_path, {("P01", "neutral"): lips(2), ("P01", "happy"): lips(3)}), not_reconstructed=1)
    shown = json.loads(json.dumps(findings_json(found), allow_nan=False))
    assert shown["speeds"]["regions"]["lips"]["mm_per_s"]["y"] == pytest.approx(
        1000 * 30 * shown["speeds"]["regions"]["lips"]["m_per_frame"]["y"], rel=1e-3
    )
    assert shown["left_out"] == {"not reconstructed": 1}
    assert shown["ages"] == {"30": 1}
    assert shown["frames_by_status"] == {"ok": 48}
    assert set(shown["expressiveness"]) == {"neutral", "happy"}
    assert "0.5" in shown["how"]["correlation"]
    assert "left out: 1 not reconstructed" in findings_text(found)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [write_face(tmp_path / f"{number}.npz", TALKING, frames=14) for number in range(2)]


def test_stats_of_files(files: list[Path], tmp_path: Path) -> None:
    done = run_here("stats", *files, "--html", tmp_path / "r.html")
    assert done.returncode == 0, done.stderr
    assert "2 sequences · model canonical · 30 frames a second" in done.stdout
    assert (tmp_path / "r.html").is_file()
    shown = json.loads(run_here("stats", *files, "--json").stdout)
    assert shown["subjects"] == 0
    assert shown["speeds"]["sequences"] == 2


def test_a_damaged_file_fails_alone(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "bad.npz").write_bytes(b"PK nothing")
    done = run_here("stats", *files, tmp_path / "bad.npz", "--json")
    assert done.returncode == 4
    assert "bad.npz" in done.stderr
    assert json.loads(done.stdout)["sequences"] == 2


def test_an_unknown_model_fails_alone(files: list[Path], tmp_path: Path) -> None:
    strange = write_face(tmp_path / "strange.npz", TALKING, frames=3, model="../../nobody")
    done = run_here("stats", *files, strange)
    assert done.returncode == 4
    assert "strange" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere"], 3, "is no lab, no release and no sequence"),
        (["."], 3, "neither a lab nor a release"),
        ([".", "0.npz"], 2, "give it alone"),
        (["0.npz", "--html", "0.npz"], 2, "is what is to be measured"),
    ],
)
def test_what_cannot_be_measured_is_said(
    files: list[Path], monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, words: str
) -> None:
    monkeypatch.chdir(files[0].parent)
    done = run_here("stats", *arguments)
    assert done.returncode == code
    assert words in done.stderr


def test_only_what_may_be_used_is_measured(tmp_path: Path) -> None:
    lab = create_lab(tmp_path / "lab")
    add_session(lab, person("P01"), script=_script(), frames=12)
    add_session(lab, person("P02", "audio", "mesh").model_copy(update={"withdrawn": date(2026, 11, 3)}),
                script=_script(), frames=12)  # fmt: skip
    gathered = of_lab(lab)
    assert {each.subject for each in gathered.recordings} == {"P01"}
    assert gathered.left_out == {"consent withdrawn": 2}
    assert gathered.people == {"P01": Person("P01", 34, "female")}
    done = run_here("stats", lab.path, "--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert (shown["sequences"], shown["subjects"], shown["ages"]) == (2, 1, {"34": 1})


def _script() -> list[ScriptItem]:
    return sentences(2)  # neutral and happy


@pytest.fixture(scope="module")
def known_lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Two people whose lips move by 1 and 2 mm, twice as far when happy, at 20 frames a period; heads nod."""
    lab = create_lab(tmp_path_factory.mktemp("known") / "lab")
    at = 1e-6 * (START_USEC + PERIOD_USEC * np.arange(41))  # the takes' own
    for number, name in enumerate(("P01", "P02"), 1):
        path = add_session(lab, person(name), script=_script(), frames=41)
        for times, file in enumerate(sorted((path / "sequences").iterdir()), 1):
            moves = {"lips": wave(1, amplitude_mm=number * times, hertz=1.5)}
            write_face(file, moves, frames=41, head=nodding, times=at)
    return lab


def check_known(shown: dict, people: list[str]) -> None:
    """What the lab above must give: 4 amplitudes a period, 1.5 periods a second."""

    def lips(part: dict) -> list[float]:
        return [part["regions"]["lips"]["mm_per_s"][axis] for axis in "xyz"]

    assert lips(shown["speeds"]) == pytest.approx([0, 6 * (1 + 2 + 2 + 4) / 4, 0], abs=0.1)
    assert lips(shown["by_emotion"]["neutral"]) == pytest.approx([0, 6 * 1.5, 0], abs=0.1)
    assert lips(shown["by_emotion"]["happy"]) == pytest.approx([0, 6 * 3.0, 0], abs=0.1)
    found = sorted(lips(shown["by_subject"][name])[1] for name in people)
    assert found == pytest.approx([6 * 1.5, 6 * 3.0], abs=0.1)
    assert shown["by_subject"].keys() == set(people)
    assert shown["speeds"]["regions"]["jaw"]["length_mm_per_s"] < 0.1
    assert shown["expressiveness"]["happy"]["speed_ratio"]["mouth"]["median"] == pytest.approx(2, rel=0.02)
    assert shown["duration_s"]["median"] == pytest.approx(41 / 30, abs=1e-3)
    assert shown["genders"] == {"female": 2}


def test_a_lab_of_known_motion(known_lab: Lab) -> None:
    done = run_here("stats", known_lab.path, "--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    check_known(shown, ["P01", "P02"])
    assert shown["ages"] == {"34": 2}
    assert shown["left_out"] == {}


@pytest.mark.slow
def test_a_release_of_it_gives_the_same(known_lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = known_lab.releases / "release-1.0.0"
    build_release(known_lab, folder, BuildOptions(components=("meshes",)), topology=model_topology, today=TODAY)
    done = run_here("stats", folder, "--json", "--html", tmp_path / "r.html")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    check_known(shown, sorted(shown["by_subject"]))
    assert list(shown["ages"].values()) == [2]
    shard = next((folder / "meshes").iterdir())
    data = bytearray(shard.read_bytes())
    data[5000] ^= 1
    shard.write_bytes(data)
    monkeypatch.setenv("MMFACE4D_CACHE", str(tmp_path / "empty"))
    done = run_here("stats", folder, "--json")
    assert done.returncode == 4
    assert "damaged" in done.stderr


def test_an_empty_lab_has_nothing_to_measure(tmp_path: Path) -> None:
    create_lab(tmp_path / "lab")
    done = run_here("stats", tmp_path / "lab")
    assert done.returncode == 3
    assert "has no sequence to measure" in done.stderr


def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no sequence"):
        of_files([tmp_path / "none.npz"])
