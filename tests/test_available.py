"""What does not fit into memory is told in one sentence, and never swamps the machine."""

import os
import resource
from pathlib import Path

import numpy as np
import pytest
import torch

from sam import available
from sam.available import (
    available_bytes,
    failed_allocation,
    limited_to_free_memory,
    refused_if_too_large,
)
from sam.errors import ConfigError, ShapeError
from tests.attack.forked import in_children

TELLS = pytest.mark.skipif(available_bytes() is None, reason="the system tells no free memory")


@pytest.mark.parametrize(
    ("allocate", "asked"),
    [
        (lambda: torch.zeros(2**45), "an allocation of 1.31e+05 GiB failed"),
        (lambda: np.empty(2**45), "an allocation of 2.62e+05 GiB failed"),
        (lambda: torch.zeros(2**62, 8), "an allocation of more than 2^63 bytes failed"),
        (lambda: torch.zeros(2**64), "an allocation of more than 2^63 bytes failed"),
        (lambda: np.empty(2**63), "an allocation of more than 2^63 bytes failed"),
        (lambda: bytearray(2**62), "an allocation of more memory failed"),
        (lambda: torch.nn.Linear(2**62, 4), "an allocation of more than 2^63 bytes failed"),
    ],
)
def test_every_librarys_way_to_say_it_is_one_sentence(allocate, asked):
    with pytest.raises(ConfigError) as error, refused_if_too_large("words"):
        allocate()
    assert str(error.value).startswith("words: expected sizes that fit into memory")
    assert str(error.value).endswith(asked)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("top_k: expected at most 4, got 5"),
        ShapeError("words: expected shape [2], got [3]"),
        RuntimeError("a view of a leaf Variable is being used in an in-place operation"),
        TypeError("unsupported operand"),
    ],
)
def test_other_errors_stay_what_they_are(error):
    assert failed_allocation(error) is None
    with pytest.raises(type(error)) as found, refused_if_too_large("words"):
        raise error
    assert found.value is error


def test_an_error_that_was_told_is_not_told_again():
    outer, inner = refused_if_too_large("outer"), refused_if_too_large("inner")
    with pytest.raises(ConfigError) as error, outer, inner:
        torch.zeros(2**45)
    assert str(error.value).startswith("inner: expected sizes")


@TELLS
def test_what_is_free_is_less_than_all_there_is():
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    swap = 2**44  # no machine of today has more
    free = available_bytes()
    assert free is not None and 0 < free < pages + swap


@TELLS
def test_a_containers_share_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    limit, used = tmp_path / "limit", tmp_path / "used"
    limit.write_text("3000000\n")
    used.write_text("1000000\n")
    monkeypatch.setattr(available, "_GROUPS", ((str(limit), str(used)),))
    assert available_bytes() == 2_000_000
    limit.write_text("max\n")
    assert available_bytes() > 2_000_000


def _small_pieces(number: int) -> str:
    """Asks for many times what is free, in pieces that would each be promised."""
    resource.setrlimit(resource.RLIMIT_DATA, (2**32, resource.RLIM_INFINITY))
    told = ""
    with limited_to_free_memory():
        try:
            with refused_if_too_large("pieces"):
                [torch.empty(2**26) for _ in range(4096)]  # a TiB, untouched
        except ConfigError as error:
            told = str(error)
    assert resource.getrlimit(resource.RLIMIT_DATA) == (2**32, resource.RLIM_INFINITY)
    return told.partition("; ")[2]


def _limit_of_one_of_four(number: int) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(available, "available_bytes", lambda: 2**36)
        with limited_to_free_memory(4):
            limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return f"{limit // 2**34} quarters" if limit < 2**35 else "more"


@TELLS
@pytest.mark.skipif(torch.cuda.is_available(), reason="no limit where CUDA reserves addresses")
def test_processes_that_start_together_share():
    assert in_children(1, _limit_of_one_of_four) == {"1 quarters": 1}


@TELLS
@pytest.mark.skipif(torch.cuda.is_available(), reason="no limit where CUDA reserves addresses")
def test_more_than_there_is_fails_at_once_and_the_limit_goes():
    """In a process of its own, whose limits may be changed."""
    assert in_children(1, _small_pieces) == {"an allocation of 0.25 GiB failed": 1}
