"""What peers' loaders do with a folder, written from their rules; no line of theirs."""

import io
import pickle  # noqa: TID251  (what their loaders use; five harmless names are let through)
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

HARMLESS = {
    ("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"),
    ("torch", "from_numpy"),
}  # fmt: skip


class Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        assert (module, name) in HARMLESS
        return super().find_class(module, name)


def load_pickle(data: bytes, *, encoding: str = "ASCII") -> Any:
    return Restricted(io.BytesIO(data), encoding=encoding).load()


def read_pickle(path: Path, *, encoding: str = "ASCII") -> Any:
    return load_pickle(path.read_bytes(), encoding=encoding)


def heard(path: Path) -> np.ndarray:
    """Mono at 16 kHz, as librosa.load(path, sr=16000) gives it of such a file."""
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == 16_000
    assert samples.ndim == 1
    return samples


RANGES = {
    "vocaset": {"train": range(1, 41), "val": range(21, 41), "test": range(21, 41)},
    "BIWI": {"train": range(1, 33), "val": range(33, 37), "test": range(37, 41)},
}


def faceformer(root: Path, told: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    """FaceFormer, CodeTalker, SelfTalk, DiffSpeaker: everything that they read, by split."""
    dataset = told["dataset"]
    templates = read_pickle(root / "templates.pkl", encoding="latin1")
    data = {}
    for file in sorted((root / "wav").iterdir()):
        if not file.name.endswith("wav"):
            continue
        key = file.name.replace("wav", "npy")
        path = root / "vertices_npy" / file.name.replace("wav", "npy")
        if not path.exists():
            continue
        subject = "_".join(key.split("_")[:-1])
        vertices = np.load(path, allow_pickle=True)
        data[key] = {
            "name": file.name, "audio": heard(file), "template": templates[subject].reshape(-1),
            "vertice": vertices[::2, :] if dataset == "vocaset" else vertices,
            "subject": subject, "sentence": int(key.split(".")[0][-2:]),
        }  # fmt: skip
        assert templates[file.name.split("_")[0]] is not None  # as its newest version looks them up
    out = {}
    for split, ranges in RANGES[dataset].items():
        subjects = told[f"{split}_subjects"].split(" ")
        out[split] = [v for v in data.values() if v["subject"] in subjects and v["sentence"] in ranges]
    return out


def facediffuser(root: Path, told: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    """FaceDiffuser as `vocaset`, with its way of leaving subjects out and of taking them for the first field."""
    read = set(told["test_subjects"].split() + told["val_subjects"].split())  # training subjects are forgotten
    templates = read_pickle(root / "templates.pkl", encoding="latin1")
    out: dict[str, list[dict[str, Any]]] = {"train": [], "val": [], "test": []}
    for file in sorted((root / "wav").iterdir()):
        key = file.name.replace("wav", "npy")
        subject, sentence = "_".join(key.split("_")[:-1]), int(key.split(".")[0][-2:])
        if subject not in read:
            continue
        item = {
            "name": file.name, "audio": heard(file), "subject": subject, "template": templates[subject].reshape(-1),
            "vertice": np.load(root / "vertices_npy" / key, allow_pickle=True).astype(np.float32)[::2, :],
        }  # fmt: skip
        for split in out:  # the first that fits
            if subject in told[f"{split}_subjects"].split(" ") and sentence in RANGES["vocaset"][split]:
                out[split].append(item)
                if split == "train":
                    told["train_subjects"].split(" ").index(file.name.split("_")[0])
                break
    return out


def prepare_voca(root: Path, target: Path) -> None:
    """FaceFormer's preparation of VOCA's files."""
    vertices = np.load(root / "data_verts.npy", mmap_mode="r+")
    raw_audio = read_pickle(root / "raw_audio_fixed.pkl", encoding="latin1")
    place_of = read_pickle(root / "subj_seq_to_idx.pkl")
    for name in ("vertices_npy", "wav"):
        (target / name).mkdir(parents=True)
    for subject in place_of:
        for sequence in place_of[subject]:
            rows = [vertices[row] for _, row in place_of[subject][sequence].items()]
            np.save(target / "vertices_npy" / f"{subject}_{sequence}", np.array(rows).reshape(len(rows), -1))
    for subject in raw_audio:
        for sequence, sound in raw_audio[subject].items():
            path = target / "wav" / f"{subject}_{sequence}.wav"
            soundfile.write(path, sound["audio"], sound["sample_rate"], subtype="PCM_16")
