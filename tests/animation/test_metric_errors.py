"""The metrics against literal re-implementations of what the peers' code computes, vertex by vertex."""

import math
from typing import Any

import numpy as np
import pytest

from animation.data.corpus import Mask
from animation.metrics.dtw import dtw, path_cost
from animation.metrics.dynamics import FDD_PRESETS, fdd
from animation.metrics.errors import LVE_PRESETS, every_vertex, lve, mean_error
from animation.metrics.velocity import velocity
from mmface4d.errors import InputError

CASES = range(100)


class Case:
    """Some sequences of unequal length, predictions that may be longer or shorter, templates and a mask."""

    def __init__(self, seed: int, *, cut: bool = False) -> None:
        rng = np.random.default_rng(seed)
        n_verts = int(rng.integers(5, 16))
        lengths = rng.integers(2, 9, size=int(rng.integers(1, 4)))
        self.mask = Mask("lips", np.sort(rng.choice(n_verts, size=int(rng.integers(1, n_verts)), replace=False)))
        self.templates = [rng.normal(0, 0.05, (n_verts, 3)) for _ in lengths]
        scale = 10 ** rng.uniform(-5, 0)
        self.truth = [
            (template + rng.normal(0, scale, (length, n_verts, 3))).astype(np.float32)
            for template, length in zip(self.templates, lengths, strict=True)
        ]
        extra = rng.integers(-1, 3, size=len(lengths)) if cut else np.zeros(len(lengths), int)
        self.predicted = [
            (template + rng.normal(0, scale, (length + more, n_verts, 3))).astype(np.float32)
            for template, length, more in zip(self.templates, lengths, extra, strict=True)
        ]

    def cut(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Pairs in float64 at the frames that both have."""
        counts = [min(len(p), len(g)) for p, g in zip(self.predicted, self.truth, strict=True)]
        pairs = zip(self.predicted, self.truth, counts, strict=True)
        return [(p[:n].astype(float), g[:n].astype(float)) for p, g, n in pairs]


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return math.dist(a, b)


def literal_maxima(p: np.ndarray, g: np.ndarray, vertices: np.ndarray) -> list[float]:
    return [max(distance(p[t, v], g[t, v]) for v in vertices) for t in range(len(g))]


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def literal_codetalker(case: Case) -> float:
    """All frames of all sequences in one list, squares."""
    return mean([d**2 for p, g in case.cut() for d in literal_maxima(p, g, case.mask.vertices)])


def literal_per_sequence(case: Case, power: int = 1) -> float:
    return mean([mean([d**power for d in literal_maxima(p, g, case.mask.vertices)]) for p, g in case.cut()])


def literal_mm2023(case: Case) -> tuple[float, float]:
    """Maximal and mean error with a 0/1 weight for every vertex, as that code has them."""
    largest, means = [], []
    for p, g in case.cut():
        weights = np.zeros(p.shape[1])
        weights[case.mask.vertices] = 1
        weighted = np.array(
            [[w * distance(a, b) for a, b, w in zip(*rows, weights, strict=True)] for rows in zip(p, g, strict=True)]
        )
        largest.append(weighted.max(axis=1).mean())
        means.append(weighted.mean() * len(weights) / weights.sum())
    return mean(largest), mean(means)


def literal_fdd(case: Case, *, norm: bool, absolute: bool) -> float:
    found = []
    for (p, g), template in zip(case.cut(), case.templates, strict=True):
        spreads = []
        for motion in (g, p):
            of_vertices = []
            for v in case.mask.vertices:
                values = [distance(motion[t, v], template[v]) ** (1 if norm else 2) for t in range(len(motion))]
                middle = mean(values)
                of_vertices.append(math.sqrt(mean([(value - middle) ** 2 for value in values])))
            spreads.append(mean(of_vertices))
        found.append(spreads[0] - spreads[1])
    return mean([abs(each) for each in found] if absolute else found)


def literal_dtw(p: np.ndarray, g: np.ndarray, vertices: np.ndarray) -> float:
    """The whole table, cell by cell."""
    table = np.full((len(p), len(g)), np.inf)
    for i in range(len(p)):
        for j in range(len(g)):
            cost = mean([distance(p[i, v], g[j, v]) for v in vertices])
            came = [table[a, b] for a, b in ((i - 1, j), (i, j - 1), (i - 1, j - 1)) if a >= 0 and b >= 0]
            table[i, j] = cost + (min(came) if came else 0.0)
    return float(table[-1, -1])


def close(value: float) -> object:
    return pytest.approx(value, rel=1e-9, abs=1e-15)


def test_lip_errors_are_what_each_project_computes() -> None:
    for seed in CASES:
        case = Case(seed, cut=True)
        both = case.predicted, case.truth, case.mask
        assert lve(*both, **LVE_PRESETS["codetalker"]) == close(literal_codetalker(case))
        assert lve(*both, **LVE_PRESETS["mmhead"]) == close(literal_per_sequence(case))
        assert lve(*both, **LVE_PRESETS["imitator"]) == close(1000 * literal_per_sequence(case))


def test_errors_of_sequences_of_equal_length() -> None:
    for seed in CASES:
        case = Case(seed)
        both = case.predicted, case.truth, case.mask
        largest, average = literal_mm2023(case)
        assert lve(*both, **LVE_PRESETS["mmface4d"]) == close(largest)
        assert lve(*both, **LVE_PRESETS["unitalker"]) == close(literal_per_sequence(case, power=2))
        assert mean_error(*both, reduce="sequence", unit="m", length="strict") == close(average)
        everything = [
            distance(*each)
            for p, g in case.cut()
            for rows in zip(p, g, strict=True)
            for each in zip(*rows, strict=True)
        ]
        whole = every_vertex(case.truth[0].shape[1])
        assert mean_error(*both[:2], whole, reduce="frame", unit="mm", length="min") == close(1000 * mean(everything))


def test_fdd_in_its_three_forms() -> None:
    for seed in CASES:
        case = Case(seed)
        both, templates = (case.predicted, case.truth, case.mask), case.templates
        for preset, norm, absolute in (
            ("code-signed-squared", False, False), ("abs", False, True), ("paper-norm", True, False),
        ):  # fmt: skip
            ours = fdd(*both, templates=templates, length="strict", **FDD_PRESETS[preset])
            assert ours == pytest.approx(literal_fdd(case, norm=norm, absolute=absolute), rel=1e-9, abs=1e-16), preset


def test_dtw_is_the_cheapest_path() -> None:
    for seed in CASES:
        case = Case(seed, cut=True)
        p, g = case.predicted[0], case.truth[0]
        assert dtw(p, g, vertices=case.mask.vertices) == close(literal_dtw(p, g, case.mask.vertices))


def test_dtw_forgives_what_comes_late_and_not_what_is_wrong() -> None:
    wave = np.zeros((40, 4, 3), np.float32)
    wave[:, :, 1] = np.sin(np.arange(40) / 5)[:, None]
    late = np.concatenate([np.repeat(wave[:1], 3, axis=0), wave[:-3]])
    vertices = np.arange(4)
    assert dtw(wave, wave, vertices=vertices) == 0
    assert dtw(late, wave, vertices=vertices) < 0.3 * np.abs(late - wave).sum(axis=(1, 2)).sum() / 4
    assert dtw(wave + 1, wave, vertices=vertices) > 40
    assert dtw(wave, late, vertices=vertices) == close(dtw(late, wave, vertices=vertices))


def test_a_dtw_table_may_have_one_row_or_one_column() -> None:
    assert path_cost(iter([np.array([1.0, 2.0, 3.0])])) == 6
    assert path_cost(iter([np.array([1.0]), np.array([2.0])])) == 3
    assert math.isnan(path_cost(iter([])))


def test_values_worked_out_by_hand() -> None:
    """Two sequences of one and three frames, two lip vertices; distances in millimetres 3; 1, 2, 3."""
    mask = Mask("lips", np.array([0, 2]))
    truth = [np.zeros((1, 3, 3), np.float32), np.zeros((3, 3, 3), np.float32)]
    predicted = [each.copy() for each in truth]
    predicted[0][0, 0, 1] = 3.0
    predicted[1][:, 2, 0] = (1.0, 2.0, 3.0)
    for each in predicted:
        each[:, 1] = 77.0  # no lip
    both = predicted, truth, mask
    strict: Any = {"unit": "m", "length": "strict"}
    assert lve(*both, reduce="frame", squared=True, **strict) == (9 + 1 + 4 + 9) / 4
    assert lve(*both, reduce="frame", squared=False, **strict) == (3 + 1 + 2 + 3) / 4
    assert lve(*both, reduce="sequence", squared=False, **strict) == (3 + 2) / 2
    assert lve(*both, reduce="sequence", squared=True, **strict) == pytest.approx((9 + 14 / 3) / 2)
    assert lve(*both, reduce="sequence", squared=True, unit="mm", length="min") == pytest.approx(1e6 * (9 + 14 / 3) / 2)
    assert mean_error(*both, reduce="sequence", **strict) == (1.5 + 1) / 2
    # the truth stays at the template, so that only the prediction varies, by the spread of 1, 2, 3 or of 1, 4, 9
    templates = [np.zeros((3, 3)), np.zeros((3, 3))]
    spread, of_squares = np.std([1, 2, 3]) / 2, np.std([1, 4, 9]) / 2
    for preset, expected in (
        ("paper-norm", -spread / 2),
        ("code-signed-squared", -of_squares / 2),
        ("abs", of_squares / 2),
    ):
        assert fdd(*both, templates=templates, length="strict", **FDD_PRESETS[preset]) == pytest.approx(expected)


def test_what_holds_for_every_definition() -> None:
    for seed in range(8):
        case = Case(seed)
        p, g, mask = case.predicted, case.truth, case.mask
        for flags in LVE_PRESETS.values():
            value = lve(p, g, mask, **flags)
            assert lve(g, p, mask, **flags) == close(value)
            assert lve(p[::-1], g[::-1], mask, **flags) == close(value)
            assert lve(g, g, mask, **flags) == 0
            assert lve(p, g, every_vertex(p[0].shape[1]), **flags) >= value
            in_m, in_mm = (lve(p, g, mask, **{**flags, "unit": unit}) for unit in ("m", "mm"))  # type: ignore[arg-type]
            assert in_mm == close(in_m * (1e6 if flags["squared"] else 1e3))
            of_one = [lve(p[:1], g[:1], mask, **{**flags, "reduce": how}) for how in ("frame", "sequence")]  # type: ignore[arg-type]
            assert of_one[0] == close(of_one[1])
        fdd_of = [
            fdd(a, b, mask, templates=case.templates, length="strict", **FDD_PRESETS["paper-norm"])
            for a, b in ((p, g), (g, p))
        ]
        assert fdd_of[0] == close(-fdd_of[1])


def test_golden_values() -> None:
    """Measured once, apart from this program, on two clips of 30 and 60 frames: the published variants differ by 1 to
    2 % after roots and by hundreds of times before, and the two forms of FDD by 65 times."""
    rng = np.random.default_rng(7)
    truth, predicted = [], []
    for n_frames in (30, 60):
        truth.append(0.002 * rng.normal(size=(n_frames, 50, 3)))
        predicted.append(truth[-1] + 0.001 * rng.normal(size=(n_frames, 50, 3)))
    both = predicted, truth, Mask("lips", np.arange(10))
    squared = lve(*both, **LVE_PRESETS["codetalker"])
    assert f"{squared:.4e} {math.sqrt(squared):.4e}" == "7.0688e-06 2.6587e-03"
    assert f"{lve(*both, reduce='frame', squared=False, unit='m', length='min'):.4e}" == "2.6241e-03"
    assert f"{lve(*both, **LVE_PRESETS['mmhead']):.4e}" == "2.6483e-03"
    assert f"{lve(*both, **LVE_PRESETS['imitator']):.4f}" == "2.6483"
    upper, still = Mask("upper_face", np.arange(30, 50)), [np.zeros((50, 3))] * 2
    for preset, value in (("code-signed-squared", "-2.49e-06"), ("abs", "2.49e-06"), ("paper-norm", "-1.63e-04")):
        found = fdd(predicted, truth, upper, templates=still, length="strict", **FDD_PRESETS[preset])
        assert f"{found:.2e}" == value


def test_velocities_of_a_known_motion() -> None:
    motion = np.zeros((5, 3, 3))
    motion[:, 0] = np.arange(5)[:, None] * (0.003, -0.004, 0.0)
    found = velocity(motion, vertices=np.array([0, 1]), fps=25.0)
    assert found.steps == 4
    assert found.step_m == pytest.approx([0.0015, 0.002, 0, 0.0025])
    assert found.speed_mm_s == pytest.approx([37.5, 50, 0, 62.5])
    assert np.isnan(velocity(motion[:1], vertices=np.array([0]), fps=25.0).step_m).all()


def test_what_does_not_fit_is_refused_by_name() -> None:
    flags = LVE_PRESETS["mmface4d"]
    mesh, mask = np.zeros((4, 3, 3), np.float32), Mask("lips", np.array([1]))
    broken = mesh.copy()
    broken[2, 0, 0] = np.nan
    for predicted, truth, words in (
        ([mesh], [mesh[:3]], "sequence 0: 4 frames are predicted and 3 are true"),
        ([mesh, broken], [mesh, mesh], "sequence 1: the prediction has vertices that are not numbers"),
        ([mesh], [broken], "sequence 0: the truth has"),
        ([mesh[:, :2]], [mesh], "2 vertices are predicted and 3 are true"),
        ([mesh[:0]], [mesh[:0]], "sequence 0 has no frame"),
        ([mesh], [mesh, mesh], "1 sequences are predicted and 2 are true"),
        ([], [], "0 sequences are predicted"),
    ):
        with pytest.raises(InputError, match=words):
            lve(predicted, truth, mask, **flags)
    for vertices in ([], [3], [-1]):
        with pytest.raises(InputError, match="the mask lips is empty or names vertices"):
            lve([mesh], [mesh], Mask("lips", np.array(vertices, dtype=int)), **flags)
    small = mesh[:, :1]
    with pytest.raises(InputError, match="names vertices that a mesh of 1 does not have"):
        lve([mesh, small], [mesh, small], mask, **flags)


def test_a_template_of_another_mesh_is_refused() -> None:
    mesh, mask = np.zeros((4, 3, 3), np.float32), Mask("upper_face", np.array([1]))
    for n_verts in (2, 5):
        with pytest.raises(InputError, match=f"sequence 1 has 3 vertices, its template {n_verts}"):
            fdd(
                [mesh, mesh], [mesh, mesh], mask, templates=[np.zeros((3, 3)), np.zeros((n_verts, 3))],
                length="strict", **FDD_PRESETS["abs"],
            )  # fmt: skip
