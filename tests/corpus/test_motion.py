"""What is measured of a sequence, against motion that is known by construction."""

from pathlib import Path

import numpy as np
import pytest

from corpus.dataset.motion import Motion, correlation, measure_motion
from corpus.dataset.regions import REGION_NAMES, UNIONS
from corpus.dataset.stabilise import rigid_fits, stabiliser
from mmface4d.errors import InputError
from mmface4d.sequence import load_sequence
from mmface4d.transforms import rotation_angle_deg, rotation_from_rotvec
from tests.corpus.faces_in_motion import Offsets, canonical, nodding, wave, write_face

CHIN_UP: Offsets = {"chin": wave(1, amplitude_mm=4, hertz=2)}
HEAD_MM_S = 0.5  # what may be left of a head's motion, of some 100 mm/s


def measured(path: Path, moves: Offsets, **options) -> Motion:
    return measure_motion(load_sequence(write_face(path / "s.npz", moves, **options)), canonical())


def speed(motion: Motion, region: str) -> np.ndarray:
    """mm/s along x, y and z."""
    return motion.speed_mm_s[REGION_NAMES.index(region)]


def mean_speed(amplitude_mm: float, hertz: float) -> float:
    """Of a sine: four amplitudes a period."""
    return 4 * amplitude_mm * hertz


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_region_moves_along_the_axis_that_it_was_moved_along(tmp_path: Path, axis: int) -> None:
    # 20 frames a period, so that its turning points are seen
    motion = measured(tmp_path, {"chin": wave(axis, amplitude_mm=3, hertz=1.5)}, frames=61)
    expected = np.zeros(3)
    expected[axis] = mean_speed(3, 1.5)
    assert speed(motion, "chin") == pytest.approx(expected, abs=0.02)
    assert motion.step_m[REGION_NAMES.index("chin")] == pytest.approx(expected / 1000 / 30, abs=1e-6)
    assert motion.length_mm_s[REGION_NAMES.index("chin")] == pytest.approx(expected.sum(), abs=0.02)


def test_what_did_not_move_is_still(tmp_path: Path) -> None:
    motion = measured(tmp_path, CHIN_UP)
    moved = {"chin", *(name for name, parts in UNIONS.items() if "chin" in parts)}
    for name in set(REGION_NAMES) - moved:
        assert speed(motion, name).max() < 0.01, name


def test_a_regions_speed_is_the_mean_over_its_vertices(tmp_path: Path) -> None:
    motion, by = measured(tmp_path, CHIN_UP), canonical()
    share = by.regions.mask("chin").sum() / by.regions.mask("jaw").sum()
    assert speed(motion, "jaw")[1] == pytest.approx(share * speed(motion, "chin")[1], abs=0.01)


def test_the_heads_motion_vanishes(tmp_path: Path) -> None:
    still = measured(tmp_path, CHIN_UP)
    nods = measured(tmp_path, CHIN_UP, head=nodding)
    assert np.abs(nods.speed_mm_s - still.speed_mm_s).max() < HEAD_MM_S
    assert np.abs(nods.place_m - still.place_m).max() < 1e-4
    assert nods.steady_residual_m < 1e-6


def test_a_raised_brow_is_no_nod(tmp_path: Path) -> None:
    brows: Offsets = {"brows": wave(1, amplitude_mm=5, hertz=1), "forehead": wave(1, amplitude_mm=2, hertz=1)}
    motion = measured(tmp_path, brows, head=nodding, frames=61)
    assert speed(motion, "brows") == pytest.approx([0, mean_speed(5, 1), 0], abs=HEAD_MM_S)
    assert speed(motion, "chin").max() < HEAD_MM_S
    assert speed(motion, "forehead")[1] == pytest.approx(mean_speed(2, 1), abs=HEAD_MM_S)


@pytest.mark.parametrize("fps", [25.0, 30.0, 60.0])
def test_the_frame_rate_does_not_matter(tmp_path: Path, fps: float) -> None:
    motion = measured(tmp_path, CHIN_UP, fps=fps, frames=int(2 * fps) + 1)
    assert speed(motion, "chin")[1] == pytest.approx(mean_speed(4, 2), rel=0.02)
    assert motion.step_m[REGION_NAMES.index("chin"), 1] == pytest.approx(mean_speed(4, 2) / 1000 / fps, rel=0.02)
    assert motion.fps == fps


def test_frames_without_a_face_do_not_count(tmp_path: Path) -> None:
    def jumping(seconds: float) -> tuple[float, float, float]:
        return (0.5, 0.5, 0.5) if 0.49 < seconds < 0.7 else (0.0, 0.001 * 12 * (seconds % 1), 0.0)

    status = np.zeros(60, int)
    status[15:18], status[18:21], status[0] = 2, 3, 1
    motion = measured(tmp_path, {"chin": jumping}, frames=30, status=status[:30])
    assert (motion.frames, motion.usable, motion.steps) == (30, 24, 22)
    assert motion.frames_by_status == {0: 23, 1: 1, 2: 3, 3: 3}
    assert speed(motion, "chin")[1] == pytest.approx(12, abs=0.01)


def test_a_step_over_lost_frames_does_not_count(tmp_path: Path) -> None:
    times = np.delete(np.arange(63) / 30, [20, 21, 40])
    motion = measured(tmp_path, {"chin": lambda seconds: (0.0, 0.012 * seconds, 0.0)}, times=times)
    assert motion.steps == 59 - 2
    assert speed(motion, "chin")[1] == pytest.approx(12, abs=0.02)


def test_a_frame_with_gaps_does_not_count(tmp_path: Path) -> None:
    def torn(seconds: float) -> tuple[float, float, float]:
        return (np.nan, 0.0, 0.0) if seconds > 1.9 else (0.0, 0.0, 0.0)

    assert measured(tmp_path, {"chin": torn}).usable == 58


def test_a_sequence_without_two_faces_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 usable frames of 3"):
        measured(tmp_path, {}, frames=3, status=np.array([0, 2, 4]))


def test_another_topology_is_refused(tmp_path: Path) -> None:
    path = write_face(tmp_path / "s.npz", {}, frames=3)
    sequence = load_sequence(path)
    sequence.arrays["faces"] = sequence.faces[::-1]
    with pytest.raises(InputError, match="another topology than the model canonical"):
        measure_motion(sequence, canonical())


@pytest.mark.parametrize("scale", [1000.0, 0.01, 1e30])
def test_another_unit_than_metres_is_refused(tmp_path: Path, scale: float) -> None:
    sequence = load_sequence(write_face(tmp_path / "s.npz", CHIN_UP, frames=3))
    sequence.arrays["vertices"] = sequence.vertices * np.float32(scale)
    with pytest.raises(InputError, match="times as large"):
        measure_motion(sequence, canonical())


def test_a_larger_head_is_measured_in_its_own_metres(tmp_path: Path) -> None:
    sequence = load_sequence(write_face(tmp_path / "s.npz", CHIN_UP))
    before = speed(measure_motion(sequence, canonical()), "chin")
    sequence.arrays["vertices"] = sequence.vertices * np.float32(1.3)
    assert speed(measure_motion(sequence, canonical()), "chin") == pytest.approx(1.3 * before, abs=0.02)


@pytest.mark.parametrize("fps", [0.0, -1.0, np.nan, 5000.0])
def test_the_rate_comes_from_the_timestamps_where_the_file_does_not_say(tmp_path: Path, fps: float) -> None:
    sequence = load_sequence(write_face(tmp_path / "s.npz", CHIN_UP, fps=50))
    sequence.arrays["fps"] = np.asarray(fps)
    if fps == 5000:
        with pytest.raises(InputError, match="no sensible rate"):
            measure_motion(sequence, canonical())
    else:
        assert measure_motion(sequence, canonical()).fps == pytest.approx(50)


def between(motion: Motion, one: str, other: str) -> float:
    """Mean correlation of the small regions of two regions."""
    parts = np.array(canonical().parcels.parts)
    rows, columns = (np.isin(parts, UNIONS.get(name, (name,))) for name in (one, other))
    return float(np.nanmean(motion.correlation[np.ix_(rows, columns)]))


def test_what_is_moved_together_correlates_and_nothing_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = {name: rng.standard_normal((150, 3)) for name in ("mouth", "brows")}

    def own(name: str):
        return lambda seconds: tuple(0.002 * noise[name][round(30 * seconds)])

    moves = {"lips": own("mouth"), "jaw": own("mouth"), "brows": own("brows")}
    motion = measured(tmp_path, moves, frames=150, head=nodding, noise_mm=0.02)
    assert between(motion, "lips", "jaw") > 0.95
    assert abs(between(motion, "lips", "brows")) < 0.2
    assert abs(between(motion, "jaw", "brows")) < 0.2
    assert np.nanmax(np.abs(motion.correlation)) <= 1 + 1e-9


def test_moving_against_each_other_is_negative(tmp_path: Path) -> None:
    moves = {"upper_lip": wave(1, amplitude_mm=1, hertz=3), "chin": wave(1, amplitude_mm=-3, hertz=3)}
    assert between(measured(tmp_path, moves), "upper_lip", "chin") == pytest.approx(-1, abs=0.01)


def test_what_does_not_move_has_no_correlation(tmp_path: Path) -> None:
    motion = measured(tmp_path, CHIN_UP)
    parts = canonical().parcels.parts
    assert np.isnan(motion.correlation[parts.index("forehead"), parts.index("chin")])


def test_correlation_is_the_mean_over_axes() -> None:
    rng = np.random.default_rng(3)
    one, other = rng.standard_normal((2, 500, 3)) * 1e-3
    other[:, 1] = one[:, 1]
    found = correlation(np.stack([one, other], axis=1))
    expected = np.mean([np.corrcoef(one[:, axis], other[:, axis])[0, 1] for axis in range(3)])
    assert found[0, 1] == pytest.approx(expected)
    assert found[0, 0] == pytest.approx(1)


def test_too_few_steps_have_no_correlation() -> None:
    assert np.isnan(correlation(np.random.default_rng(0).standard_normal((9, 4, 3)))).all()


def test_rigid_motion_is_recovered_in_spite_of_a_mirror_image() -> None:
    rng = np.random.default_rng(5)
    fixed = rng.standard_normal((40, 3)) * [1, 1, 0.01]  # nearly flat: a reflection would fit almost as well
    turns = [rotation_from_rotvec(rng.standard_normal(3)) for _ in range(20)]
    moving = np.stack([(fixed - 0.3) @ turn for turn in turns])
    rotations, translations = rigid_fits(moving, fixed, np.ones(40))
    assert np.allclose(np.linalg.det(rotations), 1)
    assert max(rotation_angle_deg(found @ turn.T) for found, turn in zip(rotations, turns, strict=True)) < 1e-4
    assert np.allclose(np.einsum("tij,tnj->tni", rotations, moving) + translations[:, None], fixed)


def test_vertices_that_move_by_themselves_lose_trust() -> None:
    rng = np.random.default_rng(6)
    shape = rng.standard_normal((100, 3)) * 0.05
    frames = np.repeat(shape[None], 80, axis=0)
    frames[:, :30] += 0.004 * rng.standard_normal((80, 1, 3))  # as one, as a brow does
    frames += 2e-5 * rng.standard_normal(frames.shape)
    held = stabiliser(frames, shape)
    assert held.trust[:30].max() < 0.01
    assert held.trust[30:].mean() > 0.8
    turned = [rotation_angle_deg(rotation) for rotation in held.rotations]
    assert max(turned) < 0.05


def test_too_few_vertices_to_hold_on_to_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        stabiliser(np.zeros((5, 3, 3)), np.zeros((3, 3)))
