"""A few of the operations of `state_operations`, of every kind and on every model."""

from collections import Counter

import pytest

from tests.attack.state_operations import OPERATIONS, PLACES, Episode


@pytest.mark.timeout(600)  # where all compiled forms have yet to be compiled
def test_states_are_those_of_a_naive_replay():
    made: Counter[str] = Counter()
    for number in range(len(PLACES)):
        made += Episode(number, seed=1).run(12)
    assert set(made) == set(OPERATIONS)
