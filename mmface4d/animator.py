"""A checkpoint with a face and a manner, which turns sound files into files of what is asked for."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmface4d.animate_command import Animated
from mmface4d.animate_inputs import in_data, open_style, open_template
from mmface4d.animate_outputs import shapes_of_model, sound_beside, write_csv, write_glb, write_mp4
from mmface4d.arrays import Vertices
from mmface4d.errors import UsageError

if TYPE_CHECKING:
    from animation.audio.encoder import AudioEncoder
    from animation.audio.speech_file import SpeechFile
    from animation.training.checkpoint import Trained
    from animation.use.arkit import ArkitShapes
    from animation.use.generate import Frames

STEP_S = 0.1  # of sound that comes at a time, where it is heard live
WITH_SOUND = {"npz", "glb"}  # their sound lies beside them


@dataclass(frozen=True)
class Animator:
    """What all sounds of a command share."""

    trained: "Trained"
    encoder: "AudioEncoder"
    template: Vertices
    style: Any  # Style | StyleCode
    kinds: Sequence[str]
    stream: bool
    shapes: "ArkitShapes | None"  # where weights are wanted
    notes: list[str] = field(default_factory=list)
    given: tuple[Path, ...] = ()  # files, and folders of data, that are read and never to be overwritten

    def make(self, audio: Path, target: Path) -> Animated:
        """Writes TARGET.npz and so on; raises InputError where the sound cannot be used."""
        from animation.audio.speech_file import open_speech_file

        target.parent.mkdir(parents=True, exist_ok=True)
        files = {kind: target.with_name(f"{target.name}.{kind}") for kind in self.kinds}
        self._check_kept(audio, files)
        wav = target.with_name(f"{target.name}.wav") if WITH_SOUND & files.keys() else None
        started = time.process_time()
        with (
            tempfile.TemporaryDirectory(dir=target.parent, prefix=".animate") as folder,
            open_speech_file(audio) as it,
            sound_beside(audio, wav),
        ):
            sequence = files.get("npz") or Path(folder) / f"{target.name}.npz"
            n_frames, notes = self._animate(it, audio, sequence)
            cpu_seconds = time.process_time() - started
            notes += self._others(files, sequence, sound=audio)
        written = [str(path) for path in (*files.values(), wav) if path is not None]
        return Animated(str(audio), n_frames, it.duration_s, cpu_seconds, written, [*self.notes, *notes])

    def _check_kept(self, audio: Path, files: dict[str, Path]) -> None:
        """Raises UsageError where what is written would take the place of what is read."""
        for path in files.values():
            if any(_is_read(path, given) for given in (audio, *self.given)):
                raise UsageError(f"{path} is read here and would be overwritten", hint="choose another name with -o")

    def _animate(self, heard: "SpeechFile", audio: Path, sequence: Path) -> tuple[int, list[str]]:
        """Writes the sequence; how many frames it has, and what is to be known of them."""
        from animation.use.generate import animate, frames_of
        from animation.use.sequence_file import write_animation

        about, notes = self.trained.preprocessing, []
        n_frames = frames_of(heard.duration_s, fps=about.fps)
        if self.stream:
            frames, notes = self._streamed(heard, audio)
        else:
            frames = animate(
                self.trained, heard.speech, template=self.template, style=self.style, n_frames=n_frames,
                encoder=self.encoder,
            )  # fmt: skip
        write_animation(sequence, frames, n_frames=n_frames, about=about)
        return n_frames, notes

    def _streamed(self, heard: "SpeechFile", audio: Path) -> "tuple[Iterator[Frames], list[str]]":
        """The frames as they would come live, the sound being heard a tenth of a second at a time."""
        from animation.audio.speech_file import sound_blocks
        from animation.use.streaming import Streamer

        streamer = Streamer(
            self.trained, template=self.template, style=self.style, rate_hz=heard.rate_hz, encoder=self.encoder
        )
        same = "as of the whole sound" if streamer.exact else "not quite those of the whole sound"
        note = f"frames wait {streamer.look_ahead_s:.3f} s for the sound after them, and are {same}"
        blocks = sound_blocks(audio, size=max(round(heard.rate_hz * STEP_S), 1))
        return streamer.follow(block for block, _ in blocks), [note]

    def _others(self, files: dict[str, Path], sequence: Path, *, sound: Path) -> list[str]:
        """Writes what is made of the sequence; what is to be known of it."""
        notes = []
        if "mp4" in files:
            write_mp4(files["mp4"], sequence, sound=sound)
        if "glb" in files:
            notes.append(write_glb(files["glb"], sequence, wav=files["glb"].with_suffix(".wav")))
        if "csv" in files and self.shapes is not None:
            notes.append(write_csv(files["csv"], sequence, template=self.template, shapes=self.shapes))
        return notes


def open_animator(
    checkpoint: Path, *, template: str, style: str | None, kinds: Sequence[str], device: str = "cpu",
    stream: bool = False,
) -> Animator:  # fmt: skip
    """Opens everything, and says at once what of it cannot be used."""
    from animation.audio.registry import open_same_encoder
    from animation.device import usable_device
    from animation.training.checkpoint import load_checkpoint
    from animation.training.preprocessing import TOPOLOGY_FILE
    from animation.training.styles import STYLES_FILE
    from animation.use.streaming import streaming_halo
    from animation.use.template import check_template
    from mmface4d.animation_data import open_speech_corpus

    trained = load_checkpoint(checkpoint, device=usable_device(device))
    if stream:
        streaming_halo(trained)
    record = trained.preprocessing.encoder
    encoder = open_same_encoder(record.spec, record.identity, device=device)
    open_corpus = cache(open_speech_corpus)  # face and manner are often of the same data
    face = open_template(template, open_corpus)
    check_template(face.vertices, trained.preprocessing, name=template)
    manner = open_style(style, trained, checkpoint, open_corpus)
    mesh = trained.preprocessing.topology
    ignored = style is not None and trained.model.capabilities.style == "none"
    notes = [f"{trained.preprocessing.model} has no manner of speaking: --style changes nothing"] if ignored else []
    if face.faces is not None and not np.array_equal(face.faces, mesh.faces):
        notes.append(f"the triangles of {template} are not those of the training data: is it the same mesh?")
    shapes = shapes_of_model(mesh.name, mesh.faces) if "csv" in kinds else None
    given = [in_data(text)[0] or Path(text) for text in (template, style) if text is not None]
    given += [checkpoint / name for name in (STYLES_FILE, TOPOLOGY_FILE)]
    return Animator(trained, encoder, face.vertices, manner, kinds, stream, shapes, notes, tuple(given))


def _is_read(path: Path, given: Path) -> bool:
    """Whether a file is one that is given, or a sequence in a folder of data."""
    if not path.exists() or not given.exists():
        return False
    if given.is_dir():
        return path.suffix == ".npz" and path.resolve().is_relative_to(given.resolve())
    return path.samefile(given)
