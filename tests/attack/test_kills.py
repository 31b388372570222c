"""A few tries of the subject `kills`."""

import os

import pytest

pytest.importorskip("safetensors.torch")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and signals")
def test_a_few_kills() -> None:
    from tests.attack import kills

    ended = kills.attack(6, seed=0)
    went_on = [number for how, number in ended.items() if "went on" in how]
    assert sum(went_on) == 6 and len(went_on) > 1, "of one process, and of two"
