"""What this machine has to share between workers: cores, memory and GPUs, as far as this process may use them."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from mmface4d.errors import MissingBackendError

MEMORY_PART = 0.85  # of what is free now, for all workers together
# of a worker before any was measured: 1.3 GB with the built-in model at three cameras of 1080p, and room
DEFAULT_NEED_BYTES = 2_000_000_000
THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "TBB_NUM_THREADS",
)  # fmt: skip
# A second thread splits sums in another place, and the last bits of every mesh would depend on how many cores were free
# (measured: 1e-13 in an actor). One for each worker is no loss where there are as many workers as cores.
THREADS = "1"
UNLIMITED = 1 << 60


def shares(*, device: str, workers: int | None, need_bytes: int, jobs: int) -> list[dict[str, str]]:
    """The environment of each worker: `workers` of them, or as many as GPUs, or as cores, memory and jobs allow."""
    gpus = visible_gpus() if device == "cuda" else []
    if device == "cuda" and not gpus:
        raise MissingBackendError("there is no NVIDIA GPU here", hint="give --device cpu, or run where a GPU is")
    if workers is None:
        by_memory = int(free_memory_bytes() * MEMORY_PART // need_bytes)
        workers = max(min(len(gpus) or cores(), by_memory, jobs), 1)
    return [_share(gpus[number % len(gpus)] if gpus else None) for number in range(workers)]


def _share(gpu: str | None) -> dict[str, str]:
    return one_thread_each() | ({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})


def one_thread_each() -> dict[str, str]:
    """What libraries read to know how many threads they may use."""
    return dict.fromkeys(THREAD_VARIABLES, THREADS)


def cores() -> int:
    """Cores that this process may use: of the machine, its affinity, its control group, and its Slurm task."""
    limits = [os.cpu_count() or 1]
    if hasattr(os, "sched_getaffinity"):
        limits.append(len(os.sched_getaffinity(0)))
    with suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            limits.append(int(quota) // int(period))
    with suppress(KeyError, ValueError):
        limits.append(int(os.environ["SLURM_CPUS_PER_TASK"]))
    return max(min(limits), 1)


def free_memory_bytes() -> int:
    """Memory that can be taken without swapping, within the limits of control group and Slurm job."""
    return min([_available_bytes(), *_limits_bytes()])


def _available_bytes() -> int:
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _limits_bytes() -> Iterator[int]:
    with suppress(OSError, ValueError):
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if limit != "max":
            yield max(int(limit) - int(Path("/sys/fs/cgroup/memory.current").read_text()), 0)
    with suppress(KeyError, ValueError):
        limit_mb = int(os.environ["SLURM_MEM_PER_NODE"])
        yield limit_mb << 20 if limit_mb else UNLIMITED  # 0 is all of the node's
    yield UNLIMITED


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; the driver is asked, not CUDA."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [each.strip() for each in named.split(",") if each.strip() not in ("", "-1")]
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    if done.returncode:
        return []
    parts = re.findall(r"UUID: (MIG-[^)\s]+)", done.stdout)  # of GPUs that are divided, only their parts can be used
    return parts or [str(number) for number, _ in enumerate(re.findall(r"^GPU ", done.stdout, re.MULTILINE))]
