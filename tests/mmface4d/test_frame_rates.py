"""One rule for a sequence's rate, whoever asks: statistics, releases, exports, clips."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus.presets.motion import steady_motion
from corpus.release.meshes import write_mesh
from mmface4d.errors import InputError
from mmface4d.frame_rates import frame_rate, on_beat
from mmface4d.sequence import MeshSequence
from mmface4d.steady_clips import frames_on_beat


def sequence(**changes: Any) -> MeshSequence:
    """At 50 frames a second by its times, 50 frames where nothing else is asked for."""
    frames = changes.pop("frames", 50)
    given = {
        "vertices": np.zeros((frames, 3, 3), np.float32), "faces": np.array([[0, 1, 2]], np.int32),
        "timestamps_usec": np.arange(frames) * 20_000, **changes,
    }  # fmt: skip
    return MeshSequence(Path("one.npz"), given)


@pytest.mark.parametrize("fps", [50.0, 0.0, -1.0, np.nan, None, [50.0, 50.0]])
def test_a_file_that_does_not_say_is_known_by_its_times_everywhere(tmp_path: Path, fps: Any) -> None:
    given = sequence(**({} if fps is None else {"fps": np.asarray(fps)}))
    assert frame_rate(given) == 50.0
    assert steady_motion(given).fps == 50.0
    assert frames_on_beat(given) == (50, 50.0)
    assert write_mesh(tmp_path / "mesh.npz", given, encoding="float32").fps == 50.0


@pytest.mark.parametrize("given", [{"fps": np.array(5000.0)}, {"fps": np.array(0.5)}, {"frames": 1}, {"frames": 0}])
def test_a_rate_that_cannot_be_is_refused_everywhere(tmp_path: Path, given: dict[str, Any]) -> None:
    broken = sequence(**given)
    for reads in (frame_rate, steady_motion, frames_on_beat):
        with pytest.raises(InputError, match=r"one.npz has no (sensible rate|frame)"):
            reads(broken)
    with pytest.raises(InputError, match=r"one.npz has no (sensible rate|frame)"):
        write_mesh(tmp_path / "mesh.npz", broken, encoding="float32")


@pytest.mark.parametrize(("times", "told"), [([0, 2, 1], "do not increase"), ([0, 1, 10**14], "span")])
def test_times_that_cannot_be_are_told_as_mistakes_of_the_file(times: list[int], told: str) -> None:
    broken = sequence(frames=3, fps=np.array(30.0), timestamps_usec=np.array(times) * 33_333)
    with pytest.raises(InputError, match=f"one.npz: .*{told}"):
        on_beat(broken)
