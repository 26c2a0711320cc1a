"""Python, packages, processor, memory, clock, graphics card and the virtual actor's voice."""

import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from capture.doctor.finding import Finding, ok, problem, read_text, warning
from mmface4d.errors import Mmface4dError

LEAST_CORES = 2  # three cameras and a microphone were held at 30 frames a second by two
LEAST_MEMORY_GB, LEAST_FREE_GB = 4.0, 1.0
STEADY_CLOCKS = ("tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page", "xen")
MOST_TICK_S = 1e-6
INSTALL = 'pip install "mmface4d[capture]"'
EXTRAS = ("", "capture")


def check_python(version: str | None = None, needed: str | None = None) -> Finding:
    """The interpreter against what the package asks for."""
    version = version or platform.python_version()
    try:
        needed = needed or importlib.metadata.metadata("mmface4d")["Requires-Python"]
    except importlib.metadata.PackageNotFoundError:
        return _not_installed("python", version)
    if SpecifierSet(needed).contains(version, prereleases=True):
        return ok("python", f"{version} ({sys.executable})")
    return problem("python", f"{version}, needed {needed}", remedy=f"make a virtual environment with Python {needed}")


def check_packages(requirements: list[str] | None = None) -> Finding:
    """Every package that recording needs is there, in a version that it was made for."""
    try:
        declared = importlib.metadata.requires("mmface4d") or [] if requirements is None else requirements
    except importlib.metadata.PackageNotFoundError:
        return _not_installed("packages", "not compared")
    needed = [r for r in map(Requirement, declared) if r.marker is None or _wanted(r)]
    missing, other = [], []
    for requirement in needed:
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(requirement.name)
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            other.append(f"{requirement.name} {version} instead of {requirement.specifier}")
    if missing:
        return problem("packages", f"missing: {', '.join(missing)}", remedy=INSTALL)
    if other:
        return warning("packages", "; ".join(other), remedy=f"{INSTALL} --upgrade")
    return ok("packages", f"{len(needed)} packages, versions as needed")


def _wanted(requirement: Requirement) -> bool:
    return requirement.marker is not None and any(requirement.marker.evaluate({"extra": extra}) for extra in EXTRAS)


def _not_installed(name: str, found: str) -> Finding:
    what = f"{found}; mmface4d runs without being installed, so nothing tells what it needs"
    return warning(name, what, remedy=INSTALL)


def check_processor(root: Path = Path("/"), *, cores: int | None = None) -> Finding:
    """Enough cores to keep up with three cameras."""
    cores = cores or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    found = f"{cores} cores{_processor_name(root)}"
    if cores < LEAST_CORES:
        return problem(
            "processor", found, remedy=f"three cameras need {LEAST_CORES} cores; use another machine or one camera"
        )
    return ok("processor", found)


def _processor_name(root: Path) -> str:
    for line in (read_text(root / "proc/cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            return f", {line.partition(':')[2].strip()}"
    return ""


def check_memory(root: Path = Path("/")) -> Finding:
    """Enough memory for recording and for the face checks of a take."""
    values = {}
    for line in (read_text(root / "proc/meminfo") or "").splitlines():
        name, _, rest = line.partition(":")
        if rest.split()[:1] and rest.split()[0].isdecimal():
            values[name] = int(rest.split()[0]) * 1024 / 1e9
    if not {"MemTotal", "MemAvailable"} <= values.keys():
        return warning("memory", "cannot be read", remedy=f"make sure that there are {LEAST_MEMORY_GB:.0f} GB")
    found = f"{values['MemTotal']:.1f} GB, {values['MemAvailable']:.1f} GB of it free"
    if values["MemAvailable"] < LEAST_FREE_GB:
        return problem("memory", found, remedy="close other programs")
    if values["MemTotal"] < LEAST_MEMORY_GB:
        return warning("memory", found, remedy=f"{LEAST_MEMORY_GB:.0f} GB are advised: checking takes may be slow")
    return ok("memory", found)


def check_clock(root: Path = Path("/")) -> Finding:
    """A monotonic clock that is fine and steady, and the same for Python and the drivers."""
    monotonic, counter = time.get_clock_info("monotonic"), time.get_clock_info("perf_counter")
    source = read_text(root / "sys/devices/system/clocksource/clocksource0/current_clocksource")
    found = f"{monotonic.implementation}, source {source or 'unknown'}"
    if "CLOCK_MONOTONIC" not in monotonic.implementation or monotonic.implementation != counter.implementation:
        return warning(
            "clock", found, remedy="sound and pictures are timed by different clocks: check with a clap, or use Linux"
        )
    if monotonic.resolution > MOST_TICK_S:
        return warning("clock", f"{found}, ticks of {monotonic.resolution * 1e6:.0f} µs", remedy="use a newer kernel")
    if source is not None and source not in STEADY_CLOCKS:
        return warning(
            "clock", found, remedy="the kernel does not trust the processor's clock: look for 'tsc' in dmesg"
        )
    return ok("clock", found)


def check_gpu() -> Finding:
    """For information: recording needs none, reconstruction is quicker with one."""
    import torch

    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        return ok("gpu", ", ".join(torch.cuda.get_device_name(number) for number in range(count)))
    names = _nvidia_smi()
    if names:
        return warning(
            "gpu", f"{names}, which torch {torch.__version__} cannot use",
            remedy="recording does not need it; for reconstruction install a torch with CUDA for this driver",
        )  # fmt: skip
    return ok("gpu", "none; recording needs none, reconstruction runs on the processor")


def _nvidia_smi() -> str:
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return ", ".join(line.strip() for line in run.stdout.splitlines() if line.strip())


def check_voice() -> Finding:
    """The virtual actor can speak."""
    from capture.virtual.espeak import say

    try:
        say("ready")
    except Mmface4dError as error:
        return warning("voice", error.message, remedy=f"only the virtual rig needs it: {error.hint or INSTALL}")
    return ok("voice", "espeak-ng, for the virtual rig's actor")
