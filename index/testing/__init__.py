"""The contract of an index as tests, for backends of your own; it runs with or without pytest.

    from index.testing import CHECKS, check_index

    check_index("mine")  # a registered name, an IndexConfig, or a function that makes an index

    @pytest.mark.parametrize("check", CHECKS)  # the same, one test for each part of the contract
    def test_contract(check):
        check("mine")

A function is called with the keyword arguments of `make_index`, and `metric`. Files are tested if
safetensors is installed and the backend can be saved.
"""

# Each of the first line adds its parts of the contract to CHECKS.
from index.testing import changes, copies, forms, rows, searches, stale, wrong_calls
from index.testing.dictionary import DictIndex, score
from index.testing.subject import CHECKS, METRICS, Make, Subject, answer, filled, pair

__all__ = [
    "CHECKS",
    "METRICS",
    "DictIndex",
    "Make",
    "Subject",
    "answer",
    "changes",
    "check_index",
    "copies",
    "filled",
    "forms",
    "pair",
    "rows",
    "score",
    "searches",
    "stale",
    "wrong_calls",
]


def check_index(subject: Subject) -> None:
    """Runs all `CHECKS`.

    Args:
        subject: a registered name, a configuration, or a function that makes an index.

    Raises:
        AssertionError: the index does something else than the contract says.
    """
    for check in CHECKS:
        check(subject)
