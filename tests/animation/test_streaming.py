"""Live sound: the frames of the whole sound, a bounded time later."""

import numpy as np
import pytest
import soxr

from animation.audio.encoder import Tokens
from animation.audio.mel import LogMel
from animation.data.clip import Sound
from animation.use.generate import animate, frames_of
from animation.use.streaming import LOOK_AHEAD_S, Streamer
from animation.use.style import usual_style
from mmface4d.errors import InputError, UsageError
from tests.animation.test_generate import SAME_M, TEMPLATE, random_style, voice
from tests.animation.toy_trained import toy_trained


def streamer(fps: float = 30.0, *, rate_hz: int = 16_000, **more) -> Streamer:
    return Streamer(toy_trained(fps=fps), template=TEMPLATE, style=random_style(), rate_hz=rate_hz, **more)


def streamed(live: Streamer, samples: np.ndarray, *, rate_hz: int, fps: float) -> np.ndarray:
    """Everything, pushed in pieces of any size; no frame may come later than it is said."""
    random, at, frames = np.random.default_rng(0), 0, []
    while at < len(samples):
        size = int(random.choice([1, rate_hz // 100, rate_hz // 10, rate_hz]))
        frames.append(live.push(samples[at : at + size]))
        at = min(at + size, len(samples))
        due = np.floor((at / rate_hz - live.look_ahead_s) * fps - 1e-6) + 1
        assert sum(map(len, frames)) >= min(due, frames_of(at / rate_hz, fps=fps))
        assert len(live._heard.samples) <= 3.0 * rate_hz
    return np.concatenate([*frames, live.finish()])


@pytest.mark.parametrize("rate_hz", [16_000, 48_000, 44_100, 22_050, 8_000])
def test_live_frames_are_those_of_the_whole(rate_hz: int) -> None:
    samples = soxr.resample(voice(3.03), 16_000, rate_hz).astype(np.float32)
    trained = toy_trained()
    wanted = np.concatenate(list(animate(trained, Sound(samples, rate_hz), template=TEMPLATE, style=random_style())))
    live = streamer(rate_hz=rate_hz)
    assert live.exact
    assert live.look_ahead_s <= LOOK_AHEAD_S
    found = streamed(live, samples, rate_hz=rate_hz, fps=30.0)
    np.testing.assert_allclose(found, wanted, atol=10 * SAME_M)


@pytest.mark.parametrize(("fps", "exact"), [(25.0, False), (29.97, True), (60.0, True)])
def test_the_look_ahead_is_bounded_at_every_rate(fps: float, exact: bool) -> None:
    live, samples = streamer(fps), voice(2.0)
    assert live.exact == exact
    assert live.look_ahead_s <= LOOK_AHEAD_S
    found = streamed(live, samples, rate_hz=16_000, fps=fps)
    trained = toy_trained(fps=fps)
    wanted = np.concatenate(list(animate(trained, Sound(samples, 16_000), template=TEMPLATE, style=random_style())))
    assert len(found) == len(wanted)
    moves = np.abs(wanted - TEMPLATE).max()
    assert np.abs(found - wanted).max() <= (SAME_M if exact else 0.05 * moves)


@pytest.mark.parametrize("fps", [10.0, 30.0])
def test_a_sound_may_end_anywhere_between_two_frames(fps: float) -> None:
    trained, samples = toy_trained(fps=fps, decoder_stages=1), voice(2.0)
    for part in np.linspace(0.0, 1.0, 7):
        ended = samples[: round((1.5 + part / fps) * 16_000)]
        blocks = animate(trained, Sound(ended, 16_000), template=TEMPLATE, style=random_style())
        wanted = np.concatenate(list(blocks))
        for look_ahead_s in (0.0, 0.6):
            live = Streamer(trained, template=TEMPLATE, style=random_style(), look_ahead_s=look_ahead_s)
            found = np.concatenate([*(live.push(each) for each in np.array_split(ended, 100)), live.finish()])
            assert found.shape == wanted.shape
            if live.exact:
                np.testing.assert_allclose(found, wanted, atol=SAME_M)


def test_less_look_ahead_is_less_exact() -> None:
    samples, errors = voice(2.0), []
    trained = toy_trained()
    wanted = np.concatenate(list(animate(trained, Sound(samples, 16_000), template=TEMPLATE, style=random_style())))
    for look_ahead_s in (0.0, 0.2, 0.6):
        live = streamer(look_ahead_s=look_ahead_s)
        errors.append(float(np.abs(streamed(live, samples, rate_hz=16_000, fps=30.0) - wanted).mean()))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < SAME_M


def test_an_encoder_that_hears_all_sees_the_last_seconds() -> None:
    heard: list[int] = []

    class Global:
        """Tokens that depend on all samples it is given."""

        name, identity, n_audio = "global", "global 1", 80

        def tokens(self, samples: np.ndarray) -> Tokens:
            heard.append(len(samples))
            found = LogMel().tokens(samples)
            return Tokens(found.values - found.values.mean(), found.times_s)

    live = streamer(encoder=Global())
    assert not live.exact
    found = np.concatenate(list(live.follow(np.array_split(voice(7.0), 30))))
    assert found.shape == (210, 25, 3)
    assert np.isfinite(found).all()
    assert 4.0 * 16_000 < max(heard) < 5.5 * 16_000


def test_a_sound_is_over_once() -> None:
    live = streamer()
    assert len(live.push(np.zeros(0, np.float32))) == 0
    assert len(live.push(voice(0.3))) == 0
    assert len(live.finish()) == 9
    for call in (lambda: live.push(voice(0.1)), live.finish):
        with pytest.raises(UsageError, match="has ended"):
            call()


def test_what_cannot_be_followed_is_refused() -> None:
    rival = toy_trained("faceformer")
    with pytest.raises(UsageError, match="faceformer looks at the whole sound"):
        Streamer(rival, template=TEMPLATE, style=usual_style(rival))
    with pytest.raises(InputError, match="too short"):
        streamer().finish()
    with pytest.raises(InputError, match="no numbers"):
        streamer().push(np.full(100, np.nan, np.float32))
    with pytest.raises(InputError, match="samples a second"):
        streamer(rate_hz=10)
    with pytest.raises(InputError, match="24 vertices"):
        Streamer(toy_trained(), template=TEMPLATE[:-1], style=random_style())
