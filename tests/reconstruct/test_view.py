"""`mmface4d view`: what it writes, and what it says when it cannot."""

import json
import re
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import av
import numpy as np
import pytest

from mmface4d.cli import main
from mmface4d.errors import EXIT_OK, EXIT_PRECONDITION, EXIT_USAGE
from mmface4d.rig_calibration import RigCalibration
from mmface4d.sequence import load_sequence, write_sequence

from .view_scene import World, make_rig, make_world

HOSTILE = "<script>alert(1)<script>&\"'><img src=x onerror=alert(2)>"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def looked_at(world: World) -> Path:
    """The output for the sequence with everything there."""
    folder = world.sequence.parent / "look"
    assert call("view", world.sequence, "-o", folder) == EXIT_OK
    return folder


def call(*arguments: object) -> int:
    """Runs the command line in this process and gives its exit code."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


def seconds(ticks: int | None, time_base: Fraction | None) -> float:
    assert ticks is not None
    assert time_base is not None
    return float(ticks * time_base)


def frame_times_s(path: Path) -> tuple[list[float], float]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.pix_fmt == "yuv420p"
        times = [seconds(frame.pts, stream.time_base) for frame in container.decode(stream)]
        return times, seconds(stream.duration, stream.time_base)


def test_frames_are_shown_at_their_own_times(looked_at: Path, world: World) -> None:
    times, duration = frame_times_s(looked_at / "preview.mp4")
    expected = (world.timestamps_usec - world.timestamps_usec[0]) / 1e6
    assert np.abs(np.array(times) - expected).max() < 2e-5
    assert duration == pytest.approx(expected[-1] + 1 / 30, abs=1e-3)


def test_the_sound_is_in_sync_with_the_pictures(looked_at: Path, world: World) -> None:
    with av.open(str(looked_at / "preview.mp4")) as container:
        stream = container.streams.audio[0]
        blocks = [(seconds(frame.pts, stream.time_base), frame.to_ndarray()[0]) for frame in container.decode(stream)]
        duration_s = seconds(stream.duration, stream.time_base)
    loud = [start + np.argmax(np.abs(block)) / 48000 for start, block in blocks if np.abs(block).max() > 0.4]
    click_s = (world.timestamps_usec[3] - world.timestamps_usec[0]) / 1e6
    assert loud[0] == pytest.approx(click_s, abs=0.005)
    assert duration_s == pytest.approx(10 / 30, abs=0.03)


def test_the_index_stands_before_the_pictures(looked_at: Path) -> None:
    content = (looked_at / "preview.mp4").read_bytes()
    assert 0 < content.find(b"moov") < content.find(b"mdat")


def test_a_take_without_sound_gives_a_video_without_sound(tmp_path: Path) -> None:
    silent = make_world(tmp_path, sound=False)
    assert call("view", silent.take, "-o", tmp_path / "look") == EXIT_OK
    with av.open(str(tmp_path / "look" / "preview.mp4")) as container:
        assert not container.streams.audio
        assert container.streams.video[0].frames == 8


def test_some_frames_only(world: World, tmp_path: Path) -> None:
    assert call("view", world.sequence, "-o", tmp_path, "--frames", "4:7") == EXIT_OK
    assert len(frame_times_s(tmp_path / "preview.mp4")[0]) == 3


@pytest.mark.parametrize("count", [1, 5])
def test_any_number_of_cameras(count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = make_world(tmp_path, serials=("MASTER", "SIDE", "C3", "C4", "C5")[:count])
    for shown in (world.sequence, world.take):
        arguments = ("--calibration", world.calibration, "--frames", "0:2", "--json")
        assert call("view", shown, "-o", tmp_path / "look", *arguments) == EXIT_OK
        assert len(json.loads(capsys.readouterr().out)["cameras"]) == count
        assert len(frame_times_s(tmp_path / "look" / "preview.mp4")[0]) == 2


def test_json_has_paths_and_figures(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("view", world.sequence, "-o", tmp_path, "--no-video", "--json") == EXIT_OK
    result = json.loads(capsys.readouterr().out)
    assert Path(result["report"]).is_file()
    assert result["video"] is None
    assert not (tmp_path / "preview.mp4").exists()
    assert result["frames"] == 8
    assert result["frame_gaps"] == 2
    assert result["status"] == {"ok": 7, "some cameras missing": 1}
    assert abs(result["mesh_to_depth"]["median_mm"]) < 0.1
    assert result["depth_residual_mm"]["median"] == pytest.approx(0.3)


def test_the_report_needs_nothing_outside_itself(looked_at: Path) -> None:
    page = (looked_at / "report.html").read_text()
    for address in re.findall(r"""(?:src|href|poster|url)\s*[=(]\s*["']?([^"')\s>]+)""", page):
        assert address.startswith("data:"), address
    assert not re.search(r"https?://|<script|@import", page)
    for what in ("Preview", "Frames", "Distance of mesh", "Frame by frame", "Cameras", "Synchron", "Calibration"):
        assert f"<h2>{what}" in page


class Tags(HTMLParser):
    """Collects what a browser would take for tags."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    world = make_world(tmp_path, take_name=HOSTILE.replace("/", ""))
    sequence = tmp_path / (HOSTILE.replace("/", "") + ".npz")
    world.sequence.rename(sequence)
    assert call("view", sequence, "-o", tmp_path / "look", "--no-video") == EXIT_OK
    parser = Tags()
    page = (tmp_path / "look" / "report.html").read_text()
    parser.feed(page)
    assert "script" not in {tag for tag, _ in parser.tags}
    assert not [name for _, attributes in parser.tags for name in attributes if name.startswith("on")]
    assert all((at["src"] or "").startswith("data:") for tag, at in parser.tags if tag in ("img", "video"))
    assert "&lt;i&gt;x&lt;/i&gt;" in page  # from the calibration's report


def test_a_second_run_replaces_ours_and_keeps_what_is_not(world: World, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("old")
    (tmp_path / "notes.txt").write_text("mine")
    assert call("view", world.take, "-o", tmp_path, "--no-video") == EXIT_OK
    assert (tmp_path / "report.html").stat().st_size > 1000
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "report.html"]


def test_a_sequence_whose_take_is_gone_is_shown_alone(world: World, tmp_path: Path) -> None:
    alone = tmp_path / "sequence.npz"
    alone.write_bytes(world.sequence.read_bytes())
    assert call("view", alone, "-o", tmp_path / "look", "--frames", "0:2") == EXIT_OK
    assert "shown without pictures and sound" in (tmp_path / "look" / "report.html").read_text()
    assert call("view", alone, "-o", tmp_path / "look", "--take", world.take, "--no-video") == EXIT_OK
    assert "shown without pictures and sound" not in (tmp_path / "look" / "report.html").read_text()


def test_a_sequence_of_a_withdrawn_take_is_refused_whatever_take_is_given(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    sequence = tmp_path / "look" / "sequence.npz"
    sequence.parent.mkdir()
    sequence.write_bytes(world.sequence.read_bytes())
    take = sequence.parent / str(load_sequence(sequence)["take"])
    take.mkdir(parents=True)
    (take / "withdrawn.json").touch()  # what was recorded is deleted already
    for given in ([], ["--take", world.take]):
        assert call("view", sequence, "-o", tmp_path / "out", "--no-video", *given) == EXIT_PRECONDITION
        assert "took their consent back" in capsys.readouterr().err
    (take / "withdrawn.json").unlink()
    assert call("view", sequence, "-o", tmp_path / "in", "--no-video", "--frames", "0:2") == EXIT_OK
    (tmp_path / "withdrawn.json").touch()  # of the session that the sequence lies in
    assert call("view", sequence, "-o", tmp_path / "out", "--no-video") == EXIT_PRECONDITION
    assert not (tmp_path / "out").exists()


def test_frames_without_a_mesh_are_shown(world: World, tmp_path: Path) -> None:
    whole = load_sequence(world.sequence)

    def frame(index: int) -> dict[str, np.ndarray]:
        vertices = np.array(whole.vertices[index]) * (np.nan if index == 0 else 1)
        return {
            "vertices": vertices,
            "timestamps_usec": whole.timestamps_usec[index],
            "status": np.array(4 if index == 0 else 0, np.uint8),
        }

    write_sequence(tmp_path / "s.npz", of_sequence={"faces": whole.faces}, frame_count=8, read_frame=frame)
    arguments = ("--take", world.take, "--calibration", world.calibration, "--frames", "0:2")
    assert call("view", tmp_path / "s.npz", "-o", tmp_path / "look", *arguments) == EXIT_OK
    assert len(frame_times_s(tmp_path / "look" / "preview.mp4")[0]) == 2


def test_what_cannot_be_shown_is_refused(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = world.sequence.read_bytes()
    (tmp_path / "text.npz").write_text("no sequence")
    (tmp_path / "notes.txt").write_text("no sequence")
    (tmp_path / "file").write_text("")
    rig = make_rig()
    others = {"OTHER": rig.cameras["MASTER"]}
    RigCalibration("OTHER", others, {"OTHER": np.eye(4)}).save(tmp_path / "other.json")
    (tmp_path / "half.json").write_text('{"format": 1')
    cases = [
        ([tmp_path / "text.npz"], EXIT_PRECONDITION, "no mesh sequence"),
        ([tmp_path / "notes.txt"], EXIT_PRECONDITION, "neither a take's folder nor a sequence"),
        ([tmp_path / "missing"], EXIT_PRECONDITION, "does not exist"),
        ([tmp_path], EXIT_PRECONDITION, "is no take"),
        ([world.sequence, "--calibration", tmp_path / "other.json"], EXIT_PRECONDITION, "OTHER"),
        ([world.take, "--calibration", tmp_path / "half.json"], EXIT_PRECONDITION, "not valid JSON"),
        ([world.sequence, "--take", tmp_path / "gone"], EXIT_PRECONDITION, "gone"),
        ([world.sequence, "--frames", "50:60"], EXIT_USAGE, "none of 8 frames"),
        ([world.sequence, "--frames", "x"], EXIT_USAGE, "none of 8 frames"),
        ([world.take, "-o", tmp_path / "file"], EXIT_PRECONDITION, "is a file"),
    ]
    for arguments, code, words in cases:
        assert call("view", "-o", tmp_path / "look", *arguments) == code, arguments
        assert words in capsys.readouterr().err
    for length in (10, 200, len(whole) // 2, len(whole) - 30):
        (tmp_path / "cut.npz").write_bytes(whole[:length])
        assert call("view", tmp_path / "cut.npz", "-o", tmp_path / "look") == EXIT_PRECONDITION, length
        assert "no mesh sequence" in capsys.readouterr().err
    assert not (tmp_path / "look").exists()


def test_the_times_of_another_take_are_refused(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = load_sequence(world.sequence)

    def frame(index: int) -> dict[str, np.ndarray]:
        return {"vertices": whole.vertices[index], "timestamps_usec": whole.timestamps_usec[index] + 10**9}

    write_sequence(tmp_path / "s.npz", of_sequence={"faces": whole.faces}, frame_count=8, read_frame=frame)
    assert call("view", tmp_path / "s.npz", "-o", tmp_path, "--take", world.take) == EXIT_PRECONDITION
    assert "not those of the take" in capsys.readouterr().err
