"""A few tries of the subject `kills`."""

import os

import pytest

pytest.importorskip("safetensors.torch")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and signals")
def test_a_few_kills() -> None:
    from tests.attack import kills

    ended = kills.attack(6, seed=0)
    assert ended["runs that went on to the same end"] == 6
