"""Trained on meshes that this program itself reconstructed, a face says a sentence that was left out.

Virtual actors say sentences of the starter corpus before virtual cameras; `reconstruct` makes meshes of what these saw,
`train` learns from all sentences but one, `animate` says that one. The result is measured against the meshes of the
take that was left out, and against what the rig knows of the actor. Every step is kept in WORK and not done again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from common import print_json, run, same_settings, say
from jaxtyping import Float
from virtual_speech import HELD_OUT, actor_seed, make_speech_lab, true_motion

from mmface4d.animation_data import open_speech_corpus

if TYPE_CHECKING:
    from animation.data.clip import Clip
    from animation.data.corpus import SpeechCorpus

OTHER_WORDS = "01"  # a sentence of the same actor that is said in place of the right one, to see what that is worth
STYLE = "02"  # the sentence that shows the manner
INNER_LIPS = (13, 14)  # MediaPipe's points in the middle of the upper and the lower lip
SIZE = (360, 480)  # of one face in the video
TURN_DEG = 20.0
SHOWN, SHEET_SCALE = 4, 0.6  # frames beside the video, smaller than in it
SETTINGS = ("optimiser.rate=1e-3", "optimiser.schedule=cosine", "batches.crop_frames=60")
OPTIONS = {"channels": 64, "driver_channels": 64}
MM_PER_M = 1000.0

Motion = Float[np.ndarray, "n_frames n_verts 3"]


@dataclass(frozen=True)
class Said:
    """The held-out sentence of an actor: the meshes of the take, and what was animated, in the head frame."""

    template: Float[np.ndarray, "n_verts 3"]
    reconstructed: Motion
    animated: Motion
    of_other_words: Motion


@click.command()
@click.argument("work", type=click.Path(path_type=Path))
@click.option("--actors", default=2, show_default=True)
@click.option("--sentences", default=4, show_default=True, help="Of each actor, to train on.")
@click.option("--updates", default=600, show_default=True)
@click.option("--seed", default=11, show_default=True)
@click.option("--video", type=click.Path(path_type=Path), help="Where the first actor's MP4 goes.")
def main(work: Path, actors: int, sentences: int, updates: int, seed: int, video: Path | None) -> None:
    """Makes the takes, reconstructs, trains, animates and measures."""
    same_settings(work, {"actors": actors, "sentences": sentences, "seed": seed})
    lab = make_speech_lab(work / "lab", actors=actors, sentences=sentences, seed=seed)
    seconds = {"reconstruct": run("reconstruct", lab, "--one-actor")}
    corpus = open_speech_corpus(lab)
    held_out = [clip for clip in corpus.clips if clip.sentence == HELD_OUT.id]
    clips, own = write_training_clips(corpus, work / "clips"), work / f"updates-{updates}"
    seconds["train"] = train(clips, own / "run", updates=updates)
    say({"seconds": seconds})
    found: dict[str, Any] = {}
    for number, clip in enumerate(held_out):
        spoken = speak(corpus, clip, clips, work=own)
        truth = true_motion(HELD_OUT, seed=actor_seed(clip.subject, seed=seed))
        found[clip.subject] = measured(corpus, spoken, truth)
        if number == 0 and video is not None:
            write_pair(video, spoken, corpus.topology.faces, sound=own / "sounds" / f"{clip.name}.wav", fps=clip.fps)
    print_json({"data": described(corpus, held_out), "updates": updates, "held_out": HELD_OUT.text, "actors": found})


def write_training_clips(corpus: "SpeechCorpus", folder: Path) -> Path:
    """All clips but those of the held-out sentence, every subject to be trained on."""
    from animation.data.folder import write_folder

    if not folder.is_dir():
        told = tuple(clip for clip in corpus.clips if clip.sentence != HELD_OUT.id)
        write_folder(replace(corpus, clips=told, splits={clip.subject: "train" for clip in told}), folder)
    return folder


def train(clips: Path, folder: Path, *, updates: int) -> float:
    """By the command; its seconds."""
    options = [part for name, value in OPTIONS.items() for part in ("--set", f"options.{name}={value}")]
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    return run("train", "--data", clips, "-o", folder, "--updates", updates, "--resume", *settings, *options)


def speak(corpus: "SpeechCorpus", clip: "Clip", clips: Path, *, work: Path) -> Said:
    """The held-out sentence as it was reconstructed, and by the command `animate`; also what that makes of others."""
    other = next(each for each in corpus.clips if each.subject == clip.subject and each.sentence == OTHER_WORDS)
    right, wrong = (animated(each, clips, work=work) for each in (clip, other))
    frames = clip.frames(0, clip.n_frames)
    count = min(len(frames), len(right))
    repeated = wrong[np.arange(count) % len(wrong)]
    return Said(corpus.templates[clip.subject], frames[:count], right[:count], repeated)


def animated(clip: "Clip", clips: Path, *, work: Path) -> Motion:
    """What the command `animate` makes of a clip's sound, with the face and in the manner of who says it."""
    from animation.data.sound_files import write_sound
    from animation.use.sequence_file import TURN
    from mmface4d.sequence import load_sequence

    sound, output = work / "sounds" / f"{clip.name}.wav", work / "spoken" / f"{clip.name}.npz"
    if not output.is_file():
        sound.parent.mkdir(parents=True, exist_ok=True)
        write_sound(sound, clip.sound())
        who = ("--template", f"{clips}:{clip.subject}", "--style", f"{clips}:{clip.subject}_{STYLE}")
        run("animate", sound, *who, "--checkpoint", work / "run", "-o", output)
    return np.asarray(load_sequence(output).vertices, np.float64) * TURN


def measured(corpus: "SpeechCorpus", said: Said, truth: Motion) -> dict[str, Any]:
    """Errors in mm, and how well the opening of the mouth follows; `still` is the template that does not move."""
    template, count = said.template.astype(np.float64), len(said.animated)
    motions = {
        "reconstructed": said.reconstructed - template,
        "animated": said.animated - template,
        "other_words": said.of_other_words - template,
        "still": np.zeros_like(said.animated),
        "rig": truth[:count],
    }
    masks = {name: corpus.topology.masks[name].vertices for name in ("lips", "face")}
    compared = ("animated", "other_words", "still")
    return {
        "against_reconstruction": {name: errors(motions[name], motions["reconstructed"], masks) for name in compared},
        "against_rig": {name: errors(motions[name], motions["rig"], masks) for name in (*compared, "reconstructed")},
        "mouth": openings({name: template + motion for name, motion in motions.items() if name != "still"}),
    }


def errors(found: Motion, truth: Motion, masks: dict[str, np.ndarray]) -> dict[str, float]:
    """Mean over the frames of the largest and of the mean distance of the lips, and of the mean over the face."""
    from animation.metrics.errors import distances, mean_of_maxima

    distance_mm = MM_PER_M * distances(found, truth)
    return {
        "lips_max_mm": round(mean_of_maxima(distance_mm, masks["lips"], squared=False), 3),
        "lips_mean_mm": round(float(distance_mm[:, masks["lips"]].mean()), 3),
        "face_mean_mm": round(float(distance_mm[:, masks["face"]].mean()), 3),
    }


def openings(faces: dict[str, Motion]) -> dict[str, Any]:
    """Between the lips' middles: how far it ranges, and the correlation over time with reconstruction and rig."""
    found = {name: opening_mm(motion) for name, motion in faces.items()}
    return {
        "range_mm": {name: round(float(np.ptp(values)), 2) for name, values in found.items()},
        "correlation": {
            f"{name} with {other}": round(float(np.corrcoef(found[name], found[other])[0, 1]), 3)
            for name, other in (
                ("animated", "reconstructed"), ("animated", "rig"), ("other_words", "reconstructed"),
                ("reconstructed", "rig"),
            )
        },
    }  # fmt: skip


def opening_mm(faces: Motion) -> Float[np.ndarray, "n_frames"]:
    """How far the lips' middles are apart."""
    from reconstruct.models.library import load_model

    table = load_model("canonical").landmarks
    upper, lower = (int(np.flatnonzero(table.mediapipe == point)[0]) for point in INNER_LIPS)
    points = np.stack([table.positions(face) for face in faces])
    return MM_PER_M * np.linalg.norm(points[:, upper] - points[:, lower], axis=1)


def described(corpus: "SpeechCorpus", held_out: Sequence["Clip"]) -> dict[str, Any]:
    """How much there was."""
    total = sum(clip.n_frames for clip in corpus.clips)
    apart = sum(clip.n_frames for clip in held_out)
    return {
        "actors": len(held_out), "sentences_trained_on": len(corpus.clips) - len(held_out),
        "frames_trained_on": total - apart, "frames_held_out": apart, "vertices": corpus.topology.n_verts,
    }  # fmt: skip


def write_pair(path: Path, said: Said, faces: np.ndarray, *, sound: Path, fps: float) -> None:
    """A video: on the left what the cameras saw, as reconstructed, on the right what was made of the sound alone.

    Beside it, as PNG, some frames of it, the one above the other.
    """
    import cv2

    from reconstruct.models.library import load_model
    from reconstruct.view.video import Sound, write_video

    skin = faces[~load_model("canonical").regions["mouth_interior"][faces].all(1)]  # so that the mouth is dark
    left = drawn(said.reconstructed, skin, "reconstructed from the cameras")
    right = drawn(said.animated, skin, "animated from the sound")
    pictures = (np.concatenate(pair, axis=1) for pair in zip(left, right, strict=True))
    times_usec = np.rint(np.arange(len(left)) * 1e6 / fps).astype(np.int64)
    write_video(path, pictures, timestamps_usec=times_usec, frame_usec=round(1e6 / fps), sound=Sound(sound, 0))
    shown = telling_frames(opening_mm(said.reconstructed))
    rows = [np.concatenate([side[frame] for frame in shown], axis=1) for side in (left, right)]
    sheet = cv2.resize(np.concatenate(rows), None, fx=SHEET_SCALE, fy=SHEET_SCALE, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(path.with_suffix(".png")), sheet[..., ::-1])


def telling_frames(opening: Float[np.ndarray, "n_frames"]) -> list[int]:
    """Of each quarter of a sentence the frame with the mouth widest open, or most closed, by turns."""
    quarters = np.array_split(np.arange(len(opening)), SHOWN)
    choose = (np.argmax, np.argmin)
    return [int(quarter[choose[at % 2](opening[quarter])]) for at, quarter in enumerate(quarters)]


def drawn(motion: Motion, faces: np.ndarray, title: str) -> "list[np.ndarray]":
    """Every frame as a picture, all from one place."""
    from reconstruct.view.cameras import free_view
    from reconstruct.view.pictures import CLAY, backdrop, draw_mesh, label
    from reconstruct.view.render import PosedMesh

    view = free_view(motion[0], np.eye(3), turn_deg=TURN_DEG, size=SIZE)
    pictures = []
    for face in motion:
        picture = draw_mesh(backdrop(*SIZE), PosedMesh(face, faces).look(view), CLAY)
        label(picture, title, (14, SIZE[1] - 16))
        pictures.append(picture)
    return pictures


if __name__ == "__main__":
    main()
