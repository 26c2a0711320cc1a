"""The clap check against known offsets between sound and picture."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from capture.clap import Event, agreeing, measure_offset
from mmface4d.errors import RecordingError
from mmface4d.take import TakeWriter, open_take
from tests.capture.small_take import DELAYS, PERIOD_USEC, START_USEC, at, camera, frame_table, jpeg
from tests.conftest import RunCli

EXPOSURE_USEC = 10_000
RATE = 48_000


def events_usec(count: int, seed: int) -> np.ndarray:
    """True instants, a second apart but for chance."""
    return START_USEC + 1e6 * (1 + np.arange(count)) + np.random.default_rng(seed).uniform(0, 3e5, count)


def lit(exposed_usec: float, begun_usec: np.ndarray, *, lasts_usec: float) -> float:
    """Part of an exposure that lies within a flash."""
    begin, end = exposed_usec - EXPOSURE_USEC / 2, exposed_usec + EXPOSURE_USEC / 2
    inside = np.minimum(end, begun_usec + lasts_usec) - np.maximum(begin, begun_usec)
    return float(np.clip(inside / EXPOSURE_USEC, 0, 1).max(initial=0.0))


def hand(usec: float, claps_usec: np.ndarray) -> int:
    """Where a hand is, in pixels: it comes within a tenth of a second, fast, and stops at the clap."""
    before = claps_usec[claps_usec > usec] - usec
    return 40 - round(min(float(before.min(initial=1e9)) / 1e5, 1.0) * 36)


def write(
    path: Path, happened_usec: np.ndarray, *, offset_usec: float, kind: str = "flash", seed: int = 0, beeps: bool = True
) -> Path:
    """A take whose sound is placed `offset_usec` too early."""
    rng = np.random.default_rng(seed)
    frames = round((happened_usec[-1] - START_USEC + 1e6) / PERIOD_USEC) if len(happened_usec) else 60
    table = at(frame_table(frames), np.arange(frames))
    with TakeWriter(path, [camera(serial) for serial in DELAYS], fps=30.0) as writer:
        writer.cameras["front"].settings["exposure_usec"] = str(EXPOSURE_USEC)
        for frame, usec in enumerate(table.timestamps_usec):
            level = 60
            if kind == "flash":
                level += round(100 * lit(usec, happened_usec, lasts_usec=60_000))
            picture = _with_hand(hand(usec, happened_usec)) if kind == "clap" else jpeg(0, level=level)
            for serial in DELAYS:
                device_usec = int(usec) + DELAYS[serial]
                writer.write(serial, color_jpeg=picture, color_usec=int(table.color_usec[serial][frame]))
                writer.write(serial, depth_mm=np.full((48, 64), 700, np.uint16), depth_usec=device_usec)
        sound = 1e-4 * rng.standard_normal(round(frames * PERIOD_USEC / 1e6 * RATE))
        for happened in happened_usec if beeps else ():
            first = round((happened - START_USEC) / 1e6 * RATE)
            sound[first : first + 1500] += 0.5 * rng.standard_normal(1500) * np.exp(-np.arange(1500) / 400)
        soundfile.write(path.with_suffix(".wav"), sound.clip(-1, 1), RATE, subtype="PCM_24")
        audio = writer.set_audio(path.with_suffix(".wav"))
        known = {"start_usec": START_USEC - round(offset_usec), "start_source": "host clock", "av_offset_usec": 500.0}
        writer.finish(table, audio=audio.model_copy(update=known))
    return path


def _with_hand(column: int) -> bytes:
    import io

    from PIL import Image

    pixels = np.full((48, 64, 3), 60, np.uint8)
    pixels[8:40, column : column + 16] = 200
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=90)
    return out.getvalue()


@pytest.mark.parametrize("offset_usec", [-45_000.0, 0.0, 12_000.0, 70_000.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_flashes_tell_the_offset(tmp_path: Path, offset_usec: float, seed: int) -> None:
    write(tmp_path / "take", events_usec(12, seed), offset_usec=offset_usec, seed=seed)
    with open_take(tmp_path / "take") as take:
        found = measure_offset(take)
    assert found.kind == "flash"
    assert found.agreeing == found.events == 12
    assert found.offset_usec == pytest.approx(offset_usec, abs=3_000)
    assert found.spread_usec < 4_000
    assert found.av_offset_usec == pytest.approx(500 + found.offset_usec)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_hands_tell_it_too(tmp_path: Path, seed: int) -> None:
    write(tmp_path / "take", events_usec(14, seed), offset_usec=25_000.0, kind="clap", seed=seed)
    with open_take(tmp_path / "take") as take:
        found = measure_offset(take)
    assert found.kind == "clap"
    assert found.offset_usec == pytest.approx(25_000, abs=5_000)


@pytest.mark.parametrize(("count", "beeps"), [(2, True), (8, False), (0, True)])
def test_too_little_is_refused(tmp_path: Path, count: int, beeps: bool) -> None:
    write(tmp_path / "take", events_usec(count, 0), offset_usec=0.0, beeps=beeps)
    with open_take(tmp_path / "take") as take, pytest.raises(RecordingError, match="3 are needed"):
        measure_offset(take)


def test_the_most_votes_win_over_strays() -> None:
    true = 8_000.0
    rng = np.random.default_rng(0)
    starts = true - rng.uniform(0, 33_000, 10)
    offsets = [Event(start, start + 33_000) for start in starts] + [Event(90_000.0, 120_000.0)]
    middle, spread, count, of = agreeing(offsets)
    assert abs(middle - true) <= spread + 1e-6
    assert (count, of) == (10, 11)


def test_the_command_prints_what_to_record_with(run_cli: RunCli, tmp_path: Path) -> None:
    write(tmp_path / "take", events_usec(12, 3), offset_usec=20_000.0)
    found = run_cli("take", "clap", tmp_path / "take", "--json")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["av_offset_usec"] == pytest.approx(20_500, abs=3_000)
    assert "--av-offset-ms" in run_cli("take", "clap", tmp_path / "take").stdout
    write(tmp_path / "still", events_usec(0, 3), offset_usec=0.0)
    refused = run_cli("take", "clap", tmp_path / "still")
    assert refused.returncode == 3
    assert "clap ten times" in refused.stderr
