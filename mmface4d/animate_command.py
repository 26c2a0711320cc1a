"""`mmface4d animate AUDIO...`."""

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmface4d.errors import Mmface4dError, SomeItemsFailedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


PATH = click.Path(path_type=Path)
KINDS = ("npz", "mp4", "glb", "csv")
# endings that nobody gives a folder
OTHER_KINDS = {"mov", "mkv", "avi", "webm", "gltf", "fbx", "usd", "usdz", "obj", "ply", "npy", "wav", "json"}
MOST_NAME_BYTES = 200
EPILOG = """\b
Examples:
  mmface4d animate speech.wav --template neutral.ply --checkpoint runs/first -o speech.mp4
  mmface4d animate a.wav b.flac --template clips:P07 --style clips:P03_0004 --checkpoint runs/first --as csv -o out
"""


@dataclass(frozen=True)
class Animated:
    """What was made of a sound."""

    audio: str
    frames: int
    seconds: float  # of speech
    cpu_seconds: float  # that hearing and animating took, without what is made of the frames
    files: list[str]
    notes: list[str] = field(default_factory=list)


@click.command(epilog=EPILOG)
@click.argument("audio", metavar="AUDIO...", nargs=-1, required=True, type=PATH)
@click.option("--checkpoint", type=PATH, required=True, help="What `train` made.")
@click.option("--template", required=True, help="Neutral face: .ply, .obj, .npy, a sequence, or DATA:SUBJECT.")
@click.option("--style", help="Whose manner: a sequence, DATA:CLIP or a training subject. The usual one if not said.")
@click.option("-o", "--output", type=PATH, required=True, help="A file .npz, .mp4, .glb or .csv, or else a folder.")
@click.option("--as", "kinds", type=click.Choice(KINDS), multiple=True, help="What to write; npz if nothing is said.")
@click.option("--device", default="cpu", show_default=True, help="Where the model computes, such as cuda.")
@click.option("--stream", is_flag=True, help="Hear the sound as it would come live, with a bounded look-ahead.")
@click.option("--json", "as_json", is_flag=True, help="Print what was made as JSON.")
def animate(
    audio: tuple[Path, ...], checkpoint: Path, template: str, style: str | None, output: Path, kinds: tuple[str, ...],
    device: str, stream: bool, as_json: bool,
) -> None:  # fmt: skip
    """Let a face say what is recorded: AUDIO of any length, in the manner that a clip shows."""
    import json

    targets = _targets(audio, output)
    from mmface4d.animator import open_animator

    animator = open_animator(
        checkpoint, template=template, style=style, kinds=_wanted(output, kinds), device=device, stream=stream
    )
    done: list[Animated] = []
    failed: list[str] = []
    for path, target in zip(audio, targets, strict=True):
        with _failures(path, failed, several=len(audio) > 1):
            done.append(animator.make(path, target))
            if not as_json:
                click.echo(_text(done[-1]))
    if as_json:
        click.echo(json.dumps([asdict(each) for each in done], indent=1))
    if failed:
        raise SomeItemsFailedError(
            f"{len(failed)} of {len(audio)} sounds failed: {failed[0]}", hint="the others are done; mend what is named"
        )


def _targets(audio: Sequence[Path], output: Path) -> list[Path]:
    """Where each goes, without a suffix; raises UsageError where two would go to one place, or no place is meant."""
    if output.suffix[1:] in KINDS:
        if len(audio) > 1:
            raise UsageError(f"{len(audio)} sounds do not fit into {output}", hint="give a folder with -o")
        return [output.with_suffix("")]
    if output.suffix[1:].lower() in OTHER_KINDS.union(KINDS):
        raise UsageError(f"{output}: nothing is written as {output.suffix}", hint=f"it can be .{', .'.join(KINDS)}")
    targets = [output / _name_of(path) for path in audio]
    folded = Counter(target.name.casefold() for target in targets)  # some disks do not tell A from a
    twice = [target.name for target in targets if folded[target.name.casefold()] > 1]
    if twice:
        raise UsageError(f"several sounds are called {twice[0]}", hint="animate them into different folders")
    return targets


def _name_of(path: Path) -> str:
    """What a sound is called; a long name's beginning, because what is being written has a longer one."""
    name = os.fsencode(path.stem)
    return path.stem if len(name) <= MOST_NAME_BYTES else name[:MOST_NAME_BYTES].decode("utf-8", "ignore")


def _wanted(output: Path, kinds: tuple[str, ...]) -> tuple[str, ...]:
    own = (output.suffix[1:],) if output.suffix[1:] in KINDS else ()
    return tuple(dict.fromkeys((*own, *kinds))) or ("npz",)


@contextmanager
def _failures(path: Path, failed: list[str], *, several: bool) -> "Iterator[None]":
    """Names the sound in what is told; where there are several, one that cannot be used does not stop the others."""
    try:
        yield
    except Mmface4dError as error:
        told = error.message if str(path) in error.message else f"{path}: {error.message}"
        if not several:
            raise type(error)(told, hint=error.hint) from error
        click.echo(f"error: {told}", err=True)
        failed.append(told)


def _text(done: Animated) -> str:
    speed = f"{done.cpu_seconds / max(done.seconds, 1e-9):.3f} s of computing a second"
    lines = [f"{done.audio}: {done.frames} frames, {done.seconds:.2f} s, {speed}"]
    return "\n".join([*lines, *(f"  {file}" for file in done.files), *(f"  note: {note}" for note in done.notes)])
