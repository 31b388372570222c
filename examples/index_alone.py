"""Uses an index without a model: the nearest of words that change all the time.

    python examples/index_alone.py

An index serves several memories at once, [B, ...], and is updated and searched in turns.
"""

import torch

from index import Audit, make_index


def main() -> float:
    torch.manual_seed(0)
    # Two memories of up to 2^30 words of 16 numbers; what is not written takes no space.
    index = make_index("lsh", batch_size=2, capacity=2**30, word_size=16)
    words = torch.randn(2, 10_000, 16)
    index.load(words)  # into slots 0, 1, ...
    print(f"{index.occupancy.tolist()} words, {index.nbytes:,} bytes")

    # The word at slot 7 of each memory is replaced; the next search finds the new one.
    changed = torch.full((2, 1), 7)
    index.update(changed, -words[:, 7:8])
    near = index.search(-words[:, 7:8], k=3)
    print("slots", near.slots[:, 0].tolist(), "scores", near.scores[:, 0].tolist())

    # One memory forgets a word, and the other forgets all.
    index.remove(torch.tensor([[7], [-1]]))  # -1 is skipped
    index.reset(torch.tensor([False, True]))
    print(f"{index.occupancy.tolist()} words")

    # What share of the nearest words does this approximate index find?
    index.load(words)
    with Audit() as audit:
        index.search(words[:, :64] + 0.1 * torch.randn(2, 64, 16), k=1)
    print(f"recall@1 {audit.recall:.2f}")
    return audit.recall or 0.0


if __name__ == "__main__":
    main()
