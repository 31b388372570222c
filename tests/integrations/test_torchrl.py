"""`sam.integrations.torchrl`: acting step by step and replaying whole stretches agree."""

import copy
import importlib
import importlib.util
import sys
from typing import Any

import pytest
import torch

from sam import DAM, SAM, SDNC, BackendMissingError, ConfigError

MODULE = "sam.integrations.torchrl"
installed = importlib.util.find_spec("torchrl") is not None
needs_torchrl = pytest.mark.skipif(not installed, reason="needs torchrl, the extra torchrl")


def test_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    monkeypatch.setitem(sys.modules, "tensordict", None)
    with pytest.raises(BackendMissingError, match=r"pip install 'sparse-access-memory\[torchrl\]'"):
        importlib.import_module(MODULE)


@pytest.fixture
def torchrl() -> Any:
    """The modules in use here; what they announce as deprecated is not ours."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(MODULE)


def make(model: Any, **settings: Any) -> Any:
    from sam.integrations.torchrl import MemoryModule

    sizes = {"memory_size": 1024, "word_size": 8, "hidden_size": 16}
    return MemoryModule(model(3, 5, **sizes), **settings)


def rolled_out(memory: Any, steps: int, rows: int) -> Any:
    """A rollout [rows, steps] of random observations and ends of episodes."""
    from tensordict import TensorDict

    found, ticket = [], torch.full((rows, 3), -1)
    is_init = torch.ones(rows, 1, dtype=torch.bool)
    for _ in range(steps):
        given = {"observation": torch.randn(rows, 3), "is_init": is_init, "memory_ticket": ticket}
        with torch.no_grad():
            step = memory(TensorDict(given, [rows]))
        found.append(step.clone())
        ticket = step["next", "memory_ticket"]
        is_init = torch.rand(rows, 1) < 0.15
        # As a primer does with environments that are reset.
        ticket = torch.where(is_init, -1, ticket)
    return torch.stack(found, 1)


@needs_torchrl
@pytest.mark.parametrize("model", [SAM, SDNC])
@pytest.mark.parametrize("settings", [{}, {"history": 5}])
def test_replays_what_was_acted(torchrl: Any, model: Any, settings: dict[str, int]) -> None:
    from torchrl.modules import set_recurrent_mode

    memory = make(model, **settings)
    data = rolled_out(memory, 12, 4)
    last = min(settings.get("history", 12), 12)
    with set_recurrent_mode(True):
        for part in (data[:, -last:], data[[2, 0], -3:], data[1:2, -last:]):
            again = memory(part.exclude("features", "next"))
            torch.testing.assert_close(again["features"], part["features"], rtol=1e-4, atol=1e-5)
            again["features"].square().sum().backward()
    assert all(parameter.grad is not None for parameter in memory.parameters())


@needs_torchrl
def test_two_environments_in_turns(torchrl: Any) -> None:
    from tensordict import TensorDict

    memory = make(SAM)
    torch.manual_seed(1)
    alone = rolled_out(memory, 8, 2)
    torch.manual_seed(1)
    other: Any = copy.deepcopy(memory)
    seen = []

    def step_of_both(given: Any) -> Any:
        state = torch.get_rng_state()
        rows = {"observation": torch.randn(2, 3), "is_init": torch.ones(2, 1, dtype=torch.bool)}
        seen.append(other(TensorDict(rows, [2])))
        torch.set_rng_state(state)
        return other(given)

    both = rolled_out(step_of_both, 8, 2)
    assert torch.equal(both["features"], alone["features"])


@needs_torchrl
@pytest.mark.filterwarnings("ignore")  # what torchrl and gymnasium say of each other
def test_in_a_gymnasium_environment(torchrl: Any) -> None:
    pytest.importorskip("gymnasium", reason="needs gymnasium, the extra rl")
    from tensordict.nn import TensorDictModule, TensorDictSequential
    from torchrl.envs import GymEnv, InitTracker, SerialEnv, TransformedEnv
    from torchrl.modules import get_primers_from_module, set_recurrent_mode

    memory = torchrl.MemoryModule(SAM(4, 8, memory_size=1024, word_size=8, hidden_size=16))
    head = TensorDictModule(
        lambda features: torch.nn.functional.one_hot(features[..., :2].argmax(-1), 2),
        in_keys=["features"],
        out_keys=["action"],
    )
    policy = TensorDictSequential(memory, head)
    for base in (GymEnv("CartPole-v1"), SerialEnv(3, lambda: GymEnv("CartPole-v1"))):
        env = TransformedEnv(base, InitTracker())
        env.append_transform(get_primers_from_module(policy))
        env.set_seed(0)
        with torch.no_grad():
            data = env.rollout(40, policy, break_when_any_done=False)
        assert bool(data["is_init"][..., 1:, :].any())  # episodes have ended
        for part in (data, data[..., 25:]):
            with set_recurrent_mode(True), torch.no_grad():
                again = policy(part.exclude("features", "action"))
            torch.testing.assert_close(again["features"], part["features"], rtol=1e-4, atol=1e-5)
        env.close()


@needs_torchrl
def test_says_what_is_wrong(torchrl: Any) -> None:
    from tensordict import TensorDict

    with pytest.raises(ConfigError, match="model: expected a network with a sparse memory"):
        make(DAM)
    with pytest.raises(ConfigError, match="history: expected at least 1 step"):
        make(SAM, history=0)
    memory = make(SAM, history=3, default_recurrent_mode=True)
    with pytest.raises(ConfigError, match="tensordict: expected time as its last batch dimension"):
        memory(TensorDict({"observation": torch.randn(3), "is_init": torch.tensor([True])}, []))
    memory = make(SAM, history=3)
    data = rolled_out(memory, 12, 2)
    data["is_init"][:] = False
    with pytest.raises(ConfigError, match="memory_ticket: expected a step of the latest 3"):
        memory(data[:, 1])
