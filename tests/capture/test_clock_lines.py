"""Clock lines from late arrivals against the clocks that made them."""

import numpy as np
import pytest

from capture.clock_lines import OnlineClock, SampleClock, audio_start_usec, fit_arrivals
from capture.clocks import HostTimes

BOOT_USEC = 700_000_000_000
LEAST_DELAY_USEC = 45_000


def arrivals(
    rng: np.random.Generator, *, seconds: float, rate_hz: float = 30.0, ppm: float, late_usec: float = 2_000.0,
    begin_usec: int = 1_000_000, least_usec: float = LEAST_DELAY_USEC,
) -> HostTimes:  # fmt: skip
    """A device whose host runs `ppm` faster; delays are exponential."""
    device = begin_usec + np.rint(np.arange(round(seconds * rate_hz)) * 1e6 / rate_hz).astype(np.int64)
    host_usec = BOOT_USEC + device * (1 + ppm * 1e-6) + least_usec + rng.exponential(late_usec, len(device))
    return HostTimes(device, np.rint(host_usec * 1000).astype(np.int64))


def online(times: HostTimes, clock: OnlineClock | None = None) -> OnlineClock:
    """A clock that has seen all arrivals."""
    clock = clock or OnlineClock()
    for device_usec, host_nsec in zip(times.device_usec.tolist(), times.host_nsec.tolist(), strict=True):
        clock.add(device_usec, host_nsec)
    return clock


@pytest.mark.parametrize("ppm", [-400.0, -37.0, 0.0, 390.0])
@pytest.mark.parametrize("outliers", [False, True])
def test_slope_and_offset_come_back(ppm: float, outliers: bool) -> None:
    rng = np.random.default_rng(round(abs(ppm)))
    times = arrivals(rng, seconds=60, ppm=ppm)
    if outliers:
        times.host_nsec[::50] += 80_000_000  # very late ones
        times.host_nsec[[700, 1500]] -= 7_000_000  # and two that cannot be
    middle = float(times.device_usec[900])
    truth = BOOT_USEC + middle * (1 + ppm * 1e-6) + LEAST_DELAY_USEC
    for fit in (fit_arrivals(times), online(times).fit()):
        assert fit is not None
        assert fit.rate_ppm == pytest.approx(ppm, abs=2)  # ten are asked for
        assert fit.line.at(middle) == pytest.approx(truth, abs=100)
        assert fit.line.source_usec(fit.line.at(middle)) == pytest.approx(middle, abs=0.01)
        assert fit.late_median_usec == pytest.approx(2_000 * np.log(2), rel=0.2)


def test_a_clock_that_is_set_anew_begins_a_new_line() -> None:
    rng = np.random.default_rng(0)
    clock = online(arrivals(rng, seconds=30, ppm=100))
    again = arrivals(rng, seconds=30, ppm=100, begin_usec=2_000)
    again.host_nsec[:] += 31_000_000_000
    fit = online(again, clock).fit()
    assert clock.restarts == 1
    assert fit is not None
    assert fit.points == 900
    assert fit.line.at(2_000.0) == pytest.approx(BOOT_USEC + 31_000_000 + 2_000 * 1.0001 + LEAST_DELAY_USEC, abs=200)


@pytest.mark.slow
def test_a_working_day_costs_no_memory_and_follows_a_wandering_rate() -> None:
    rng = np.random.default_rng(0)
    clock = OnlineClock()
    device = (np.arange(10 * 3600 * 2) * 500_000).astype(np.int64)
    drift_usec = 1e-6 * np.cumsum(np.linspace(380, 390, len(device))) * 500_000  # warming up
    host = np.rint((device + drift_usec + rng.exponential(1000, len(device))) * 1000).astype(np.int64)
    half = len(device) // 2
    online(HostTimes(device[:half], host[:half]), clock)
    before = clock.corners
    online(HostTimes(device[half:], host[half:]), clock)
    assert clock.corners < 1.1 * before < 12_000
    assert clock.restarts == 0
    fit = clock.fit()
    assert fit is not None
    assert fit.rate_ppm == pytest.approx(390, abs=1)
    assert fit.line.at(float(device[-1])) == pytest.approx(device[-1] + drift_usec[-1], abs=200)


@pytest.mark.parametrize(("seconds", "rigs"), [(20.0, 40), (120.0, 10)])
def test_sound_is_placed_within_five_milliseconds_on_random_rigs(seconds: float, rigs: int) -> None:
    """Least delays differ by 38 ms, which a clap check has measured to 1 ms."""
    errors = []
    for seed in range(rigs):
        rng = np.random.default_rng(seed)
        camera_ppm, sound_ppm = rng.uniform(-400, 400, 2)
        camera = arrivals(rng, seconds=seconds, ppm=camera_ppm, late_usec=rng.uniform(500, 3000))
        sound = arrivals(rng, seconds=seconds, rate_hz=100, ppm=sound_ppm, begin_usec=0, least_usec=7_000)
        clock = SampleClock(48_000)
        heard, seen = online(sound, clock).fit(), online(camera).fit()
        assert heard is not None
        assert seen is not None
        first_usec = float(sound.device_usec[-300])  # a take begins three seconds before the end
        place = audio_start_usec(first_usec, samples=heard, device=seen, av_offset_usec=38_000 + rng.uniform(-1e3, 1e3))
        true_start = (first_usec * (1 + sound_ppm * 1e-6)) / (1 + camera_ppm * 1e-6)
        errors.append(abs(place.start_usec - true_start))
        true_rate = ((1 + sound_ppm * 1e-6) / (1 + camera_ppm * 1e-6) - 1) * 1e6
        assert place.rate_ppm == pytest.approx(true_rate, abs=10)
    assert np.percentile(errors, 95) < 1_300
