"""What the papers state about a task, by the name of the task and how it is drawn."""

# Percent right at the presentations of a character (Santoro et al. 2016, as others cite it).
OMNIGLOT = {"1st": "36.4", "2nd": "82.8", "5th": "94.9", "10th": "98.1"}
# Where a paper shows a curve alone there is no number to be compared.
_STATED = {
    "copy": "SAM: curve only (fig. 2)",
    "key_value_recall": "SAM: curve only (fig. 2)",
    "sort": "SAM: curve only (fig. 2)",
    "recall": "NTM: near 0 by about 30,000 sequences (NTM paper, 4.3)",
    "omniglot": f"MANN: {', '.join(OMNIGLOT.values())} % right at presentations 1, 2, 5, 10",
    "babi": "SAM, trained on all 20, task 1: best run 0.0 %, mean 4.7 % (tables 1, 2)",
}
_BY_CURRICULUM = {
    "key_value_recall": "SAM: beyond level 4,000 (fig. 3)",
}


def stated(task: str, *, by_curriculum: bool = False) -> str:
    """What a paper states; empty if none does."""
    found = _BY_CURRICULUM.get(task) if by_curriculum else None
    return found or _STATED.get(task, "")
