"""Where the tests of this folder run: on a CUDA device, and on a stand-in on every machine."""

from collections.abc import Iterator

import pytest
import torch

from tests.gpu.cuda import Cuda
from tests.gpu.elsewhere import Elsewhere


@pytest.fixture(params=["elsewhere", pytest.param("cuda", marks=pytest.mark.gpu)])
def place(request: pytest.FixtureRequest, seeded: None) -> Iterator[Elsewhere | Cuda]:
    """The device; tensors on it are good during the test."""
    if request.param == "elsewhere":
        with Elsewhere() as made:
            yield made
        return
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    # cuBLAS is deterministic only with a workspace variable set before the process starts.
    torch.use_deterministic_algorithms(False)
    with Cuda() as made:
        yield made
