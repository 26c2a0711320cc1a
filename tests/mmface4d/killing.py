"""Functions in processes of their own: killed at a chosen replacement of a file, or several at the same moment."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn


def killed_at(step: int, function: Callable[[], Any], *, after: bool) -> bool:
    """Whether the kill came: just before or just after the `step`-th `os.replace`, from 0."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _kill_this_process_at(step, after=after)
            function()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the function itself failed"
    return os.WIFSIGNALED(status)


def _kill_this_process_at(step: int, *, after: bool) -> None:
    replace, count = os.replace, 0

    def counted(source: Any, target: Any) -> None:
        nonlocal count
        if count == step and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)
        if count == step:
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1

    os.replace = counted  # type: ignore[assignment]


def at_once(*functions: Callable[[], Any]) -> list[bool]:
    """Runs each in a process of its own, at the same moment; whether each ended without an error."""
    start = time.monotonic() + 0.005
    children = [os.fork() or _run_at(start, function) for function in functions]
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 for child in children]


def _run_at(start: float, function: Callable[[], Any]) -> NoReturn:
    code = 1
    try:
        while time.monotonic() < start:
            pass
        function()
        code = 0
    finally:
        os._exit(code)


def let_go_together(running: "Sequence[subprocess.Popen[str]]") -> None:
    """Waits until every process has said `ready`, then sends each the line that it waits for."""
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
