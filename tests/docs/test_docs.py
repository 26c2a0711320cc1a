"""What README and docs say is what the program does."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import pytest

import mmface4d.errors
from mmface4d.cli import mmface4d as program
from mmface4d.sequence import OF_SEQUENCE, PER_FRAME, STATUS
from mmface4d.take import open_take

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def shown_commands(page: Path) -> list[list[str]]:
    """The command lines of a page's console blocks, as words."""
    blocks = re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert all(line.startswith("$ ") for line in lines)
    return [shlex.split(line[2:]) for line in lines]


def printed_commands(page: Path) -> list[list[str]]:
    """The command lines of a page's text blocks, which need something that a page cannot make."""
    blocks = re.findall(r"```text\n(.*?)```", page.read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("mmface4d ")]


def shown(program_name: str) -> list[tuple[str, list[str]]]:
    commands = [(page.name, words) for page in PAGES for words in shown_commands(page) + printed_commands(page)]
    return [(name, words[1:]) for name, words in commands if words[0] == program_name]


def parse(words: list[str]) -> click.Context:
    """Parses a command line by the real commands without running it; raises where it is wrong."""
    command: click.Command = program
    context = click.Context(program)
    rest = list(words)
    while isinstance(command, click.Group):
        name = rest.pop(0)
        found = command.get_command(context, name)
        assert found is not None, f"there is no command {name!r}"
        command = found
    return command.make_context(command.name, rest, parent=context)


def _anchor(heading: str) -> str:
    return re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")


def command_paths(group: click.Group = program, path: str = "mmface4d") -> Iterator[str]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from command_paths(command, f"{path} {name}")
        else:
            yield f"{path} {name}"


@pytest.mark.parametrize(("page", "words"), shown("mmface4d"), ids=lambda value: str(value)[:60])
def test_shown_commands_are_understood(page: str, words: list[str]) -> None:
    assert parse(words).command.callback is not None


def test_a_wrong_command_would_be_noticed() -> None:
    with pytest.raises(click.UsageError):
        parse(["reconstruct", "takes/001", "--colour", "red"])


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
@pytest.mark.parametrize(("page", "words"), shown("make"), ids=lambda value: str(value)[:60])
def test_shown_make_targets_exist(page: str, words: list[str]) -> None:
    done = subprocess.run(["make", "--dry-run", *words], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_command_is_documented_and_no_other() -> None:
    page = (REPOSITORY / "docs" / "command-line.md").read_text()
    documented = set()
    for row in re.findall(r"^\| (`mmface4d .*?) \|", page, re.MULTILINE):
        first, *others = re.findall(r"`([^`]+)`", row)
        group = first.rsplit(" ", 1)[0]
        documented |= {first, *(f"{group} {other}" for other in others)}
    assert documented == set(command_paths())


@pytest.mark.parametrize("path", ["train", "evaluate", "animate", "clips show", "clips synth", "clips export"])
def test_every_option_of_animation_is_documented(path: str) -> None:
    pages = "".join(page.read_text() for page in PAGES if page.name.startswith("anima"))
    command: click.Command = program
    for name in path.split():
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), name)
        assert found is not None
        command = found
    options = [each for each in command.params if isinstance(each, click.Option)]
    assert len(options) <= 12
    told = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", pages))
    assert [each.opts for each in options if not told & set(each.opts)] == []


def test_every_page_has_a_place() -> None:
    index = (REPOSITORY / "docs" / "index.md").read_text()
    (places,) = re.findall(r"```{toctree}\n:maxdepth: 1\n\n(.*?)```", index, re.DOTALL)
    pages = {page.stem for page in (REPOSITORY / "docs").glob("*.md")} - {"index"}
    assert sorted(places.split()) == sorted(pages)


def test_every_exit_code_is_documented() -> None:
    page = (REPOSITORY / "docs" / "command-line.md").read_text()
    codes = {value for name, value in vars(mmface4d.errors).items() if name.startswith("EXIT_")}
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)} == codes


def test_every_array_of_a_sequence_is_documented() -> None:
    section = (REPOSITORY / "docs" / "conventions.md").read_text().partition("## Mesh sequence")[2]
    rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    names = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert names == {*PER_FRAME, *OF_SEQUENCE}
    assert {int(code) for code in re.findall(r"(\d) [a-z ]+(?: ·| \|)", section)} >= set(STATUS)


def test_the_shown_cameras_json_is_read(tmp_path: Path, run_cli: Any) -> None:
    page = (REPOSITORY / "docs" / "image-folders.md").read_text()
    (text,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    (tmp_path / "cameras.json").write_text(text)
    for serial, camera in json.loads(text)["cameras"].items():
        units = round(0.7 / camera.get("depth_unit_m", 0.001))
        color, depth = np.full((480, 640, 3), 90, np.uint8), np.full((480, 640), units, np.uint16)
        for kind, picture in (("color", color), ("depth", depth)):
            (tmp_path / serial / kind).mkdir(parents=True)
            for frame in range(2):
                cv2.imwrite(str(tmp_path / serial / kind / f"{frame:06}.png"), picture)
    done = run_cli("take", "import", tmp_path, "--layout", "images", "-o", tmp_path / ".take")
    assert done.returncode == 0, done.stderr
    with open_take(tmp_path / ".take") as take:
        assert (len(take), take.master, list(take.cameras)) == (2, "front", ["left", "front"])
        depth_mm = take.depth_mm(1, "front")
        assert depth_mm is not None
        assert (depth_mm == 700).all()


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        linked = page.parent / file if file else page
        assert linked.is_file(), f"{page.name} links to {target}"
        headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE) if anchor else []
        assert not anchor or anchor in {_anchor(heading) for heading in headings}


@pytest.mark.slow
def test_the_readmes_pipeline_runs_as_printed(rig_take, tmp_path: Path) -> None:
    (tmp_path / "recordings").symlink_to(rig_take("still"))
    (tmp_path / "sentences.txt").write_text("Good morning.\n")
    for words in shown_commands(REPOSITORY / "README.md"):
        if words[0] != "mmface4d":
            continue
        command = [sys.executable, "-m", "mmface4d.cli", *words[1:]]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, f"{shlex.join(words)}: {done.stderr[-2000:]}"
    assert {"report.html", "preview.mp4"} <= {path.name for path in (tmp_path / "look").iterdir()}
