"""Pairing against known exposures."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.clocks import HostTimes, lower_envelope, robust_line
from capture.pairing import CaptureTimes, pair_captures
from mmface4d.cameras import Intrinsics, RgbdCamera
from mmface4d.errors import RecordingError
from mmface4d.take import MISSING, TakeCamera
from mmface4d.take_record import Role

LENS = Intrinsics(64, 48, 60.0, 60.0, 32.0, 24.0)
PERIOD_USEC = 33_333
DELAYS = {"left": -160, "front": 0, "right": 160}


def camera(serial: str, role: Role = "subordinate") -> TakeCamera:
    role = "master" if serial == "front" else role
    return TakeCamera(serial, role, RgbdCamera(serial, LENS, LENS, np.eye(4)), depth_delay_usec=DELAYS[serial])


CAMERAS = {serial: camera(serial) for serial in DELAYS}


def recorded(exposures_usec, *, lost=(), offset_usec=0.0, rate=0.0, jitter_usec=10, delay_usec=0, seed=0):
    """Device times of true exposures, on a clock of its own."""
    rng = np.random.default_rng(seed)
    kept = np.array([i for i in range(len(exposures_usec)) if i not in lost])
    device = exposures_usec[kept] * (1 + rate) + offset_usec + rng.uniform(-jitter_usec, jitter_usec, len(kept))
    color = np.rint(device).astype(np.int64)
    return kept, CaptureTimes(color, color + delay_usec)


def exposures(count, start=500_000):
    return start + np.arange(count) * PERIOD_USEC


def check(pairing, kept, times):
    """Every capture stands in the row of its true exposure."""
    rows = {int(t): row for row, t in enumerate(pairing.frames.timestamps_usec)}
    truth = times["front"].color_usec
    for serial, index in kept.items():
        column = pairing.frames.color_usec[serial]
        for at, device_usec in zip(index, times[serial].color_usec, strict=True):
            row = int(np.flatnonzero(column == device_usec)[0])
            if at in kept["front"]:
                master_usec = int(truth[list(kept["front"]).index(at)])
                assert row == rows[master_usec]
            assert pairing.frames.depth_usec[serial][row] == device_usec + DELAYS[serial]


@settings(max_examples=60, deadline=None)
@given(
    lost=st.fixed_dictionaries({s: st.sets(st.integers(0, 24), max_size=12) for s in DELAYS}),
    seed=st.integers(0, 1000),
)
def test_drops_anywhere_never_shift_a_frame(lost, seed):
    truth = exposures(25)
    made = {s: recorded(truth, lost=lost[s], delay_usec=DELAYS[s], seed=seed + i) for i, s in enumerate(DELAYS)}
    kept, times = {s: m[0] for s, m in made.items()}, {s: m[1] for s, m in made.items()}
    if any(not set(kept["front"]) & set(index) for index in kept.values()):
        return
    pairing = pair_captures(CAMERAS, times)
    check(pairing, kept, times)
    assert len(pairing.frames.timestamps_usec) == len(set().union(*map(set, kept.values())))
    assert not pairing.unmatched


def test_clocks_of_other_rates_stay_paired_for_minutes():
    truth = exposures(5400)
    made = {
        "left": recorded(truth, rate=25e-6, delay_usec=-160, seed=1),
        "front": recorded(truth, seed=2),
        "right": recorded(truth, rate=-40e-6, delay_usec=160, seed=3),
    }
    times = {s: m[1] for s, m in made.items()}
    pairing = pair_captures(CAMERAS, times)
    check(pairing, {s: m[0] for s, m in made.items()}, times)
    assert pairing.clocks["left"].rate_ppm == pytest.approx(-25, abs=0.5)
    assert pairing.clocks["right"].rate_ppm == pytest.approx(40, abs=0.5)
    assert pairing.sync.max_usec < 40


def arrivals(times, seed, *, offset_usec=0.0):
    rng = np.random.default_rng(seed)
    host_usec = (
        1e12 + (times.color_usec - offset_usec) * (1 + 380e-6) + 45_000 + rng.exponential(3000, len(times.color_usec))
    )
    return HostTimes(times.color_usec, (host_usec * 1000).astype(np.int64))


def test_clocks_without_a_common_origin_are_found_by_arrival():
    truth = exposures(12)
    offsets = {"left": -412_345.0, "front": 0.0, "right": 1_250_480.0}
    made = {
        s: recorded(truth, lost=(3,) if s == "left" else (), offset_usec=offsets[s], delay_usec=DELAYS[s], seed=i)
        for i, s in enumerate(DELAYS)
    }
    times = {s: m[1] for s, m in made.items()}
    host = {s: arrivals(times[s], i, offset_usec=offsets[s]) for i, s in enumerate(DELAYS)}
    pairing = pair_captures(CAMERAS, times, host=host)
    check(pairing, {s: m[0] for s, m in made.items()}, times)
    with pytest.raises(RecordingError) as error:
        pair_captures(CAMERAS, times)
    assert "host_clock.csv" in (error.value.hint or "")


@pytest.mark.parametrize("with_host", [False, True])
def test_drift_of_many_frames_is_followed(with_host):
    truth = exposures(18_000)
    rates = {"left": 100e-6, "front": 0.0, "right": -100e-6}  # two frames in ten minutes
    offsets = {"left": -412_345.0, "front": 0.0, "right": 1_250_480.0} if with_host else dict.fromkeys(DELAYS, 0.0)
    made = {
        s: recorded(truth, lost=range(500 * i, 700 * i), rate=rates[s], offset_usec=offsets[s], delay_usec=DELAYS[s])
        for i, s in enumerate(DELAYS)
    }
    times = {s: m[1] for s, m in made.items()}
    rng = np.random.default_rng(0)
    host = {
        s: HostTimes(
            t.color_usec, np.rint(truth[made[s][0]] * 1000.38 + rng.exponential(3e6, len(made[s][0]))).astype(np.int64)
        )
        for s, t in times.items()
    }
    pairing = pair_captures(CAMERAS, times, host=host if with_host else None)
    assert not pairing.unmatched
    for serial in ("left", "right"):
        expected = np.full(18_000, MISSING, np.int64)
        expected[made[serial][0]] = times[serial].color_usec
        assert (pairing.frames.color_usec[serial] == expected).all()
        assert pairing.clocks[serial].rate_ppm == pytest.approx(-rates[serial] * 1e6, abs=0.1)


def test_arrivals_of_some_cameras_do_not_vouch_for_the_others():
    truth = exposures(40)
    times = {s: recorded(truth, offset_usec=12_000.0 * (s == "left"), delay_usec=DELAYS[s])[1] for s in DELAYS}
    host = {s: arrivals(times[s], 1) for s in ("front", "right")}
    with pytest.raises(RecordingError, match="camera left does not share"):
        pair_captures(CAMERAS, times, host=host)


def test_badly_timed_captures_are_kept_apart_and_reported():
    truth = exposures(40)
    made = {s: recorded(truth, delay_usec=DELAYS[s], seed=i) for i, s in enumerate(DELAYS)}
    times = {s: m[1] for s, m in made.items()}
    late = times["left"].color_usec.copy()
    late[7] += 900
    times["left"] = CaptureTimes(late, late - 160)
    pairing = pair_captures(CAMERAS, times)
    assert pairing.frames.color_usec["left"][7] == MISSING
    assert [record.color_usec for record in pairing.unmatched] == [late[7]]
    assert pairing.sync.violations[0]["error_usec"] == pytest.approx(900, abs=40)


def test_halves_of_captures_are_listed():
    truth = exposures(10)
    times = {s: recorded(truth, delay_usec=DELAYS[s], seed=i)[1] for i, s in enumerate(DELAYS)}
    front = times["front"]
    times["front"] = CaptureTimes(np.delete(front.color_usec, 2), np.delete(front.depth_usec, 5))
    pairing = pair_captures(CAMERAS, times)
    assert sorted(record.reason for record in pairing.unmatched) == ["colour without depth", "depth without colour"]
    assert len(pairing.frames.timestamps_usec) == 10  # the subordinates have both instants
    assert (pairing.frames.color_usec["front"] == MISSING).sum() == 2


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        ({"left": "subordinate", "right": "subordinate"}, "no master"),
        ({"left": "master", "right": "master"}, "2 masters"),
        ({"left": "master", "right": "standalone"}, "not wired"),
    ],
)
def test_roles_that_make_no_rig(roles, message):
    cameras = {s: TakeCamera(s, r, RgbdCamera(s, LENS, LENS, np.eye(4))) for s, r in roles.items()}
    times = {s: recorded(exposures(5))[1] for s in roles}
    with pytest.raises(RecordingError, match=message):
        pair_captures(cameras, times)


def test_lower_envelope_ignores_late_arrivals():
    rng = np.random.default_rng(0)
    device = (exposures(3000)).astype(np.int64)
    host_usec = 7e11 + device * (1 + 380e-6) + rng.exponential(3000, len(device))
    line = lower_envelope(HostTimes(device, (host_usec * 1000).astype(np.int64)))
    error = line(device) - (7e11 + device * (1 + 380e-6))
    assert np.abs(error).max() < 200


def test_robust_line_shrugs_off_outliers():
    rng = np.random.default_rng(0)
    source = exposures(600).astype(float)
    target = source * (1 + 30e-6) + 1234 + rng.uniform(-10, 10, 600)
    target[::20] += 8000
    line = robust_line(source, target)
    assert np.abs(line(source) - (source * (1 + 30e-6) + 1234)).max() < 5


def test_clocks_that_ran_long_before_the_take_are_doubted():
    """An hour of 15 ppm is more than a frame; the drift that is seen tells what the exposures cannot."""
    for rate, doubted in ((15e-6, ["left", "right"]), (0.2e-6, [])):
        truth = exposures(300, start=3_600_000_000)
        rates = {"left": rate, "front": 0.0, "right": -rate}
        times = {
            s: recorded(truth, rate=r, jitter_usec=5, delay_usec=DELAYS[s], seed=i)[1]
            for i, (s, r) in enumerate(rates.items())
        }
        notes = pair_captures(CAMERAS, times).notes
        assert [note.split()[1].rstrip(":") for note in notes] == doubted
