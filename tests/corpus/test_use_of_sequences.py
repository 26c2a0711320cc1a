"""Sequences given as files are exported and measured only where whom they show still lets them out."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus.presets import mesh_files
from corpus.presets.export import export_sequences
from mmface4d.errors import ConsentError, InputError
from mmface4d.lab import Lab, create_lab
from mmface4d.subject import write_subject
from mmface4d.wav import write_wav
from mmface4d.withdrawal import withdraw
from tests.corpus.faces_in_motion import wave, write_face
from tests.corpus.in_process import run_here
from tests.corpus.small_lab import CONSENT, TODAY, add_session, person, sentences


def lab_with_a_sequence(tmp_path: Path, *scopes: str) -> tuple[Lab, Path]:
    lab = create_lab(tmp_path / "lab")
    session = add_session(lab, person("P07", *scopes), script=sentences(1))
    return lab, next((session / "sequences").glob("*.npz"))


def elsewhere(sequence: Path, folder: Path) -> Path:
    """A copy of a sequence outside the lab, as `reconstruct -o` leaves it."""
    folder.mkdir()
    return Path(shutil.copy(sequence, folder / "copy.npz"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"withdrawn": TODAY}, "consent withdrawn"), ({"consent": None}, "no consent"),
        ({"consent": CONSENT.model_copy(update={"until": CONSENT.date})}, "consent expired"),
        ({"consent": CONSENT.model_copy(update={"scopes": ("audio",)})}, "does not cover meshes"),
    ],
    ids=str,
)  # fmt: skip
def test_a_record_of_today_outranks_what_a_take_says(tmp_path: Path, change: dict, reason: str) -> None:
    lab, inside = lab_with_a_sequence(tmp_path)
    outside = elsewhere(inside, tmp_path / "out")
    for number, path in enumerate((inside, outside)):
        export_sequences([path], tmp_path / f"before-{number}", preset="ply")
    write_subject(lab.subjects / "P07.json", person("P07").model_copy(update=change))
    for path in (inside, outside):
        for with_take in (True, False):
            with pytest.raises(ConsentError, match=f"may not be used: .*{reason}"):
                export_sequences([path], tmp_path / "after", preset="ply", with_take=with_take)
    assert not (tmp_path / "after").exists()


def test_what_cannot_be_read_permits_nothing(tmp_path: Path) -> None:
    lab, inside = lab_with_a_sequence(tmp_path)
    outside = elsewhere(inside, tmp_path / "out")
    shutil.rmtree(inside.parents[1] / "takes")  # the session is found all the same
    for damaged in (lab.subjects / "P07.json", inside.parents[1] / "session.json"):
        damaged.write_text("{")
        for path in (inside, outside):
            with pytest.raises(ConsentError, match="cannot be read"):
                export_sequences([path], tmp_path / "after", preset="ply", with_take=False)


def test_a_list_of_the_lab_is_enough(tmp_path: Path) -> None:
    """A withdrawal that was killed after its second step, of a take that has left its session."""
    lab, inside = lab_with_a_sequence(tmp_path)
    (take,) = (inside.parents[1] / "takes").iterdir()
    record = json.loads((take / "take.json").read_text())
    (take / "take.json").write_text(json.dumps(record | {"source": {"subject": "P07"}}))
    moved = Path(shutil.move(take, lab.path / "moved"))
    alone = tmp_path / "alone.npz"
    np.savez(alone, **{**dict(np.load(inside)), "take": np.array(str(moved))})
    export_sequences([alone], tmp_path / "before", preset="ply")
    (lab.path / "withdrawn.jsonl").write_text('{"subject": "P07", "withdrawn": "2026-11-20"}\n')
    for path, with_take in ((alone, True), (alone, False), (inside, False)):
        with pytest.raises(ConsentError, match="withdrawn"):
            export_sequences([path], tmp_path / "after", preset="ply", with_take=with_take)


def test_voice_and_colours_need_their_scopes(tmp_path: Path) -> None:
    lab, inside = lab_with_a_sequence(tmp_path, "mesh", "audio", "rgb")
    arrays = dict(np.load(inside))
    arrays["vertex_colors"] = np.full(arrays["vertices"].shape[1:], 0.5, np.float32)
    np.savez(inside, **arrays)
    for scopes, sound, colours in (
        (("mesh", "audio", "rgb"), True, True),
        (("mesh", "audio"), True, False),
        (("mesh",), False, False),
    ):
        write_subject(lab.subjects / "P07.json", person("P07", *scopes))
        (done,) = export_sequences([inside], tmp_path / "ply", preset="ply")
        export_sequences([inside], tmp_path / "npz", preset="wav+npz")
        (ply,) = (tmp_path / "ply").rglob("000000.ply")
        (npz,) = (tmp_path / "npz").rglob("*.npz")
        assert bool(list((tmp_path / "ply").rglob("*.wav"))) == sound
        assert (b"property uchar red" in ply.read_bytes()) == colours
        assert ({"vertex_colors", "texture"} <= set(np.load(npz))) == colours
        assert any("no colours" in note for note in done.notes) != colours
        for name in ("ply", "npz"):
            shutil.rmtree(tmp_path / name)


@pytest.mark.parametrize("preset", ["ply", "wav+npz", "vocaset"])
def test_a_voice_beside_a_sequence_needs_its_scope_too(tmp_path: Path, preset: str) -> None:
    """A sequence that names no take, in the session of somebody who lets out meshes only."""
    lab, inside = lab_with_a_sequence(tmp_path, "mesh", "audio")
    arrays = {name: array for name, array in np.load(inside).items() if name != "take"}
    np.savez(inside, **arrays)
    write_wav(inside.with_suffix(".wav"), np.full(16_000, 0.25, np.float32), rate_hz=16_000)
    export_sequences([inside], tmp_path / "before", preset=preset)
    assert list((tmp_path / "before").rglob("*.wav"))
    write_subject(lab.subjects / "P07.json", person("P07", "mesh"))
    if preset == "vocaset":  # which is nothing without sound
        with pytest.raises(InputError, match="no sound that the person consented to"):
            export_sequences([inside], tmp_path / "after", preset=preset)
    else:
        (done,) = export_sequences([inside], tmp_path / "after", preset=preset)
        assert "no sound: the person's consent does not cover it" in done.notes
        assert not list((tmp_path / "after").rglob("*.wav"))


def test_a_consent_that_is_narrowed_meanwhile_stops_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab, inside = lab_with_a_sequence(tmp_path)
    write_ply = mesh_files.write_ply

    def late(*arguments: Any) -> Any:
        done = write_ply(*arguments)
        write_subject(lab.subjects / "P07.json", person("P07", "mesh"))
        return done

    monkeypatch.setattr(mesh_files, "write_ply", late)
    with pytest.raises(ConsentError, match="changed meanwhile"):
        export_sequences([inside], tmp_path / "after", preset="ply")
    assert not (tmp_path / "after").exists()


def test_somebody_who_withdraws_meanwhile_stops_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab, inside = lab_with_a_sequence(tmp_path)
    monkeypatch.setattr(mesh_files, "write_ply", lambda *_: withdraw(lab.path, "P07", today=TODAY) and [])
    with pytest.raises(ConsentError, match="withdrawn"):
        export_sequences([inside], tmp_path / "after", preset="ply")
    assert not (tmp_path / "after").exists()


def test_files_of_who_may_not_be_used_are_not_measured(tmp_path: Path) -> None:
    files = [write_face(tmp_path / f"{number}.npz", {"lips": wave(1, amplitude_mm=2, hertz=3)}) for number in range(2)]
    lab, inside = lab_with_a_sequence(tmp_path)
    outside = elsewhere(inside, tmp_path / "out")
    assert run_here("stats", inside, outside).returncode == 0
    write_subject(lab.subjects / "P07.json", person("P07").model_copy(update={"withdrawn": TODAY}))
    for path in (inside, outside):
        done = run_here("stats", path)
        assert (done.returncode, done.stdout) == (3, "")
        assert "may not be used: consent withdrawn" in done.stderr
        done = run_here("stats", *files, path, "--json")
        assert done.returncode == 4
        assert json.loads(done.stdout)["sequences"] == len(files)
