"""The virtual microphone: its samples are the stage's, at the right instants by a clock of its own."""

import time

import numpy as np
import pytest

from capture.microphone.microphone import Block
from capture.microphone.virtual import VirtualMicrophone, VirtualSound, interpolated
from capture.virtual.stage import Clip, Stage
from capture.virtual.voice import SAMPLE_RATE
from mmface4d.errors import DeviceError


def listened(microphone: VirtualMicrophone, seconds: float) -> tuple[list[Block], list[Exception]]:
    blocks: list[Block] = []
    errors: list[Exception] = []
    microphone.open(blocks.append, errors.append)
    time.sleep(seconds)
    microphone.close()
    return blocks, errors


def tone(seconds: float, hz: float = 1000.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE)


def stage() -> Stage:
    return Stage(Clip(({},)), fps=30)


def test_between_samples_the_sound_goes_on_smoothly() -> None:
    heard = stage()
    heard.perform(Clip(({},) * 30, tone(1.0)))
    begin = heard._performed[0].tick / 30 * SAMPLE_RATE
    at = begin + 1000 + np.arange(480) * (1 + 400e-6) + 0.37
    expected = 0.5 * np.sin(2 * np.pi * 1000 * (at - begin) / SAMPLE_RATE)
    assert np.abs(interpolated(heard, at) - expected).max() < 3e-3


@pytest.mark.parametrize("rate_ppm", [-400.0, 0.0, 400.0])
def test_a_click_is_heard_when_it_sounded(rate_ppm: float) -> None:
    heard = stage()
    microphone = VirtualMicrophone(heard, VirtualSound(rate_ppm=rate_ppm, jitter_s=0.0))
    click = np.zeros(SAMPLE_RATE // 2)
    click[12_000] = 0.9
    tick = heard.perform(Clip(({},) * 15, click), lead_s=0.2)
    blocks, errors = listened(microphone, 1.2)
    assert not errors
    samples = np.concatenate([block.samples[:, 0] for block in blocks])
    sounded_s = tick / 30 + 12_000 / SAMPLE_RATE
    assert microphone.heard_at_s(int(np.abs(samples).argmax())) == pytest.approx(sounded_s, abs=3e-5)
    assert [block.first for block in blocks] == [480 * n for n in range(len(blocks))]
    for block in blocks:
        assert block.host_nsec == pytest.approx(heard.host_nsec(microphone.heard_at_s(block.first)), abs=1000)


def test_a_day_of_samples_drifts_as_it_should() -> None:
    microphone = VirtualMicrophone(stage(), VirtualSound(rate_ppm=123.0))
    after = 86_400 * SAMPLE_RATE
    assert microphone.heard_at_s(after) - microphone.heard_at_s(0) == pytest.approx(86_400 / (1 + 123e-6), abs=1e-6)


def test_it_fails_on_demand() -> None:
    microphone = VirtualMicrophone(stage(), VirtualSound(jitter_s=0.0))
    blocks: list[Block] = []
    errors: list[Exception] = []
    microphone.open(blocks.append, errors.append)
    time.sleep(0.1)
    microphone.fault("lost")
    time.sleep(0.1)
    microphone.fault("silent")
    time.sleep(0.1)
    microphone.fault("gone")
    time.sleep(0.1)
    assert microphone.overflows == 1
    [hole] = [block for block in blocks if block.lost]
    assert hole.lost == 480
    numbers = [block.first for block in blocks]
    assert sum(np.diff(numbers) == 960) == 1
    assert not blocks[-1].samples.any()
    assert len(errors) == 1
    microphone.close()
    with pytest.raises(DeviceError):
        microphone.open(blocks.append, errors.append)
    microphone.repair()
    assert listened(microphone, 0.1)[0]
