"""Devices by name."""

import pytest

from animation.device import usable_device
from mmface4d.errors import MissingBackendError


def test_the_processor_is_a_device() -> None:
    assert usable_device("cpu").type == "cpu"


@pytest.mark.parametrize("name", ["", "gpu", "cpu:-1", "cuda:99999999999", "meta", "hpu", "privateuseone", "xla"])
def test_where_nothing_can_be_computed_is_told(name: str) -> None:
    with pytest.raises(MissingBackendError, match=f"no device {name}") as error:
        usable_device(name)
    assert error.value.hint == "use --device cpu"
