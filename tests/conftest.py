"""Settings every test runs under: seeds, determinism, threads, devices, slow tests, Hypothesis."""

import os
import random
from collections.abc import Iterator
from itertools import chain, groupby
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
    if not torch.accelerator.is_available():
        # For each kind of accelerator torch would keep the call, and the stack it comes from.
        torch.manual_seed = torch.default_generator.manual_seed


# Compiling takes long, and two processes that share the tests begin at the same time with nothing
# compiled. What models need is compiled by the folders in front, what indexes need by those at the
# back, and the folders in between need both. So one process goes from the front to the middle and
# the other from the back, and neither compiles what the other does.
_FRONT = ("fast", "memory", "models", "states", "store")
_BACK = ("benchmarks", "ops", "index")
_SECONDS = 600  # for a test there: whichever is the first compiles what it needs, a minute long


def _place(item: pytest.Item) -> tuple[int, str]:
    """Where the file of a test comes, between the front and the back."""
    path = item.path.relative_to(Path(__file__).parent)
    folder = path.parts[0]
    if folder in _FRONT:
        return _FRONT.index(folder) - len(_FRONT), str(path)
    return 1 + _BACK.index(folder) if folder in _BACK else 0, str(path)


def _from_both_ends(items: list[pytest.Item]) -> None:
    """Sorts tests so that the second half, which the second process gets, begins at the back."""
    items.sort(key=_place)  # tests of a file stay in their order
    half = len(items) // 2
    files = [list(tests) for _, tests in groupby(items[half:], key=_place)]
    items[half:] = chain.from_iterable(reversed(files))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # of several processes
        _from_both_ends(items)
    for item in items:
        if _place(item)[0] and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_SECONDS))
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
