"""The compiled order of access and `AccessOrder`, on the same arrays, in turns."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sam.store.access_order import AccessOrder
from tests.fast.compiled_and_plain import entered

pytest.importorskip("numba")

HEADS, MOST = 2, 3


def compiled_lru_slots(order):
    """`AccessOrder.lru_slots` by the compiled form, for all rows."""
    from sam.fast.loops.access_queue import find_lru

    arrays = [tensor.numpy() for tensor in order.export_buffers(1, torch.float64)]
    batch = len(arrays[0])
    found = torch.full((batch, order.count), -9)
    for row in range(batch):
        while True:
            stamps, _, queue, head, end, epoch, pending = arrays
            before = pending[row].copy(), head[row, 0]
            after = entered(find_lru)(
                *(found[row].numpy(), pending[row], stamps[row], queue[row]),
                *(int(head[row, 0]), int(end[row, 0]), int(epoch[row, 0]), order.memory_size),
            )
            if after >= 0:
                break
            assert (pending[row] == before[0]).all(), "what is used up must be left as it was"
            order.commit_steps(order.clock, row=row)
            arrays = [tensor.numpy() for tensor in order.buffers]
        head[row, 0] = after
    order.commit_steps(order.clock)
    return found


def compiled_record(order, read, read_values, write, write_values, threshold):
    """`AccessOrder.record_access` by the compiled form, for all rows."""
    from sam.fast.loops.access_queue import record_access

    stamps, total, *_ = (tensor.numpy() for tensor in order.export_buffers(0, torch.float64))
    now = order.clock + read[0].numel() + write[0].numel() - 1
    for row in range(len(read)):
        one = (part[row].numpy() for part in (read, read_values, write, write_values))
        entered(record_access)(stamps[row], total[row], *one, now, threshold)
    assert not total.any()
    order.commit_steps(now + 1)


def plain_record(order, read, read_values, write, write_values, threshold):
    slots = torch.cat([read.flatten(1), write.flatten(1)], 1)
    values = torch.cat([read_values.flatten(1), write_values.flatten(1)], 1)
    order.record_access(slots, values, threshold)


def draw_access(order, found, generator):
    """Slots read and written, handed out before or none, and weights about the threshold."""
    below = 1 + order.handed_out[:, :, None]
    shapes = (HEADS, MOST), (order.count, 2)
    draws = (torch.rand(len(found), *shape, generator=generator) for shape in shapes)
    read, again = ((draw * below).long() - 1 for draw in draws)
    write = torch.cat([again, found[:, :, None]], 2)
    draws = (torch.rand(part.shape, generator=generator).double() for part in (read, write))
    values = [draw * (draw > 0.4) for draw in draws]
    return read, values[0], write, values[1]


@given(
    st.integers(1, 3),
    st.integers(3, 40),
    st.sampled_from([0, 0, 2, 7, 40]),
    st.integers(1, 3),
    st.sampled_from(["compiled", "in turns", "other turns"]),
    st.integers(0, 999),
)
def test_both_forms_keep_the_same_order(batch, memory_size, loaded, count, form, seed):
    generator = torch.Generator().manual_seed(seed)
    plain = AccessOrder(batch, memory_size, count, loaded=min(loaded, memory_size))
    other = plain.clone()
    for step in range(40):
        turn = {"compiled": 0, "in turns": step % 2, "other turns": step // 3 % 2}[form]
        expected = plain.lru_slots()
        found = other.lru_slots() if turn else compiled_lru_slots(other)
        assert torch.equal(found, expected)
        access = *draw_access(plain, expected, generator), 0.6
        plain_record(plain, *access)
        (plain_record if step // 2 % 2 and turn else compiled_record)(other, *access)
        if step % 13 == 12:
            mask = torch.rand(batch, generator=generator) < 0.5
            plain.reset(mask)
            other.reset(mask)
        if step == 20:
            other = other.clone()
        if step == 29:
            plain.resize(memory_size + 3)
            other.resize(memory_size + 3)
        assert plain.clock == other.clock and torch.equal(plain.handed_out, other.handed_out)
        assert plain.slot_bound <= other.slot_bound <= other.memory_size
        used = plain.slot_bound
        assert torch.equal(plain.last_access[:, :used], other.last_access[:, :used])


def test_compiled_order_takes_no_space_for_untouched_slots():
    order = AccessOrder(2, 2**30, 4)
    for _ in range(20):
        found = compiled_lru_slots(order)
        none = torch.full((2, 1, 1), -1)
        ones = torch.ones(2, 4, 1).double()
        compiled_record(order, none, ones[:, :1], found[:, :, None], ones, 0.5)
    assert order.handed_out.tolist() == [[80], [80]] and order.nbytes < 20_000
