"""`a2f3d`: for NVIDIA's Audio2Face-3D training framework, an actor a folder.

    ACTOR/audio/SHOT.wav
    ACTOR/cache/skin/SHOT/SHOT.npy    [T, V, 3], float32, the head stands still
    ACTOR/geom/skin/neutral_pose.npy  [V, 3]
    config_dataset.py                 its settings of a data set
    clips.json                        the lists CLIPS of its settings of a training, a split each

Lengths are centimetres, the unit of Maya, in which its framework's pruning of similar poses counts. Its language codes
and emotions are told per shot. Tongue, jaw, eyes and poses of lips and eyes are optional there and left out.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from animation.audio.encoder import SPEECH_RATE_HZ
from animation.data.corpus import SPLITS, SpeechCorpus
from animation.export.naming import Named, numbered
from animation.export.parts import start, templates_of, trimmed_sound, write_frames, write_lines, write_map
from mmface4d.exported import Exported
from mmface4d.files import write_json
from mmface4d.names import safe_name
from mmface4d.npy import write_npy
from mmface4d.progress import progress
from mmface4d.wav import write_wav

CM = 100.0
MOUNTED = "/datasets"  # where its containers see data sets
SHORTEST_S, LONGEST_S = 3.0, 30.0  # what it recommends


def write(corpus: SpeechCorpus, folder: Path) -> list[Exported]:
    """A folder for every actor, and the settings."""
    named = numbered(corpus)
    for subject, template in templates_of(corpus, named).items():
        for name in ("audio", "cache/skin", "geom/skin"):
            (folder / subject / name).mkdir(parents=True)
        scaled = template * template.dtype.type(CM)
        write_npy(folder / subject / "geom" / "skin" / "neutral_pose.npy", [scaled], shape=scaled.shape)
    rates = actor_rates(named)
    with progress("export (clips)", len(named)) as bar:
        done = []
        for each in named:
            done.append(_write_shot(each, folder / each.subject, rates[each.subject], corpus=corpus))
            bar.advance()
    write_lines(folder / "config_dataset.py", config_text(corpus, named, rates=rates))
    write_json(folder / "clips.json", {
        split: [_clip_line(e, one) for e, one in zip(named, done, strict=True) if e.split == split] for split in SPLITS
    })  # fmt: skip
    write_map(folder, corpus, named, layout="a2f3d", done=done, unit="centimetre")
    return done


def actor_rates(named: Sequence[Named]) -> dict[str, float]:
    """One rate for all shots of an actor: the highest that they have."""
    rates: dict[str, float] = {}
    for each in named:
        rates[each.subject] = max(rates.get(each.subject, 0.0), each.clip.fps)
    return rates


def _write_shot(named: Named, actor: Path, fps: float, *, corpus: SpeechCorpus) -> Exported:
    clip, done = start(named, named.stem, fps=fps)
    if not SHORTEST_S <= clip.duration_s <= LONGEST_S:
        done.notes.append(f"not within the {SHORTEST_S:g} to {LONGEST_S:g} s that are recommended")
    shot = actor / "cache" / "skin" / named.stem
    shot.mkdir()
    write_frames(shot / f"{named.stem}.npy", clip, n_verts=corpus.topology.n_verts, flat=False, scale=CM)
    sound = trimmed_sound(named.clip, done=done)
    write_wav(actor / "audio" / f"{named.stem}.wav", sound, rate_hz=SPEECH_RATE_HZ)
    return done


def _emotion(named: Named) -> str:
    return safe_name(named.clip.emotion) if named.clip.emotion else "neutral"


def _clip_line(named: Named, done: Exported) -> list[Any]:
    """Actor, shot, first and last frame, speaker, language, sound, offset: an item of CLIPS."""
    language = named.clip.language.split("-")[0] or "en"
    return [named.subject, done.name, [0, done.frames - 1], named.subject, language, f"{done.name}.wav", 0]


def config_text(corpus: SpeechCorpus, named: Sequence[Named], *, rates: Mapping[str, float]) -> str:
    """Python that gives its settings their values; texts are written as JSON, which Python reads the same."""
    root = f"{MOUNTED}/{safe_name(corpus.topology.name)}"  # no line of Python may hide in a name
    actors = list(rates)
    emotions = sorted({_emotion(each) for each in named} | {"neutral"}, key=lambda name: (name != "neutral", name))
    values: dict[str, Any] = {
        "AUDIO_ROOT": {actor: f"{root}/{actor}/audio" for actor in actors},
        "SKIN_CACHE_ROOT": {actor: f"{root}/{actor}/cache/skin" for actor in actors},
        "SKIN_NEUTRAL_FPATH": {actor: f"{root}/{actor}/geom/skin/neutral_pose.npy" for actor in actors},
        "SHOT_EMOTION_NAMES": emotions,
        "SHOT_EMOTION_MAP": [[each.subject, each.stem, _emotion(each)] for each in named],
        "CACHE_FPS": dict(rates),
        "ACTOR_NAMES": actors,
    }
    head = f"# The paths say where a container sees this folder: mount it as {root}\n"
    return head + "".join(f"{name} = {json.dumps(value, indent=4)}\n" for name, value in values.items())
