"""The summary against takes whose content is known."""

import json
from pathlib import Path

import numpy as np
import pytest

from capture.gaps import camera_gaps
from capture.show import summarize_take, summary_text
from mmface4d.take import open_take
from tests.capture.small_take import DELAYS, PERIOD_USEC, START_USEC, at, frame_table, write_take


def test_numbers_of_a_take(tmp_path: Path) -> None:
    lost = {"left": {0, 5, 6, 12}, "right": {19}}
    with open_take(
        write_take(tmp_path / "take", 20, lost=lost, sound_start_usec=START_USEC - 250_000, notes=("a note",))
    ) as take:
        summary = json.loads(json.dumps(summarize_take(take)))
    assert summary["frames"] == 20
    assert summary["master"] == "front"
    assert summary["duration_s"] == pytest.approx(20 / 30, abs=1e-4)
    assert summary["bytes"] == sum(file.stat().st_size for file in (tmp_path / "take").iterdir())
    cameras = summary["cameras"]
    assert list(cameras) == list(DELAYS)
    assert {serial: camera["missing"] for serial, camera in cameras.items()} == {"front": 0, "left": 4, "right": 1}
    assert {serial: camera["depth_delay_usec"] for serial, camera in cameras.items()} == DELAYS
    assert (cameras["left"]["first_frame"], cameras["right"]["last_frame"]) == (1, 18)
    gaps = cameras["left"]["gaps"]
    assert [gap["lost"] for gap in gaps] == [2, 1]
    assert [gap["start_s"] for gap in gaps] == pytest.approx([4 * PERIOD_USEC / 1e6, 11 * PERIOD_USEC / 1e6])
    assert [gap["duration_ms"] for gap in gaps] == pytest.approx([3 * PERIOD_USEC / 1e3, 2 * PERIOD_USEC / 1e3])
    assert cameras["right"]["gaps"] == []
    assert summary["audio"]["start_s"] == -0.25
    assert summary["audio"]["duration_s"] == 2.0
    assert summary["notes"] == ["a note"]


def test_an_instant_that_all_cameras_lost_is_a_gap_of_each(tmp_path: Path) -> None:
    kept = np.array([index for index in range(15) if index not in (7, 8, 9)])
    table = at(frame_table(15), kept)
    with open_take(write_take(tmp_path / "take", table=table)) as take:
        for serial in DELAYS:
            assert [gap.lost for gap in camera_gaps(take, serial)] == [3]


def test_the_text_tells_what_a_person_asks(tmp_path: Path) -> None:
    with open_take(write_take(tmp_path / "take", 20, lost={"left": {5, 6}}, notes=("a note",))) as take:
        lines = summary_text(summarize_take(take)).splitlines()
    assert lines[0].startswith("take: 20 frames at 30 fps, 0.67 s, 3 cameras")
    assert lines[2].split() == ["camera", "role", "colour", "depth", "delay", "frames", "missing", "clock"]
    assert lines[4].split()[:7] == ["left", "subordinate", "64x48", "64x48", "-160", "µs", "18"]
    assert "gaps       1, 2 captures lost: left at 0.133 s for 100 ms" in lines
    assert "sync       median 4.0 µs, p99 20.0 µs, max 30.0 µs (40 pairs)" in lines
    assert "unmatched  none" in lines
    assert "audio      2.000 s, 48000 Hz, mono; starts +0.000 s from the first frame (host clock)" in lines
    assert lines[-1] == "note       a note"


def test_sound_that_ends_too_early_is_pointed_out(tmp_path: Path) -> None:
    with open_take(write_take(tmp_path / "take", 20, sound_s=0.3)) as take:
        summary = summarize_take(take)
    assert summary["audio"]["beyond_last_frame_s"] == pytest.approx(0.3 - 19 / 30, abs=1e-3)
    assert "WARNING: it ends 0.333 s before the last frame" in summary_text(summary)


def test_a_take_without_sound(tmp_path: Path) -> None:
    with open_take(write_take(tmp_path / "take", 4, sound_s=None)) as take:
        assert summarize_take(take)["audio"] is None
        assert "audio      none" in summary_text(summarize_take(take))
