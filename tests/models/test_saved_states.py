"""States on disk: going on from one is going on, and what does not fit is refused."""

from typing import NamedTuple

import pytest
import torch

from index.tensor_files import write_parts
from sam import (
    CheckpointError,
    ConfigError,
    LSTMController,
    MemoryCell,
    MemoryNetwork,
    SAMMemory,
    StaleStateError,
    load_state,
    state,
)
from tests.models.cases import IN, OUT, B, T, build, draw, models
from tests.models.saved_parts import parts_of

safetensors = pytest.importorskip("safetensors.torch")


@models
@pytest.mark.parametrize(
    ("dtype", "steps"), [(torch.float64, 0), (torch.float64, 40), (torch.float32, 2)]
)
def test_a_loaded_state_goes_on_as_the_original(name, options, dtype, steps, tmp_path):
    model, inputs = build(name, options, dtype=dtype), draw(steps + T, B, IN, dtype=dtype)
    _, kept = model(inputs[:steps])
    kept.save(tmp_path / "state")
    loaded = load_state(tmp_path / "state", model)
    expected, after = model(inputs[steps:], kept)
    found, other = model(inputs[steps:], loaded)
    assert torch.equal(found, expected)
    after.save(tmp_path / "after")
    other.save(tmp_path / "other")
    left, right = (safetensors.load_file(tmp_path / file) for file in ("after", "other"))
    assert {*left} == {*right}
    assert all(torch.equal(left[part], right[part]) for part in left)


@pytest.mark.parametrize("name", ["sam", "sdnc"])
def test_a_state_with_rows_begun_anew_and_one_that_has_grown(name, tmp_path):
    model, inputs = build(name), draw(40, B, IN)
    _, now = model(inputs)
    now = now.reset(torch.tensor([True, False, False, True])).resize(100)
    now.save(tmp_path / "state")
    with pytest.raises(CheckpointError, match=r"memory_size: expected 64, got 100"):
        load_state(tmp_path / "state", model)
    loaded = load_state(tmp_path / "state", model, memory_size=100)
    assert torch.equal(model(inputs, loaded)[0], model(inputs, now)[0])


@pytest.mark.parametrize("name", ["lstm", "sam", "ntm"])
def test_a_state_of_autocast(name, tmp_path):
    model, inputs = build(name, dtype=torch.float32), draw(T, B, IN, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        _, now = model(inputs)
        now.save(tmp_path / "state")
        loaded = load_state(tmp_path / "state", model)
        assert torch.equal(model(inputs, loaded)[0], model(inputs, now)[0])


@pytest.mark.parametrize("kind", ["ivf", "lsh"])
def test_an_approximate_index_finds_the_same_words_again(kind, tmp_path):
    model = build("sam", {"index": kind, "memory_size": 40})
    _, now = model(draw(30, B, IN))
    now.save(tmp_path / "state")
    loaded = load_state(tmp_path / "state", model)
    assert torch.equal(loaded.memory.index.occupancy, now.memory.index.occupancy)
    model(draw(T, B, IN), loaded)


def test_a_state_with_a_gradient_is_saved_without_it_and_stays(tmp_path):
    model, inputs = build("sam"), draw(T, B, IN).requires_grad_()
    _, now = model(inputs, trace=True)
    now.save(tmp_path / "state")
    loaded = load_state(tmp_path / "state", model)
    assert loaded.trace is None
    assert not loaded.reads.requires_grad
    model(inputs, now)[0].sum().backward()
    assert inputs.grad.isfinite().all()
    with pytest.raises(StaleStateError):
        now.save(tmp_path / "state")


def test_only_words_that_were_touched_are_on_disk(tmp_path):
    sizes = []
    for memory_size in (2**8, 2**30):
        _, now = build("sam", {"memory_size": memory_size})(draw(T, B, IN))
        now.save(tmp_path / "state")
        sizes.append((tmp_path / "state").stat().st_size)
    assert sizes[1] < sizes[0] + 200


class CountState(NamedTuple):
    words: torch.Tensor
    steps: int
    parts: tuple

    detach, clone, reset, to = state.detach, state.clone, state.reset, state.to
    nbytes = property(state.nbytes)


class Counting:
    """A memory of our own: its state has a number and a tuple of tensors in it."""

    num_reads, word_size, fields = 1, 3, SAMMemory(word_size=3, num_heads=1).fields

    def initial_state(self, batch_size, **kind):
        words = torch.zeros(batch_size, 3, **kind)
        return CountState(words, 0, (words, words.long()))

    def step(self, controls, before):
        words = before.words + controls.keys[:, 0]
        now = CountState(words, before.steps + 1, (words * 2, before.parts[1] + before.steps))
        return now.parts[0][:, None] + now.parts[1][:, None], now


def test_a_state_of_our_own(tmp_path):
    model = MemoryNetwork(MemoryCell(LSTMController(IN + 3, 4), Counting()), OUT).double()
    _, now = model(draw(T, B, IN))
    now.save(tmp_path / "state")
    loaded = load_state(tmp_path / "state", model)
    assert loaded.memory.steps == T
    assert torch.equal(model(draw(T, B, IN), loaded)[0], model(draw(T, B, IN), now)[0])
    odd = now._replace(memory=now.memory._replace(steps=object()))
    with pytest.raises(ConfigError, match=r"state.memory.steps: expected tensors.* got a object"):
        odd.save(tmp_path / "state")


@pytest.mark.parametrize(
    ("name", "options", "dtype"),
    [
        ("dam", {}, torch.float64),
        ("sdnc", {}, torch.float64),
        ("sam", {}, torch.float32),
        ("sam", {"controller": "gru"}, torch.float64),
        ("sam", {"num_layers": 2}, torch.float64),
        ("sam", {"hidden_size": 13}, torch.float64),
        ("sam", {"memory_size": 63}, torch.float64),
        ("sam", {"word_size": 7}, torch.float64),
        ("sam", {"num_heads": 3}, torch.float64),
        ("sam", {"top_k": 4}, torch.float64),
        ("sam", {"shared_write": True}, torch.float64),
        ("sam", {"index": "lsh"}, torch.float64),
        ("sam", {"similarity": "euclidean"}, torch.float64),
    ],
)
def test_a_state_of_another_model_is_refused(name, options, dtype, tmp_path):
    path = tmp_path / "state"
    build("sam")(draw(T, B, IN))[1].save(path)
    with pytest.raises(CheckpointError, match="expected") as caught:
        load_state(path, build(name, options, dtype=dtype))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def alter(tensor, value):
    tensor = tensor.clone()
    tensor.view(-1)[-1] = value
    return tensor


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("memory.read_weights.slots", lambda slots: alter(slots, 63)),
        ("memory.read_weights.slots", lambda slots: alter(slots, -2)),
        ("memory.read_weights.slots", lambda slots: slots.int()),
        ("memory.read_weights.slots", lambda slots: slots[:-1]),
        ("memory.order.pending", lambda slots: alter(slots, 10**6)),
        ("memory.order.stamps", lambda stamps: alter(stamps, -5)),
        ("memory.order.stamps", lambda stamps: alter(stamps, 2**61)),
        ("memory.order.head", lambda head: alter(head, 2**40)),
        ("memory.order.head", lambda head: alter(head, 0)),
        ("memory.order.end", lambda end: alter(end, 0)),
        ("memory.order.epoch", lambda epoch: alter(epoch, -1)),
        ("memory.order.queue", lambda queue: torch.zeros(B, 64, dtype=torch.int64)),
        ("memory.order.clock", lambda clock: -1),
        ("memory.order.high", lambda high: 2**62),
        ("memory.order.high", lambda high: True),
        ("memory.order.untouched", lambda untouched: 1),
        ("memory.words.words", lambda words: alter(words, torch.nan)),
        ("memory.words.words", lambda words: words.repeat(1, 9, 1)),
        ("memory.words.memory_size", lambda size: 2**70),
        ("memory.index.words", lambda words: alter(words, torch.inf)),
        ("memory.index.occupied", lambda occupied: ~occupied),
        ("memory.index.capacity", lambda capacity: 65),
        ("memory.index.config", lambda config: []),
        ("memory.links.incoming", lambda places: alter(places, 10**6)),
        ("memory.links.incoming", lambda places: places.flip(1)),
        ("memory.links.outgoing", lambda places: places * 0),
        ("memory.links.values", lambda values: -values),
        ("memory.links.precedence.slots", lambda slots: alter(slots, 63)),
        ("reads", lambda reads: reads[:0]),
        ("kind", lambda kind: "CellState"),
        ("trace", lambda trace: "x"),
        ("more", lambda none: 1),
        ("memory.more", lambda none: torch.zeros(3)),
    ],
)
def test_a_state_that_no_model_can_have_is_refused(part, change, tmp_path):
    model, path = build("sdnc"), tmp_path / "state"
    model(draw(T, B, IN))[1].save(path)
    parts = parts_of(path, "state")
    assert (part in parts) == ("more" not in part)
    write_parts(path, "state", parts)
    load_state(path, model)
    write_parts(path, "state", parts | {part: change(parts.get(part))})
    with pytest.raises(CheckpointError, match="expected"):
        load_state(path, model)
    if part in parts:
        write_parts(path, "state", {name: parts[name] for name in parts if name != part})
        with pytest.raises(CheckpointError, match="expected"):
            load_state(path, model)
