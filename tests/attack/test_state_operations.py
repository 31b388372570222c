"""A few of the operations of `state_operations`, of every kind."""

from tests.attack import state_operations
from tests.attack.state_operations import OPERATIONS, PLACES, WIDE


def test_states_are_those_of_a_naive_replay():
    made = state_operations.attack(10 * len(PLACES) * len(WIDE), seed=1)
    assert set(made) == set(OPERATIONS)
