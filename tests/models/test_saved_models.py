"""Models on disk: a loaded one is the same; files that are damaged or of another kind."""

import json

import pytest
import torch
from torch import nn

from index.tensor_files import write_parts
from sam import (
    SAM,
    CheckpointError,
    ConfigError,
    LSTMController,
    MemoryCell,
    MemoryNetwork,
    SAMMemory,
    load_model,
    load_state,
    save_model,
)
from sam.models import make_model
from sam.models import model_registry as registry
from tests.models.cases import IN, OUT, SETTINGS, B, T, build, draw, models
from tests.models.saved_parts import parts_of

safetensors = pytest.importorskip("safetensors.torch")


@models
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_loaded_model_is_the_same(name, options, dtype, tmp_path):
    model, inputs = build(name, options, dtype=dtype), draw(T, B, IN, dtype=dtype)
    generator = torch.get_rng_state()
    save_model(model, tmp_path / "model")
    other = load_model(tmp_path / "model")
    assert torch.equal(torch.get_rng_state(), generator)
    assert type(other) is type(model)
    assert torch.equal(other(inputs)[0], model(inputs)[0])
    assert all(parameter.requires_grad for parameter in other.parameters())
    assert repr(other) == repr(model)


def test_a_model_made_by_its_constructor(tmp_path):
    model = SAM(IN, OUT, memory_size=32, index="lsh", dropout=0.25, batch_first=True)
    save_model(model, tmp_path / "model", notes={"config": "x"})
    other = load_model(tmp_path / "model")
    assert (other.cell.memory, other.batch_first, other.dropout.p) == (
        model.cell.memory,
        True,
        0.25,
    )
    save_model(other, tmp_path / "again")
    with safetensors.safe_open(tmp_path / "model", "pt") as file:
        assert file.metadata()["config"] == "x"
        assert json.loads(file.metadata()["settings"])["kind"] == "sam"


def test_a_model_that_nobody_could_make_again_is_refused(tmp_path):
    cell = MemoryCell(LSTMController(IN + 12, 4), SAMMemory(word_size=3))
    with pytest.raises(ConfigError, match=r"MemoryNetwork of your own.* save its state_dict\(\)"):
        save_model(MemoryNetwork(cell, OUT), tmp_path / "model")
    changed = build("sam")
    changed.cell.memory = SAMMemory(word_size=6, num_heads=2, top_k=3, access_threshold=0.5)
    with pytest.raises(ConfigError, match="a part was replaced"):
        save_model(changed, tmp_path / "model")
    changed = build("sam")
    changed.output = nn.Linear(1, 1)
    with pytest.raises(ConfigError, match="a part was replaced"):
        save_model(changed, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_was_registered(monkeypatch, tmp_path):
    def ours(input_size, output_size, *, sizes=(1, 2), act=None):
        return nn.Sequential(nn.Linear(input_size, sum(sizes)), nn.Linear(sum(sizes), output_size))

    monkeypatch.setitem(registry._MODELS, "ours", ours)
    model = make_model("ours", IN, OUT, sizes=(3, 4))
    save_model(model, tmp_path / "model")
    assert torch.equal(
        load_model(tmp_path / "model")(draw(2, IN).float()), model(draw(2, IN).float())
    )
    with pytest.raises(ConfigError, match=r"act: expected .* no file can hold"):
        save_model(make_model("ours", IN, OUT, act=torch.relu), tmp_path / "other")
    monkeypatch.delitem(registry._MODELS, "ours")
    with pytest.raises(CheckpointError, match=r"kind: expected a model that can be made.*ours"):
        load_model(tmp_path / "model")


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("kind", "nothing"),
        ("kind", 3),
        ("arguments", []),
        ("arguments", {}),
        ("arguments", {"input_size": IN, "output_size": OUT, "more": 1}),
        ("arguments", {"input_size": IN, "output_size": OUT, **SETTINGS["sam"], "top_k": -1}),
        ("arguments", {"input_size": IN, "output_size": OUT, **SETTINGS["sam"], "top_k": "a"}),
        ("arguments", {"input_size": 10**12, "output_size": OUT, **SETTINGS["sam"]}),
        ("arguments", {"input_size": 10**30, "output_size": OUT, **SETTINGS["sam"]}),
        ("arguments", {"input_size": IN, "output_size": OUT, "index": {"kind": "x"}}),
        ("output.bias", torch.zeros(OUT + 1)),
        ("output.bias", torch.zeros(OUT, dtype=torch.int64)),
        ("more", torch.zeros(1)),
    ],
)
def test_parameters_of_another_model_are_refused(part, value, tmp_path):
    path = tmp_path / "model"
    save_model(build("sam"), path)
    write_parts(path, "model", parts_of(path, "model") | {part: value})
    with pytest.raises(CheckpointError, match="expected"):
        load_model(path)


@pytest.mark.parametrize("kind", ["state", "model"])
def test_a_damaged_file_is_refused(kind, tmp_path):
    model, path = build("sdnc"), tmp_path / kind
    if kind == "state":
        model(draw(T, B, IN))[1].save(path)
    else:
        save_model(model, path)
    whole = path.read_bytes()
    step = len(whole) // 120
    for place in range(0, len(whole), step):
        flipped = whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :]
        for content in (flipped, whole[:place], whole + whole[place:]):
            path.write_bytes(content)
            with pytest.raises(CheckpointError, match="expected a file of") as caught:
                load_state(path, model) if kind == "state" else load_model(path)
            assert "\n" not in str(caught.value)


def test_a_file_of_another_kind_is_refused(tmp_path):
    model = build("sam")
    save_model(model, tmp_path / "model")
    model(draw(T, B, IN))[1].save(tmp_path / "state")
    with pytest.raises(CheckpointError, match=r"got one of 'sparse-access-memory model'"):
        load_state(tmp_path / "model", model)
    with pytest.raises(CheckpointError, match=r"got one of 'sparse-access-memory state'"):
        load_model(tmp_path / "state")
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "nothing")
