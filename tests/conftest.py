"""Settings every test runs under: seeds, determinism, threads, devices, slow tests, Hypothesis."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

# Before anything imports matplotlib: a test must never open a window.
os.environ["MPLBACKEND"] = "Agg"

import numpy as np
import pytest
import torch
from hypothesis import settings

settings.register_profile(
    "tests",
    derandomize=True,  # the same examples on every machine: a failure can be repeated
    deadline=None,  # a busy machine is not a bug
    max_examples=40,
    database=None,
)
settings.load_profile("tests")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--runslow", action="store_true", help="also run the tests marked slow")


def pytest_configure(config: pytest.Config) -> None:
    # The tensors of a step are small, so a second thread costs more than it gives; and with one
    # thread sums come in one order, so bit-for-bit tests mean the same on every machine.
    torch.set_num_threads(1)


# Two processes that share the tests begin with one half each. Most of what models need compiled is
# compiled by the first folder, most of what indexes need by the last but one, so that neither
# process compiles what the other does. Folders in the middle come in the order of their names.
_FIRST, _LAST = (
    ("attack", "memory", "fast", "states", "models", "gpu"),
    ("ops", "index", "benchmarks"),
)


def _place(item: pytest.Item) -> int:
    """Where the tests of a folder come."""
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    if folder in _FIRST:
        return _FIRST.index(folder) - len(_FIRST)
    return 1 + _LAST.index(folder) if folder in _LAST else 0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=_place)
    if config.getoption("--runslow"):
        return
    skip = pytest.mark.skip(reason="slow: run with --runslow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    """Seeds every generator and refuses operations whose result depends on scheduling."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest, seeded: None) -> torch.device:
    """Runs the test on the CPU and, where there is one, on a CUDA device."""
    if request.param == "cuda":
        if not torch.cuda.is_available():
            pytest.skip("no CUDA device on this machine")
        # cuBLAS is deterministic only with a workspace variable set before the process starts.
        torch.use_deterministic_algorithms(False)
    return torch.device(request.param)
