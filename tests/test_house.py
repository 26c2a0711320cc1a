"""The rules of the house that a machine can check: who may import whom, and how large things may grow."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
ROOMS = ("corpus", "capture", "calibration", "reconstruct", "animation")
# beside the ground floor: the front door's own composition, and the landmarks that reconstruct shares with calibration
ALLOWED = {
    ("mmface4d/demo.py", "capture"), ("mmface4d/demo.py", "calibration"), ("mmface4d/demo.py", "reconstruct"),
    ("mmface4d/record_session.py", "capture"), ("mmface4d/record_session.py", "calibration"),
    ("mmface4d/virtual_studio.py", "capture"), ("mmface4d/virtual_studio.py", "reconstruct"),
    ("mmface4d/demo_actor.py", "capture"), ("mmface4d/demo_actor.py", "reconstruct"),
    ("mmface4d/lab_rig.py", "capture"), ("mmface4d/lab_check.py", "capture"), ("mmface4d/lab_check.py", "reconstruct"),
    ("mmface4d/lab_command.py", "reconstruct"), ("mmface4d/model_topology.py", "reconstruct"),
    ("mmface4d/doctor.py", "capture"), ("mmface4d/doctor.py", "reconstruct"),
    ("mmface4d/stats_command.py", "corpus"),
    ("mmface4d/animation_data.py", "animation"), ("mmface4d/animation_data.py", "corpus"),
    ("mmface4d/sequence_clips.py", "animation"), ("mmface4d/sequence_clips.py", "corpus"),
    ("mmface4d/loose_clips.py", "animation"), ("mmface4d/loose_clips.py", "corpus"),
    ("mmface4d/steady_clips.py", "corpus"), ("mmface4d/clips_command.py", "animation"),
    ("mmface4d/train_command.py", "animation"), ("mmface4d/evaluate_command.py", "animation"),
    ("mmface4d/animate_inputs.py", "animation"), ("mmface4d/animate_inputs.py", "corpus"),
    ("mmface4d/animate_inputs.py", "reconstruct"), ("mmface4d/animate_outputs.py", "animation"),
    ("mmface4d/animate_outputs.py", "corpus"), ("mmface4d/animate_outputs.py", "reconstruct"),
    ("mmface4d/animator.py", "animation"),
    ("reconstruct/", "calibration.landmarks"), ("reconstruct/", "calibration.lift"),
}  # fmt: skip
FILES = sorted(path for room in ("mmface4d", *ROOMS) for path in (REPOSITORY / room).rglob("*.py"))
every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@every_file
def test_rooms_stand_on_the_ground_floor_only(path: Path) -> None:
    name = path.relative_to(REPOSITORY).as_posix()
    own = name.split("/")[0]
    for module in imports(ast.parse(path.read_text())):
        room = module.split(".")[0]
        if room in ROOMS and room != own:
            assert any(name.startswith(file) and module.startswith(what) for file, what in ALLOWED), (
                f"{name} reaches into its neighbour: {module}"
            )


@every_file
def test_modules_and_functions_stay_readable(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
            assert node.end_lineno - node.lineno < 60, f"{node.name} has {node.end_lineno - node.lineno + 1} lines"


@every_file
def test_every_module_says_what_it_is_for(path: Path) -> None:
    text = path.read_text()
    assert not text.strip() or ast.get_docstring(ast.parse(text))
