"""A lab of virtual actors who say sentences of the starter corpus, and what their faces truly did."""

import csv
import shutil
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from mmface4d.session import ScriptItem, Session, create_session, open_session

if TYPE_CHECKING:
    from capture.virtual.performance import Performance
    from capture.virtual.render import ClipRenderer

FPS = 30
PAUSE_S = 0.2  # of silence before and after a sentence
LONGEST_TEXT = 50  # letters
HELD_OUT = ScriptItem(id="held-out", text="Dinner was delicious, and the company was even better.")


def training_texts(count: int) -> list[str]:
    """Short sentences of the starter corpus that together cover the sounds of English well."""
    from corpus.phonemes import inventory, phonemise
    from corpus.selection import select
    from corpus.starter import starter_files

    (path,) = [path for path in starter_files() if path.stem == "en"]
    with path.open(encoding="utf-8") as rows:
        texts = [row["text"] for row in csv.DictReader(rows)]
    short = [text for text in texts if len(text) <= LONGEST_TEXT and text != HELD_OUT.text]
    chosen = select(phonemise(short, "en"), count, seed=0, inventory=inventory("en"))
    return [short[number] for number in chosen]


def make_speech_lab(folder: Path, *, actors: int, sentences: int, seed: int) -> Path:
    """A lab with a session of each actor: so many sentences that nobody else says, then the one that all say.

    The rig's true calibration stands in each session. Takes that are there are kept.
    """
    texts = training_texts(actors * sentences)
    for number in range(actors):
        own = texts[number * sentences : (number + 1) * sentences]
        script = [ScriptItem(id=f"{at:02d}", text=text) for at, text in enumerate(own, 1)]
        subject = f"P{number + 1:02d}"
        _make_session(folder / "sessions" / subject, [*script, HELD_OUT], seed=actor_seed(subject, seed=seed))
    (folder / "lab.toml").write_text("format = 1\n")
    return folder


def actor_seed(subject: str, *, seed: int) -> int:
    """Of the actor P01 (of clips: virtual-P01), P02, ... of a lab; also where a take of somebody is missing."""
    return seed + int(subject.rpartition("P")[2]) - 1


def _make_session(path: Path, script: list[ScriptItem], *, seed: int) -> None:
    from capture.virtual.render import ClipRenderer
    from capture.virtual.rig import virtual_rig
    from mmface4d.demo_actor import actor_face, make_actor
    from reconstruct.models.library import load_model

    if not (path / "session.json").is_file():
        shutil.rmtree(path, ignore_errors=True)
        create_session(path, subject=path.name, script=script, virtual=True)
    session, model = open_session(path), load_model("canonical")
    for unfinished in session.unfinished_takes():
        shutil.rmtree(unfinished)
    rig = virtual_rig(seed=seed)
    rig.truth().save(path / "calibration.json")
    renderer = ClipRenderer(rig, actor_face(make_actor(model, seed=seed), model))
    for item in script:
        if session.states[item.id].status != "kept":
            _film(session, item, renderer, seed=seed)


def performance_of(item: ScriptItem, *, seed: int) -> "Performance":
    """How an actor says a sentence."""
    from capture.virtual.performance import perform

    return perform(
        item.text, language=item.language, emotion=item.emotion, seed=zlib.crc32(item.id.encode()) + seed, fps=FPS,
        lead_s=PAUSE_S, tail_s=PAUSE_S,
    )  # fmt: skip


def _film(session: Session, item: ScriptItem, renderer: "ClipRenderer", *, seed: int) -> None:
    """A take as `record --virtual` would give it, without waiting for the time that it lasts."""
    from capture.virtual.recording import Sound, record_take

    performance, path = performance_of(item, seed=seed), session.new_take(item.id)
    about = {"virtual": True, "subject": session.record.subject, "item": item.model_dump(mode="json")}
    sound = Sound(performance.sound, start_s=0.0)
    record_take(path, renderer.rig, renderer.head(performance), fps=FPS, sound=sound, source=about)
    session.append("recorded", item.id, take=path.name, passed=True, reasons=[])
    session.append("kept", item.id, take=path.name)


def true_motion(item: ScriptItem, *, seed: int) -> Float64[np.ndarray, "n_frames n_verts 3"]:
    """How far a virtual actor's skin truly is from where it rests, in every frame, metres in the head frame."""
    from mmface4d.demo_actor import actor_face, make_actor
    from reconstruct.models.library import load_model

    model, performance = load_model("canonical"), performance_of(item, seed=seed)
    actor = make_actor(model, seed=seed)
    still = np.broadcast_to(np.eye(4), (len(performance), 4, 4))
    head = actor_face(actor, model)(performance.weights, performance.names, still)
    return head.vertices - actor.neutral
