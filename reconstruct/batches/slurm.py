"""The sbatch script of a batch as a job array: one task a shard."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SlurmTask:
    """What each task of the array asks for; empty texts leave it to the cluster's defaults."""

    shards: int
    cpus: int = 4
    gpus: int = 0
    memory: str = "8G"
    time: str = ""
    partition: str = ""


def slurm_script(paths: Sequence[Path], task: SlurmTask, *, options: Sequence[str] = ()) -> str:
    """The text for `sbatch`; `options` are more options of `mmface4d reconstruct`."""
    directives = {
        "job-name": "mmface4d", "array": f"1-{task.shards}", "ntasks": "1", "cpus-per-task": str(task.cpus),
        "gpus": str(task.gpus or ""), "mem": task.memory, "time": task.time, "partition": task.partition,
        "output": "mmface4d-%A-%a.log", "open-mode": "append",
    }  # fmt: skip
    lines = [f"#SBATCH --{name}={value}" for name, value in directives.items() if value]
    program = [sys.executable, "-m", "mmface4d.cli", "reconstruct", *(str(path.absolute()) for path in paths), *options]
    return "\n".join(
        [
            "#!/bin/bash",
            *lines,
            "#SBATCH --requeue",
            "# A task that was stopped goes on where it was when it is submitted again; nothing is done twice.",
            "# The number of shards stands here, so that a part of the array can be submitted again: --array=3,5",
            f"cd {shlex.quote(str(Path.cwd()))} || exit  # where the options' paths are of",
            f'exec {shlex.join(program)} --shard "$SLURM_ARRAY_TASK_ID/{task.shards}"',
            "",
        ]
    )
