"""What code written for nn.LSTM does works with every model, or is refused in a line."""

import copy
import importlib.util
import inspect
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

import index.faiss_factory
from index import BackendMissingError, IndexConfig
from index import compiled as compiled_forms
from sam import ConfigError, ShapeError, make_model
from sam.controller import make_controller
from sam.models import available_models, load_model, save_model
from tests.models.cases import IN, OUT, SETTINGS, B, T, build, draw, models
from tests.models.test_torch_habits import close, forms

MEMORIES = [name for name in available_models() if name != "lstm"]
names = pytest.mark.parametrize("name", available_models())


@forms
def test_an_unbatched_sequence_is_a_batch_of_one(name: str, options: dict) -> None:
    model, given = build(name, options), draw(T, IN)
    starts = torch.arange(T) == 4
    expected, after = model(given[:, None], starts=starts[:, None])
    for batch_first in (False, True):  # there is no batch that could come first
        model.batch_first = batch_first
        found, state = model(given, starts=starts)
        assert found.shape == (T, OUT)
        close(found, expected[:, 0])
        outputs, _ = model(given, state.clone(), trace=name != "lstm")
        close(outputs, model(given, state)[0])
    model.batch_first = False
    close(outputs, model(given[:, None], after)[0][:, 0])
    with pytest.raises(ShapeError, match=r"starts: expected shape \[T=9\], got \[9, 1\]"):
        model(given, starts=starts[:, None])
    with pytest.raises(ShapeError, match="B=1"):
        model(given, model.initial_state(2))


@models
@pytest.mark.parametrize("batch_first", [False, True])
def test_a_batch_of_none_and_a_sequence_of_no_steps(
    name: str, options: dict, batch_first: bool
) -> None:
    model = build(name, options, batch_first=batch_first)
    for steps, rows in ((4, 0), (1, 0), (0, 3), (0, 0)):
        shape = (rows, steps) if batch_first else (steps, rows)
        given, starts = draw(*shape, IN), torch.ones(shape, dtype=torch.bool)
        outputs, state = model(given, starts=starts, trace=True)
        assert outputs.shape == (*shape, OUT)
        outputs.sum().backward()
        more, state = model(given, state)
        assert more.shape == outputs.shape
        pickled = pickle.loads(pickle.dumps(state.detach()))
        for other in (state.clone(), copy.deepcopy(state.detach()), pickled, state.detach()):
            again = other.reset(torch.ones(rows, dtype=torch.bool))
            assert model(given, again)[0].shape == outputs.shape
    if name in ("sam", "sdnc"):
        for kind in ("ivf", "lsh", "product", "auto"):
            assert build(name, options, index=kind)(draw(3, 0, IN))[0].shape == (3, 0, OUT)


@models
def test_sequences_of_one_step_and_packed_ones_of_one_row(name: str, options: dict) -> None:
    model, given = build(name, options), draw(T, B, IN)
    expected, _ = model(given)
    state, found = None, []
    for step in given.split(1):
        outputs, state = model(step, hx=state)
        found.append(outputs)
    close(torch.cat(found), expected)
    close(model(pack_sequence([given[:, 0]]))[0].data, expected[:, 0])


@forms
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_converts_inputs(name: str, options: dict, dtype: torch.dtype) -> None:
    if name == "lstm" and dtype is torch.float16:
        pytest.skip("nn.LSTM has no float16 on every CPU")
    model, given = build(name, options, dtype=torch.float32), draw(T, B, IN).to(dtype)
    packed = pack_sequence([*given.transpose(0, 1)])
    with torch.autocast("cpu", dtype=dtype):
        expected, _ = model(given.float())
        found, state = model(given)
        assert torch.equal(found, expected)
        assert torch.equal(
            model(packed)[0].data, model(pack_sequence([*given.float().transpose(0, 1)]))[0].data
        )
        model(given, state)[0].float().sum().backward()
        with pytest.raises(ShapeError, match=r"inputs: expected torch\.float32"):
            model(given.to(torch.int64))
    with pytest.raises(ShapeError, match=r"inputs: expected torch\.float32 on cpu"):
        model(given)


@names
def test_hx_is_the_state(name: str) -> None:
    model, given = build(name), draw(T, B, IN)
    expected, _ = model(given, model(given)[1])
    close(model(given, hx=model(given)[1])[0], expected)
    close(model(given, hx=None)[0], model(given)[0])
    with pytest.raises(ConfigError, match="hx: expected None beside a state"):
        model(given, model.initial_state(B), hx=model.initial_state(B))


@pytest.mark.parametrize("layers", [1, 2])
def test_the_baseline_takes_h_and_c_as_an_LSTM(layers: int) -> None:
    model, given = build("lstm", {"num_layers": layers}), draw(T, B, IN)
    h, c = draw(2, layers, B, 12)
    expected, (last_h, last_c) = model.layer(given, (h, c))
    for pair in ((h, c), [h, c]):
        found, state = model(given, pair)
        close(found, model.output(expected))
        assert torch.equal(model(given, hx=pair)[0], found)
    stacked = [part.view(B, layers, 12).transpose(0, 1) for part in state.layer]
    close(stacked[0], last_h)
    close(stacked[1], last_c)
    assert torch.equal(
        model(given[:, 0], (h[:, 0], c[:, 0]))[0],
        model(given[:, :1], (h[:, :1], c[:, :1]))[0][:, 0],
    )
    h.requires_grad_()
    model(given, (h, c))[0].sum().backward()
    assert h.grad.any()
    for wrong in (
        (h,),
        (h, None),
        (h[:, 1:], c),
        (h, c[..., 1:]),
        (h[0], c[0]),
        h,
        "hc",
        [h, c, c],
    ):
        with pytest.raises(ShapeError, match=r"^state"):
            model(given, wrong)
    with pytest.raises(ShapeError, match=r"^state"):
        model(given, (h.float(), c.float()))


@pytest.mark.parametrize("name", MEMORIES)
def test_a_cell_is_called_like_an_LSTMCell(name: str) -> None:
    cell, given = build(name).cell, draw(B, IN)
    expected, _ = cell(given, cell.initial_state(B))
    assert torch.equal(cell(given)[0], expected)
    assert torch.equal(cell(given, hx=cell.initial_state(B))[0], expected)
    with pytest.raises(ConfigError, match="hx"):
        cell(given, cell.initial_state(B), hx=cell.initial_state(B))


@names
def test_starts_come_as_lists_and_arrays(name: str) -> None:
    model, given = build(name), draw(T, B, IN)
    starts = torch.zeros(T, B, dtype=torch.bool)
    starts[3, 1] = starts[5, 0] = True
    expected, _ = model(given, starts=starts)
    frozen = starts.numpy().copy()
    frozen.flags.writeable = False
    for same in (starts.tolist(), starts.numpy(), frozen, tuple(map(tuple, starts.tolist()))):
        close(model(given, starts=same)[0], expected)
    model.batch_first = True
    close(model(given.transpose(0, 1), starts=starts.T.numpy())[0].transpose(0, 1), expected)
    model.batch_first = False
    for wrong in (
        starts.int().numpy(),
        starts.T.numpy(),
        [[True], [True, False]],
        "starts",
        [None],
    ):
        with pytest.raises(ShapeError, match=r"^starts: expected"):
            model(given, starts=wrong)


@names
def test_device_and_dtype_are_the_constructors(name: str) -> None:
    options: dict[str, Any] = SETTINGS[name] | {"embedding_size": 4, "num_layers": 2}
    torch.manual_seed(5)
    model = make_model(name, IN, OUT, **options, device="cpu", dtype=torch.float64)
    assert {value.dtype for value in model.parameters()} == {torch.float64}
    assert model(draw(T, B, IN))[0].dtype == torch.float64
    torch.manual_seed(5)  # as torch's modules: from the same seed, other numbers than .double()
    torch.set_default_dtype(torch.float64)
    try:
        other = make_model(name, IN, OUT, **options)
    finally:
        torch.set_default_dtype(torch.float32)
    close(dict(other.named_parameters()), dict(model.named_parameters()))
    empty = make_model(name, IN, OUT, **options, device="meta")
    assert all(value.is_meta for value in empty.parameters())
    if name != "lstm":
        for kind in ("lstm", "gru", "feedforward"):
            part: Any = make_controller(kind, 9, 4, num_layers=2, dtype=torch.float64)
            assert {value.dtype for value in part.parameters()} == {torch.float64}


@names
def test_a_file_has_the_parameters_dtype_and_not_the_arguments(name: str, tmp_path: Any) -> None:
    pytest.importorskip("safetensors")
    model = make_model(name, IN, OUT, **SETTINGS[name], device="cpu", dtype=torch.float64)
    save_model(model, tmp_path / "model")
    again = load_model(tmp_path / "model")
    close(again(draw(T, B, IN))[0], model(draw(T, B, IN))[0])


@models
def test_reset_parameters_is_the_constructors(name: str, options: dict) -> None:
    model = build(name, options)
    expected = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        for value in model.parameters():
            value.fill_(2.0)
    torch.manual_seed(3)  # that of `build`, which draws in float32
    model.float().reset_parameters()
    close(dict(model.double().state_dict()), dict(expected))


def test_parts_that_cannot_be_drawn_anew_are_named() -> None:
    model = build("dam")
    model.cell.controller.extra = nn.ParameterList([nn.Parameter(torch.ones(2))])
    model.cell.controller.__class__ = type("Own", (nn.Module,), {})  # without the method
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ConfigError, match=r"reset_parameters: .*got a ParameterList"):
        model.reset_parameters()
    close(dict(model.state_dict()), dict(before))


@names
def test_the_text_of_a_model_has_its_sizes(name: str) -> None:
    text = repr(build(name, batch_first=True))
    assert f"{IN}, {OUT}, batch_first=True" in text
    if name == "sam":
        assert "SAMMemory(memory_size=64, word_size=6, num_heads=2, top_k=3, index='exact')" in text
        assert "index='ivf'" in repr(build("sam", index=IndexConfig(kind="ivf")))
    elif name == "lstm":
        assert "LSTM(5, 12, num_layers=3)" in repr(build("lstm", num_layers=3))
    else:
        memory = {"dam": "DAMMemory", "dnc": "DNCMemory", "ntm": "NTMMemory", "sdnc": "SDNCMemory"}
        assert f"{memory[name]}(memory_size={SETTINGS[name]['memory_size']}, word_size=6," in text


def test_layers_and_dropout_of_the_baseline() -> None:
    model, given = build("lstm", num_layers=3, dropout=0.4), draw(T, B, IN)
    assert model.layer.num_layers == 3 and model.layer.dropout == 0.4
    for layer in range(3):
        parameters = dict(model.layer.named_parameters())
        assert (parameters[f"bias_ih_l{layer}"][12:24] == 1).all()
    torch.manual_seed(1)
    first = model(given)[0]
    assert not torch.equal(first, model(given)[0])
    model.eval()
    plain, _ = model.layer(given)
    close(model(given)[0], model.output(plain))
    _, state = model(given[:4])
    assert state.layer.hidden.shape == (B, 3, 12)
    close(model(given[4:], state)[0], model(given)[0][4:])
    for wrong in ({"num_layers": 0}, {"dropout": 1.0}, {"num_layers": 1.5}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            build("lstm", **wrong)


@pytest.mark.parametrize("name", ["sam", "sdnc"])
@pytest.mark.parametrize("kind", ["faiss", "faiss:IVF16,Flat"])
def test_a_missing_package_shows_when_the_model_is_made(
    name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(module: str) -> None:
        raise ImportError(f"no {module}")

    monkeypatch.setattr(index.faiss_factory.importlib, "import_module", refuse)
    with pytest.raises(BackendMissingError, match=r"faiss: expected an installed package.*pip"):
        build(name, index=kind)
    monkeypatch.setattr(compiled_forms, "_installed", lambda: False)
    with pytest.raises(BackendMissingError, match="need numba"):
        build(name, compiled=True)
    with pytest.raises(BackendMissingError, match="need numba"):
        build(name, index=IndexConfig(compiled=True))


@pytest.mark.skipif(importlib.util.find_spec("faiss") is None, reason="FAISS is not installed")
def test_a_wrong_option_of_an_index_shows_when_the_model_is_made() -> None:
    for wrong in (IndexConfig(probes=3), IndexConfig(kind="faiss:nothing")):
        with pytest.raises(ValueError, match=r"probes|nothing"):
            build("sam", index=wrong)


@names
def test_code_for_an_LSTM_finds_what_it_calls(name: str) -> None:
    model = build(name)
    model.flatten_parameters()
    model.share_memory()
    assert all(value.is_shared() for value in model.parameters())
    assert {"inputs", "state", "starts", "trace", "hx"} <= {
        *inspect.signature(model.forward).parameters
    }
    assert np.isfinite(model(draw(T, B, IN))[0].detach().numpy()).all()
