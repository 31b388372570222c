"""Blocks in large pages: tensors like others, and no more than what was asked for."""

import mmap

import pytest
import torch

from sam.fast import large_blocks
from sam.fast.large_blocks import new_numbers


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("least", [1, 2**25])
def test_numbers_can_be_written_and_read(monkeypatch, dtype, least):
    monkeypatch.setattr(large_blocks, "_LEAST", least)
    numbers = new_numbers(1000, torch.zeros(3, dtype=dtype))
    assert numbers.shape == (1000,) and numbers.dtype == dtype
    assert numbers.untyped_storage().nbytes() == 1000 * dtype.itemsize
    numbers.copy_(torch.arange(1000))
    part = numbers.split([400, 600])[1]
    del numbers
    assert part[0] == 400 and part[-1] == 999


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="this system has none")
def test_a_large_page_begins_at_a_multiple_of_its_size(monkeypatch):
    monkeypatch.setattr(large_blocks, "_LEAST", 1)
    assert new_numbers(10, torch.zeros(1)).data_ptr() % 2**21 == 0


def test_a_system_without_large_pages(monkeypatch):
    monkeypatch.setattr(large_blocks, "_LEAST", 1)
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE", raising=False)
    assert len(new_numbers(10, torch.zeros(1))) == 10


def test_a_wish_that_is_refused(monkeypatch):
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        pytest.skip("this system has none")
    monkeypatch.setattr(large_blocks, "_LEAST", 1)
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", -1)
    assert len(new_numbers(10, torch.zeros(1))) == 10
