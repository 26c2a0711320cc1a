import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import mmface4d.errors
from mmface4d import __version__
from mmface4d.cli import COMMANDS, main
from mmface4d.cli import mmface4d as program
from mmface4d.errors import Mmface4dError, VerificationError

HELP = """\
Usage: mmface4d [OPTIONS] COMMAND [ARGS]...

  Record people speaking in 4-D and turn the recordings into mesh sequences.

Options:
  --version   Show the version and exit.
  -h, --help  Show this message and exit.

Commands:
  demo         The whole loop on a virtual rig, with a report to look at.
  corpus       Choose sentences, look at them, make a script for each actor.
  lab          Make a lab's folder, show its settings and check them.
  session      Make and show recording sessions.
  subject      Show the people who are recorded; withdraw one.
  record       Record a session with the rig, or the virtual one.
  doctor       Check this machine before a recording.
  take         Import, export, show, check, recover and pack takes.
  calibrate    Find the cameras' poses on the actor's face.
  reconstruct  Turn takes, sessions or a whole lab into mesh sequences.
  batch        See how far a batch is; bring it to a Slurm cluster.
  sequence     Write sequences for other programs, and read theirs.
  view         Write a preview video and a report of a take or a sequence.
  stats        Measure how the faces of a lab, a release or files move.
  clips        Show, make and export the clips that models are trained on.
  release      Publish a lab's sequences, check a release, take people out.
  train        Train models that animate faces by speech.
  evaluate     Measure trained models on people they have never seen.
  animate      Let a face say what is recorded, with a trained model.
  model        List, add and show morphable models.

  Examples:
    mmface4d demo
    mmface4d take import recordings/ -o takes/001
"""
HEAVY = {"torch", "open3d", "cv2", "mediapipe", "warp", "av", "scipy", "jax", "matplotlib", "trimesh", "pyk4a"}


def commands(group: click.Command = program, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command of the program as the words that call it."""
    if path:
        yield path
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            yield from commands(command, (*path, name))


every_command = pytest.mark.parametrize("path", list(commands()), ids=" ".join)


def test_help_is_this_text(run_cli) -> None:
    done = run_cli("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == HELP
    assert run_cli("-h").stdout == HELP


def test_help_answers_in_half_a_second(run_cli) -> None:
    run_cli("--help")  # the first run writes bytecode

    def seconds() -> float:
        started = time.perf_counter()
        run_cli("--help")
        return time.perf_counter() - started

    assert min(seconds() for _ in range(5)) < 0.5


def imported_by(*arguments: str) -> set[str]:
    code = (
        "import sys\nfrom mmface4d.cli import main\ntry:\n    main(sys.argv[1:])\n"
        "except SystemExit:\n    print(*sorted(name for name in sys.modules if '.' not in name), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_help_imports_neither_numpy_nor_torch() -> None:
    imported = imported_by("--help")
    assert "mmface4d" in imported
    assert not imported & {*HEAVY, "numpy", "pydantic", "rich", "capture", "calibration", "reconstruct"}


@every_command
def test_help_of_a_command_is_light(path: tuple[str, ...]) -> None:
    assert not imported_by(*path, "--help") & HEAVY


@every_command
def test_help_of_a_command_has_two_real_examples(path: tuple[str, ...], run_cli) -> None:
    done = run_cli(*path, "--help")
    assert done.returncode == 0
    examples = [line.strip() for line in done.stdout.partition("Examples:")[2].splitlines()]
    assert sum(line.startswith(f"mmface4d {' '.join(path)}") for line in examples) >= 2, done.stdout


def test_version(run_cli) -> None:
    assert run_cli("--version").stdout == f"mmface4d, version {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frobnicate"], "No such command 'frobnicate'"),
        (["--frobnicate"], "No such option"),
        (["take", "frobnicate"], "No such command 'frobnicate'"),
        (["take", "import"], "Missing argument"),
        (["reconstruct"], "Missing argument"),
        (["calibrate", "--frobnicate"], "No such option"),
    ],
)
def test_wrong_usage_is_exit_code_2(run_cli, arguments: list[str], message: str) -> None:
    done = run_cli(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def failing_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """`failing_command(source)` adds a command `fail` whose body is the source."""

    def add(body: str) -> None:
        header = "import click\nfrom mmface4d.errors import *\nimport mmface4d.errors\n@click.command()\ndef fail():\n"
        (tmp_path / "failing_room.py").write_text(header + f"    {body}\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "failing_room", raising=False)
        monkeypatch.setitem(COMMANDS, "fail", ("failing_room:fail", "Fails."))

    yield add
    sys.modules.pop("failing_room", None)


DOCUMENTED = {
    "UsageError": 2, "InputError": 3, "RecordingError": 3, "TakeError": 3, "CalibrationError": 3, "ModelError": 3,
    "ConsentError": 3, "TrainingError": 3,
    "FaceNotFoundError": 3, "MissingBackendError": 3, "DiskFullError": 3, "BusyError": 3, "DeviceError": 3,
    "SomeItemsFailedError": 4, "VerificationError": 5,
}  # fmt: skip


def test_every_error_has_a_documented_code() -> None:
    public = {
        name for name, value in vars(mmface4d.errors).items() if isinstance(value, type) and value is not Mmface4dError
    }
    assert public == set(DOCUMENTED)


@pytest.mark.parametrize(("name", "code"), DOCUMENTED.items())
def test_errors_become_a_message_a_hint_and_a_code(
    failing_command, capsys: pytest.CaptureFixture[str], name: str, code: int
) -> None:
    failing_command(f"raise mmface4d.errors.{name}('take 7 has no face', hint='turn on the light')")
    with pytest.raises(SystemExit) as caught:
        main(["fail"])
    out, err = capsys.readouterr()
    assert caught.value.code == code
    assert out == ""
    assert err == "error: take 7 has no face\n  do: turn on the light\n"


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ("pass", 0, ""),
        ("click.get_current_context().exit(5)", 5, ""),
        ("raise mmface4d.errors.InputError('no hint')", 3, "error: no hint\n"),
        ("raise KeyError('x')", 1, "bug: KeyError: 'x'"),
        (
            "raise KeyboardInterrupt",
            130,
            "interrupted; nothing half-written was left behind. Run the same command again",
        ),
        ("raise KeyboardInterrupt('Wait an hour.')", 130, "was left behind. Wait an hour.\n"),
        ("raise click.Abort", 130, "interrupted"),
        ("raise click.BadParameter('must be even')", 2, "must be even"),
        ("open('/', 'w')", 3, "error: /: Is a directory\n  do: check the path"),
        ("open('/dev/null/x')", 3, "error: /dev/null/x: Not a directory"),
        ("open(300 * 'a')", 3, f"error: {200 * 'a'}...: File name too long\n  do: check the path"),
        ("raise OSError(28, 'No space left on device')", 3, "error: No space left on device\n"),
        ("raise OSError(5, 'Input/output error')", 1, "bug: OSError"),
        ("open('surely not there')", 1, "bug: FileNotFoundError"),
    ],
)
def test_every_end_has_its_code(
    failing_command, capsys: pytest.CaptureFixture[str], body: str, code: int, message: str
) -> None:
    failing_command(body)
    with pytest.raises(SystemExit) as caught:
        main(["fail"])
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (code, "")
    assert message in err
    assert "Traceback" not in err


def test_a_bug_shows_its_traceback_when_asked(failing_command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMFACE4D_TRACEBACK", "1")
    failing_command("raise KeyError('x')")
    with pytest.raises(KeyError):
        main(["fail"])
    failing_command("raise VerificationError('drops in speech')")  # an expected error stays a message
    with pytest.raises(SystemExit) as caught:
        main(["fail"])
    assert caught.value.code == VerificationError.exit_code


WAITING = """
import sys, time, types
import click
from mmface4d.cli import COMMANDS, main

@click.command()
def wait():
    print("ready", flush=True)
    time.sleep(60)

room = types.ModuleType("room")
room.wait = wait
sys.modules["room"] = room
COMMANDS["wait"] = ("room:wait", "Waits.")
main(["wait"])
"""


def test_ctrl_c_ends_with_130_and_no_traceback() -> None:
    running = subprocess.Popen(
        [sys.executable, "-c", WAITING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    with running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
