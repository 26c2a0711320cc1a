"""Every error a user can cause, with the exit code the command line gives it.

Each message says what happened and to which item; `hint` says what to do next.
"""

EXIT_OK = 0
EXIT_BUG = 1
EXIT_USAGE = 2
EXIT_PRECONDITION = 3
EXIT_SOME_FAILED = 4
EXIT_VERIFICATION = 5
EXIT_INTERRUPTED = 130


class Mmface4dError(Exception):
    """Base of the project's errors: a message, an optional hint and an exit code."""

    exit_code = EXIT_PRECONDITION

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(Mmface4dError):
    """Arguments that contradict each other or cannot be meant."""

    exit_code = EXIT_USAGE


class InputError(Mmface4dError):
    """A file or folder that is missing, damaged, or not what it should be."""


class RecordingError(InputError):
    """A camera recording or audio file that cannot be imported."""


class TakeError(InputError):
    """A take that is missing, unfinished or damaged."""


class CalibrationError(InputError):
    """A calibration that is missing, damaged or does not belong to the take."""


class ModelError(InputError):
    """A morphable model that is unknown, damaged or of another kind."""


class ConsentError(Mmface4dError):
    """A person may not be recorded, or what was recorded of them may not be used."""


class FaceNotFoundError(Mmface4dError):
    """No face where one is needed."""


class MissingBackendError(Mmface4dError):
    """An optional package or device that a command asked for is not there."""


class DeviceError(Mmface4dError):
    """A camera or microphone that is needed is missing, refuses a setting, or has stopped delivering."""


class DiskFullError(Mmface4dError):
    """The target disk has no room for what is to be written."""


class TrainingError(Mmface4dError):
    """A training that cannot go on."""


class BusyError(Mmface4dError):
    """What is to be written is being written by another process."""


class SomeItemsFailedError(Mmface4dError):
    """Some items of a batch failed; the others are done."""

    exit_code = EXIT_SOME_FAILED


class VerificationError(Mmface4dError):
    """A check ran to its end and its verdict is no."""

    exit_code = EXIT_VERIFICATION
