"""The microphone: samples keep their places, and what a real PortAudio hears of a private PulseAudio is recorded."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from capture.microphone.sounddevice_microphone import SLOTS, Arrived, Places, Ring, find_device, load_sounddevice
from mmface4d.errors import DeviceError, MissingBackendError

RATE = 48_000
LISTEN = """
import json, sys, time
import numpy as np
from capture.microphone.sounddevice_microphone import SoundDeviceMicrophone
blocks, errors = [], []
microphone = SoundDeviceMicrophone("pulse")
microphone.open(lambda block: blocks.append((time.monotonic_ns(), block)), errors.append)
print("listening", flush=True)
time.sleep(7)
microphone.close()
samples = np.concatenate([block.samples for _, block in blocks])
np.save(sys.argv[1], samples)
print(json.dumps({"first": [b.first for _, b in blocks], "host_nsec": [b.host_nsec for _, b in blocks],
    "came_nsec": [came for came, _ in blocks], "lost": sum(b.lost for _, b in blocks), "width": microphone.width,
    "overflows": microphone.overflows, "errors": [str(error) for error in errors]}))
"""


@pytest.fixture
def pulse(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a sound server of its own, with one null sink; skips where it does not start."""
    try:
        load_sounddevice()
    except MissingBackendError as error:
        pytest.skip(error.message)
    for program in ("pulseaudio", "pactl", "paplay"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    config = tmp_path / "asoundrc"
    config.write_text("</usr/share/alsa/alsa.conf>\npcm.pulse { type pulse }\nctl.pulse { type pulse }\n")
    env = {
        **os.environ, "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(runtime), "PULSE_RUNTIME_PATH": str(runtime),
        "PULSE_SERVER": f"unix:{runtime}/native", "ALSA_CONFIG_PATH": str(config),
    }  # fmt: skip
    script = tmp_path / "pulse.pa"
    script.write_text(
        f"load-module module-native-protocol-unix socket={runtime}/native auth-anonymous=1\n"
        f"load-module module-null-sink sink_name=room rate={RATE} channels=1 format=s32le\n"
        "set-default-sink room\nset-default-source room.monitor\n"
    )
    options = [
        "-n",
        "-F",
        str(script),
        "--daemonize=no",
        "--exit-idle-time=-1",
        "--use-pid-file=no",
        "--high-priority=no",
    ]
    server_env = {key: value for key, value in env.items() if key != "PULSE_SERVER"}
    server = subprocess.Popen(
        ["pulseaudio", *options], env=server_env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        for _ in range(40):
            if subprocess.run(["pactl", "info"], env=env, capture_output=True).returncode == 0:
                break
            if server.poll() is not None:
                pytest.skip(
                    f"pulseaudio does not start: {server.stderr.read().decode()[-200:] if server.stderr else ''}"
                )
            time.sleep(0.1)
        else:
            pytest.skip("pulseaudio does not answer")
        yield env
    finally:
        server.terminate()
        server.wait(10)


@pytest.mark.slow
def test_what_is_played_is_recorded(pulse: dict[str, str], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    played = 0.3 * rng.standard_normal(RATE).clip(-2, 2)
    soundfile.write(tmp_path / "played.wav", played, RATE, subtype="PCM_24")
    listener = subprocess.Popen(
        [sys.executable, "-c", LISTEN, str(tmp_path / "heard.npy")], env=pulse, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert listener.stdout is not None
    line = listener.stdout.readline()
    assert line == "listening\n", listener.communicate()[1]
    time.sleep(3.5)
    subprocess.run(["paplay", str(tmp_path / "played.wav")], env=pulse, check=True, timeout=20)
    out, errors = listener.communicate(timeout=30)
    assert listener.returncode == 0, errors
    found = json.loads(out)
    assert found["errors"] == []
    heard = np.load(tmp_path / "heard.npy")[:, 0] / 2**31
    size = 1 << 19
    likeness = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(played, size)))
    start = int(likeness.argmax())
    part = heard[start : start + RATE]
    assert np.corrcoef(part, played)[0, 1] > 0.98  # the server itself loses some samples on a busy machine
    first, host = np.array(found["first"]), np.array(found["host_nsec"])
    assert (np.diff(first) == 480).all()
    assert found["lost"] == 0
    late_s = (np.array(found["came_nsec"]) - host) / 1e9
    assert (late_s > 0).all()  # no sample comes before it was in the air
    assert np.median(late_s) < 1.0
    assert found["width"] in (2, 3, 4)


class Callback:
    """What PortAudio hands to a callback besides the samples."""

    def __init__(self, adc_s: float, *, overflow: bool = False) -> None:
        self.inputBufferAdcTime = adc_s
        self.input_overflow = overflow


def blocks_of(called_s: list[float], overflowed: set[int] = frozenset()) -> list[tuple[int, int]]:  # type: ignore[assignment]
    """Numbers of first samples, and what is lost before each, of callbacks that came at such times."""
    places = Places()
    out = []
    for index, at_s in enumerate(called_s):
        places.add(Arrived(np.zeros(1, np.uint8), at_s, at_s, index in overflowed))
        out += [(first, lost) for _, first, lost in places.ready()]
    return out


def test_callbacks_that_are_held_up_lose_nothing() -> None:
    rng = np.random.default_rng(0)
    times = np.arange(400) * 480 / RATE
    held = times + rng.exponential(0.002, 400)
    held[100:106] = times[106]  # six at once
    assert [lost for _, lost in blocks_of(sorted(held.tolist()))] == [0] * 390


@pytest.mark.parametrize("told", [True, False])
def test_samples_after_a_hole_keep_their_place(told: bool) -> None:
    times = np.arange(400) * 480 / RATE
    times[200:] += 0.25
    placed = blocks_of(times.tolist(), {200} if told else set())
    assert sum(lost for _, lost in placed) == pytest.approx(0.25 * RATE, abs=150)
    first, lost = placed[200]
    assert lost > 0
    assert first == pytest.approx(200 * 480 + 0.25 * RATE, abs=150)


def test_a_drifting_card_has_no_holes() -> None:
    times = np.arange(60_000) * 480 / RATE * (1 + 300e-6)  # ten minutes, 0.18 s slow
    assert sum(lost for _, lost in blocks_of(times.tolist())) == 0


def test_a_ring_that_nobody_reads_tells_of_it() -> None:
    ring = Ring(3)
    for number in range(2 * SLOTS):
        ring.called(bytes([number % 256]) * 480 * 3, 480, Callback(number * 0.01), Callback(0.0))
    taken = ring.take()
    assert 0 < len(taken) < SLOTS
    ring.called(bytes(480 * 3), 480, Callback(1.0), Callback(0.0))
    assert ring.take()[0].overflowed
    ring.called(bytes(10), 5, Callback(1.0), Callback(0.0))  # of another size: counted with the next
    ring.called(bytes(480 * 3), 480, Callback(1.0), Callback(0.0))
    assert ring.take()[0].overflowed


def test_devices_are_found_by_a_part_of_their_name() -> None:
    class Fake:
        PortAudioError = RuntimeError

        @staticmethod
        def query_devices(kind: str | None = None) -> object:
            listed = [
                {"name": "USB Mic A", "max_input_channels": 1}, {"name": "USB Mic B", "max_input_channels": 2},
                {"name": "Speaker", "max_input_channels": 0},
            ]  # fmt: skip
            if kind == "input":
                raise RuntimeError("no default")
            return listed

    assert find_device(Fake, "mic b")["name"] == "USB Mic B"
    for name, said in (("speaker", "no microphone"), ("usb", "2 microphones"), (None, "no default")):
        with pytest.raises(DeviceError, match=said) as caught:
            find_device(Fake, name)
        assert "USB Mic A, USB Mic B" in caught.value.message
