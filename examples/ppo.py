"""Trains agents with a memory by PPO: they must name the fourth last card that they saw.

    pip install 'sparse-access-memory[fast,rl]'
    python examples/ppo.py                    # a SAM, and a GRU beside it
    python examples/ppo.py --models sam --seeds 0 1 2 --minutes 20

A rollout is replayed in minibatches: some of its environments, from some step on. The state that
the agent had there comes from the journal of the rollout, `state.at(step, rows)`.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium  # pyright: ignore[reportMissingImports]
import numpy as np
import popgym  # noqa: F401  # pyright: ignore[reportMissingImports]  # registers environments
import torch
from torch import Tensor, nn
from torch.nn import functional

from sam import SAM


@dataclass(frozen=True)
class Settings:
    environment: str = "popgym-RepeatPreviousEasy-v0"  # k = 4, one deck: episodes of 51 cards
    model: str = "sam"  # or "gru"
    envs: int = 16
    steps: int = 64  # of a rollout
    segment: int = 32  # steps of a minibatch
    rows: int = 8  # environments of a minibatch
    epochs: int = 4
    lr: float = 2e-3
    gamma: float = 0.5  # here an action counts for its own step only
    gae_lambda: float = 0.8
    clip: float = 0.2
    entropy: float = 0.01
    window: int = 10  # rollouts whose hits are averaged
    goal: float = 0.98  # where training ends
    seed: int = 0


class GRUState(NamedTuple):
    """What `sam.CellState` is for a SAM. No step changes it, so the past is a list."""

    hidden: Tensor
    past: tuple[Tensor, ...] = ()

    def record(self) -> "GRUState":
        return GRUState(self.hidden)

    def at(self, step: int, rows: Any = slice(None)) -> "GRUState":
        return GRUState((*self.past, self.hidden)[step][rows])


class GRU(nn.Module):
    """The baseline, called as a SAM is."""

    def __init__(self, input_size: int, output_size: int, hidden_size: int) -> None:
        super().__init__()
        self.cell = nn.GRUCell(input_size, hidden_size)
        self.output = nn.Linear(hidden_size, output_size)

    def initial_state(self, batch_size: int) -> GRUState:
        return GRUState(torch.zeros(batch_size, self.cell.hidden_size))

    def forward(self, inputs: Tensor, state: GRUState, starts: Tensor) -> tuple[Tensor, GRUState]:
        outputs, (hidden, past) = [], state
        for given, begins in zip(inputs, starts, strict=True):
            past = (*past, hidden.detach())
            hidden = self.cell(given, hidden.masked_fill(begins[:, None], 0.0))
            outputs.append(hidden)
        return self.output(torch.stack(outputs)), GRUState(hidden, past)


def make_agent(model: str, input_size: int, actions: int) -> SAM | GRU:
    """Puts out a score for each action, and the value of the state."""
    if model == "gru":
        return GRU(input_size, actions + 1, hidden_size=96)
    return SAM(
        input_size,
        actions + 1,
        hidden_size=64,
        memory_size=2**16,
        word_size=16,
        num_heads=2,
        top_k=4,
    )


class Rollout(NamedTuple):
    """T steps of B environments, [T, B, ...]."""

    inputs: Tensor
    starts: Tensor  # an episode begins with this step
    actions: Tensor
    log_probs: Tensor
    values: Tensor
    rewards: Tensor
    ends: Tensor  # an episode ends with this step


class Player:
    """Environments, the agent that acts in them, and its state from rollout to rollout."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        same_step = {"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP}
        self.envs = gymnasium.make_vec(
            settings.environment,
            num_envs=settings.envs,
            vectorization_mode="sync",
            vector_kwargs=same_step,
        )
        cards: Any = self.envs.single_observation_space
        acts: Any = self.envs.single_action_space
        self.cards, actions = int(cards.n), int(acts.n)
        self.agent = make_agent(settings.model, self.cards, actions)
        self.state: Any = self.agent.initial_state(settings.envs)
        self.seen, _ = self.envs.reset(seed=settings.seed)
        self.starts = torch.ones(settings.envs, dtype=torch.bool)

    def ask(self, state: Any) -> tuple[torch.distributions.Categorical, Tensor, Tensor, Any]:
        """What the agent makes of what it sees: actions, values, its inputs and next state."""
        inputs = functional.one_hot(torch.as_tensor(self.seen), self.cards).float()
        outputs, state = self.agent(inputs[None], state, starts=self.starts[None])
        return *read(outputs[0]), inputs, state

    @torch.no_grad()
    def play(self, steps: int) -> tuple[Rollout, Tensor]:
        """A rollout, and the values of what is seen after it, [B]."""
        self.state = self.state.record()
        rows = []
        for _ in range(steps):
            choice, values, inputs, self.state = self.ask(self.state)
            actions = choice.sample()
            self.seen, rewards, terminated, truncated, _ = self.envs.step(actions.numpy())
            ends = torch.as_tensor(terminated | truncated)
            rewards = torch.as_tensor(np.sign(rewards), dtype=torch.float32)
            log_probs = choice.log_prob(actions)
            rows.append((inputs, self.starts, actions, log_probs, values, rewards, ends))
            self.starts = ends
        _, after, *_ = self.ask(self.state.at(steps))  # a copy: the next rollout takes the state
        return Rollout(*(torch.stack(column) for column in zip(*rows, strict=True))), after


def read(outputs: Tensor) -> tuple[torch.distributions.Categorical, Tensor]:
    """Actions and values, from what an agent puts out."""
    return torch.distributions.Categorical(logits=outputs[..., :-1]), outputs[..., -1]


def advantages(rollout: Rollout, after: Tensor, settings: Settings) -> Tensor:
    """Generalised advantage estimates, [T, B]."""
    found, advantage, value = [], torch.zeros_like(after), after
    for step in reversed(range(len(rollout.rewards))):
        goes_on = (~rollout.ends[step]).float()
        error = rollout.rewards[step] + settings.gamma * goes_on * value - rollout.values[step]
        advantage = error + settings.gamma * settings.gae_lambda * goes_on * advantage
        value = rollout.values[step]
        found.append(advantage)
    return torch.stack(found[::-1])


def minibatches(settings: Settings) -> Iterator[tuple[int, Tensor]]:
    """A first step and some environments each; together the whole rollout, in random order."""
    parts = [
        (step, rows)
        for step in range(0, settings.steps, settings.segment)
        for rows in torch.randperm(settings.envs).split(settings.rows)
    ]
    for place in torch.randperm(len(parts)).tolist():
        yield parts[place]


def improve(player: Player, optimizer: Any, rollout: Rollout, after: Tensor) -> None:
    """Some epochs of PPO on the last rollout."""
    settings = player.settings
    advantage = advantages(rollout, after, settings)
    returns = advantage + rollout.values
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    for _ in range(settings.epochs):
        for step, rows in minibatches(settings):
            part = slice(step, step + settings.segment), rows
            outputs, _ = player.agent(
                rollout.inputs[part], player.state.at(step, rows), starts=rollout.starts[part]
            )
            choice, values = read(outputs)
            ratio = (choice.log_prob(rollout.actions[part]) - rollout.log_probs[part]).exp()
            bounded = ratio.clamp(1 - settings.clip, 1 + settings.clip)
            gain = torch.minimum(ratio * advantage[part], bounded * advantage[part]).mean()
            error = (values - returns[part]).square().mean()
            loss = 0.5 * error - gain - settings.entropy * choice.entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(player.agent.parameters(), 0.5)
            optimizer.step()


class Point(NamedTuple):
    """Where training has come to."""

    update: int  # rollouts so far
    frames: int  # steps of environments
    seconds: float  # of the process alone, on however busy a machine
    hit_rate: float  # right answers among those that count, of the last rollouts


def train(settings: Settings, *, minutes: float = 20.0, updates: int | None = None) -> list[Point]:
    """Trains until the goal is reached, or time or updates are used up."""
    torch.manual_seed(settings.seed)
    player, curve, hits = Player(settings), [], []
    optimizer = torch.optim.Adam(player.agent.parameters(), lr=settings.lr)
    began = time.process_time()
    while not curve or (curve[-1].seconds < 60 * minutes and curve[-1].update != updates):
        rollout, after = player.play(settings.steps)
        improve(player, optimizer, rollout, after)
        hits.append((rollout.rewards > 0).sum() / (rollout.rewards != 0).sum())
        recent = torch.stack(hits[-settings.window :]).mean().item()
        done = len(hits)
        frames = done * settings.steps * settings.envs
        curve.append(Point(done, frames, time.process_time() - began, recent))
        if done >= settings.window and recent >= settings.goal:
            break
    player.envs.close()
    return curve


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["sam", "gru"], choices=["sam", "gru"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--minutes", type=float, default=20.0, help="for each run, at most")
    given = parser.parse_args(arguments)
    for seed in given.seeds:
        for model in given.models:
            last = train(Settings(model=model, seed=seed), minutes=given.minutes)[-1]
            print(
                f"{model}, seed {seed}: {last.hit_rate:.3f} right after {last.frames:,} frames, "
                f"{last.seconds / 60:.1f} minutes"
            )


if __name__ == "__main__":
    torch.set_num_threads(1)  # the steps are small
    main()
