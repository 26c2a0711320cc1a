"""A release for PyTorch: random access by the index, or shard after shard as a stream of WebDataset's.

Samples are dicts: id, subject, split, text, language, emotion, fps, and what was asked for: `vertices` float32 [T,N,3],
`time_usec`, `rotation`, `translation`, `status`; `audio` int16 [S,C] and `audio_rate`; `landmarks`.
"""

import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from corpus.release.layout import MAX_MEMBER_BYTES, MEMBERS, SPLITS
from corpus.release.reader import Release, ReleaseItem, mesh_arrays, sound_samples
from mmface4d.errors import InputError, MissingBackendError
from mmface4d.npz import read_npz

LOADED = ("mesh.npz", "audio.wav", "landmarks.npz")
OF_MESH = ("vertices", "time_usec", "rotation", "translation", "expression", "status")
OF_ROW = ("id", "subject", "split", "text", "language", "emotion", "fps")
Sample = dict[str, Any]


class FaceDataset(Dataset[Sample]):
    """The sequences of a split at random; a file that a sequence does not have is None in its sample."""

    def __init__(
        self, release: Release, *, split: str | None = None, load: tuple[str, ...] = ("mesh.npz", "audio.wav"),
        transform: Callable[[Sample], Sample] | None = None,
    ) -> None:  # fmt: skip
        self._release, self._load, self._transform = release, _known(load), transform
        self._items = list(release.items(split))

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Sample:
        item = self._items[index]
        sample = _sample(item)
        for suffix in self._load:
            data = _maybe(self._release, item, suffix)
            sample |= _decoded(suffix, data, name=item.id)
        return self._transform(sample) if self._transform else sample


def stream(
    release: Release, *, split: str = "train", load: tuple[str, ...] = ("mesh.npz", "audio.wav"), shuffle: int = 0,
    seed: int = 0,
) -> Any:  # fmt: skip
    """A WebDataset pipeline over the meshes' shards, divided between nodes and workers; other files come by the index.

    `shuffle` is how many samples wait to be shuffled; the shards are shuffled too where it is above 0.
    """
    wds = _webdataset()
    if split not in SPLITS:
        raise InputError(f"there is no split {split!r}", hint=f"choose of {', '.join(SPLITS)}")
    shards = sorted({row.shard for row in release.sequences if row.split == split})
    if not shards:  # webdataset takes no empty list
        return wds.DataPipeline(list)
    stages: list[Any] = [wds.SimpleShardList([str(release.path / shard) for shard in shards])]
    if shuffle:
        stages.append(wds.detshuffle(seed=seed))
    stages += [wds.split_by_node, wds.split_by_worker, _Expander(release, _known(load))]
    if shuffle:
        stages.append(wds.shuffle(shuffle, seed=seed))
    return wds.DataPipeline(*stages)


def _webdataset() -> Any:
    try:
        import webdataset
    except ImportError as error:
        raise MissingBackendError(
            f"streams need webdataset: {error}", hint='pip install "mmface4d[release]"'
        ) from error
    return webdataset


class _Expander:
    """From shards to samples: WebDataset's own reader would believe names and sizes in an archive."""

    def __init__(self, release: Release, load: tuple[str, ...]) -> None:
        self._release, self._load = release, load

    def __call__(self, source: Iterable[dict[str, Any]]) -> Iterator[Sample]:
        for shard in source:
            for name, data in members(Path(shard["url"])):
                item = self._release.item(name.partition(".")[0])
                if name != f"{item.id}.mesh.npz" or item.files["mesh.npz"].bytes != len(data):
                    raise InputError(f"{shard['url']}: {name} is not what the index says", hint=_HINT)
                yield self._sample(item, data)

    def _sample(self, item: ReleaseItem, mesh: bytes) -> Sample:
        sample = _sample(item)
        for suffix in self._load:
            data = mesh if suffix == "mesh.npz" else _maybe(self._release, item, suffix)
            sample |= _decoded(suffix, data, name=item.id)
        return sample


def members(shard: Path) -> Iterator[tuple[str, bytes]]:
    """The files of a shard in their order; raises InputError for anything that we would not have written."""
    size = shard.stat().st_size if shard.is_file() else 0
    try:
        with tarfile.open(shard, "r:") as archive:
            for info in archive:
                # a sparse file is small on the disk and endless when read
                plain = (
                    info.type == tarfile.REGTYPE and not info.sparse and 0 <= info.size <= min(size, MAX_MEMBER_BYTES)
                )
                if not plain or "/" in info.name or info.name.partition(".")[2] not in MEMBERS:
                    raise InputError(f"{shard} holds {info.name[:100]!r}, which is no file of a release", hint=_HINT)
                file = archive.extractfile(info)
                yield info.name, file.read() if file else b""
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputError(f"{shard} is damaged: {error}", hint=_HINT) from error


def _maybe(release: Release, item: ReleaseItem, suffix: str) -> bytes | None:
    return release.read(item, suffix) if suffix in item.files else None


def _known(load: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [suffix for suffix in load if suffix not in LOADED]
    if unknown:
        raise InputError(f"{unknown[0]!r} cannot be loaded into a sample", hint=f"choose of {', '.join(LOADED)}")
    return load


def _sample(item: ReleaseItem) -> Sample:
    return {name: getattr(item.row, name) for name in OF_ROW}


def _decoded(suffix: str, data: bytes | None, *, name: str) -> Sample:
    if suffix == "audio.wav":
        samples, rate = (None, None) if data is None else sound_samples(data, name=name)
        return {"audio": samples, "audio_rate": rate}
    if suffix == "landmarks.npz":
        return {"landmarks": None if data is None else _own(read_npz(data, name=name)["pixels"])}
    arrays = {} if data is None else mesh_arrays(data, name=name)
    return {key: _own(arrays[key]) for key in OF_MESH if key in arrays}


def _own(array: np.ndarray) -> np.ndarray:
    """PyTorch warns of arrays that cannot be written."""
    return array if array.flags.writeable else array.copy()


_HINT = "see what is damaged with: mmface4d release verify"
