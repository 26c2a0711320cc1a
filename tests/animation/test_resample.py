"""Clips at other rates: exact where frames meet, linear between, the same however they are read."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from animation.data.clip import Clip
from animation.data.resample import resample_clip
from mmface4d.errors import UsageError
from mmface4d.frame_rates import frames_at_rate
from tests.animation.toy_corpus import grid, toy_clip

RATES = [24.0, 25.0, 29.97, 30.0, 50.0, 60.0, 100.0]


def clip(n_frames: int = 31, fps: float = 30.0) -> Clip:
    return toy_clip("s1_00", grid()[0], n_frames=n_frames, fps=fps)


def whole(clip: Clip) -> np.ndarray:
    return clip.frames(0, clip.n_frames)


def test_twice_the_rate_and_back_is_bit_exact() -> None:
    original = whole(clip())
    doubled = resample_clip(clip(), 60.0)
    assert doubled.n_frames == 61
    assert np.array_equal(whole(doubled)[::2], original)
    assert np.array_equal(whole(resample_clip(doubled, 30.0)), original)


@pytest.mark.parametrize(("fps", "step"), [(30.0, 2), (20.0, 3), (15.0, 4), (10.0, 6)])
def test_a_rate_that_divides_takes_every_so_many_frames(fps: float, step: int) -> None:
    fast = clip(61, 60.0)
    assert np.array_equal(whole(resample_clip(fast, fps)), whole(fast)[::step])


def test_frames_between_lie_on_straight_lines() -> None:
    original = whole(clip()).astype(np.float64)
    slower = whole(resample_clip(clip(), 25.0))
    times = np.arange(len(slower)) / 25.0
    for vertex in (0, 12, 24):
        line = np.interp(times, np.arange(31) / 30.0, original[:, vertex, 1])
        np.testing.assert_allclose(slower[:, vertex, 1], line, atol=1e-8)


def test_the_same_rate_is_the_same_clip() -> None:
    one = clip()
    assert resample_clip(one, 30.0) is one


def test_nothing_but_the_frames_changes() -> None:
    one = replace(clip(), text="Words.", language="en", emotion="happy", fingerprint="abc")
    other = resample_clip(one, 25.0)
    assert replace(other, fps=one.fps, n_frames=one.n_frames, frames=one.frames) == one


@given(st.sampled_from(RATES), st.sampled_from(RATES), st.integers(8, 60), st.data())
@settings(max_examples=60, deadline=None)
def test_any_part_is_that_part_of_the_whole(fps: float, target: float, count: int, data: st.DataObject) -> None:
    other = resample_clip(clip(count, fps), target)
    start = data.draw(st.integers(0, other.n_frames))
    stop = data.draw(st.integers(start, other.n_frames))
    assert np.array_equal(other.frames(start, stop), whole(other)[start:stop])


@given(st.floats(1, 120), st.floats(1, 120), st.integers(1, 10_000))
@settings(max_examples=200, deadline=None)
def test_frames_at_a_rate_never_leave_the_clip(fps: float, target: float, count: int) -> None:
    places = frames_at_rate(count, fps, target_fps=target)
    assert places[0] == 0
    assert places[-1] <= count - 1
    assert (count - 1) - places[-1] <= fps / target * (1 + 1e-6) + 1e-6  # no frame more would fit
    np.testing.assert_allclose(places, np.minimum(np.arange(len(places)) * fps / target, count - 1), atol=1e-5)


@pytest.mark.parametrize("fps", [0.0, -30.0, float("nan"), 5000.0])
def test_rates_that_cannot_be_are_refused(fps: float) -> None:
    with pytest.raises(UsageError, match="cannot be meant"):
        resample_clip(clip(), fps)
