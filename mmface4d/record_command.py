"""`mmface4d record`."""

from pathlib import Path
from typing import Any

import click

from mmface4d.errors import SomeItemsFailedError, UsageError
from mmface4d.lab import Lab, find_lab
from mmface4d.lab_defaults import choose, tell, values

EPILOG = """\b
Examples:
  mmface4d record sessions/P07
  mmface4d record sessions/P07 --virtual --auto --no-page
"""
# options whose defaults a lab gives, and what it gives besides
OPTIONS = {
    "fps": "rig.fps", "powerline": "rig.mains_hz", "master": "rig.master", "microphone": "sound.microphone",
    "av_offset_ms": "sound.av_offset_ms",
}  # fmt: skip
BESIDES = {
    "exposure_usec": "rig.exposure_usec", "white_balance_k": "rig.white_balance_k",
    "countdown_s": "recording.countdown_s", "pre_roll_s": "recording.pre_roll_s",
    "post_roll_s": "recording.post_roll_s",
}  # fmt: skip
REAL_ONLY = ("rig.master", "sound.microphone", "sound.av_offset_ms")  # of no use to virtual devices


@click.command(epilog=EPILOG)
@click.argument("session", type=click.Path(path_type=Path))
@click.option("--virtual", is_flag=True, help="The virtual rig, microphone and actor, instead of real devices.")
@click.option("--auto", is_flag=True, help="Record every sentence by itself; failed takes are repeated.")
@click.option("--page/--no-page", default=True, help="Serve the operator's and the actor's page.")
@click.option("--fps", type=click.Choice(["5", "15", "30"]), default="30", show_default=True)
@click.option("--powerline", type=click.Choice(["50", "60"]), default="50", show_default=True, help="Mains, in Hz.")
@click.option("--cameras", type=click.IntRange(1, 8), help="Refuse to record with another number of cameras.")
@click.option("--master", help="Serial number of the master, where sync jacks do not tell.")
@click.option("--microphone", help="A part of its name; the system's default otherwise.")
@click.option("--av-offset-ms", type=float, default=0.0, help="What `take clap` measured.")
@click.option("--address", default="127.0.0.1:0", show_default=True, help="HOST:PORT of the pages; 0 is any free port.")
@click.option("--token", envvar="MMFACE4D_TOKEN", help="What the pages' addresses must say; made up where needed.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the virtual rig and actor.")
@click.option("--faults", default="", help="Of the virtual rig: unplug:SERIAL@1 is a second into the first take.")
def record(
    session: Path, virtual: bool, auto: bool, page: bool, fps: str, powerline: str, cameras: int | None,
    master: str | None, microphone: str | None, av_offset_ms: float, address: str, token: str | None, seed: int,
    faults: str,
) -> None:  # fmt: skip
    """Record a session, sentence by sentence. In a lab, its lab.toml gives the defaults."""
    from mmface4d.record_session import RecordOptions, record_session

    if not page and not auto:
        raise UsageError("without a page nobody can press record", hint="give --auto with --no-page")
    if faults and not virtual:
        raise UsageError("--faults are of the virtual rig", hint="give --virtual too")
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"{address!r} is no address", hint="give HOST:PORT, for example 127.0.0.1:8000")
    lab = find_lab(session)
    given = _given(lab, virtual=virtual)
    options = RecordOptions(
        virtual=virtual, auto=auto, page=page, fps=int(given["fps"]), powerline_hz=int(given["powerline"]),
        exposure_usec=given["exposure_usec"], white_balance_k=given["white_balance_k"], cameras=cameras,
        positions=lab.settings.cameras.positions if lab is not None else {}, master=given["master"] or None,
        microphone=given["microphone"] or None, av_offset_usec=1000 * given["av_offset_ms"],
        countdown_s=given["countdown_s"], pre_roll_s=given["pre_roll_s"], post_roll_s=given["post_roll_s"],
        host=host, port=int(port), token=token, seed=seed, faults=faults,
    )  # fmt: skip
    done = record_session(session, options, say=lambda text: click.echo(text, err=True))
    states = list(done.states.values())
    retakes = [state.item.id for state in states if state.status == "retake"]
    click.echo(f"{session}: {done.done} of {len(states)} sentences done, {len(retakes)} to be repeated")
    if auto and retakes:
        raise SomeItemsFailedError(
            f"to be repeated: {', '.join(retakes)}", hint=f"see why with: mmface4d session show {session}"
        )


def _given(lab: Lab | None, *, virtual: bool) -> dict[str, Any]:
    """What is in force, by option; says what of it is the lab's."""
    context = click.get_current_context()
    settings, without_lab = choose(context, lab, OPTIONS), choose(context, None, OPTIONS)
    if virtual:
        settings |= {name: without_lab[name] for name in REAL_ONLY}
    names = {**OPTIONS, **BESIDES}
    tell(lab, settings, list(names.values()))
    return values(settings, names)
