"""Whether compiled forms are used: argument, block, environment, what is installed."""

import subprocess
import sys

import pytest
import torch

from index import BackendMissingError, compiled
from index.compiled import is_compiled, use_compiled
from tests.fast.compiled_and_plain import IN, build, draw, watched

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    monkeypatch.delenv("SPARSE_SAM_COMPILED", raising=False)


@pytest.fixture(params=[True, False])
def numba(request, monkeypatch):
    """Whether numba is installed, as far as the library can see."""
    monkeypatch.setattr(compiled, "_installed", lambda: request.param)
    return request.param


def test_without_a_wish_what_is_installed_decides(numba):
    assert is_compiled(None, CPU, torch.float32) == numba
    assert not is_compiled(None, CPU, torch.float64)
    assert not is_compiled(False, CPU, torch.float32)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_other_kinds_are_plain_unless_asked_for(numba, dtype):
    for kind in (
        (CPU, dtype),
        (torch.device("meta"), torch.float32),
        (torch.device("cuda"), dtype),
    ):
        assert not is_compiled(None, *kind) and not is_compiled(False, *kind)
        with use_compiled(True):
            assert not is_compiled(None, *kind)
        with pytest.raises(
            ValueError, match="compiled: expected float32 or float64 on the CPU, got"
        ):
            is_compiled(True, *kind)


def test_asking_for_what_is_not_installed(numba):
    def asked():
        with use_compiled(True):
            return is_compiled(None, CPU, torch.float32)

    for ask in (lambda: is_compiled(True, CPU, torch.float32), asked):
        if numba:
            assert ask()
        else:
            with pytest.raises(
                BackendMissingError, match=r"numba, .* pip install '[\w-]+\[fast\]'$"
            ):
                ask()


def test_a_model_without_numba(monkeypatch):
    monkeypatch.setattr(compiled, "_installed", lambda: False)
    inputs = draw(6, 2, IN, dtype=torch.float32)
    with watched() as paths:
        outputs, _ = build(None, dtype=torch.float32)(inputs)
    expected, _ = build(False, dtype=torch.float32)(inputs)
    assert torch.equal(outputs, expected) and not paths
    for steps in (1, 6):
        with pytest.raises(BackendMissingError, match="pip install"):
            build(True, dtype=torch.float32)(inputs[:steps])


@pytest.mark.parametrize(
    ("text", "wanted"), [("0", False), ("off", False), ("1", True), ("TRUE", True), ("", True)]
)
def test_environment(monkeypatch, text, wanted):
    monkeypatch.setattr(compiled, "_installed", lambda: True)
    monkeypatch.setenv("SPARSE_SAM_COMPILED", text)
    assert is_compiled(None, CPU, torch.float32) == wanted
    assert is_compiled(True, CPU, torch.float32) and not is_compiled(False, CPU, torch.float32)
    with use_compiled(not wanted):
        assert is_compiled(None, CPU, torch.float32) != wanted
    with use_compiled(None):
        assert is_compiled(None, CPU, torch.float32) == wanted


def test_nonsense_in_the_environment(monkeypatch):
    monkeypatch.setenv("SPARSE_SAM_COMPILED", "maybe")
    with pytest.raises(ValueError, match="SPARSE_SAM_COMPILED: expected 0 or 1, got 'maybe'"):
        is_compiled(None, CPU, torch.float32)
    with pytest.raises(ValueError, match="'maybe'"):
        build(None, dtype=torch.float32)(draw(5, 2, IN, dtype=torch.float32))
    assert not is_compiled(False, CPU, torch.float32)


def test_blocks_nest_and_end_with_an_error(monkeypatch):
    monkeypatch.setattr(compiled, "_installed", lambda: True)
    used = lambda: is_compiled(None, CPU, torch.float32)  # noqa: E731
    with use_compiled(False):
        assert not used()
        with use_compiled(True):
            assert used()
            with pytest.raises(KeyError), use_compiled(False):
                assert not used()
                raise KeyError
            assert used()
        assert not used()
    assert used()


def test_block_reaches_a_model():
    pytest.importorskip("numba")
    model, inputs = build(None, dtype=torch.float32), draw(5, 2, IN, dtype=torch.float32)
    for wanted in (True, False):
        with use_compiled(wanted), watched() as paths:
            model(inputs)
            model(inputs[:2])
        assert paths == ({"sequence": 1, "step": 2} if wanted else {})


def test_a_plain_model_imports_no_numba():
    code = (
        "import sys, torch; from index import IndexConfig; from sam import SAM; "
        "model = SAM(5, 4, compiled=False, index=IndexConfig(compiled=False)); "
        "model(torch.zeros(6, 2, 5))[0].sum().backward(); "
        "assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)
