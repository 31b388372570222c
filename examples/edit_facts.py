"""Edits facts in a base that many share: in one episode, in a file to ship, for good.

    python examples/edit_facts.py

A word is a question, as counts of its triples of letters, and the number of an answer behind it.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

import torch
from torch import Tensor

from sam import SAM, BaseDiff, BaseMemory

ANSWERS = ["Paris", "Tokyo", "Bonn", "Berlin", "Rome", "Canberra"]
WIDTH, ROOM = 64, len(ANSWERS)


def word(question: str, answer: str | None = None) -> Tensor:
    found = torch.zeros(WIDTH + ROOM)
    for at in range(len(question) - 2):
        found[crc32(question[at : at + 3].lower().encode()) % WIDTH] += 1
    if answer is not None:
        found[WIDTH + ANSWERS.index(answer)] = 1
    return found


def answer(near: Tensor) -> str:
    return ANSWERS[int(near[WIDTH:].argmax())]


def main() -> list[str]:
    torch.manual_seed(0)
    model, told = SAM(4, 4, memory_size=2**20, word_size=WIDTH + ROOM), []
    facts = [("France", "Paris"), ("Japan", "Tokyo"), ("Germany", "Bonn"), ("Italy", "Rome")]
    with TemporaryDirectory() as folder:
        words = torch.stack([word(f"capital of {land}", city) for land, city in facts])
        base = BaseMemory.create(Path(folder, "facts"), words)
        question = word("the capital of Germany")
        slot = base.search(question, k=1).slots
        told.append(answer(base.words_at(slot)[0]))

        # An edit is a few slots and words: of a fact that is there, and of one that is new.
        new = [word("capital of Germany", "Berlin"), word("capital of Australia", "Canberra")]
        slots = torch.tensor([[int(slot), len(base)]])
        BaseDiff(slots, torch.stack(new)[None], len(base)).save(Path(folder, "edit"))

        # Whoever gets the file reads the new answers; the base and all others have the old ones.
        edit = BaseDiff.load(Path(folder, "edit"))
        edited, other = (model.initial_state(1, base=base) for _ in range(2))
        for state in (edited.apply(edit), other):
            near = state.memory.index.search(question[None, None], k=1).slots
            told.append(answer(state.memory.get(near[0])[0, 0]))

        # What a network writes in an episode is such an edit as well, and may be kept for good.
        _, state = model(torch.randn(5, 1, 4), model.initial_state(1, base=base).apply(edit))
        print(state.diff())
        merged = base.commit(edit, Path(folder, "facts of today"))
        asked = torch.stack([question, word("capital of Australia")])
        told += [answer(near) for near in merged.words_at(merged.search(asked, k=1).slots[:, 0])]
    return told


if __name__ == "__main__":
    print(main())
