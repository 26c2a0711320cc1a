"""Importing genuine recordings and refusing what makes no take."""

import json
import shutil

import numpy as np
import pytest
import soundfile

from capture.host_clock import read_host_clock
from capture.import_mkv import import_recordings
from capture.mkv import is_truncated, open_recording
from mmface4d.errors import RecordingError, TakeError
from mmface4d.take import open_take


@pytest.fixture
def still(rig_take, tmp_path):
    """A copy of a rig take's recordings, to be damaged."""
    for path in rig_take("still").glob("*.*"):
        shutil.copy(path, tmp_path / path.name)
    return tmp_path


def test_real_recording_is_bit_exact(shared_data, tmp_path):
    pyk4a = pytest.importorskip("pyk4a")
    path = shared_data / "azure_kinect" / "recording.mkv"
    with import_recordings([path], tmp_path / "take") as take:
        assert len(take) == 1
        assert list(take.cameras) == ["001514394512"]
        playback = pyk4a.PyK4APlayback(str(path))
        playback.open()
        capture = playback.get_next_capture()
        depth_mm = take.depth_mm(0, take.master)
        assert depth_mm is not None
        assert np.array_equal(depth_mm, capture.depth)
        assert take.color_jpeg(0, take.master) == bytes(capture.color)
        assert take.timestamps_usec[0] == capture.color_timestamp_usec
        camera = take.rgbd[take.master]
        assert camera.color.size == (1280, 720)
        matrix = playback.calibration.get_camera_matrix(pyk4a.CalibrationType.COLOR)
        assert np.allclose(camera.color.matrix, matrix, atol=1e-3)
        playback.close()


@pytest.mark.parametrize("name", ["still", "drops", "clocks"])
def test_rig_takes_are_paired_exactly(rig_take, tmp_path, name):
    source = rig_take(name)
    truth = np.load(source / "truth.npz")
    with import_recordings([source], tmp_path / "take") as take:
        assert np.array_equal(take.timestamps_usec, truth["timestamps_usec"])
        for serial, column in zip(truth["serials"], truth["color_timestamps_usec"], strict=True):
            expected = [None if usec < 0 else int(usec) for usec in column]
            assert take.info.frames.color_usec[str(serial)] == expected
        assert not take.info.unmatched
        assert take.info.sync.p99_usec < 50


def refused(tmp_path, sources, **options) -> RecordingError:
    with pytest.raises(RecordingError) as error:
        import_recordings(sources, tmp_path / "out", **options)
    assert error.value.hint
    assert not (tmp_path / "out").exists()
    return error.value


def test_missing_master(still):
    (still / "cam1.mkv").unlink()
    assert "no master" in refused(still, [still]).message


def test_missing_subordinate_is_noticed_when_the_number_is_given(still):
    (still / "cam2.mkv").unlink()
    assert "2 cameras found" in refused(still, [still], expected_cameras=3).message


def test_two_files_of_one_device(still):
    shutil.copy(still / "cam0.mkv", still / "copy.mkv")
    assert "both of device" in refused(still, [still]).message


def test_truncated_recording(still):
    path = still / "cam0.mkv"
    whole = path.read_bytes()
    assert not is_truncated(path)
    path.write_bytes(whole[: len(whole) // 2])
    assert is_truncated(path)
    error = refused(still, [still])
    assert "truncated" in error.message
    assert "--allow-truncated" in (error.hint or "")
    with import_recordings([still], still / "out", allow_truncated=True) as take:
        assert len(take) == 10
        present = [serials for frame in range(10) if len(serials := take.present(frame)) == 3]
        assert 2 <= len(present) < 10
        assert "truncated" in take.info.notes[0]


def test_recording_without_calibration(still):
    path = still / "cam0.mkv"
    # the attachment's and its tag's name, both of the same length
    path.write_bytes(path.read_bytes().replace(b"calibration.json", b"somethingel.json"))
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"CalibrationInformation"', b'"CalibratioNInformation"'))
    with pytest.raises(RecordingError, match="calibration"):
        open_recording(path)


def test_not_a_recording(tmp_path):
    (tmp_path / "cam0.mkv").write_bytes(b"not a recording" * 100)
    assert "no Matroska" in refused(tmp_path, [tmp_path]).message
    (tmp_path / "cam0.mkv").write_bytes(b"")
    assert "no Matroska" in refused(tmp_path, [tmp_path]).message
    (tmp_path / "cam0.mkv").unlink()
    assert "no .mkv file" in refused(tmp_path, [tmp_path]).message
    assert "does not exist" in refused(tmp_path, [tmp_path / "nothing"]).message


def test_takes_are_never_overwritten(still):
    import_recordings([still], still / "out").close()
    before = (still / "out" / "take.json").read_bytes()
    with pytest.raises(TakeError, match="never overwritten"):
        import_recordings([still], still / "out")
    assert (still / "out" / "take.json").read_bytes() == before


def test_sound_is_taken_over_and_placed(still):
    soundfile.write(still / "audio.wav", np.zeros(48000), 48000, subtype="PCM_16")
    with import_recordings([still], still / "assumed") as take:
        assert take.audio_path is not None
        assert take.audio_path.read_bytes() == (still / "audio.wav").read_bytes()
        assert take.audio_start_usec == take.timestamps_usec[0]
        assert take.info.audio is not None
        assert take.info.audio.start_source == "assumed"
    with import_recordings([still], still / "given", audio_start_s=-0.35) as take:
        assert take.audio_start_usec == take.timestamps_usec[0] - 350_000
    info = json.loads((still / "take.json").read_text())
    start = info["clock"]["first_frame_host_nsec"] - 350_000_000
    (still / "audio.json").write_text(json.dumps({"first_sample_host_nsec": start}))
    with import_recordings([still], still / "clock") as take:
        # too early by the delivery delay of the pictures, which host times cannot tell
        early_usec = take.timestamps_usec[0] - 350_000 - take.audio_start_usec
        assert 40_000 < early_usec < 60_000
    (still / "audio.wav").write_bytes(b"RIFFnothing")
    assert "no readable sound" in refused(still, [still]).message


def test_host_clock_of_another_recording(still, tmp_path):
    """Its times lie elsewhere between the pictures; believed, they could pair other frames."""
    lines = (still / "host_clock.csv").read_text().splitlines()
    moved = [",".join([s, str(int(usec) + 4_321), nsec]) for s, usec, nsec in (line.split(",") for line in lines[1:])]
    (still / "host_clock.csv").write_text("\n".join([lines[0], *moved]) + "\n")
    assert "another recording" in refused(tmp_path, [still]).message


@pytest.mark.parametrize("row", ["a,1,99999999999999999999", "a,-1,1", "a,1", "a,b,c", "a," + "1" * 200_000 + ",1"])
def test_damaged_host_clock(tmp_path, row):
    (tmp_path / "host_clock.csv").write_text(f"serial,color_timestamp_usec,host_monotonic_nsec\n{row}\n")
    with pytest.raises(RecordingError, match="is no host clock"):
        read_host_clock(tmp_path / "host_clock.csv")


def test_command_line(still, run_cli):
    made = run_cli("take", "import", still, "-o", still / "out", "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["frames"] == 10
    assert open_take(still / "out").fps == 30.0
    again = run_cli("take", "import", still, "-o", still / "out")
    assert again.returncode == 3
    assert "never overwritten" in again.stderr


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_start_of_the_sound_that_is_no_time_is_refused(tmp_path, run_cli, value):
    done = run_cli("take", "import", tmp_path, "--audio-start-s", value, "-o", tmp_path / "take")
    assert done.returncode == 2
    assert "is no time" in done.stderr
    assert not (tmp_path / "take").exists()
