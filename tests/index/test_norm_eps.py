"""The epsilon of the cosine's norms: as an option, in files and pickles, and that of a model."""

import pickle

import pytest
import torch

from index import IndexConfig, load_index, make_index
from index.spelling import parse_index, spell_index
from index.tensor_files import write_parts
from sam import SAM, SDNC, ConfigError
from sam.memory.sam import SAMMemory
from sam.memory.sdnc import SDNCMemory
from sam.ops.similarity import EPS, gathered_cosine
from sam.state import clone

SIZES = {"batch_size": 2, "capacity": 16, "word_size": 4}
SHORT = 1e-3 * torch.eye(4)[:2].expand(2, -1, -1)


def score_of_a_short_word(index) -> float:
    return index.search(SHORT[:, :1], 1).scores[0, 0, 0].item()


def test_it_is_an_option_like_others() -> None:
    config = IndexConfig(norm_eps=1e-6)
    assert IndexConfig().norm_eps is None
    assert spell_index(config) == "exact[norm_eps=1e-06]"
    assert parse_index(spell_index(config)) == config
    for given, score in ((None, 1.0), (0, 1.0), (0.0, 1.0), (1e-6, 0.5), (3e-6, 0.25)):
        index = make_index(IndexConfig(norm_eps=given), **SIZES)
        index.load(SHORT)
        assert score_of_a_short_word(index) == pytest.approx(score, rel=1e-5)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-1e-6, "norm_eps: expected at least 0, got -1e-06"),
        (1e9, "norm_eps: expected at most 1000000.0, got 1000000000.0"),
        (float("nan"), "norm_eps: expected at least 0, got nan"),
        ("1e-6", "norm_eps: expected a number, got '1e-6'"),
        (True, "norm_eps: expected a number, got True"),
    ],
)
def test_what_is_no_epsilon_is_refused(value, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        IndexConfig(norm_eps=value)


@pytest.mark.parametrize("norm_eps", [None, 0.0, 1e-6, 2e-6])
def test_it_survives_files_and_pickles(norm_eps, tmp_path) -> None:
    pytest.importorskip("safetensors")
    index = make_index(IndexConfig(norm_eps=norm_eps), **SIZES)
    index.load(SHORT)
    index.save(tmp_path / "index")
    for other in (load_index(tmp_path / "index"), pickle.loads(pickle.dumps(index))):
        assert other.config == index.config
        other.update(torch.tensor([[0], [0]]), SHORT[:, :1])
        assert score_of_a_short_word(other) == score_of_a_short_word(index)


def test_a_file_of_before_there_was_the_option(tmp_path) -> None:
    """Its words were divided by norms with 1e-6, and so are those to come."""
    pytest.importorskip("safetensors")
    index = make_index(IndexConfig(norm_eps=1e-6), **SIZES)
    index.load(SHORT)
    content = index.content()
    assert "norm_eps" not in content["config"]
    write_parts(tmp_path / "index", "index", content)
    loaded = load_index(tmp_path / "index")
    assert loaded.config == index.config
    assert score_of_a_short_word(loaded) == pytest.approx(0.5, rel=1e-5)


def test_a_pickle_of_before_there_was_the_option() -> None:
    before = ["lsh", "dot", 3, None, 8, None, None, None, 5, False, {}]
    config = object.__new__(IndexConfig)
    config.__setstate__(before)
    expected = IndexConfig(
        kind="lsh", metric="dot", tables=3, bucket_size=8, seed=5, compiled=False, norm_eps=1e-6
    )
    assert config == expected
    assert pickle.loads(pickle.dumps(config)) == expected


MODELS = {SAM: {"num_heads": 2}, SDNC: {"num_reads": 2}}


@pytest.mark.parametrize("model", MODELS)
def test_a_model_sets_that_of_its_similarity(model) -> None:
    made = model(3, 3, memory_size=16, word_size=4, top_k=2, hidden_size=5, **MODELS[model])
    index = made.initial_state(2).memory.index
    assert index.config.norm_eps == EPS
    assert "norm_eps" not in index.content()["config"], "its state's files are as before"
    index.load(SHORT)
    assert score_of_a_short_word(index) == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize("memory", [SAMMemory, SDNCMemory])
def test_a_model_refuses_another(memory) -> None:
    for given in (None, EPS):
        memory(index=IndexConfig(norm_eps=given))
    with pytest.raises(ConfigError, match=r"index: expected norm_eps=1e-06, .*, got 0.001"):
        memory(index=IndexConfig(norm_eps=1e-3))


@pytest.mark.parametrize("length", [1e-6, 1e-3, 1.0, 1e3])
def test_a_models_index_scores_as_its_similarity(length: float) -> None:
    memory = SAMMemory(memory_size=16, word_size=4, num_heads=2, top_k=3)
    words = length * torch.randn(2, 12, 4)
    keys = length * torch.randn(2, 2, 4)
    state = memory.initial_state(2, words=words)
    near = clone(state).index.search(keys, 3)
    found = (
        words.unsqueeze(1)
        .expand(-1, 2, -1, -1)
        .gather(2, near.slots.unsqueeze(3).expand(-1, -1, -1, 4))
    )
    torch.testing.assert_close(near.scores, gathered_cosine(keys, found), rtol=1e-5, atol=1e-7)
