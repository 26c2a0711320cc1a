"""Takes as recordings: what is imported again is what was exported, and the SDK plays it back."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from capture import export_mkv
from capture.export_mkv import Export, export_take, export_text
from capture.import_mkv import import_recordings
from capture.mkv import open_recording
from mmface4d.cameras import RgbdCamera
from mmface4d.errors import DiskFullError, MissingBackendError, Mmface4dError, RecordingError, TakeError, UsageError
from mmface4d.take import Take, TakeCamera, open_take
from tests.capture.kinect_take import DELAYS_USEC, ROLES, START_USEC, depth, jpeg, write_kinect_take
from tests.capture.small_take import write_take

pyk4a = pytest.importorskip("pyk4a")


def content(take: Take) -> list[tuple[str, int, int, bytes]]:
    """Every picture with its times, in an order that does not depend on how it was written."""
    return sorted((name, m.log_time, m.publish_time, m.data) for name, m in take.streams.messages())


def there_and_back(take: Path, folder: Path, **options: object) -> tuple[Export, Take]:
    done = export_take(take, folder / "out", **options)  # type: ignore[arg-type]
    return done, import_recordings([folder / "out"], folder / "again")


def assert_equal(before: Take, after: Take) -> None:
    for name in ("fps", "master", "frames", "audio"):
        assert getattr(after.info, name) == getattr(before.info, name), name

    def no_order(take: Take) -> list[str]:
        return sorted(record.model_dump_json() for record in take.info.unmatched)

    assert no_order(after) == no_order(before)
    for serial, camera in before.cameras.items():
        again = after.cameras[serial]
        assert (again.role, again.depth_delay_usec) == (camera.role, camera.depth_delay_usec)
        assert again.subordinate_delay_usec == camera.subordinate_delay_usec
        assert again.rgbd.color == camera.rgbd.color
        assert again.rgbd.depth == camera.rgbd.depth
        assert np.array_equal(again.rgbd.color_from_depth, camera.rgbd.color_from_depth)
    assert after.streams.attachments() == before.streams.attachments()
    if before.audio_path and after.audio_path:
        assert after.audio_path.read_bytes() == before.audio_path.read_bytes()


@pytest.mark.parametrize("arrivals", [False, True])
def test_exported_and_imported_is_the_same(tmp_path: Path, arrivals: bool) -> None:
    lost = {"000001": {0}, "000003": {2, 3}}
    take = write_kinect_take(tmp_path / "take", 5, lost=lost, arrivals=arrivals, half=True, sound=True)
    done, again = there_and_back(take, tmp_path)
    with open_take(take) as before, again as after:
        assert len(before.info.unmatched) == 1
        assert before.info.frames.color_usec["000003"][2:4] == [None, None]
        assert_equal(before, after)
        assert content(after) == content(before)
    assert done.host_clock == ("arrival" if arrivals else None)
    assert [camera.color_pictures for camera in done.cameras] == [4, 5, 3]
    assert "audio.wav" in export_text(done)


def test_clocks_without_a_common_origin_find_each_other_again(tmp_path: Path) -> None:
    offset = {"000001": 7_654_321, "000003": -432_100}
    take = write_kinect_take(tmp_path / "take", 5, offset_usec=offset, lost={"000001": {1}})
    done, again = there_and_back(take, tmp_path)
    assert done.host_clock == "master"
    with open_take(take) as before, again as after:
        assert after.info.frames == before.info.frames


def test_subordinate_delay_is_kept(tmp_path: Path) -> None:
    take = write_kinect_take(tmp_path / "take", 3, subordinate_delay_usec=500)
    with there_and_back(take, tmp_path)[1] as after, open_take(take) as before:
        assert after.cameras["000003"].subordinate_delay_usec == 500
        assert_equal(before, after)


def test_the_sdk_plays_it_back(tmp_path: Path) -> None:
    take = write_kinect_take(tmp_path / "take", 4)
    done = export_take(take, tmp_path / "out")
    for number, camera in enumerate(done.cameras):
        delay_usec = DELAYS_USEC[camera.serial]
        with pyk4a.PyK4APlayback(tmp_path / "out" / camera.file) as playback:
            found = playback.configuration
            assert found["color_resolution"] == pyk4a.ColorResolution.RES_1080P
            assert found["depth_mode"] == pyk4a.DepthMode.NFOV_UNBINNED
            assert found["camera_fps"] == pyk4a.FPS.FPS_30
            assert found["color_format"] == pyk4a.ImageFormat.COLOR_MJPG
            assert found["wired_sync_mode"].name.lower() == ROLES[camera.serial]
            # pyk4a reads the signed delay as an unsigned number
            assert np.array(found["depth_delay_off_color_usec"]).astype(np.uint32).view(np.int32) == delay_usec
            assert found["start_timestamp_offset_usec"] == START_USEC + min(delay_usec, 0)
            with open_take(take) as opened:
                blob = opened.streams.attachments()[f"{camera.serial}.json"]
                ours = opened.rgbd[camera.serial].color.matrix
            assert playback.calibration_raw.encode().rstrip(b"\0") == blob.rstrip(b"\0")
            theirs = playback.calibration.get_camera_matrix(pyk4a.CalibrationType.COLOR)
            assert np.allclose(ours, theirs, atol=1e-3)
            for frame in range(4):
                capture = playback.get_next_capture()
                assert bytes(capture.color) == jpeg(3 * frame + number)
                assert np.array_equal(capture.depth, depth(3 * frame + number))
                assert capture.color_timestamp_usec == START_USEC + frame * 33_333
                assert capture.depth_timestamp_usec == START_USEC + frame * 33_333 + delay_usec
                assert capture.ir is None
            with pytest.raises(EOFError):
                playback.get_next_capture()


def test_some_frames_only(tmp_path: Path) -> None:
    take = write_kinect_take(tmp_path / "take", 6, lost={"000001": {3}}, sound=True)
    with there_and_back(take, tmp_path, frames=(2, 5))[1] as after, open_take(take) as before:
        assert after.info.frames.timestamps_usec == before.info.frames.timestamps_usec[2:5]
        for serial in ROLES:
            assert after.info.frames.color_usec[serial] == before.info.frames.color_usec[serial][2:5]
        assert after.audio_start_usec == before.audio_start_usec


@pytest.mark.parametrize("frames", [(4, 4), (3, 2), (0, 7), (6, None)])
def test_frames_that_are_not_there(tmp_path: Path, frames: tuple[int, int | None]) -> None:
    take = write_kinect_take(tmp_path / "take", 6)
    with pytest.raises(UsageError, match="which has 6"):
        export_take(take, tmp_path / "out", frames=frames)
    assert not (tmp_path / "out").exists()


def test_sound_of_another_take_is_refused(tmp_path: Path) -> None:
    export_take(write_kinect_take(tmp_path / "take", 1, sound=True), tmp_path / "out")
    wav = tmp_path / "out" / "audio.wav"
    soundfile.write(wav, np.zeros(100), 48_000, subtype="PCM_24")
    with pytest.raises(RecordingError, match="of another sound"):
        import_recordings([tmp_path / "out"], tmp_path / "again")
    (tmp_path / "out" / "audio.json").write_text("{}")
    with pytest.raises(RecordingError, match="does not say when"):
        import_recordings([tmp_path / "out"], tmp_path / "again")
    assert not (tmp_path / "again").exists()


def refused(take: Path, output: Path, kind: type[Mmface4dError], match: str) -> None:
    before = sorted(output.parent.iterdir())
    with pytest.raises(kind, match=match) as error:
        export_take(take, output)
    assert error.value.hint
    assert sorted(output.parent.iterdir()) == before


def moved_lens(camera: TakeCamera) -> TakeCamera:
    color = replace(camera.rgbd.color, fx=camera.rgbd.color.fx + 1)
    rgbd = RgbdCamera(camera.serial, color, camera.rgbd.depth, camera.rgbd.color_from_depth)
    return replace(camera, rgbd=rgbd)


def test_takes_that_no_kinect_recorded(tmp_path: Path) -> None:
    no_blob = write_kinect_take(tmp_path / "a", 1, change=lambda camera: replace(camera, factory_calibration=None))
    refused(no_blob, tmp_path / "out", TakeError, "no factory calibration")
    other_size = write_take(tmp_path / "b", 2)
    refused(other_size, tmp_path / "out", RecordingError, "no depth mode of an Azure Kinect has 64x48|no colour mode")
    moved = write_kinect_take(tmp_path / "c", 1, change=moved_lens)
    refused(moved, tmp_path / "out", TakeError, "not those of its factory calibration")
    refused(tmp_path / "nothing", tmp_path / "out", TakeError, "no such folder")


def test_what_exists_is_never_overwritten(tmp_path: Path) -> None:
    take = write_kinect_take(tmp_path / "take", 1)
    (tmp_path / "out").mkdir()
    refused(take, tmp_path / "out", TakeError, "never overwritten")


def test_damaged_pictures_leave_nothing(tmp_path: Path) -> None:
    take = write_kinect_take(tmp_path / "take", 3)
    streams = take / "streams.mcap"
    data = bytearray(streams.read_bytes())
    data[len(data) // 2] ^= 0xFF
    streams.write_bytes(data)
    refused(take, tmp_path / "out", TakeError, "damaged")


def test_missing_sound_leaves_nothing(tmp_path: Path) -> None:
    take = write_kinect_take(tmp_path / "take", 1, sound=True)
    (take / "audio.wav").unlink()
    refused(take, tmp_path / "out", TakeError, "audio.wav is missing")


def test_a_disk_without_room_is_noticed_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take = write_kinect_take(tmp_path / "take", 1)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(export_mkv.shutil, "disk_usage", lambda _: usage._replace(free=66 << 20))
    refused(take, tmp_path / "out", DiskFullError, "needs about")


def test_a_disk_that_fills_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest file that may be written is set so low that the library's own writing fails."""
    take = write_kinect_take(tmp_path / "take", 8)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(export_mkv, "_check_space", lambda *_: None)
    monkeypatch.setattr(export_mkv.shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, limits[1]))
        refused(take, tmp_path / "out", DiskFullError, "no space left")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_without_the_sdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from capture.k4a_record import load_libraries

    take = write_kinect_take(tmp_path / "take", 1)
    load_libraries.cache_clear()
    monkeypatch.setitem(sys.modules, "pyk4a", None)
    refused(take, tmp_path / "out", MissingBackendError, "Azure Kinect SDK cannot be loaded")


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_stopped_in_the_middle(tmp_path: Path, sent: signal.Signals, code: int) -> None:
    """A kill leaves a hidden, partial folder only, which does not disturb the next run; Ctrl-C leaves nothing."""
    take = write_kinect_take(tmp_path / "take", 40)
    command = [sys.executable, "-m", "mmface4d.cli", "take", "export", str(take), "-o", str(tmp_path / "out")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as run:
        while run.poll() is None and not list(tmp_path.glob(".out.*.partial/*.mkv")):
            time.sleep(0.002)
        os.kill(run.pid, sent)
        assert run.wait(60) == code
    left = [path.name for path in tmp_path.iterdir() if path.name != "take"]
    assert [name[:5] for name in left] == ([".out."] if sent == signal.SIGKILL else [])
    with there_and_back(take, tmp_path)[1] as after, open_take(take) as before:
        assert_equal(before, after)


def test_command_line(tmp_path: Path, run_cli) -> None:
    take = write_kinect_take(tmp_path / "take", 3, arrivals=True)
    made = run_cli("take", "export", take, "-o", tmp_path / "out", "--frames", "1:", "--json")
    assert made.returncode == 0, made.stderr
    figures = json.loads(made.stdout)
    assert [camera["file"] for camera in figures["cameras"]] == ["cam0.mkv", "cam1.mkv", "cam2.mkv"]
    assert figures["cameras"][0]["color_pictures"] == 2
    assert open_recording(tmp_path / "out" / "cam1.mkv").camera.role == "master"
    again = run_cli("take", "export", take, "-o", tmp_path / "out")
    assert again.returncode == 3
    assert "never overwritten" in again.stderr
    wrong = run_cli("take", "export", take, "-o", tmp_path / "other", "--frames", "a:b")
    assert wrong.returncode == 2
    assert "is no range" in wrong.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["drops", "clocks", "speech"])
def test_rig_takes_come_back_whole(rig_take, tmp_path: Path, name: str) -> None:
    import_recordings([rig_take(name)], tmp_path / "take").close()
    done, again = there_and_back(tmp_path / "take", tmp_path)
    assert done.host_clock == "arrival"
    with open_take(tmp_path / "take") as before, again as after:
        assert after.info == before.info
        assert content(after) == content(before)
