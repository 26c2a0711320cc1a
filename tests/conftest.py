"""What the tests of all rooms share: the data beside the repository, and runs of the real command line."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared"

# a job started in the background ignores Ctrl-C, and so would the programs that the tests start
signal.signal(signal.SIGINT, signal.default_int_handler)

RunCli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The tests, and the programs they start, leave the user's cache folder alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMFACE4D_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def rig_takes() -> Path:
    """The folder of evaluation takes (still/, drops/, ...), each with three MKVs and truth.npz."""
    folder = os.environ.get("MMFACE4D_RIG_TAKES")
    if not folder or not Path(folder).is_dir():
        pytest.skip("MMFACE4D_RIG_TAKES names no folder of rig takes")
    return Path(folder)


@pytest.fixture(scope="session")
def rig_take(rig_takes: Path) -> Callable[[str], Path]:
    """A function that gives the folder of one rig take, and skips where that take was not built."""

    def find(name: str) -> Path:
        if not (rig_takes / name / "truth.npz").is_file():
            pytest.skip(f"the rig take {name!r} is not in {rig_takes}")
        return rig_takes / name

    return find


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real recordings, model files and speech that lie beside the repository."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"no test data at {SHARED / 'data'}")
    return SHARED / "data"


@pytest.fixture(scope="session")
def shared_rig() -> Path:
    """The evaluation rig's own scripts (evaluate.py, write_facexmodel.py)."""
    if not (SHARED / "rig").is_dir():
        pytest.skip(f"no evaluation rig at {SHARED / 'rig'}")
    return SHARED / "rig"


@pytest.fixture(scope="session")
def run_cli() -> RunCli:
    """`run_cli("take", "show", path, timeout=60)` runs the real program in a process of its own."""

    def run(*arguments: object, timeout: float = 120, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mmface4d.cli", *map(str, arguments)]
        options.setdefault("stdin", subprocess.DEVNULL)  # no terminal to ask questions on
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, **options)  # type: ignore[call-overload]

    return run
