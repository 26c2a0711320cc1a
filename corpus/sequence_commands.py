"""`mmface4d sequence export|import`."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from corpus.presets.motion import Pose
from mmface4d.errors import Mmface4dError, SomeItemsFailedError

PATH = click.Path(path_type=Path)
NAMES = ("mmface4d", "vocaset", "wav+npz", "gltf", "ply", "obj")  # here, so that --help imports no preset
EXPORT_EPILOG = """\b
Examples:
  mmface4d sequence export sequences/*.npz --to vocaset -o for-faceformer
  mmface4d sequence export sequence.npz --to gltf -o animated
"""
IMPORT_EPILOG = """\b
Examples:
  mmface4d sequence import mmface4d-files -o sequences
  mmface4d sequence import downloaded --topology face.obj -o sequences
"""


@click.group(epilog=EXPORT_EPILOG)
def sequence() -> None:
    """Write mesh sequences for other programs, and read theirs."""


@sequence.command(epilog=EXPORT_EPILOG)
@click.argument("paths", metavar="SEQUENCE...", nargs=-1, required=True, type=PATH)
@click.option("--to", "preset", required=True, type=click.Choice(NAMES), help="The layout.")
@click.option("-o", "--output", required=True, type=PATH, help="A folder; it must not exist.")
@click.option(
    "--pose", type=click.Choice(["head", "world"]),
    help="Vertices in the head's frame, or in the cameras'. Default: head for vocaset, world for the others.",
)  # fmt: skip
@click.option("--subject", help="Whom the sequences show, where their takes do not say.")
@click.option("--without-take", is_flag=True, help="Export no sound and no depth; the takes may be missing.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def export(
    paths: tuple[Path, ...], preset: str, output: Path, pose: Pose | None, subject: str | None, without_take: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Write SEQUENCEs, with the sound of their takes, in the layout of another program."""
    from corpus.presets.export import export_sequences
    from mmface4d.exported import exported_json, exported_text

    done = export_sequences(
        list(dict.fromkeys(paths)), output, preset=preset, pose=pose, with_take=not without_take, subject=subject
    )
    if as_json:
        click.echo(json.dumps([exported_json(one) for one in done], indent=1))
        return
    for one in done:
        click.echo(exported_text(one))
    click.echo(f"written to {output}")


@sequence.command("import", epilog=IMPORT_EPILOG)
@click.argument("folder", type=PATH)
@click.option("-o", "--output", required=True, type=PATH, help="A folder for NAME.npz and NAME.wav.")
@click.option("--topology", type=PATH, help="OBJ or .npy of the triangles, where the files do not come with them.")
@click.option("--json", "as_json", is_flag=True, help="Print what was read as JSON.")
def import_command(folder: Path, output: Path, topology: Path | None, as_json: bool) -> None:
    """Make mesh sequences of the MMFace4D data set's files in FOLDER: NAME_x.nut, NAME_y.nut, NAME_z.nut."""
    from corpus.presets.mmface4d_import import Imported, import_clip, names_in, read_topology

    given = read_topology(topology) if topology else None
    names = names_in(folder)
    done: list[Imported] = []
    failed: list[str] = []
    for name in names:
        try:
            done.append(import_clip(folder, name, output, topology=given))
        except Mmface4dError as error:
            if len(names) == 1:
                raise
            click.echo(f"{name}: {error.message}", err=True)
            failed.append(name)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in done], indent=1))
    else:
        for one in done:
            sound = "with sound" if one.sound else "without sound"
            click.echo(f"{one.name}: {one.frames} frames of {one.vertices} vertices at {one.fps:g} a second, {sound}")
    if failed:
        raise SomeItemsFailedError(f"{len(failed)} of {len(names)} sequences cannot be read", hint="see above")
