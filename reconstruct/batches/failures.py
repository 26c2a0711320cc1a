"""Which failures pass by themselves, and in what few words all of a sort are listed."""

from collections.abc import Iterator

from mmface4d.errors import (
    BusyError,
    CalibrationError,
    ConsentError,
    DiskFullError,
    FaceNotFoundError,
    InputError,
    MissingBackendError,
    Mmface4dError,
    ModelError,
    TakeError,
)
from mmface4d.results import Failure

BUSY, DISK_FULL, OUT_OF_MEMORY, LOST_WORKER = "busy", "disk full", "out of memory", "lost worker"
NOT_DONE_BEFORE = "what it needs has failed"
# the first that fits
REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (FaceNotFoundError, "no face"),
    (CalibrationError, "calibration does not fit"),
    (ConsentError, "withdrawn"),
    (ModelError, "model"),
    (TakeError, "damaged take"),
    (MissingBackendError, "missing backend"),
    (InputError, "unusable input"),
    (Mmface4dError, "refused"),
    (PermissionError, "no permission"),
)
# nothing that waiting would mend
LASTING = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError, FileExistsError)
GPU_MEMORY = ("out of memory", "failed to allocate", "cublas_status_alloc_failed")
GPU_LOST = ("cuda error", "cuda driver error", "nccl", "uncorrectable ecc")


def failure_of(error: BaseException, *, hidden: str = "") -> Failure:
    """What is recorded of an error; `hidden` is a path of this machine, which is left out of the words."""
    passing = _passing(error)
    mine = isinstance(error, Mmface4dError)
    message = error.message if mine else str(error)
    hint = (error.hint if mine else None) or ""
    return Failure(
        kind="permanent" if passing is None else "transient",
        reason=passing or _lasting(error),
        error=type(error).__name__,
        message=_without(message, hidden),
        hint=_without(hint, hidden),
    )


def is_transient(error: BaseException) -> bool:
    """Whether trying again may help."""
    return _passing(error) is not None


def _passing(error: BaseException) -> str | None:
    """The reason where waiting may help, of the error or of what led to it."""
    for each in _causes(error):
        if isinstance(each, DiskFullError):
            return DISK_FULL
        if isinstance(each, BusyError):
            return BUSY
        if isinstance(each, MemoryError):
            return OUT_OF_MEMORY
        if isinstance(each, RuntimeError) and (found := _of_the_gpu(each)):
            return found
        if isinstance(each, OSError) and not isinstance(each, LASTING):
            return "input/output"
    return None


def _of_the_gpu(error: RuntimeError) -> str | None:
    text = f"{type(error).__name__} {error}".lower()
    if type(error).__name__ == "OutOfMemoryError" or ("cuda" in text and any(word in text for word in GPU_MEMORY)):
        return "out of GPU memory"
    return "GPU lost" if any(word in text for word in GPU_LOST) else None


def _lasting(error: BaseException) -> str:
    return next((reason for kind, reason in REASONS if isinstance(error, kind)), f"bug: {type(error).__name__}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__


def _without(text: str, hidden: str) -> str:
    return text.replace(hidden + "/", "") if hidden.strip("/") else text
