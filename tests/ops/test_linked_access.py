"""SDNC's access in one op against the same ops one after the other; content weights' gradients."""

import pytest
import torch

from index import make_index
from sam.errors import StaleStateError
from sam.fast.linked_access import linked_access
from sam.memory.sdnc import SDNCMemory
from sam.ops.content import content_weights_backward, content_weights_forward
from sam.ops.similarity import gathered_cosine, softmax
from sam.ops.sparse import SparseWeights, no_weights
from sam.ops.sparse_links import SparseLinks
from sam.store.word_store import WordStore
from tests.memory.sdnc_episodes import draw_controls, leaves_of, rollout
from tests.reference.finite_differences import check_gradients


class OpByOp(SDNCMemory):
    """The usual options, stepped by the form that serves all options."""

    _in_one_op = False


CASES = {
    "one link": {"num_links": 1},
    "many links": {"num_links": 8},
    "sources decay": {"num_links": 2, "decay_sources": True},
    "full memory": {"memory_size": 6, "num_links": 3},
    "one head": {"num_reads": 1},
    "rows that pause": {"num_links": 8, "active": True},
    "rows that pause, full memory": {"memory_size": 6, "active": True, "decay_sources": True},
}


@pytest.mark.parametrize("loss", ["reads", "weights", "both"])
@pytest.mark.parametrize("case", CASES)
def test_step_in_one_op_equals_the_step_op_by_op(case, loss):
    settings = {"memory_size": 24, "word_size": 5, "num_reads": 3, "top_k": 2} | CASES[case]
    steps, batch, active = 15, 3, None
    if settings.pop("active", False):
        active = torch.rand(steps, batch, generator=torch.Generator().manual_seed(5)) < 0.7
    results = []
    for kind in (SDNCMemory, OpByOp):
        memory = kind(**settings)
        leaves = leaves_of(draw_controls(steps, batch, memory.num_reads, 5, seed=2))
        reads, slots, values, oldest, state = rollout(memory, leaves, active=active)
        shown = 1 if active is None else active[:, :, None, None]
        total = 0 * values.sum()
        if loss != "weights":
            total = total + (reads * reads.detach().roll(1, 0) * shown).sum()
        if loss != "reads":
            total = total + (values**2).sum()
        total.backward()
        links = state.links.to_dense()
        grads = [leaf.grad for leaf in leaves]
        assert all(grad.abs().max() > 0 for grad in grads)
        visible = reads if active is None else reads * active[:, :, None, None]
        results.append([visible, slots, values, oldest, state.words.words, links, *grads])
    assert (results[0][1][0] < 0).any(), "the first step must read fewer than K words"
    if memory.num_reads > 1:
        first, second = results[0][1][:, :, 0, :, None], results[0][1][:, :, 1, None]
        assert ((first == second) & (first >= 0)).any(), "two heads must hit one row"
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


def access(fields, links=2, steps=2):
    """The op itself, `steps` times with the same controls; returns what was read last."""
    batch, heads, size = fields["keys"].shape
    store = WordStore(batch, 9, size, dtype=torch.float64)
    table = SparseLinks(batch, 9, links, dtype=torch.float64)
    index = make_index("exact", batch_size=batch, capacity=9, word_size=size, dtype=torch.float64)
    index.reserve(steps)
    read = no_weights(batch, heads, 2, device=None, dtype=torch.float64)
    for step in range(steps):
        reads, read, write, store = linked_access(
            store,
            table,
            lambda slots, words: index.exchange(slots, words, fields["keys"], 2),
            before=read,
            oldest=torch.full((batch, 1), step),
            below=steps,
            top_k=2,
            **fields,
        )
    return reads, read, write, store


def draw_fields():
    names = ("alpha", "gamma", "adds", "keys", "strengths", "modes")
    drawn = draw_controls(1, 2, 2, 3, seed=7)
    order = ("write_gates", "interpolation_gates", "adds", "keys", "strengths", "modes")
    fields = dict(zip(names, (getattr(drawn, name)[0] for name in order), strict=True))
    return fields | {"alpha": fields["alpha"].clamp(min=0.3)}


def test_what_comes_back():
    fields = {name: field.requires_grad_() for name, field in draw_fields().items()}
    reads, read, write, store = access(fields)
    assert reads.requires_grad and read.values.requires_grad and not write.values.requires_grad
    assert write.slots.shape == (2, 1, 5) and (write.slots[:, 0, -1] == 1).all()
    with torch.no_grad():
        again = access(fields)
    for found, wanted in zip((reads, *read, *write), (again[0], *again[1], *again[2]), strict=True):
        assert torch.equal(found, wanted)
    before = store.words.clone()
    assert before[:, :2].any()
    reads.sum().backward(retain_graph=True)
    assert torch.equal(store.words, before)
    with pytest.raises(StaleStateError, match="expected one backward pass"):
        reads.sum().backward()


def test_one_step_against_finite_differences():
    """Of one step: then the links, which are constants, do not depend on the controls."""
    names, given = zip(*draw_fields().items(), strict=True)
    slots = access(dict(zip(names, given, strict=True)), steps=1)[1].slots

    def results(*fields):
        reads, read, *_ = access(dict(zip(names, fields, strict=True)), steps=1)
        assert torch.equal(read.slots, slots) and (slots >= 0).any()
        return torch.cat([reads.flatten(), read.values.flatten()])

    check_gradients(results, list(given))


def test_content_weights_and_their_gradients_equal_autograd():
    generator = torch.Generator().manual_seed(1)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    words, valid = normal(2, 3, 4, 5), torch.rand(2, 3, 4, generator=generator) < 0.7
    valid[0, 0], words[1, 1] = False, 0.0
    valid[1, 1] = True
    words = (words * valid[..., None]).requires_grad_()
    keys, strengths = normal(2, 3, 5).requires_grad_(), normal(2, 3).abs().requires_grad_()
    cosine = gathered_cosine(keys, words)
    expected = softmax(cosine * strengths[:, :, None], valid)
    found = content_weights_forward(cosine.detach(), strengths.detach(), ~valid)
    torch.testing.assert_close(found, expected.detach(), rtol=0, atol=1e-12)
    assert torch.equal(found == 0, ~valid)
    grad = normal(2, 3, 4)
    leaves = keys, strengths, words
    wanted = torch.autograd.grad(expected, leaves, grad)
    given = (tensor.detach() for tensor in (*leaves, cosine))
    got = content_weights_backward(*given, found, grad)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one.view(other.shape), other, rtol=0, atol=1e-12)
        assert other.abs().max() > 0


def test_results_can_be_used_outside_of_the_inference_mode():
    """Links and mixing use it inside; what they return must be fit for autograd."""
    links = SparseLinks(1, 4, 2, dtype=torch.float64)
    for slot in (0, 1):
        links.update(torch.tensor([[slot]]), torch.ones(1, 1).double())
    found = *links.follow(torch.tensor([[[0]]]), torch.ones(1, 1, 1).double()), links.precedence
    assert found[0].slots.tolist() == [[[1, -1]]]
    for part in found:
        assert isinstance(part, SparseWeights)
        scale = torch.ones_like(part.values, requires_grad=True)
        (part.values * scale).sum().backward()
        assert torch.equal(scale.grad, part.values)
        assert not part.slots.is_inference()
    links.reset(torch.ones(1, dtype=torch.bool))
    assert not links.to_dense().any()
