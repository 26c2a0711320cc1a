"""Curves as SVG: what cannot be drawn is left out, and the scale holds what matters."""

import re

import numpy as np
import pytest

from mmface4d.page.curves import HEIGHT, Series, curve_plot


def counts(values: list[float]) -> list[float]:
    """0, 1, 2 ..."""
    return [float(number) for number in range(len(values))]


def heights(figure: str) -> list[list[float]]:
    """Of the points of each curve, in pixels from the top."""
    return [
        [float(pair.split(",")[1]) for pair in points.split()] for points in re.findall(r'points="([^"]*)"', figure)
    ]


def test_larger_values_stand_higher() -> None:
    values = np.random.default_rng(0).uniform(1, 2, 50).tolist()
    (drawn,) = heights(curve_plot([Series("loss", counts(values), values)], title="loss", x_unit="updates"))
    assert np.all(np.diff(np.array(drawn)[np.argsort(values)]) <= 0)
    assert min(drawn) >= 0
    assert max(drawn) <= HEIGHT


def test_what_is_no_number_is_left_out() -> None:
    series = Series("loss", [0.0, 1.0, 2.0, 3.0], [1.0, float("nan"), float("inf"), 2.0])
    assert [len(points) for points in heights(curve_plot([series], title="", x_unit=""))] == [2]


@pytest.mark.parametrize("values", [[], [3.0], [0.0, 0.0], [-1e-30, 1e-30], [1e30, -1e30], [float("nan")]])
def test_odd_values_make_no_odd_figure(values: list[float]) -> None:
    figure = curve_plot([Series("loss", counts(values), values)], title="", x_unit="")
    assert "nan" not in figure
    assert "inf" not in figure


def test_a_high_beginning_does_not_press_the_rest_flat() -> None:
    values = [1000.0, *np.linspace(2, 1, 99).tolist()]
    (drawn,) = heights(curve_plot([Series("loss", counts(values), values)], title="", x_unit=""))
    assert max(drawn[1:]) - min(drawn[1:]) > HEIGHT / 3


def test_names_are_told_as_texts() -> None:
    both = [Series("<b>", [1.0], [1.0]), Series("other", [1.0], [2.0])]
    figure = curve_plot(both, title="<script>", x_unit="<i>")
    assert "<script>" not in figure
    assert "<b>" not in figure
    assert "<i>" not in figure
    assert figure.count('class="key"') == 2


def test_every_curve_is_drawn_however_many_there_are() -> None:
    figure = curve_plot([Series(str(n), [0.0, 1.0], [0.0, float(n)]) for n in range(8)], title="", x_unit="")
    assert len(heights(figure)) == 8
    assert figure.count('class="key"') == 8
