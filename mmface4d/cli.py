"""The front door: verbs for the pipeline, nouns for things. Rooms are imported only when a command of theirs runs."""

import errno
import importlib
import os
import sys
from typing import Any

import click

from mmface4d import __version__
from mmface4d.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_PRECONDITION, Mmface4dError

# command -> (module:attribute, one-line help); the help stands here so that `--help` imports nothing
COMMANDS = {
    "demo": ("mmface4d.demo:demo", "The whole loop on a virtual rig, with a report to look at."),
    "corpus": ("corpus.corpus_commands:corpus", "Choose sentences, look at them, make a script for each actor."),
    "lab": ("mmface4d.lab_command:lab", "Make a lab's folder, show its settings and check them."),
    "session": ("corpus.session_commands:session", "Make and show recording sessions."),
    "subject": ("corpus.subject_commands:subject", "Show the people who are recorded; withdraw one."),
    "record": ("mmface4d.record_command:record", "Record a session with the rig, or the virtual one."),
    "doctor": ("mmface4d.doctor:doctor", "Check this machine before a recording."),
    "take": ("capture.commands:take", "Import, export, show, check, recover and pack takes."),
    "calibrate": ("calibration.commands:calibrate", "Find the cameras' poses on the actor's face."),
    "reconstruct": ("reconstruct.commands:reconstruct", "Turn takes, sessions or a whole lab into mesh sequences."),
    "batch": ("reconstruct.batch_commands:batch", "See how far a batch is; bring it to a Slurm cluster."),
    "sequence": ("corpus.sequence_commands:sequence", "Write sequences for other programs, and read theirs."),
    "view": ("reconstruct.view.commands:view", "Write a preview video and a report of a take or a sequence."),
    "stats": ("mmface4d.stats_command:stats", "Measure how the faces of a lab, a release or files move."),
    "clips": ("mmface4d.clips_command:clips", "Show, make and export the clips that models are trained on."),
    "release": ("corpus.release.commands:release", "Publish a lab's sequences, check a release, take people out."),
    "train": ("mmface4d.train_command:train", "Train models that animate faces by speech."),
    "evaluate": ("mmface4d.evaluate_command:evaluate", "Measure trained models on people they have never seen."),
    "animate": ("mmface4d.animate_command:animate", "Let a face say what is recorded, with a trained model."),
    "model": ("reconstruct.models.commands:model", "List, add and show morphable models."),
}
# a folder that may not be written, a file where a folder should be, a name that is too long, a full disk: the user's to
# mend, whichever command met it
UNUSABLE_PATH = frozenset(
    {
        errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG,
        errno.ELOOP, errno.ENOSPC, errno.EDQUOT,
    }
)  # fmt: skip
MOST_LETTERS = 200  # of a path that is told


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        return getattr(importlib.import_module(module), attribute)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nExamples:\n  mmface4d demo\n  mmface4d take import recordings/ -o takes/001",
)
@click.version_option(__version__, prog_name="mmface4d")
def mmface4d() -> None:
    """Record people speaking in 4-D and turn the recordings into mesh sequences."""


def main(arguments: list[str] | None = None) -> Any:
    """Runs the command line and exits with the documented code: see docs/command-line.md."""
    try:
        code = mmface4d.main(args=arguments, standalone_mode=False, prog_name="mmface4d")
    except (KeyboardInterrupt, click.exceptions.Abort) as stopped:
        _say(f"interrupted; nothing half-written was left behind. {_how_to_go_on(stopped)}")
        code = EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except Mmface4dError as error:
        _say(f"error: {error.message}", hint=error.hint)
        code = error.exit_code
    except Exception as error:
        if isinstance(error, OSError) and error.errno in UNUSABLE_PATH:
            _say(f"error: {_path_of(error)}{error.strerror}", hint="check the path, its permissions and the disk")
            code = EXIT_PRECONDITION
        elif os.environ.get("MMFACE4D_TRACEBACK"):
            raise
        else:
            hint = "please report this; set MMFACE4D_TRACEBACK=1 and run again for the details"
            _say(f"bug: {type(error).__name__}: {error}", hint=hint)
            code = EXIT_BUG
    sys.exit(code if isinstance(code, int) else 0)


def _how_to_go_on(stopped: BaseException) -> str:
    """What the command that was interrupted says of it, which click turned into its own exception."""
    cause = stopped.__cause__ or stopped
    return (str(cause) if isinstance(cause, KeyboardInterrupt) else "") or "Run the same command again to go on."


def _path_of(error: OSError) -> str:
    """The path that cannot be used, as the beginning of a sentence; nothing where the system does not say it."""
    path = "" if error.filename is None else os.fsdecode(error.filename)
    return f"{path[:MOST_LETTERS]}{'...' if len(path) > MOST_LETTERS else ''}: " if path else ""


def _say(text: str, *, hint: str | None = None) -> None:
    click.echo(text, err=True)
    if hint:
        click.echo(f"  do: {hint}", err=True)


if __name__ == "__main__":
    main()
