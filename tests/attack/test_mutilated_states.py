"""A few of the tries of `mutilated_states`: every mutation, once."""

import faulthandler
import os

import pytest

from tests.attack import mutilated_states
from tests.attack.forked import in_children
from tests.attack.mutations import MUTATIONS

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@needs_fork
@pytest.mark.timeout(600)  # where all compiled forms have yet to be compiled
def test_mutilated_states_are_refused_or_right():
    ended = mutilated_states.attack(len(MUTATIONS), seed=1)
    assert ended["refused: ShapeError"] > 0 and ended["equal"] > 0
    assert ended["refused: StaleStateError"] > 0


@needs_fork
def test_a_crash_and_a_fault_are_tries_that_went_wrong():
    def attempt(number):
        if number == 1:
            raise ValueError("of another kind")
        if number == 3:
            faulthandler.disable()
            os.abort()
        return "well"

    assert in_children(1, attempt) == {"well": 1}
    with pytest.raises(AssertionError, match="2 of 5 tries") as error:
        in_children(5, attempt)
    assert "try 1: ValueError: of another kind" in str(error.value)
    assert "try 3: the process ended with SIGABRT" in str(error.value)
