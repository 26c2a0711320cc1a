"""Real clusters on this machine: Slurm's daemons, and Ray nodes that can be killed."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

START_S = 60.0
SLURM_PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "sinfo")
SLURM_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory={memory_mb} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(**more: str) -> dict[str, str]:
    """Of programs that are to find the project's packages."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])} | more


@contextmanager
def slurm_cluster() -> Iterator[dict[str, str]]:
    """One node under slurmctld and slurmd; yields the environment in which sbatch finds it."""
    missing = [program for program in SLURM_PROGRAMS if shutil.which(program) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"Slurm cannot be started: {f'no {missing[0]} here' if missing else 'only root may'}")
    with tempfile.TemporaryDirectory(prefix="slurm-") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "munge.key").write_bytes(os.urandom(64))
        (folder / "munge.key").chmod(0o600)
        for each in ("state", "spool"):
            (folder / each).mkdir()
        config = folder / "slurm.conf"
        config.write_text(SLURM_CONF.format(
            host=socket.gethostname().partition(".")[0], folder=folder, controller_port=free_port(),
            node_port=free_port(), memory_mb=_memory_mb(),
        ))  # fmt: skip
        found = environment(SLURM_CONF=str(config))
        keys = ("key-file", "munge.key"), ("socket", "munge.socket"), ("pid-file", "munged.pid")
        keys += ("log-file", "munged.log"), ("seed-file", "munge.seed")
        munge = [f"--{option}={folder / file}" for option, file in keys]
        for command in (
            ["munged", "--force", "--foreground", *munge],
            ["slurmctld", "-D", "-f", str(config)], ["slurmd", "-D", "-f", str(config)],
        ):  # fmt: skip
            stack.enter_context(_daemon(command, found))
            time.sleep(1.0)
        _await_idle(found)
        yield found


def _memory_mb() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 9 // 10 >> 20


@contextmanager
def _daemon(command: list[str], found: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(command, env=found, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_idle(found: dict[str, str]) -> None:
    end = time.monotonic() + START_S
    told = ""
    while time.monotonic() < end:
        done = subprocess.run(
            ["sinfo", "--noheader", "--format=%t"], env=found, capture_output=True, text=True, check=False
        )  # fmt: skip
        told = done.stdout + done.stderr
        if done.stdout.strip() == "idle":
            return
        time.sleep(0.5)
    pytest.skip(f"Slurm does not start here: {told.strip()[-200:]}")


@dataclass
class RayNode:
    """What `ray start` left running."""

    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """-9 to all its processes at once, as a power cut would."""
        for pid in [*descendants(self.process.pid), self.process.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


def descendants(pid: int) -> list[int]:
    """Processes that a process has started, and those that they have."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    found, todo = [], [pid]
    while todo:
        more = children.get(todo.pop(), [])
        found += more
        todo += more
    return found


@contextmanager
def ray_cluster() -> Iterator[tuple[str, RayNode]]:
    """Two nodes of one core each, by `ray start`; yields the address, and the node that is not the head."""
    pytest.importorskip("ray", reason="Ray is not installed")
    port = free_port()
    with ExitStack() as stack:
        nodes = []
        for where in (["--head", f"--port={port}", "--include-dashboard=false"], [f"--address=127.0.0.1:{port}"]):
            # both would want the same port for their workers' metrics
            node = _ray_node([*where, "--num-cpus=1", "--object-store-memory=100000000"])
            stack.callback(node.kill)
            nodes.append(node)
            _await_nodes(f"127.0.0.1:{port}", len(nodes))
        yield f"127.0.0.1:{port}", nodes[1]


def _ray_node(options: list[str]) -> RayNode:
    ray = str(Path(sys.executable).with_name("ray"))
    found = environment(RAY_USAGE_STATS_ENABLED="0", RAY_health_check_failure_threshold="2")
    process = subprocess.Popen(
        [ray, "start", "--block", *options], env=found, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return RayNode(process)


def _await_nodes(address: str, count: int) -> None:
    code = (
        "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='ERROR');"
        "print(sum(node['Alive'] for node in ray.nodes()))"
    )
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        done = subprocess.run(
            [sys.executable, "-c", code, address], env=environment(), capture_output=True, text=True, check=False
        )
        if done.stdout.strip() == str(count):
            return
    pytest.skip(f"Ray does not start here: {done.stderr.strip()[-200:]}")
