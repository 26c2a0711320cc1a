"""The doctor's checks, each on made-up machines: what is well, what is doubtful, what is wrong."""

import importlib.metadata
import json
import os
import shutil
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from capture.doctor import disk, kinect, machine, sound, usb
from capture.doctor.examination import recording_checks
from capture.doctor.finding import Finding, ok, problem, run_checks
from capture.doctor.kinect import Kinect, Kinects
from capture.virtual.bench import Bench, BenchSettings
from capture.virtual.k4a import installed
from capture.virtual.rig import Shot, virtual_rig
from capture.virtual.stage import Clip, Stage
from mmface4d.doctor import check_models, finding_lines, show_findings

GB = 1 << 30


def put(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def assert_verdict(finding: Finding | None, verdict: str, *words: str) -> None:
    assert finding is not None
    assert finding.verdict == verdict, finding
    assert (finding.remedy is None) == (verdict == "ok"), finding
    for word in words:
        assert word in f"{finding.found} {finding.remedy}", finding


def test_a_check_that_fails_or_hangs_stops_no_other() -> None:
    def broken() -> Finding:
        raise RuntimeError("no such thing")

    forever = threading.Event()
    checks = [
        ("first", broken), ("second", lambda: None), ("third", lambda: ok("third", "fine")),
        ("fourth", lambda: forever.wait() or ok("fourth", "never")), ("fifth", lambda: ok("fifth", "fine")),
    ]  # fmt: skip
    found = list(run_checks(checks, longest_s=0.2))
    forever.set()
    assert [finding.name for finding in found] == ["first", "third", "fourth", "fifth"]
    assert [finding.verdict for finding in found] == ["problem", "ok", "problem", "ok"]
    assert "RuntimeError: no such thing" in found[0].found
    assert "no answer" in found[2].found


def test_findings_are_aligned() -> None:
    lines = finding_lines(problem("kinects", "none found", remedy="plug them in"))
    assert lines[0].index("none found") == lines[1].index("do: plug")
    assert finding_lines(ok("python", "3.11"))[0].index("3.11") == lines[0].index("none found")


def test_text_without_a_terminal_has_no_colours(capsys: pytest.CaptureFixture[str]) -> None:
    findings = [ok("python", "3.11"), problem("kinects", "none found", remedy="plug them in")]
    assert show_findings(iter(findings)) == findings
    printed = capsys.readouterr().out
    assert printed.splitlines() == [line for finding in findings for line in finding_lines(finding)]
    assert "\x1b" not in printed


@pytest.mark.parametrize(("version", "verdict"), [("3.11.7", "ok"), ("3.10.1", "problem"), ("3.12.0", "problem")])
def test_python(version: str, verdict: str) -> None:
    assert_verdict(machine.check_python(version, ">=3.11,<3.12"), verdict, version)


def test_packages() -> None:
    assert_verdict(machine.check_packages(["numpy>=1", "pytest>=999; extra == 'dev'"]), "ok", "1 packages")
    assert_verdict(machine.check_packages(["numpy>=999"]), "warning", "numpy", "instead of >=999")
    missing = machine.check_packages(["numpy>=1", "no-such-package-here>=1; extra == 'capture'"])
    assert_verdict(missing, "problem", "no-such-package-here", "mmface4d[capture]")


def test_a_checkout_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", missing)
    monkeypatch.setattr(importlib.metadata, "metadata", missing)
    assert_verdict(machine.check_packages(), "warning", "without being installed")
    assert_verdict(machine.check_python(), "warning", "without being installed")


def test_processor(tmp_path: Path) -> None:
    put(tmp_path, "proc/cpuinfo", "processor\t: 0\nmodel name\t: Fast One\n")
    assert_verdict(machine.check_processor(tmp_path, cores=8), "ok", "8 cores, Fast One")
    assert_verdict(machine.check_processor(tmp_path, cores=1), "problem")
    assert_verdict(machine.check_processor(tmp_path / "nothing"), "ok" if (os.cpu_count() or 1) > 1 else "problem")


@pytest.mark.parametrize(
    ("total_gb", "free_gb", "verdict"), [(16, 12, "ok"), (3, 2, "warning"), (16, 0.5, "problem"), (3, 0.5, "problem")]
)
def test_memory(tmp_path: Path, total_gb: float, free_gb: float, verdict: str) -> None:
    lines = f"MemTotal: {total_gb * 1e9 / 1024:.0f} kB\nMemFree: 1 kB\nMemAvailable: {free_gb * 1e9 / 1024:.0f} kB\n"
    put(tmp_path, "proc/meminfo", lines)
    assert_verdict(machine.check_memory(tmp_path), verdict, f"{total_gb:.1f} GB")


def test_memory_that_cannot_be_read(tmp_path: Path) -> None:
    assert_verdict(machine.check_memory(tmp_path), "warning", "cannot be read")
    put(tmp_path, "proc/meminfo", "MemTotal:\n\nnonsense\nMemAvailable: many kB\n")
    assert_verdict(machine.check_memory(tmp_path), "warning", "cannot be read")


@pytest.mark.skipif(sys.platform != "linux", reason="clock sources are Linux's")
def test_clock(tmp_path: Path) -> None:
    source = "sys/devices/system/clocksource/clocksource0/current_clocksource"
    assert_verdict(machine.check_clock(tmp_path), "ok", "source unknown")
    put(tmp_path, source, "tsc\n")
    assert_verdict(machine.check_clock(tmp_path), "ok", "source tsc")
    put(tmp_path, source, "hpet\n")
    assert_verdict(machine.check_clock(tmp_path), "warning", "hpet")


def test_clocks_of_two_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    infos = {"monotonic": "clock_gettime(CLOCK_MONOTONIC)", "perf_counter": "QueryPerformanceCounter()"}
    monkeypatch.setattr(
        time, "get_clock_info", lambda name: SimpleNamespace(implementation=infos[name], resolution=1e-9)
    )
    assert_verdict(machine.check_clock(tmp_path), "warning", "different clocks")


def test_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(machine, "_nvidia_smi", lambda: "")
    assert_verdict(machine.check_gpu(), "ok", "none")
    monkeypatch.setattr(machine, "_nvidia_smi", lambda: "NVIDIA Something")
    assert_verdict(machine.check_gpu(), "warning", "NVIDIA Something", "cannot use")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"Card {number}")
    assert_verdict(machine.check_gpu(), "ok", "Card 0, Card 1")


def test_voice(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("espeakng_loader")
    assert_verdict(machine.check_voice(), "ok", "espeak-ng")
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    assert_verdict(machine.check_voice(), "warning", "mmface4d[capture]")


# USB


def plug(
    root: Path, name: str, product: str, *, vendor: str = "045e", serial: str = "000123", speed: str = "5000",
    controller: str = "0000:00:14.0", number: int = 7,
) -> None:  # fmt: skip
    """A device as sysfs shows it."""
    bus = name.split("-")[0]
    real = f"sys/devices/pci0000:00/{controller}/usb{bus}/{bus}-1/{name}"
    values = {"idVendor": vendor, "idProduct": product, "serial": serial, "speed": speed, "busnum": bus}
    for key, value in {**values, "devnum": str(number)}.items():
        put(root, f"{real}/{key}", value + "\n")
    links = root / "sys/bus/usb/devices"
    links.mkdir(parents=True, exist_ok=True)
    (links / name).symlink_to(root / real)
    put(root, f"dev/bus/usb/{int(bus):03d}/{number:03d}", "")


@pytest.mark.parametrize(
    ("text", "verdict"),
    [("16", "problem"), ("127", "problem"), ("128", "ok"), ("1000", "ok"), ("0", "ok"), ("-", "warning"),
     (None, "warning")],
)  # fmt: skip
def test_usb_memory(tmp_path: Path, text: str | None, verdict: str) -> None:
    if text is not None:
        put(tmp_path, "sys/module/usbcore/parameters/usbfs_memory_mb", text + "\n")
    assert_verdict(usb.check_usb_memory(tmp_path), verdict)


def test_usb_without_cameras_has_nothing_to_say(tmp_path: Path) -> None:
    plug(tmp_path, "1-4", "0a2b", vendor="8087")
    for check in (usb.check_usb_permission, usb.check_usb_speed, usb.check_usb_controllers):
        assert check(tmp_path) is None
        assert check(tmp_path / "nothing") is None


def test_usb_of_a_good_rig(tmp_path: Path) -> None:
    for place in range(3):
        controller = f"0000:0{place}:00.0"
        plug(tmp_path, f"{place + 1}-1.1", "097c", serial=f"00000{place}", controller=controller, number=5)
        plug(tmp_path, f"{place + 1}-1.2", "097d", serial=f"00000{place}", controller=controller, number=6)
    assert len(usb.usb_devices(tmp_path)) == 6
    assert_verdict(usb.check_usb_permission(tmp_path), "ok", "6 parts")
    assert_verdict(usb.check_usb_speed(tmp_path), "ok", "3 cameras")
    assert_verdict(usb.check_usb_controllers(tmp_path), "ok", "3 cameras")


def test_usb_permission(tmp_path: Path) -> None:
    plug(tmp_path, "2-1.1", "097c", number=5)
    plug(tmp_path, "2-1.2", "097d", number=6)
    plug(tmp_path, "2-1.3", "097e", number=7)  # the microphones are no matter of the SDK's
    finding = usb.check_usb_permission(tmp_path, may_open=lambda node: node.name == "006")
    assert_verdict(finding, "problem", "dev/bus/usb/002/005", "99-k4a.rules")
    assert finding is not None
    assert "006" not in finding.found
    shutil.rmtree(tmp_path / "dev")
    assert_verdict(usb.check_usb_permission(tmp_path), "problem")


def test_usb_speed(tmp_path: Path) -> None:
    plug(tmp_path, "2-1.1", "097c", serial="000001")
    plug(tmp_path, "1-1.1", "097c", serial="000002", speed="480")
    finding = usb.check_usb_speed(tmp_path)
    assert_verdict(finding, "problem", "000002 at 480 Mbit/s")
    assert finding is not None
    assert "000001" not in finding.found


def test_usb_controllers(tmp_path: Path) -> None:
    plug(tmp_path, "2-1.1", "097c", serial="000001")
    plug(tmp_path, "2-2.1", "097c", serial="000002")
    plug(tmp_path, "4-1.1", "0669", vendor="2bc5", serial="CL8", controller="0000:05:00.0")
    finding = usb.check_usb_controllers(tmp_path)
    assert_verdict(finding, "warning", "000001, 000002 on 0000:00:14.0")
    assert finding is not None
    assert "CL8" not in finding.found


# Kinects


class FakeModule:
    """What of `k4a_module` the doctor calls; devices are (serial, IN, OUT), None cannot be opened."""

    def __init__(self, *devices: tuple[str, int, int] | None) -> None:
        self.devices, self.open = devices, 0

    def device_get_installed_count(self) -> int:
        return len(self.devices)

    def device_open(self, index: int, thread_safe: bool) -> tuple[int, int | None]:
        assert not thread_safe
        if self.devices[index] is None:
            return 1, None
        self.open += 1
        return 0, index

    def device_get_version(self, handle: int, _: bool) -> None:
        return None

    def device_get_serialnum(self, handle: int, _: bool) -> str:
        return self._device(handle)[0]

    def device_get_sync_jack(self, handle: int, _: bool) -> tuple[int, int, int]:
        return (0, *self._device(handle)[1:])

    def device_close(self, handle: int, _: bool) -> int:
        self.open -= 1
        return 0

    def _device(self, handle: int) -> tuple[str, int, int]:
        device = self.devices[handle]
        assert device is not None
        return device


GOOD_RIG = (("000001", 1, 0), ("000002", 0, 1), ("000003", 1, 1))


def test_good_rig() -> None:
    module = FakeModule(*GOOD_RIG)
    found = kinect.read_kinects(module, firmware=lambda *_: "1.6.110079014")
    assert module.open == 0
    assert_verdict(kinect.check_kinects(found), "ok", "000001, 000002, 000003")
    assert_verdict(kinect.check_roles(found), "ok", "000002 is master of 000001, 000003")
    assert_verdict(kinect.check_firmware(found), "ok", "000001: 1.6.110079014")


def test_virtual_rig_under_the_real_module() -> None:
    """Devices that are opened through pyk4a's own extension, well and not so well."""
    pytest.importorskip("pyk4a")
    rig = virtual_rig(seed=3)
    shot = Shot(b"", np.zeros((576, 640), np.uint16))
    idle = Clip(({device.serial: shot for device in rig.devices},))
    serials = [device.serial for device in rig.devices]
    with installed(Bench(rig, Stage(idle, fps=30))):
        found = kinect.read_kinects(kinect.load_k4a_module())
    assert_verdict(kinect.check_kinects(found), "ok", *serials)
    assert_verdict(kinect.check_roles(found), "ok", f"{rig.master.serial} is master")
    assert_verdict(kinect.check_firmware(found), "ok", "1.6.110079014")
    settings = BenchSettings(jacks=False, firmware={serials[0]: "1.6.98079014"})
    with installed(Bench(rig, Stage(idle, fps=30), settings)):
        found = kinect.read_kinects(kinect.load_k4a_module())
    assert_verdict(kinect.check_roles(found), "warning", "no device reports a cable")
    assert_verdict(kinect.check_firmware(found), "warning", "not the same")


def test_devices_that_are_missing_or_taken() -> None:
    assert_verdict(kinect.check_kinects(kinect.read_kinects(FakeModule())), "problem", "none found")
    assert_verdict(kinect.check_kinects(kinect.read_kinects(FakeModule(*GOOD_RIG[:2]))), "warning", "2: 000001")
    taken = kinect.read_kinects(FakeModule(GOOD_RIG[0], None, GOOD_RIG[2]))
    assert_verdict(kinect.check_kinects(taken), "problem", "device 1 cannot be opened", "opened: 000001, 000003")


def test_a_device_that_fails_while_asked_is_closed() -> None:
    module = FakeModule(*GOOD_RIG)

    def fail(*_: object) -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        kinect.read_kinects(module, firmware=fail)
    assert module.open == 0


@pytest.mark.parametrize(
    ("jacks", "verdict"),
    [
        ([(0, 1), (1, 1), (1, 0)], "ok"),  # a chain
        ([(0, 1), (1, 0), (1, 0)], "ok"),  # a star
        ([(0, 0), (0, 0), (0, 0)], "warning"),  # nothing plugged in, or devices that never tell
        ([(0, 1), (0, 1), (1, 0)], "problem"),  # two masters
        ([(1, 1), (1, 1), (1, 1)], "problem"),  # a ring
        ([(0, 1), (1, 0), (0, 0)], "problem"),  # one is left out
    ],
)
def test_sync_cables(jacks: list[tuple[int, int]], verdict: str) -> None:
    rig = [(f"00000{place}", *cables) for place, cables in enumerate(jacks)]
    assert_verdict(kinect.check_roles(kinect.read_kinects(FakeModule(*rig))), verdict)


def test_sync_cables_of_one_camera_do_not_matter() -> None:
    assert kinect.check_roles(kinect.read_kinects(FakeModule(("000001", 0, 0)))) is None


@pytest.mark.parametrize(
    ("versions", "verdict"),
    [(["1.6.110079014", "1.6.110079014"], "ok"), (["1.6.110079014", "1.6.108079014"], "warning"),
     (["1.6.98079014", "1.6.98079014"], "warning"), (["1.6.110079014", None], "ok")],
)  # fmt: skip
def test_firmware(versions: list[str | None], verdict: str) -> None:
    devices = tuple(Kinect(f"00000{place}", True, False, version) for place, version in enumerate(versions))
    assert_verdict(kinect.check_firmware(Kinects(devices)), verdict, "1.6.")


def test_firmware_that_nobody_tells() -> None:
    assert kinect.check_firmware(kinect.read_kinects(FakeModule(*GOOD_RIG), firmware=lambda *_: None)) is None


def test_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyk4a")
    assert_verdict(kinect.check_sdk(), "ok", "pyk4a")
    kinect.load_libraries.cache_clear()
    monkeypatch.setitem(sys.modules, "pyk4a", None)
    assert_verdict(kinect.check_sdk(), "problem", "mmface4d[capture]")


# sound


class FakeSound:
    """What of `sounddevice` the doctor calls."""

    class PortAudioError(Exception):
        pass

    def __init__(self, *names: str, chosen: int = 0, formats: tuple[str, ...] = ("int24",)) -> None:
        self.names, self.formats = names, formats
        self.default = SimpleNamespace(device=[chosen, 0])

    def get_portaudio_version(self) -> tuple[int, str]:
        return 1, "PortAudio V19"

    def query_devices(self) -> list[dict[str, object]]:
        return [{"name": name, "max_input_channels": 0 if name == "loudspeaker" else 1} for name in self.names]

    def check_input_settings(self, *, device: int, channels: int, dtype: str, samplerate: int) -> None:
        assert (channels, samplerate, self.names[device]) == (1, 48_000, "interface")
        if dtype not in self.formats:
            raise self.PortAudioError("Sample format not supported")


def test_sound_that_is_well() -> None:
    found = FakeSound("loudspeaker", "interface", "webcam", chosen=1)
    assert_verdict(sound.check_portaudio(lambda: found), "ok", "V19")
    assert_verdict(sound.check_microphone(lambda: found), "ok", "interface (of 2)")
    assert_verdict(sound.check_sound_format(lambda: found), "ok", "48 kHz, 24 bits")


def test_no_microphone() -> None:
    found = FakeSound("loudspeaker")
    assert_verdict(sound.check_microphone(lambda: found), "problem", "no input")
    assert sound.check_sound_format(lambda: found) is None


def test_no_chosen_microphone() -> None:
    found = FakeSound("interface", chosen=-1)
    assert_verdict(sound.check_microphone(lambda: found), "warning", "interface")
    assert_verdict(sound.check_sound_format(lambda: found), "ok")


@pytest.mark.parametrize(("formats", "verdict"), [(("int32",), "ok"), (("int16",), "problem")])
def test_sound_format(formats: tuple[str, ...], verdict: str) -> None:
    assert_verdict(sound.check_sound_format(lambda: FakeSound("interface", formats=formats)), verdict)


@pytest.mark.parametrize(("error", "remedy"), [(ImportError, "mmface4d[capture]"), (OSError, "libportaudio2")])
def test_no_portaudio(error: type[Exception], remedy: str) -> None:
    def load() -> None:
        raise error("not found")

    assert_verdict(sound.check_portaudio(load), "problem", remedy)
    assert sound.check_microphone(load) is None
    assert sound.check_sound_format(load) is None


# disk


def test_folder(tmp_path: Path) -> None:
    assert_verdict(disk.check_folder(tmp_path), "ok", str(tmp_path))
    assert_verdict(disk.check_folder(tmp_path / "no"), "problem", "mkdir")
    assert_verdict(disk.check_folder(put(tmp_path, "file", "")), "problem", "no folder")
    for check in (disk.check_space, disk.check_speed):
        assert check(tmp_path / "no") is None


def test_folder_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert_verdict(disk.check_folder(tmp_path), "problem", "may not be written")
    assert disk.check_speed(tmp_path) is None


@pytest.mark.parametrize(("minutes", "verdict"), [(5, "problem"), (30, "warning"), (90, "ok")])
def test_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minutes: int, verdict: str) -> None:
    free = minutes * 60 * disk.NEEDED_BYTES_S + 1
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert_verdict(disk.check_space(tmp_path), verdict, f"{minutes} minutes", "MB/s")


@pytest.mark.parametrize(("times", "verdict"), [(0.5, "problem"), (1.5, "warning"), (5, "ok")])
def test_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: float, verdict: str) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100 * GB))
    finding = disk.check_speed(tmp_path, measure=lambda _: times * disk.NEEDED_BYTES_S)
    assert_verdict(finding, verdict, "3 cameras need 62")


def test_speed_of_a_full_disk_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=GB))
    assert_verdict(disk.check_speed(tmp_path), "warning", "nearly full")


def test_measuring_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "MOST_BYTES", 8 << 20)
    assert disk.write_speed(tmp_path) > 1e6
    assert not list(tmp_path.iterdir())


MOUNTS = """22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / {folder}/my\\040lab rw,relatime shared:2 - {kind} server:/lab rw
31 22 0:41 / {folder}/other rw - xfs /dev/sdb1 rw
nonsense
"""


@pytest.mark.parametrize(
    ("kind", "verdict"), [("nfs4", "warning"), ("cifs", "warning"), ("fuse.sshfs", "warning"), ("9p", "warning"),
                          ("ext4", "ok"), ("btrfs", "ok"), ("fuseblk", "ok")],
)  # fmt: skip
def test_file_system(tmp_path: Path, kind: str, verdict: str) -> None:
    root = tmp_path / "root"
    put(root, "proc/self/mountinfo", MOUNTS.format(folder=tmp_path, kind=kind))
    (tmp_path / "my lab" / "takes").mkdir(parents=True)
    assert_verdict(disk.check_file_system(tmp_path / "my lab" / "takes", root), verdict, kind, "my lab")
    assert_verdict(disk.check_file_system(tmp_path, root), "ok", "ext4 at /")
    assert disk.check_file_system(tmp_path, tmp_path / "nothing") is None


# the whole


def test_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MMFACE4D_MODELS", str(tmp_path))
    assert_verdict(check_models(), "ok", "canonical")
    put(tmp_path, "broken.npz", "this is no model")
    assert_verdict(check_models(), "warning", "broken")


def test_every_check_has_its_own_name(tmp_path: Path) -> None:
    names = [name for name, _ in recording_checks(tmp_path)]
    assert len(set(names)) == len(names)
    assert {"kinects", "sync cables", "usb memory", "microphone", "disk speed", "gpu", "clock", "voice"} <= set(names)


def test_an_empty_machine_has_problems_but_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "write_speed", lambda _: 1e9)
    for name in ("pyk4a", "sounddevice", "espeakng_loader"):
        monkeypatch.setitem(sys.modules, name, None)
    kinect.load_libraries.cache_clear()
    found = {finding.name: finding for finding in run_checks(recording_checks(tmp_path / "no", root=tmp_path))}
    assert {name for name, finding in found.items() if finding.verdict == "problem"} >= {
        "kinect sdk",
        "portaudio",
        "folder",
    }
    assert not [finding for finding in found.values() if "cannot be checked" in finding.found]
    assert all(finding.remedy for finding in found.values() if finding.verdict != "ok")


def test_command_line(tmp_path: Path, run_cli) -> None:
    done = run_cli("doctor", "--folder", tmp_path, "--json")
    findings = json.loads(done.stdout)
    problems = [finding["name"] for finding in findings if finding["verdict"] == "problem"]
    assert done.returncode == (5 if problems else 0), done.stderr
    assert {"python", "processor", "disk speed", "models"} <= {finding["name"] for finding in findings}
    assert "Traceback" not in done.stderr
    for name in problems:
        assert name in done.stderr
    assert not list(tmp_path.iterdir())
