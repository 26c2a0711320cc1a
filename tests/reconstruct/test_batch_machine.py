"""What a batch makes of errors, and of the machine that it runs on."""

import os
from pathlib import Path
from typing import Any

import pytest

from mmface4d.errors import CalibrationError, ConsentError, FaceNotFoundError, TakeError
from reconstruct.batches.failures import failure_of
from reconstruct.batches.machine import free_memory_bytes, shares, visible_gpus


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (FaceNotFoundError("x"), ("permanent", "no face")),
        (CalibrationError("x"), ("permanent", "calibration does not fit")),
        (TakeError("x"), ("permanent", "damaged take")),
        (ConsentError("x"), ("permanent", "withdrawn")),
        (PermissionError(13, "x"), ("permanent", "no permission")),
        (ZeroDivisionError("x"), ("permanent", "bug: ZeroDivisionError")),
        (FileNotFoundError(2, "x"), ("permanent", "bug: FileNotFoundError")),
        (OSError(116, "Stale file handle"), ("transient", "input/output")),
        (MemoryError(), ("transient", "out of memory")),
        (RuntimeError("CUDA out of memory. Tried to allocate"), ("transient", "out of GPU memory")),
        (RuntimeError("CUDA error: unspecified launch failure"), ("transient", "GPU lost")),
        (RuntimeError("shapes do not fit"), ("permanent", "bug: RuntimeError")),
    ],
)
def test_failures_are_sorted(error: Exception, expected: tuple[str, str]) -> None:
    failure = failure_of(error)
    assert (failure.kind, failure.reason) == expected


def test_what_led_to_an_error_decides_too() -> None:
    error = TakeError("streams.mcap is damaged")
    error.__cause__ = OSError(5, "Input/output error")
    assert failure_of(error).kind == "transient"


def test_the_machine_is_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = "reconstruct.batches.machine."
    monkeypatch.setattr(machine + "cores", lambda: 8)
    monkeypatch.setattr(machine + "free_memory_bytes", lambda: 10 * 10**9)

    def shared(**changed: Any) -> list[dict[str, str]]:
        return shares(**{"device": "cpu", "workers": None, "need_bytes": 10**9, "jobs": 99} | changed)

    assert len(shared()) == 8
    assert shared()[0]["OMP_NUM_THREADS"] == "1"
    # however few workers there are, the bytes they write must be the same
    assert [share["OMP_NUM_THREADS"] for share in shared(need_bytes=4 * 10**9)] == ["1", "1"]
    assert len(shared(need_bytes=10**12)) == 1
    assert len(shared(jobs=3)) == 3
    assert len(shared(workers=20)) == 20
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert [share["CUDA_VISIBLE_DEVICES"] for share in shared(device="cuda")] == ["2", "5"]
    assert [share["CUDA_VISIBLE_DEVICES"] for share in shared(device="cuda", workers=3)] == ["2", "5", "2"]


def test_divided_gpus_are_used_by_their_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = "GPU {}: NVIDIA H200 (UUID: GPU-0{})"
    part = "  MIG 1g.18gb     Device  {}: (UUID: MIG-{})"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for lines, expected in (
        ([whole.format(0, 0), whole.format(1, 1)], ["0", "1"]),
        ([whole.format(0, 0), part.format(0, "a-1"), part.format(1, "b-2")], ["MIG-a-1", "MIG-b-2"]),
        (["No devices found."], []),
    ):
        (tmp_path / "nvidia-smi").write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines))
        (tmp_path / "nvidia-smi").chmod(0o755)
        assert visible_gpus() == expected


def test_all_memory_of_a_slurm_node_is_no_memory_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_MEM_PER_NODE", raising=False)
    free = free_memory_bytes()
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "0")
    assert free_memory_bytes() > free / 2
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "1")
    assert free_memory_bytes() == 1 << 20
