"""What a release refuses, leaves out or finds out before it is too late."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from corpus.dataset.items import FAILED, NOT_AS_RECORDED, lab_index
from corpus.release.content import Content
from corpus.release.identity import Identity
from corpus.release.layout import COMPONENTS, FACES, REGIONS, SPLITS_FILE
from corpus.release.plan import plan_release
from corpus.release.reader import Release, open_release
from corpus.release.space import SPARE_BYTES, estimated_bytes, needed_bytes
from corpus.release.splits import SplitRules
from corpus.release.withdraw import withdraw_subjects
from corpus.release.writer import BuildOptions, build_release
from mmface4d.errors import BusyError, ConsentError, DiskFullError, InputError
from mmface4d.lab import Lab
from mmface4d.locks import locked
from mmface4d.model_topology import model_topology
from mmface4d.results import Failure, Hashes, Output, ResultRecord, sequence_place, write_record
from mmface4d.subject import write_subject
from tests.corpus.in_process import run_here
from tests.corpus.small_lab import TODAY, add_session, person, sentences, small_lab

NO_HASH = Hashes(input="0" * 64, calibration="0" * 64, model="0" * 64, settings="0" * 64, program="0" * 64)


def build(lab: Lab, output: Path, options: BuildOptions | None = None, previous: Release | None = None) -> Content:
    return build_release(
        lab, output, options or BuildOptions(), topology=model_topology, previous=previous, today=TODAY
    )


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return small_lab(tmp_path / "lab", [person("P01"), person("P02")], script=sentences(1))


def _nearly_full(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr("corpus.release.space.shutil.disk_usage", lambda _: usage._replace(free=free))


def test_a_disk_without_room_is_found_before_the_work(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tmp_path / "r1"
    build(lab, first)
    release = open_release(first)
    _nearly_full(monkeypatch, SPARE_BYTES)
    monkeypatch.setattr("corpus.release.shards.TarWriter.add", lambda *_: pytest.fail("it had begun"))
    done = run_here("release", "build", lab.path, "-o", tmp_path / "r2", "--previous", first)
    assert done.returncode == 3
    assert "r2 needs about" in done.stderr
    with pytest.raises(DiskFullError, match="r3 needs about"):
        withdraw_subjects(release, list(release.subjects)[:1], tmp_path / "r3")
    assert not [path for path in tmp_path.iterdir() if path.name not in ("lab", "r1") and path.suffix != ".lock"]


@pytest.mark.parametrize("encoding", ["float32", "int16"])
def test_the_estimate_is_near_the_truth(tmp_path: Path, encoding: str) -> None:
    lab = small_lab(tmp_path / "lab", [person("P01"), person("P02", "mesh", "publish-picture")])
    options = BuildOptions(components=COMPONENTS, encoding=encoding)
    build(lab, tmp_path / "r", options)
    plan = plan_release(
        lab_index(lab, today=TODAY), identity=Identity(bytes(32)), rules=SplitRules(), components=COMPONENTS,
        previous=None, before={},
    )  # fmt: skip
    sizes = [estimated_bytes(each, encoding=encoding) for each in plan.planned]
    shards = sum(path.stat().st_size for path in (tmp_path / "r").glob("*/*.tar"))
    assert 0.8 * shards < sum(sizes) < 1.4 * shards  # takes of 0.1 s have sound of 0.5 s
    assert needed_bytes(sizes) - SPARE_BYTES > 0.9 * sum(
        path.stat().st_size for path in (tmp_path / "r").rglob("*.tar")
    )


def test_sessions_of_one_name_are_refused(lab: Lab, tmp_path: Path) -> None:
    """Their sequences would get the same names in the next release."""
    add_session(lab, person("P01"), script=sentences(1), folder="second-day/session-P01")
    with pytest.raises(InputError, match="have the same name, and both have the sentence"):
        build(lab, tmp_path / "r")


def test_a_sequence_whose_record_speaks_against_it_is_left_out(lab: Lab, tmp_path: Path) -> None:
    items = {item.pseudonym: item for item in lab_index(lab, today=TODAY)}
    failed, done = (sequence_place(items[name].session, items[name].take.name) for name in ("P01", "P02"))  # type: ignore[union-attr]
    failure = Failure(kind="permanent", reason="no face", error="FaceNotFoundError", message="none")
    record = ResultRecord(item="a", what="sequence", status="failed", hashes=NO_HASH, failure=failure)
    write_record(failed.record, record)
    size = done.output.stat().st_size
    for told, lacking in ((size, None), (size + 1, NOT_AS_RECORDED)):
        output = Output(file=done.output.name, bytes=told, sha256="0" * 64)
        write_record(done.record, record.model_copy(update={"status": "done", "output": output, "failure": None}))
        found = {item.pseudonym: item.lacking for item in lab_index(lab, today=TODAY)}
        assert found == {"P01": FAILED, "P02": lacking}
    done.record.unlink()
    content = build(lab, tmp_path / "r")
    assert [row.reason for row in content.missing] == [FAILED]


def test_a_consent_that_is_narrowed_meanwhile_stops_it(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "corpus.release.writer.finish", lambda *_, **__: write_subject(lab.subjects / "P02.json", person("P02", "mesh"))
    )
    with pytest.raises(ConsentError, match="while the release was written"):
        build(lab, tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_floating_point_sound_is_not_silence(tmp_path: Path) -> None:
    lab = small_lab(tmp_path / "lab", [person("P01")], script=sentences(1))
    (take,) = (lab.sessions / "session-P01" / "takes").iterdir()
    heard, rate = soundfile.read(take / "audio.wav", dtype="int16", always_2d=True)
    build(lab, tmp_path / "r1")
    soundfile.write(take / "audio.wav", heard / 32768.0, rate, subtype="FLOAT", format="WAV")
    build(lab, tmp_path / "r2", previous=open_release(tmp_path / "r1"))
    releases = [open_release(tmp_path / name) for name in ("r1", "r2")]
    cuts = [release.audio(next(release.items()))[0] for release in releases]
    assert np.abs(cuts[0].astype(int)).max() > 1000
    assert np.abs(cuts[0].astype(int) - cuts[1]).max() <= 1
    soundfile.write(take / "audio.wav", heard, rate // 2, subtype="PCM_16", format="WAV")
    content = build(lab, tmp_path / "r3", previous=open_release(tmp_path / "r2"))
    assert [(row.component, row.reason) for row in content.missing] == [("audio", "no sound that is placed in time")]


def test_a_release_before_with_other_tables_is_refused(lab: Lab, tmp_path: Path) -> None:
    build(lab, tmp_path / "r1")
    path = tmp_path / "r1" / SPLITS_FILE
    path.write_text(json.dumps({"train": [], "validation": [], "test": []}))
    with pytest.raises(InputError, match=f"r1 is damaged: {SPLITS_FILE}"):
        build(lab, tmp_path / "r2", previous=open_release(tmp_path / "r1"))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [(["--name", ""], 2, "--name"), (["--name", "two\nlines"], 2, "--name"), (["--name", "x" * 201], 2, "--name")],
)
def test_names_that_cannot_be_are_refused_at_once(
    lab: Lab, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    done = run_here("release", "build", lab.path, "-o", tmp_path / "r", *arguments)
    assert done.returncode == code
    assert words in done.stderr


def test_two_releases_of_a_lab_are_not_made_at_once(lab: Lab, tmp_path: Path) -> None:
    with locked(lab.path / ".release.lock", what="release"), pytest.raises(BusyError):
        build(lab, tmp_path / "r")
    assert not [path.name for path in tmp_path.iterdir() if path.name != "lab" and path.suffix != ".lock"]


def test_a_list_that_spells_somebody_otherwise_counts(lab: Lab) -> None:
    (lab.path / "withdrawn.jsonl").write_text('{"subject": "p02", "withdrawn": "2026-11-20"}\n')
    assert {item.pseudonym: item.reason for item in lab_index(lab, today=TODAY)} == {
        "P01": None, "P02": "consent withdrawn",
    }  # fmt: skip


def test_what_a_narrowed_consent_takes_away_is_a_major_version(lab: Lab, tmp_path: Path) -> None:
    build(lab, tmp_path / "r1")
    write_subject(lab.subjects / "P02.json", person("P02", "mesh"))
    second = build(lab, tmp_path / "r2", previous=open_release(tmp_path / "r1"))
    assert (second.record.version, second.tombstones) == ("2.0.0", [])
    assert second.changes == ["1 other files of sequences that stay removed: delete them"]
    write_subject(lab.subjects / "P02.json", person("P02"))
    third = build(lab, tmp_path / "r3", previous=open_release(tmp_path / "r2"))
    assert (third.record.version, third.changes) == ("2.1.0", ["1 other files of sequences that stay added"])


@pytest.mark.parametrize("lost", ["subjects/P02.json", "sessions/session-P02/session.json"])
def test_a_damaged_disk_takes_nobody_out_for_good(lab: Lab, tmp_path: Path, lost: str) -> None:
    build(lab, tmp_path / "r1")
    first = open_release(tmp_path / "r1")
    (lab.path / lost).write_text("{")
    with pytest.raises(InputError, match=r"nothing is known now: P02: .* cannot be read"):
        build(lab, tmp_path / "r2", previous=first)
    shutil.rmtree(lab.sessions / "session-P02")
    (lab.subjects / "P02.json").unlink()
    second = build(lab, tmp_path / "r2", previous=first)
    assert len(second.tombstones) == 1


def test_splits_of_people_whom_nobody_knows_are_refused(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not know: P2, P99"):
        build(lab, tmp_path / "r", BuildOptions(rules=SplitRules(test=("P99", "P2"), train=("P01",))))


def test_a_version_that_is_too_low_is_refused_before_the_work(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(lab, tmp_path / "r1")
    monkeypatch.setattr("corpus.release.shards.TarWriter.add", lambda *_: pytest.fail("it had begun"))
    with pytest.raises(InputError, match="too low"):
        build(lab, tmp_path / "r2", BuildOptions(version="0.9.0"), open_release(tmp_path / "r1"))


@pytest.mark.parametrize(
    "regions", [[], {}, {"regions": 1}, {"regions": {"lips": [-1]}}, {"regions": {"lips": [1 << 40]}}]
)
def test_regions_that_are_none_are_refused(hostile: Path, regions: object) -> None:
    (hostile / REGIONS).write_text(json.dumps(regions))
    done = run_here("stats", hostile)
    assert done.returncode == 3
    assert "is damaged" in done.stderr


def test_triangles_that_are_none_are_refused(hostile: Path) -> None:
    too_many = np.array([[0, 1, 1 << 20]])
    for faces in (np.zeros(3, int), np.zeros((2, 3)), np.zeros((0, 3), int), too_many):
        np.save(hostile / FACES, faces)
        assert run_here("stats", hostile).returncode == 3
    with (hostile / FACES).open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<i4", "fortran_order": False, "shape": (1 << 50, 3)})
    assert run_here("stats", hostile).returncode == 3


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    build(small_lab(folder / "lab", [person("P01")], script=sentences(1)), folder / "r")
    return folder / "r"


@pytest.fixture
def hostile(whole: Path, tmp_path: Path) -> Path:
    """A copy that somebody may have changed."""
    return Path(shutil.copytree(whole, tmp_path / "copy"))
