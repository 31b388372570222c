"""Indexes on a device that has to be waited for find what they find on the CPU."""

from contextlib import nullcontext

import pytest
import torch

from index import IndexConfig, make_index

B, W, CAPACITY, LOADED = 2, 4, 2048, 600
# Words in few clusters, so that lists have to be divided.
CONFIGS = {
    "exact": {},
    "auto": {"exact_below": 64},
    "lsh": {"exact_below": 64, "tables": 2},
    "ivf": {"exact_below": 64, "bucket_size": 16},
    "product": {"exact_below": 64, "probes": 5},
}


def program(config, device, put):
    """Loads, replaces, removes and forgets words; what is found in between, and where words lie."""
    generator = torch.Generator().manual_seed(0)

    def words(count):
        centres = torch.randn(5, W, dtype=torch.float64, generator=generator)
        chosen = torch.randint(5, (B, count), generator=generator)
        noise = torch.randn(B, count, W, dtype=torch.float64, generator=generator)
        return put(centres[chosen] + 0.3 * noise)

    sizes = {"batch_size": B, "capacity": CAPACITY, "word_size": W}
    index = make_index(config, **sizes, device=device, dtype=torch.float64)
    index.load(words(LOADED))
    index.reserve(LOADED)
    index.search(words(1), 1)
    found = []
    for step in range(7):
        slots = put(torch.rand(B, LOADED, generator=generator).argsort(1)[:, :40] - 1)
        index.update(slots, words(40))
        if step == 2:
            index.remove(slots[:, ::2])
        if step == 4:
            index.reset(put(torch.tensor([True, False])))
        found.append(index.search(words(6), 3))
        found.append(index.exchange(slots[:, :5], words(5), words(6), 3))
    return index, found


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("kind", CONFIGS)
def test_what_is_found_is_what_the_cpu_finds(kind, metric, place):
    config = IndexConfig(kind=kind, metric=metric, **CONFIGS[kind])
    index, expected = program(config, "cpu", torch.clone)
    if kind != "exact":
        assert index.searching == ("ivf" if kind == "auto" else kind)
    # An exact index waits for nothing; the others need lengths of lists on the way.
    with place.without_waiting([]) if kind == "exact" else nullcontext():
        _, found = program(config, place.device, place.put)
    for (slots, scores), (wanted, wanted_scores) in zip(found, expected, strict=True):
        assert torch.equal(place.fetch(slots), wanted)
        torch.testing.assert_close(place.fetch(scores), wanted_scores, rtol=1e-10, atol=1e-10)
