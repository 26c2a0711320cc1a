"""A release holds what people let out, nothing else, and the same bytes every time."""

import io
import json
import os
import signal
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from corpus.dataset.items import lab_index
from corpus.release.content import Content
from corpus.release.layout import COMPONENTS
from corpus.release.ledger import FILE as LEDGER
from corpus.release.pictures import MOSAIC_BLOCKS, bare_jpeg, mosaic, read_videos
from corpus.release.reader import Release, open_release
from corpus.release.verify import verify
from corpus.release.writer import BuildOptions, build_release
from mmface4d.errors import BusyError, ConsentError, DiskFullError, InputError
from mmface4d.lab import Lab
from mmface4d.model_topology import model_topology
from mmface4d.sequence import load_sequence
from mmface4d.session import ScriptItem
from mmface4d.subject import write_subject
from mmface4d.take import open_take
from mmface4d.withdrawal import withdraw
from tests.corpus.small_lab import (
    FRAMES,
    PERIOD_USEC,
    SECRET,
    SERIALS,
    SOUND_START_USEC,
    START_USEC,
    TODAY,
    add_session,
    person,
    sentences,
    small_lab,
)
from tests.mmface4d.killing import killed_at

EVERYTHING = BuildOptions(components=COMPONENTS)
PEOPLE = [
    person("P01"), person("P02", "mesh"), person("P03", "mesh", "publish-picture"),
    person("P04", until=date(2026, 11, 19)), person("P05", "audio", "rgb"), person("P06", date=date(2026, 11, 21)),
]  # fmt: skip


def build(lab: Lab, output: Path, options: BuildOptions = EVERYTHING, *, previous: Release | None = None) -> Content:
    if previous is None:
        (lab.path / LEDGER).unlink(missing_ok=True)  # as if there had been none before
    return build_release(lab, output, options, topology=model_topology, previous=previous, today=TODAY)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return small_lab(tmp_path_factory.mktemp("lab") / "lab", PEOPLE)


@pytest.fixture(scope="module")
def release(lab: Lab) -> Release:
    path = lab.releases / "release-1.0.0"
    build(lab, path)
    return open_release(path)


def of(release: Release, *, scopes: str) -> str:
    """The released name of the one who gave these scopes."""
    (name,) = [name for name, row in release.subjects.items() if row.scopes == scopes]
    return name


def everything_in(path: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of a release, and what is inside the archives and tables."""
    for file in sorted(each for each in path.rglob("*") if each.is_file()):
        name, data = file.relative_to(path).as_posix(), file.read_bytes()
        yield f"{name} (its name)", name.encode()
        yield name, data
        if name.endswith(".tar"):
            with tarfile.open(file) as archive:
                for info in archive:
                    yield f"{name}/{info.name} header", repr(info.get_info()).encode()
                    inside = archive.extractfile(info)
                    assert inside is not None
                    yield from _inside(f"{name}/{info.name}", inside.read())
        if name.endswith(".parquet"):
            table = pq.read_table(file)
            yield f"{name} rows", json.dumps(table.to_pylist()).encode() + repr(table.schema.metadata).encode()


def _inside(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    yield name, data
    if name.endswith(".npz"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                assert info.date_time == (1980, 1, 1, 0, 0, 0)
                yield f"{name}/{info.filename}", archive.read(info)
        for key, array in np.load(io.BytesIO(data), allow_pickle=False).items():
            if array.dtype.kind in "US":
                yield f"{name}/{key}", repr(array.tolist()).encode()


def packets(data: bytes) -> list[list[bytes]]:
    """The encoded pictures of each stream."""
    with av.open(io.BytesIO(data), "r") as container:
        found: list[list[bytes]] = [[] for _ in container.streams]
        for packet in container.demux():
            if packet.size:
                found[packet.stream.index].append(bytes(packet))
    return found


def test_nothing_of_the_lab_gets_out(lab: Lab, release: Release) -> None:
    secrets = [*SERIALS, "2026-11", "P01", "P02", "P03", "P04", "session-P", str(lab.path), str(Path.home()), "test"]
    words = [secret.encode() for secret in secrets[:-1]] + [secret.encode("utf-32-le") for secret in secrets[:-1]]
    seen = 0
    for name, data in everything_in(release.path):
        seen += 1
        for word in (*words, SECRET, b"streams.mcap"):
            # four bytes of noise can be P01; longer words cannot be there by chance
            noise = len(word) < 4 and name.endswith((".tar", ".npz", ".npy", ".mkv", ".wav", ".parquet"))
            assert noise or word not in data, f"{word!r} is in {name}"
    assert seen > 50
    for row in (*release.sequences, *release.files):
        assert not any(f"P0{n}" in repr(row) for n in range(1, 7))


def test_who_may_not_be_published_is_counted_and_not_named(release: Release) -> None:
    assert len(release.subjects) == 3
    rows = [line.split(",") for line in (release.path / "missing.csv").read_text().splitlines()[1:]]
    counted = {row[4]: int(row[5]) for row in rows if row[3] == "all"}
    assert counted == {"consent expired": 2, "consent does not cover mesh": 2, "consent not yet in force": 2}
    assert all(row[0] == row[1] == row[2] == "" for row in rows if row[3] == "all")


def test_scopes_choose_the_components(release: Release) -> None:
    suffixes = {item.row.subject: set(item.files) for item in release.items()}
    always = {"mesh.npz", "landmarks.npz", "depth.mkv", "cameras.json"}
    assert suffixes[of(release, scopes="audio mesh publish-picture rgb")] == always | {"audio.wav", "rgb.mkv"}
    assert suffixes[of(release, scopes="mesh publish-picture")] == always | {"preview.mkv"}
    assert suffixes[of(release, scopes="mesh")] == always


def test_the_data_are_those_of_the_lab(lab: Lab, release: Release) -> None:
    item = next(
        item for item in release.items() if item.row.subject == of(release, scopes="audio mesh publish-picture rgb")
    )
    session = lab.sessions / "session-P01"
    name = f"001-{item.row.sentence}-v1"
    sequence = load_sequence(session / "sequences" / f"{name}.npz")
    mesh = release.mesh(item)
    assert np.array_equal(mesh["vertices"], sequence.vertices)
    assert mesh["time_usec"].tolist() == [PERIOD_USEC * n for n in range(FRAMES)]
    assert not {"serials", "take", "calibration_json", "texture", "timestamps_usec"} & set(mesh)
    with open_take(session / "takes" / name) as take:
        for number, serial in enumerate(SERIALS):
            depth = read_videos(release.read(item, "depth.mkv"), name="")[number]
            for frame in range(FRAMES):
                recorded = take.depth_mm(frame, serial)
                assert np.array_equal(depth[frame], np.zeros_like(depth[0]) if recorded is None else recorded)
                jpeg = take.color_jpeg(frame, serial)
                if jpeg is not None:
                    assert SECRET in jpeg
                    assert packets(release.read(item, "rgb.mkv"))[number][frame] == bare_jpeg(jpeg)
        assert take.audio_path is not None
        cut, rate = release.audio(item)
        heard, _ = soundfile.read(take.audio_path, dtype="int16", always_2d=True)
    first = round((START_USEC - SOUND_START_USEC) * rate / 1e6)
    assert len(cut) == round(((FRAMES - 1) * PERIOD_USEC / 1e6 + 1 / 30) * rate)
    assert np.abs(cut.astype(int) - heard[first : first + len(cut)]).max() <= 1
    cameras = release.cameras(item)
    assert [camera["missed_depth"] for camera in cameras] == [[], [], [1]]
    assert release.landmarks(item).shape == (FRAMES, 3, 478, 2)


def test_a_mosaic_tells_no_more_than_its_squares() -> None:
    rng = np.random.default_rng(0)
    color = rng.integers(0, 256, (50, 71, 3)).astype(np.uint8)
    shown = mosaic(color)
    side = -(-50 // MOSAIC_BLOCKS)
    assert shown.shape == color.shape
    for top in range(0, 50, side):
        for left in range(0, 71, side):
            square = color[top : top + side, left : left + side].reshape(-1, 3)
            assert (shown[top : top + side, left : left + side] == square.sum(0, dtype=int) // len(square)).all()


def test_previews_are_mosaics_before_they_are_encoded(release: Release) -> None:
    item = next(item for item in release.items() if "preview.mkv" in item.files)
    for video in read_videos(release.read(item, "preview.mkv"), name=""):
        assert len(video) == 1  # one a second
        side = -(-video.shape[1] // MOSAIC_BLOCKS)
        blocks = video[0, : side * 16, : side * 21].reshape(16, side, -1, side, 3).astype(int)
        assert blocks.std((1, 3)).mean() < 8  # what JPEG adds; the noise it was made of has 74


def test_bare_jpegs_lose_what_is_no_picture() -> None:
    segment = b"\xff\xe1\x00\x06ABCD"
    jpeg = b"\xff\xd8" + segment + b"\xff\xdb\x00\x04QQ\xff\xda\x00\x03Xpixels\xff\xd9trailer ABCD"
    assert bare_jpeg(jpeg) == b"\xff\xd8\xff\xdb\x00\x04QQ\xff\xda\x00\x03Xpixels\xff\xd9"
    # restarts, stuffed zeros and several scans belong to the picture; what stands behind it is another one
    scans = b"\xff\xda\x00\x03Xpix\xff\x00el\xff\xd0s" + b"\xff\xc4\x00\x04QQ\xff\xda\x00\x03Xmore"
    whole = b"\xff\xd8" + scans + b"\xff\xd9"
    assert bare_jpeg(whole + b"\xff\xd8\xff\xda\x00\x03Xsecret\xff\xd9") == whole
    thumbnail = b"\xff\xe0" + (2 + 16).to_bytes(2, "big") + b"JFXX\0thumbnail.."
    assert bare_jpeg(whole[:2] + thumbnail + whole[2:]) == whole
    for damaged in (b"", b"RIFF", jpeg[:-14], jpeg[:9], b"\xff\xd8\xff\xe1\xff\xff"):
        with pytest.raises(InputError):
            bare_jpeg(damaged)


def test_quantised_vertices_keep_to_the_error_that_is_told(lab: Lab, release: Release, tmp_path: Path) -> None:
    content = build(lab, tmp_path / "r", BuildOptions(encoding="int16"))
    quantised = open_release(tmp_path / "r")
    for item in quantised.items():
        true = release.vertices(release.item(item.id)).astype(float)
        error_mm = 1e3 * np.abs(quantised.vertices(item) - true).max()
        assert 0 < error_mm <= item.row.max_error_mm < 0.005
    assert content.summary["max_error_mm"] == max(row.max_error_mm for row in quantised.sequences)
    assert "16" in (tmp_path / "r" / "README.md").read_text()


def test_the_bytes_are_the_same_again(lab: Lab, release: Release, tmp_path: Path) -> None:
    build(lab, tmp_path / "again")
    assert (tmp_path / "again" / "SHA256SUMS").read_bytes() == (release.path / "SHA256SUMS").read_bytes()


def test_sha256sum_and_verify_agree(release: Release) -> None:
    done = subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=release.path, check=False)
    assert done.returncode == 0
    assert verify(release.path).good


def test_mlcroissant_validates_and_reads_it(release: Release) -> None:
    import mlcroissant as mlc

    dataset = mlc.Dataset(jsonld=release.path / "croissant.json")
    assert not dataset.metadata.ctx.issues.errors
    assert str(dataset.metadata.ctx.conforms_to.value).endswith("croissant/1.1")
    assert len(list(dataset.records("subjects"))) == len(release.subjects)
    assert len(list(dataset.records("files"))) == len(release.files)
    records = [(record["sequences/id"].decode(), record["sequences/frames"]) for record in dataset.records("sequences")]
    assert records == [(row.id, row.frames) for row in release.sequences]


def test_shards_end_at_their_limit_and_have_the_same_items(lab: Lab, tmp_path: Path) -> None:
    build(lab, tmp_path / "r", BuildOptions(components=("meshes", "landmarks"), shard_bytes=1_000_000))
    release = open_release(tmp_path / "r")
    shards: dict[str, dict[str, set[str]]] = {}
    for row in release.files:
        component, _, name = row.shard.partition("/")
        shards.setdefault(name.removeprefix(f"{component}-"), {}).setdefault(component, set()).add(row.id)
    assert len(shards) >= 3
    assert all(each["meshes"] == each["landmarks"] for each in shards.values())
    assert all(path.stat().st_size < 1_100_000 for path in (tmp_path / "r" / "meshes").iterdir())


def test_a_kill_leaves_nothing_that_looks_whole(lab: Lab, release: Release, tmp_path: Path) -> None:
    target = tmp_path / "r"
    for step, after in ((0, False), (0, True)):
        assert killed_at(step, lambda: build(lab, target), after=after)
        assert target.exists() == after
    assert verify(target).good
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == ["r"]


def test_a_kill_in_the_middle_of_the_shards(lab: Lab, release: Release, tmp_path: Path) -> None:
    from corpus.release.shards import TarWriter

    add, calls = TarWriter.add, iter(range(100))

    def deadly(*arguments: object, **options: object) -> object:
        if next(calls) == 9:
            os.kill(os.getpid(), signal.SIGKILL)
        return add(*arguments, **options)  # type: ignore[arg-type]

    child = os.fork()
    if child == 0:
        TarWriter.add = deadly  # type: ignore[method-assign, assignment]
        build(lab, tmp_path / "r")
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert not (tmp_path / "r").exists()
    build(lab, tmp_path / "r")
    assert (tmp_path / "r" / "SHA256SUMS").read_bytes() == (release.path / "SHA256SUMS").read_bytes()
    assert not list(tmp_path.glob(".r.*partial"))


def test_what_a_kill_left_is_thrown_away(lab: Lab, release: Release, tmp_path: Path) -> None:
    (tmp_path / ".r.0a1b2c3d.partial" / "meshes").mkdir(parents=True)
    (tmp_path / ".r.0a1b2c3d.partial" / "meshes" / "old.tar").touch()
    build(lab, tmp_path / "r")
    assert not list(tmp_path.glob(".r.*partial"))
    assert verify(tmp_path / "r").good
    assert (tmp_path / "r" / "SHA256SUMS").read_bytes() == (release.path / "SHA256SUMS").read_bytes()
    with pytest.raises(InputError, match="never changed"):
        build(lab, tmp_path / "r")


def test_a_full_disk_is_said_and_leaves_nothing(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("corpus.release.shards.TarWriter.add", full)
    with pytest.raises(DiskFullError, match="no space left"):
        build(lab, tmp_path / "r")
    assert not list(tmp_path.iterdir())


def test_a_second_process_is_told(lab: Lab, tmp_path: Path) -> None:
    from mmface4d.locks import locked

    with locked(tmp_path / ".r.lock", what="release"), pytest.raises(BusyError, match="is being written by process"):
        build(lab, tmp_path / "r")


def test_somebody_who_withdraws_meanwhile_stops_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = small_lab(tmp_path / "lab", [person("P01"), person("P02")], script=sentences(1))
    from corpus.release import writer

    def finish_late(*arguments: object, **options: object) -> None:
        withdraw(lab.path, "P02", today=TODAY)

    monkeypatch.setattr(writer, "finish", finish_late)
    with pytest.raises(ConsentError, match="withdrew while"):
        build(lab, tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_what_is_damaged_or_missing_is_listed(tmp_path: Path) -> None:
    people = [person(f"P0{n}") for n in range(1, 8)]
    lab = small_lab(tmp_path / "lab", people, script=sentences(1))
    folders = {each.pseudonym: lab.sessions / f"session-{each.pseudonym}" for each in people}
    sequence = {name: next((folder / "sequences").glob("*.npz")) for name, folder in folders.items()}
    sequence["P01"].unlink()
    sequence["P02"].write_bytes(b"no sequence")
    next((folders["P03"] / "takes").glob("*/cache/*.npz")).unlink()
    next((folders["P04"] / "takes").glob("*/audio.wav")).write_bytes(b"RIFF")
    (folders["P05"] / "session.json").write_text("{")
    next((folders["P06"] / "takes").glob("*/take.json")).unlink()
    take = next((folders["P07"] / "takes").glob("*/take.json"))
    take.write_text(take.read_text().replace('"kind": "test"', '"kind": "test", "subject": "P08"'))
    content = build(lab, tmp_path / "r", BuildOptions())
    assert {(row.component, row.reason) for row in content.missing} == {
        ("all", "the take is of another subject"),
        ("all", "not reconstructed"), ("all", "the sequence is damaged"), ("landmarks", "no landmarks of all frames"),
        ("audio", "no sound that is placed in time"), ("all", "the session cannot be read"),
        ("all", "the kept take is not there"),
    }  # fmt: skip
    assert len(content.sequences) == 2


def test_sentences_that_hold_a_code_of_the_lab_stay_in(tmp_path: Path) -> None:
    lab = small_lab(tmp_path / "lab", [person("P01")], script=sentences(1))
    script = [
        ScriptItem(id="P01_7", text="Hello."),
        ScriptItem(id="8", text="Hello, p01!"),
        ScriptItem(id="9", text="P012"),
    ]
    add_session(lab, person("P01"), script=script, folder="second")
    content = build(lab, tmp_path / "r", BuildOptions())
    assert {row.text for row in content.sequences} == {"This is sentence number 0.", "P012"}


def test_consent_is_closed_where_nothing_is_known(tmp_path: Path) -> None:
    lab = small_lab(tmp_path / "lab", [person(f"P0{n}") for n in range(1, 6)], script=sentences(1))
    (lab.subjects / "P01.json").unlink()
    (lab.subjects / "P02.json").write_text("{}")
    (lab.subjects / "P03.json").write_text((lab.subjects / "P04.json").read_text())
    write_subject(lab.subjects / "P04.json", person("P04").model_copy(update={"withdrawn": TODAY}))
    reasons = {item.pseudonym: item.reason for item in lab_index(lab, today=TODAY)}
    assert reasons == {
        "P01": "no record of the subject", "P02": "the subject's record cannot be read",
        "P03": "the subject's record cannot be read", "P04": "consent withdrawn", "P05": None,
    }  # fmt: skip
    (lab.path / "withdrawn.jsonl").write_text("{")
    with pytest.raises(InputError, match="line 1 is damaged"):
        build(lab, tmp_path / "r")
