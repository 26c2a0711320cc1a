"""What an animation is written as, beside the sequence file: a video, a glTF with its sound, ARKit's weights."""

import filecmp
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmface4d.arrays import Faces, Vertices
from mmface4d.errors import InputError, ModelError, UsageError
from mmface4d.exported import Exported
from mmface4d.progress import progress
from mmface4d.sequence import load_sequence

if TYPE_CHECKING:
    from animation.use.arkit import ArkitShapes

BLOCK_FRAMES = 32


@contextmanager
def sound_beside(audio: Path, wav: Path | None) -> Iterator[None]:
    """Puts the sound of an animation beside it, and takes it away again where the block fails."""
    if wav is None:
        yield
        return
    before = wav.exists()
    put_sound(audio, wav)
    try:
        yield
    except BaseException:
        if not before:
            wav.unlink(missing_ok=True)
        raise


def put_sound(audio: Path, wav: Path) -> None:
    """Puts the sound of an animation beside it; raises InputError where another file has the name."""
    from animation.audio.speech_file import write_wav_of

    if wav.exists() and wav.samefile(audio):
        return
    if not wav.exists():
        wav.parent.mkdir(parents=True, exist_ok=True)
        write_wav_of(audio, wav)
        return
    with tempfile.TemporaryDirectory(dir=wav.parent, prefix=".sound") as folder:
        made = Path(folder) / wav.name
        write_wav_of(audio, made)
        if not wav.is_file() or not filecmp.cmp(wav, made, shallow=False):
            raise InputError(f"{wav} exists and is not the sound of {audio}", hint="choose another name, or delete it")


def write_mp4(path: Path, sequence: Path, *, sound: Path) -> None:
    """A video of the face with its sound."""
    from reconstruct.view.panels import make_panel
    from reconstruct.view.scene import open_scene
    from reconstruct.view.video import Sound, write_video

    with open_scene(sequence, take=None, calibration=None, frames=None) as scene:
        panel = make_panel(scene)
        with progress(f"drawing {path.stem}", len(scene.frames)) as bar:

            def pictures() -> Iterator[np.ndarray]:
                for position in range(len(scene.frames)):
                    yield panel.draw(position)
                    bar.advance()

            write_video(
                path, pictures(), timestamps_usec=scene.timestamps_usec, frame_usec=round(1e6 / scene.fps),
                sound=Sound(sound, 0),
            )  # fmt: skip


def write_glb(path: Path, sequence: Path, *, wav: Path) -> str:
    """A glTF of morph targets that names the WAV beside it; how near it comes to the sequence, in words."""
    from corpus.presets import gltf
    from corpus.presets.clip import Clip
    from corpus.presets.motion import steady_motion

    motion = steady_motion(load_sequence(sequence))
    done = Exported(path.stem, len(motion), motion.fps)
    gltf.write_glb(Clip(path.stem, "", path.stem, motion, None), path, wav=wav, done=done)
    return f"{path.name} has {done.figures['targets']} targets, vertices within {done.max_error_mm:.4f} mm"


def write_csv(path: Path, sequence: Path, *, template: Vertices, shapes: "ArkitShapes") -> str:
    """ARKit's 52 weights for Live Link Face; how well they tell the motion, in words."""
    from animation.use.arkit import ArkitFitter, write_arkit_csv
    from animation.use.sequence_file import TURN

    fitter, read = ArkitFitter(shapes), load_sequence(sequence)

    def blocks() -> Iterator[np.ndarray]:
        with progress(f"fitting {path.stem}", len(read)) as bar:
            for start in range(0, len(read), BLOCK_FRAMES):
                frames = np.asarray(read.vertices[start : start + BLOCK_FRAMES], np.float32)
                yield fitter.weights(frames * TURN - template)
                bar.advance(len(frames))

    write_arkit_csv(path, blocks(), fps=float(read["fps"]))
    return f"ARKit's weights tell {fitter.told_share:.1%} of the motion, {fitter.left_rms_mm:.3f} mm rms are left"


def shapes_of_model(name: str, faces: Faces) -> "ArkitShapes":
    """ARKit's shapes on the mesh of a face model; raises InputError where the model or its shapes are not to be had."""
    from animation.use.arkit import arkit_shapes
    from reconstruct.models.library import load_model

    hint = "ARKit's weights can be told of animations of the models canonical and ict"
    try:
        known = load_model(name)
    except (ModelError, UsageError) as error:
        raise InputError(f"the mesh {name} is of no face model: {error.message}", hint=hint) from error
    if not np.array_equal(known.faces, faces):
        raise InputError(f"the mesh is not that of the face model {name} here", hint=hint)
    return arkit_shapes(known.expression_names, known.expression_basis)
