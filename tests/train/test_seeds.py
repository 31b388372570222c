"""Generators made from the number of the update."""

import torch

from sam.train.seeds import generator_for


def draws(seed: int, update: int, stream: str = "train") -> tuple[int, ...]:
    generator = generator_for(seed, update, stream)
    return tuple(torch.randint(2**60, (2,), generator=generator).tolist())


def test_the_same_arguments_give_the_same_numbers() -> None:
    assert draws(3, 7) == draws(3, 7)


def test_updates_seeds_and_streams_differ() -> None:
    arguments = [(seed, update) for seed in (0, 1, 2, 2**32, 2**40 + 1) for update in range(2000)]
    assert len({draws(*pair) for pair in arguments}) == len(arguments)
    assert draws(0, 0, "evaluation") != draws(0, 0)


def test_neighbouring_updates_are_unlike() -> None:
    bits = torch.stack(
        [torch.randint(2, (64,), generator=generator_for(0, update)) for update in range(500)]
    )
    agree = (bits[1:] == bits[:-1]).double().mean().item()
    assert abs(agree - 0.5) < 0.02
