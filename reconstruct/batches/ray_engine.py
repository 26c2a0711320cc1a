"""The same jobs on a Ray cluster whose nodes share a file system; a node that is lost takes only its jobs with it."""

import os
import socket
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from mmface4d.errors import InputError, MissingBackendError
from reconstruct.batches.failures import LOST_WORKER, OUT_OF_MEMORY
from reconstruct.batches.jobs import Job, Outcome, lost
from reconstruct.batches.machine import one_thread_each
from reconstruct.result_key import program_version

QUEUED_AHEAD = 2  # tasks for each one that can run: a node that joins later has work at once
CHECK_S = 120.0
KNOCK_S = 10.0


@dataclass(frozen=True)
class TaskNeeds:
    """What a task reserves on its node."""

    cpus: int = 1
    gpus: float = 0.0


class RayEngine:
    """Hands jobs to a cluster: the one at `address`, or a new one on this machine.

    `folders` are where the jobs read and write; nodes that see others there are refused. Raises MissingBackendError
    where Ray is not installed or no cluster answers, InputError where a node does not share the files.
    """

    def __init__(
        self, work: Callable[[Job], Outcome], *, address: str | None, needs: TaskNeeds, folders: list[Path]
    ) -> None:  # fmt: skip
        self._ray = _ray()
        self._needs, self._running = needs, dict[Any, Job]()
        _connect(self._ray, address)
        try:
            self._check_nodes(folders)
        except BaseException:
            self._ray.shutdown()
            raise
        self._task = self._ray.remote(work).options(
            num_cpus=needs.cpus, num_gpus=needs.gpus, max_retries=0,
            runtime_env={"env_vars": one_thread_each()},
        )  # fmt: skip

    def __enter__(self) -> "RayEngine":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def free(self) -> bool:
        """Whether the cluster can take a job, or have one waiting."""
        return len(self._running) < max(self.slots, 1) * QUEUED_AHEAD

    @property
    def slots(self) -> int:
        """How many tasks fit on the nodes that there are now."""
        resources = self._ray.cluster_resources()
        by_cpu = resources.get("CPU", 0) // self._needs.cpus
        by_gpu = resources.get("GPU", 0) // self._needs.gpus if self._needs.gpus else by_cpu
        return int(min(by_cpu, by_gpu))

    def submit(self, job: Job) -> None:
        """Queues a job on the cluster."""
        self._running[self._task.remote(job)] = job

    def wait(self, timeout_s: float) -> list[tuple[Job, Outcome]]:
        """What has come to its end within that time."""
        if not self._running:
            return []
        ended, _ = self._ray.wait(list(self._running), num_returns=1, timeout=timeout_s)
        more, _ = self._ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
        return [(self._running.pop(each), self._outcome(each)) for each in dict.fromkeys([*ended, *more])]

    def close(self) -> None:
        """Calls off what runs, and leaves the cluster."""
        for each in self._running:
            self._ray.cancel(each, force=True)
        self._ray.shutdown()

    def _outcome(self, reference: Any) -> Outcome:
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except errors.OutOfMemoryError as error:
            return lost(OUT_OF_MEMORY, _first_sentence(error), hint="start Ray with fewer --num-cpus on that node")
        except errors.RayError as error:  # its node or its process is gone
            return lost(LOST_WORKER, _first_sentence(error))

    def _check_nodes(self, folders: list[Path]) -> None:
        """Every node must see the same files and run the same program."""
        token = uuid.uuid4().hex
        marks = [folder / f".shared-{token}" for folder in folders]
        for mark in marks:
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.write_text(token)
        try:
            for node in self._ray.nodes():
                if node["Alive"]:
                    self._check_node(node, marks, token)
        finally:
            for mark in marks:
                mark.unlink(missing_ok=True)

    def _check_node(self, node: dict[str, Any], marks: list[Path], token: str) -> None:
        strategy = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        task = self._ray.remote(_look).options(num_cpus=0, scheduling_strategy=strategy, max_retries=1)
        name = node["NodeManagerHostname"]
        try:
            version, unseen = self._ray.get(
                task.remote([str(mark.absolute()) for mark in marks], token), timeout=CHECK_S
            )
        except (self._ray.exceptions.RayError, ImportError) as error:
            raise MissingBackendError(
                f"Ray's node {name} cannot run mmface4d: {_first_line(error)}",
                hint="start Ray on every node from the environment in which mmface4d is installed",
            ) from error
        refuse_unlike(name, version, unseen)


def refuse_unlike(name: str, version: list[Any], unseen: list[str]) -> None:
    """Raises InputError where a node sees other files, or runs another program, than this machine."""
    if unseen:
        raise InputError(
            f"Ray's node {name} does not see {unseen[0]}", hint="mount the lab under the same path on every node"
        )
    if version != program_version():
        raise InputError(
            f"Ray's node {name} has mmface4d {version}, here is {program_version()}",
            hint="install the same version on every node",
        )


def _look(marks: list[str], token: str) -> tuple[list[Any], list[str]]:
    """On a node: its program's version, and the folders whose mark it does not see."""
    unseen = [mark for mark in marks if not Path(mark).is_file() or Path(mark).read_text() != token]
    return program_version(), [str(Path(mark).parent) for mark in unseen]


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told that we use it
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise MissingBackendError(
            "Ray is not installed", hint='pip install "mmface4d[batch]", here and on every node; or leave --engine out'
        ) from error
    return ray


def _connect(ray: Any, address: str | None) -> None:
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", include_dashboard=None)
    except (OSError, RuntimeError, ValueError) as error:
        raise MissingBackendError(
            f"no Ray cluster answers at {address or 'this machine'}: {_first_line(error)}",
            hint="start one with: ray start --head, and give the address that it prints to --address",
        ) from error


def _knock(address: str | None) -> None:
    """Raises OSError where nobody listens at HOST:PORT; Ray itself would go on asking for minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal():
        with socket.create_connection((host.removeprefix("ray://").strip("[]"), int(port)), KNOCK_S):
            pass


def _first_sentence(error: BaseException) -> str:
    """Without the numbers of nodes and processes that follow."""
    return _first_line(error).partition(". ")[0].removesuffix(".")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
