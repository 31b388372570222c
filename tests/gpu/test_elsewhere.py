"""The stand-in for a device: what it notices, and that it computes."""

import pytest
import torch

from index import checks
from tests.gpu.elsewhere import THERE, Elsewhere, Remote

WAITS = {
    "item": lambda x: x.sum().item(),
    "bool": lambda x: bool((x > 0).any()),
    "int": lambda x: int(x.long().max()),
    "if": lambda x: 1 if x.sum() > 0 else 0,
    "tolist": lambda x: x.tolist(),
    "to the host": lambda x: x.cpu(),
    "to the host by name": lambda x: x.to("cpu"),
    "from the host": lambda x: torch.ones(3).to(x.device),
    "one number from the host": lambda x: x[0, 0].copy_(torch.tensor(1.0)),
    "copied from the host": lambda x: x[0].copy_(torch.ones(4)),
    "numbers": lambda x: torch.tensor([1.0, 2.0], device=x.device),
    "a number like it": lambda x: x.new_tensor(1.0),
    "nonzero": lambda x: x.nonzero(),
    "where of one argument": lambda x: torch.where(x > 0),
    "masked_select": lambda x: x.masked_select(x > 0),
    "read by a mask": lambda x: x[x > 0],
    "written by a mask": lambda x: x.__setitem__(x > 0, 0.0),
    "unique": lambda x: x.unique(),
    "equal": lambda x: torch.equal(x, x + 1),
    "repeat_interleave": lambda x: x[0].repeat_interleave(torch.ones_like(x[0]).long()),
}
GOES_ON = {
    "made there": lambda x: torch.arange(3, device=x.device) + x.new_full((3,), 2.0),
    "a number of Python's": lambda x: torch.where(x > 0, 1.0, x).masked_fill(x > 0, 2.0) * 3,
    "a number of the host": lambda x: x + torch.tensor(1.0),
    "read by slots": lambda x: x[(x > 9).long()] + x[0, 1],
    "written by slots": lambda x: x.index_fill_(0, torch.zeros_like(x[0]).long(), 1.0),
    "sorted": lambda x: x.sort().values + x.topk(2).values[:, :1],
    "an assertion": lambda x: torch._assert_async((x == x).all()),
    "of another kind": lambda x: x.double().long().to(x.device),
    "set to a number": lambda x: x[0].fill_(3.0) + x[1].zero_(),
}


@pytest.mark.parametrize("name", WAITS)
def test_what_waits_is_noticed(name):
    with Elsewhere() as place:
        x = place.put(torch.randn(3, 4))
        with pytest.raises(AssertionError, match="waits"), place.without_waiting():
            WAITS[name](x)
        assert len(place.waits) == 1


@pytest.mark.parametrize("name", GOES_ON)
def test_what_does_not_wait_goes_on(name):
    with Elsewhere() as place:
        x = place.put(torch.randn(3, 4))
        GOES_ON[name](x)
        assert not place.waits


def test_a_wait_says_where():
    with Elsewhere() as place:
        slots = place.put(torch.tensor([[0, 1]]))
        with place.without_waiting({"check_slot_values"}):
            assert checks.check_slot_values(slots, 5, look=True) == 1
        # The outermost: it looks from within a generator.
        assert {wait.within[-1] for wait in place.waits} == {"check_slot_values"}
        with pytest.raises(AssertionError), place.without_waiting({"check_size"}):
            checks.check_slot_values(slots, 5, look=True)


def test_places_do_not_mix():
    lost = torch.ones(4, device=THERE)
    with Elsewhere() as place:
        x = place.put(torch.randn(3, 4))
        with pytest.raises(RuntimeError, match="one place"):
            x + torch.ones(4)
        with pytest.raises(RuntimeError, match="one place"):
            x[torch.tensor([0])]
        with pytest.raises(RuntimeError, match="lost its values"):
            x + lost
    with pytest.raises(RuntimeError, match="inside of the block"):
        x + 1


def test_views_share_what_they_see():
    with Elsewhere() as place:
        x = place.put(torch.zeros(3, 4))
        row, flat = x[1], x.view(-1)
        assert row.add_(1.0) is row
        flat[:2] = 5.0
        x[:, 3].copy_(torch.arange(3.0, device=x.device))
        found = place.fetch(x)
    assert found.tolist() == [[5, 5, 0, 0], [1, 1, 1, 1], [0, 0, 0, 2]]


def test_gradients_are_those_of_the_host():
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            return 2 * x * grad

    cell, x = torch.nn.LSTMCell(4, 5), torch.randn(3, 4)

    def run(x):
        hidden = Square.apply(cell(x)[0]).clone()
        hidden[0] *= 2.0
        hidden.sum().backward()
        return [parameter.grad for parameter in cell.parameters()]

    expected = [grad.clone() for grad in run(x)]
    with Elsewhere() as place:
        place.model(cell)
        found = run(place.put(x))
        assert all(isinstance(grad, Remote) for grad in found) and not place.waits
        found = [place.fetch(grad) for grad in found]
    torch.testing.assert_close(found, expected)
