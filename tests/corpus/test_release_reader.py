"""A release is read at random and as a stream; what somebody else may have put there does no harm."""

import io
import json
import shutil
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.data import DataLoader

from corpus.release.layout import FILES_TABLE, RECORD, FileRow, SequenceRow
from corpus.release.reader import Release, open_release
from corpus.release.splits import SplitRules
from corpus.release.tables import read_table, write_table
from corpus.release.torch_data import FaceDataset, members, stream
from corpus.release.writer import BuildOptions, build_release
from mmface4d.errors import InputError
from mmface4d.model_topology import model_topology
from mmface4d.npz import read_npz, write_npz
from tests.corpus.small_lab import TODAY, person, small_lab


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    folder = tmp_path_factory.mktemp("release")
    lab = small_lab(folder / "lab", [person("P01"), person("P02", "mesh"), person("P03")])
    rules = SplitRules(train=("P01", "P02"), test=("P03",))
    options = BuildOptions(encoding="int16", shard_bytes=600_000, rules=rules)
    build_release(lab, folder / "r", options, topology=model_topology, today=TODAY)
    return open_release(folder / "r")


@pytest.fixture
def copy(release: Release, tmp_path: Path) -> Path:
    return Path(shutil.copytree(release.path, tmp_path / "r"))


def ids(samples: Any) -> list[str]:
    return sorted(sample["id"] for sample in samples)


def test_items_at_random(release: Release) -> None:
    dataset = FaceDataset(release, split="train", load=("mesh.npz", "audio.wav", "landmarks.npz"))
    assert len(dataset) == 4
    for index, item in enumerate(release.items("train")):
        sample = dataset[index]
        assert sample["id"] == item.id
        assert np.array_equal(sample["vertices"], release.vertices(item))
        assert (sample["audio"] is None) == ("audio.wav" not in item.files)
        assert sample["landmarks"].shape[1:] == (3, 478, 2)
    with pytest.raises(InputError, match=r"'rgb\.mkv' cannot be loaded"):
        FaceDataset(release, load=("rgb.mkv",))


def test_a_stream_has_every_item_once(release: Release) -> None:
    dataset = FaceDataset(release, split="train")
    samples = list(stream(release, split="train"))
    assert len({row.shard for row in release.sequences if row.split == "train"}) > 1
    assert ids(samples) == ids(dataset[n] for n in range(len(dataset)))
    for sample in samples:
        assert np.array_equal(sample["vertices"], release.vertices(release.item(sample["id"])))
    assert ids(stream(release, split="train", shuffle=10, seed=3)) == ids(samples)


def test_a_split_of_nobody_has_nothing(release: Release) -> None:
    assert not release.splits["validation"]
    assert list(stream(release, split="validation")) == []
    assert list(DataLoader(stream(release, split="validation", shuffle=3), batch_size=None)) == []
    with pytest.raises(InputError, match="there is no split 'tset'"):
        stream(release, split="tset")


def test_workers_share_a_stream(release: Release) -> None:
    loader = DataLoader(stream(release, split="train"), batch_size=None, num_workers=2)
    assert ids(loader) == ids(stream(release, split="train"))


def test_regions_and_faces(release: Release) -> None:
    count = release.record.vertex_count
    assert 0 <= min(release.regions["lips"]) < max(release.regions["lips"]) < count
    assert release.faces.max() == count - 1
    scores = json.loads((release.path / "eval" / "scores.json").read_text())
    assert scores["sequences"] == 2
    # noise of 1 mm on each axis, in two frames: the mean distance is 4/sqrt(pi), less the frame that is held
    assert scores["mean_face_error_mm"] == pytest.approx(0.75 * 4 / np.sqrt(np.pi), rel=0.02)


@pytest.mark.parametrize(
    "changed",
    [
        {"shard": "../secret.tar"}, {"shard": "/etc/passwd"}, {"shard": "meshes/../../x.tar"}, {"offset": -1},
        {"bytes": 1 << 40}, {"name": "../../x.mesh.npz"}, {"id": "../x"}, {"name": "x.pkl"},
    ],
    ids=str,
)  # fmt: skip
def test_tables_cannot_lead_out_of_the_folder(copy: Path, changed: dict[str, Any]) -> None:
    rows = read_table(copy / FILES_TABLE, FileRow)
    write_table(copy / FILES_TABLE, FileRow, [replace(rows[0], **changed), *rows[1:]])
    with pytest.raises(InputError, match="is damaged: 1 rows"):
        _ = open_release(copy).files


def test_what_is_damaged_is_said(release: Release, copy: Path) -> None:
    item = next(release.items())
    shard = copy / item.row.shard
    data = bytearray(shard.read_bytes())
    data[item.row.offset + 5000] ^= 1
    shard.write_bytes(data)
    with pytest.raises(InputError, match=f"{item.id}.mesh.npz is damaged"):
        open_release(copy).vertices(item)
    shard.write_bytes(data[: item.row.offset + 10])
    with pytest.raises(InputError, match="is cut short"):
        open_release(copy).vertices(item)
    with pytest.raises(InputError, match=r"damaged|not what"):
        list(stream(open_release(copy), split=item.row.split))
    (copy / FILES_TABLE).write_bytes(b"PAR1 no table")
    with pytest.raises(InputError, match="is damaged"):
        _ = open_release(copy).files
    write_table(copy / FILES_TABLE, SequenceRow, release.sequences)
    with pytest.raises(InputError, match="is damaged"):
        _ = open_release(copy).files


@pytest.mark.parametrize(
    ("value", "match"),
    [({"format": 9}, "has format 9"), ([], "is damaged"), ({"format": 1, "version": "x"}, "is damaged")],
)
def test_records_that_are_none(copy: Path, value: object, match: str) -> None:
    (copy / RECORD).write_text(json.dumps(value))
    with pytest.raises(InputError, match=match):
        open_release(copy)
    (copy / RECORD).unlink()
    with pytest.raises(InputError, match="is no release"):
        open_release(copy)


def _tar(path: Path, info: tarfile.TarInfo, data: bytes = b"") -> Path:
    with tarfile.open(path, "w") as archive:
        archive.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("name", ["../x.mesh.npz", "/tmp/x.mesh.npz", "x.pyd", "x.pickle", "x", "a/x.mesh.npz"])
def test_a_stream_takes_no_strange_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="is no file of a release"):
        list(members(_tar(tmp_path / "x.tar", tarfile.TarInfo(name))))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, tarfile.GNUTYPE_SPARSE]
)
def test_a_stream_takes_plain_files_only(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("x.mesh.npz")
    info.type, info.linkname = kind, "/etc/passwd"
    with pytest.raises(InputError, match=r"is no file of a release|is damaged"):
        list(members(_tar(tmp_path / "x.tar", info)))


def test_no_pickles_and_no_bombs(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, vertices=np.array([{}], dtype=object))
    with pytest.raises(InputError, match="is damaged"):
        read_npz(path.read_bytes(), name="x")
    path.write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(InputError, match="is damaged"):
        read_npz(path.read_bytes(), name="x")
    np.savez_compressed(path, vertices=np.zeros(10_000_000, np.int8))
    with pytest.raises(InputError, match=r"as we store them|would grow"):
        read_npz(path.read_bytes(), name="x")
    with zipfile.ZipFile(path, "w") as archive, archive.open("a.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)})
    with pytest.raises(InputError, match="no plain array of its size"):
        read_npz(path.read_bytes(), name="x")


def test_npz_files_come_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "a": rng.random((3, 2)),
        "b": np.int64(7),
        "c": rng.integers(0, 9, (0, 4)),
        "d": np.asfortranarray(np.eye(3)[:, :2]),
    }
    write_npz(tmp_path / "x.npz", arrays)
    found = read_npz((tmp_path / "x.npz").read_bytes(), name="x")
    for name, array in arrays.items():
        assert np.array_equal(found[name], array)
    with np.load(tmp_path / "x.npz", allow_pickle=False) as file:
        assert set(file) == set(arrays)
