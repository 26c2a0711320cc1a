"""From release to release: nobody moves, whoever withdraws is gone everywhere, and what is damaged is found."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from corpus.release.identity import Identity, age_band, lab_identity
from corpus.release.layout import FILES_TABLE, SPLITS, FileRow
from corpus.release.ledger import FILE as LEDGER
from corpus.release.reader import Release, open_release
from corpus.release.splits import SplitRules, assign, hashed, read_rules
from corpus.release.sums import read_sums, write_sums
from corpus.release.tables import read_table, write_table
from corpus.release.verify import verify
from corpus.release.versions import chosen_version, next_version
from corpus.release.withdraw import withdraw_subjects, withdrawn_ids
from corpus.release.writer import BuildOptions, build_release, newest_release
from mmface4d.errors import InputError
from mmface4d.lab import Lab
from mmface4d.model_topology import model_topology
from mmface4d.withdrawal import withdraw
from tests.corpus.in_process import run_here
from tests.corpus.small_lab import TODAY, add_session, person, sentences, small_lab
from tests.corpus.test_release import everything_in

OPTIONS = BuildOptions(components=("meshes", "audio"))
NAMES = ("P01", "P02", "P03")


def build(lab: Lab, output: Path, options: BuildOptions = OPTIONS, previous: Release | None = None) -> Release:
    build_release(lab, output, options, topology=model_topology, previous=previous, today=TODAY)
    return open_release(output)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return small_lab(tmp_path_factory.mktemp("lab") / "lab", [person(name) for name in NAMES])


@pytest.fixture(scope="module")
def release(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Release:
    rules = SplitRules(test=("P02",), train=("P01",), validation=("P03",))
    options = BuildOptions(components=("meshes", "audio"), rules=rules)
    return build(lab, tmp_path_factory.mktemp("release") / "r1", options)


def copied(release: Release, path: Path) -> Path:
    """A copy that may be damaged."""
    import shutil

    return Path(shutil.copytree(release.path, path))


def test_a_subject_never_moves() -> None:
    identity = Identity(bytes(32))
    few, many = ([f"P{n:03d}" for n in range(count)] for count in (40, 400))
    before = assign(few, SplitRules(), identity=identity, before={})
    released = {identity.subject(name): split for name, split in before.items()}
    after = assign(many, SplitRules(), identity=identity, before={})
    assert before.items() <= after.items()
    other = SplitRules(shares={"train": 0.2, "validation": 0.4, "test": 0.4})
    kept = assign(many, other, identity=identity, before=released)
    assert before.items() <= kept.items()
    counts = {split: list(after.values()).count(split) for split in SPLITS}
    assert abs(counts["train"] - 320) < 40
    assert abs(counts["test"] - 40) < 25
    wanted = "test" if before["P001"] != "test" else "train"
    moving = SplitRules.model_validate({wanted: ("P001",)})
    with pytest.raises(InputError, match="would move subjects: P001"):
        assign(few, moving, identity=identity, before=released)
    assert hashed(0.9999999, {"train": 0.7, "validation": 0.1, "test": 0.1999998}) == "train"


@pytest.mark.parametrize(
    "rules",
    [
        {"shares": {"train": 1}},
        {"test": ["P1"], "train": ["P1"]},
        {"shares": {"train": 0.5, "validation": 0, "test": 0.4}},
        {"x": 1},
    ],
)
def test_rules_that_cannot_be_meant_are_refused(rules: object, tmp_path: Path) -> None:
    (tmp_path / "splits.json").write_text(json.dumps(rules))
    with pytest.raises(InputError, match=r"splits\.json cannot be used"):
        read_rules(tmp_path / "splits.json")


def test_names_need_the_key(tmp_path: Path) -> None:
    first, again = lab_identity(tmp_path), lab_identity(tmp_path)
    assert first.subject("P01") == again.subject("P01") != Identity(bytes(32)).subject("P01")
    assert (tmp_path / ".release-key").stat().st_mode & 0o077 == 0
    (tmp_path / ".release-key").write_text("short")
    with pytest.raises(InputError, match="is no key"):
        lab_identity(tmp_path)
    (tmp_path / ".release-key").unlink()
    with pytest.raises(InputError, match="does not exist"):
        lab_identity(tmp_path, make=False)
    assert [age_band(age) for age in (9, 17, 18, 29, 68, 70, None)] == [
        "0-17", "0-17", "18-29", "18-29", "60-69", "70+", "unknown",
    ]  # fmt: skip


def test_versions_say_what_changed() -> None:
    assert next_version(None, removed=False, added=True) == "1.0.0"
    assert next_version("1.2.3", removed=True, added=True) == "2.0.0"
    assert next_version("1.2.3", removed=False, added=True) == "1.3.0"
    assert next_version("1.2.3", removed=False, added=False) == "1.2.4"
    assert chosen_version("3.0.0", "1.2.3", removed=True, added=False) == "3.0.0"
    with pytest.raises(InputError, match=r"too low after 1\.2\.3"):
        chosen_version("1.9.0", "1.2.3", removed=True, added=False)


def test_a_later_release_keeps_names_and_splits(release: Release, tmp_path: Path) -> None:
    lab = small_lab(tmp_path / "lab", [person(name) for name in NAMES], script=sentences(1))
    first = build(lab, lab.releases / "r1", BuildOptions(components=("meshes",), rules=SplitRules(test=("P02",))))
    add_session(lab, person("P00"), script=sentences(1))
    add_session(lab, person("P01"), script=sentences(1), folder="again")
    assert newest_release(lab).record.version == "1.0.0"  # type: ignore[union-attr]
    second = build(lab, lab.releases / "r2", previous=first)
    assert second.record.version == "1.1.0"
    assert newest_release(lab).record.version == "1.1.0"  # type: ignore[union-attr]
    assert {row.id for row in first.sequences} < {row.id for row in second.sequences}
    assert {name: row.split for name, row in first.subjects.items()}.items() <= {
        name: row.split for name, row in second.subjects.items()
    }.items()
    assert "2 sequences added" in (second.path / "CHANGELOG.md").read_text()
    assert "## 1.0.0" in (second.path / "CHANGELOG.md").read_text()
    (lab.path / ".release-key").write_text("00" * 32)
    with pytest.raises(InputError, match="another lab's key"):
        build(lab, lab.releases / "r3", previous=second)


def test_the_last_release_cannot_be_forgotten(tmp_path: Path) -> None:
    lab = small_lab(tmp_path / "lab", [person("P01"), person("P02")], script=sentences(1))
    rules = SplitRules(test=("P01", "P02"))
    first = build(lab, tmp_path / "r1", BuildOptions(rules=rules))
    with pytest.raises(InputError, match=r"last release is 1\.0\.0, and is not in"):
        build(lab, tmp_path / "r2")
    kept = next((lab.sessions / "session-P02").glob("sequences/*.npz")).rename(tmp_path / "kept.npz")
    second = build(lab, tmp_path / "r2", previous=first)
    assert (second.record.version, len(second.subjects), second.tombstones) == ("2.0.0", 1, [])
    kept.rename(lab.sessions / "session-P02" / "sequences" / f"001-{sentences(1)[0].id}-v1.npz")
    all_else = SplitRules(shares={"train": 1, "validation": 0, "test": 0})
    third = build(lab, tmp_path / "r3", BuildOptions(rules=all_else), previous=second)
    assert {row.split for row in third.subjects.values()} == {"test"}
    assert third.record.version == "2.1.0"


def test_a_damaged_release_gets_no_new_sums(release: Release, tmp_path: Path) -> None:
    path = copied(release, tmp_path / "r")
    (path / "LICENSE").write_text("another")
    with pytest.raises(InputError, match="is damaged: changed LICENSE"):
        withdraw_subjects(open_release(path), release.splits["test"], tmp_path / "r2")


def test_who_withdraws_is_gone_everywhere(lab: Lab, release: Release, tmp_path: Path) -> None:
    gone = release.splits["test"][0]
    content = withdraw_subjects(release, [gone], tmp_path / "r2")
    assert content.record.version == "2.0.0"
    after = open_release(tmp_path / "r2")
    assert verify(after.path).good
    assert [(stone.subject, stone.since) for stone in after.tombstones] == [(gone, "2.0.0")]
    told = [name for name, data in everything_in(after.path) if gone.encode() in data]
    assert told == ["index/tombstones.json"]
    assert sum(row.subject != gone for row in release.sequences) == len(after.sequences)
    for item in after.items():  # what stays is the same
        assert (after.vertices(item) == release.vertices(release.item(item.id))).all()
    kept = {name: digest for name, digest in read_sums(after.path).items() if name.startswith("meshes/")}
    assert kept.items() <= read_sums(release.path).items()
    assert ",,,all,consent withdrawn,2" in (after.path / "missing.csv").read_text()
    with pytest.raises(InputError, match="not in"):
        withdraw_subjects(after, [gone], tmp_path / "r3")
    with pytest.raises(InputError, match="nobody would be left"):
        withdraw_subjects(after, list(after.subjects), tmp_path / "r3")


def test_a_shard_that_is_shared_is_written_anew(lab: Lab, tmp_path: Path) -> None:
    options = BuildOptions(components=("meshes", "audio"), rules=SplitRules(test=NAMES))
    (lab.path / LEDGER).unlink(missing_ok=True)
    first = build(lab, tmp_path / "r1", options)
    gone = sorted(first.subjects)[0]
    withdraw_subjects(first, [gone], tmp_path / "r2")
    after = open_release(tmp_path / "r2")
    assert verify(after.path).good
    assert {item.row.subject for item in after.items()} == set(first.subjects) - {gone}
    for item in after.items():
        assert (after.vertices(item) == first.vertices(first.item(item.id))).all()
        assert (after.audio(item)[0] == first.audio(first.item(item.id))[0]).all()


def test_the_labs_own_withdrawals_count_and_are_never_undone(tmp_path: Path) -> None:
    lab = small_lab(tmp_path / "lab", [person(name) for name in NAMES], script=sentences(1))
    first = build(lab, tmp_path / "r1")
    withdraw(lab.path, "P02", today=TODAY)
    identity = lab_identity(lab.path)
    assert withdrawn_ids(first, lab) == [identity.subject("P02")]
    done = run_here("release", "withdraw", first.path, "--lab", lab.path, "-o", tmp_path / "r2")
    assert done.returncode == 0, done.stderr
    second = open_release(tmp_path / "r2")
    with pytest.raises(InputError, match=r"last release is 2\.0\.0, and .*r1 is an older one"):
        build(lab, tmp_path / "r2-built", previous=first)
    assert run_here("release", "withdraw", first.path, "--lab", lab.path, "-o", tmp_path / "r3").returncode == 3
    (lab.path / LEDGER).unlink()
    rebuilt = build(lab, tmp_path / "r2-built", previous=first)
    assert rebuilt.record.version == second.record.version == "2.0.0"
    assert rebuilt.tombstones == second.tombstones
    assert {row.id for row in rebuilt.sequences} == {row.id for row in second.sequences}
    # the record says again that they consent, as after a mistake with a backup
    (lab.path / "withdrawn.jsonl").unlink()
    for mark in (*lab.sessions.glob("*/withdrawn.json"), *lab.sessions.glob("*/takes/*/withdrawn.json")):
        mark.unlink()
    (lab.subjects / "P02.json").write_text(person("P02").model_dump_json())
    third = build(lab, tmp_path / "r3", previous=second)
    assert identity.subject("P02") not in third.subjects
    assert "was taken out of an earlier release" in (third.path / "missing.csv").read_text()


def test_verify_names_what_is_wrong(release: Release, tmp_path: Path) -> None:
    path = copied(release, tmp_path / "r")
    shard = next((path / "meshes").iterdir())
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    (path / "LICENSE").unlink()
    (path / "meshes" / "more.tar").touch()
    done = run_here("release", "verify", path)
    assert done.returncode == 5
    for text in (f"changed meshes/{shard.name}", "missing LICENSE", "extra meshes/more.tar"):
        assert text in done.stderr
    told = json.loads(run_here("release", "verify", path, "--json").stdout)
    assert (told["good"], told["missing"], told["extra"]) == (False, ["LICENSE"], ["meshes/more.tar"])
    assert run_here("release", "verify", release.path).returncode == 0
    assert run_here("release", "verify", tmp_path).returncode == 3


def test_verify_follows_no_link_and_leaves_the_folder_never(release: Release, tmp_path: Path) -> None:
    path = copied(release, tmp_path / "r")
    (path / "LICENSE").rename(tmp_path / "LICENSE")
    (path / "LICENSE").symlink_to(tmp_path / "LICENSE")
    os.mkfifo(path / "pipe")
    assert verify(path).changed == ["LICENSE"]
    assert verify(path).extra == ["pipe"]
    for name in ("../LICENSE", "/etc/passwd", "a//b", "./x"):
        (path / "SHA256SUMS").write_text(f"{'0' * 64}  {name}\n")
        with pytest.raises(InputError, match="line 1 is damaged"):
            verify(path)


@pytest.mark.parametrize("offset", [0, 3, 1 << 60, (1 << 63) - 1])
def test_verify_finds_places_that_cannot_be(release: Release, tmp_path: Path, offset: int) -> None:
    path = copied(release, tmp_path / "r")
    rows = read_table(path / FILES_TABLE, FileRow)
    number = next(number for number, row in enumerate(rows) if row.component == "audio")
    rows[number] = replace(rows[number], offset=offset)
    write_table(path / FILES_TABLE, FileRow, rows)
    write_sums(path)
    assert verify(path).wrong == [f"{rows[number].name} is not at byte {offset} of {rows[number].shard}"]


def test_verify_finds_contradictions(release: Release, tmp_path: Path) -> None:
    path = copied(release, tmp_path / "r")
    splits = json.loads((path / "index" / "splits.json").read_text())
    splits["train"] += splits["test"]
    (path / "index" / "splits.json").write_text(json.dumps(splits))
    stone = {"subject": splits["test"][0], "since": "1.0.0", "sequences": 1}
    (path / "index" / "tombstones.json").write_text(json.dumps([stone]))
    write_sums(path)
    wrong = " ".join(verify(path).wrong)
    assert "is in 2 splits" in wrong
    assert "was taken out, and is there" in wrong


def test_the_card_comes_from_the_tables(release: Release) -> None:
    done = run_here("release", "card", release.path)
    assert done.stdout.strip() == (release.path / "README.md").read_text().strip()
    told = json.loads(run_here("release", "card", release.path, "--json").stdout)
    assert (told["sequences"], told["subjects"]) == (6, 3)


def test_build_from_the_command_line(lab: Lab, tmp_path: Path) -> None:
    (lab.path / LEDGER).unlink(missing_ok=True)
    (tmp_path / "licence.txt").write_text("For research.\n")
    arguments = [
        "release",
        "build",
        lab.path,
        "-o",
        tmp_path / "r",
        "--quantise",
        "--license",
        tmp_path / "licence.txt",
    ]
    done = run_here(*arguments, "--components", "meshes,depth", "--published", "2026-11-20")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "r" / "LICENSE").read_text() == "For research.\n"
    assert json.loads((tmp_path / "r" / "croissant.json").read_text())["datePublished"] == "2026-11-20"
    assert open_release(tmp_path / "r").record.components == ("meshes", "depth")
    assert run_here(*arguments).returncode == 3
    assert run_here("release", "build", lab.path, "-o", tmp_path / "s", "--components", "audio").returncode == 2
    assert run_here("release", "withdraw", tmp_path / "r", "-o", tmp_path / "s").returncode == 2
