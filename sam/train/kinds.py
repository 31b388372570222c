"""The kinds of tasks: what their losses and errors count."""

import math
from typing import NamedTuple


class KindWords(NamedTuple):
    """How the numbers of a kind are told."""

    loss: str  # what the loss of a sequence counts
    error: str  # what the error of an update counts
    short: str  # of the loss, in a line of progress
    per_nat: float = 1 / math.log(2)  # the loss in that unit, from the one that is differentiated
    is_mean: bool = False  # the loss is a mean over the scored steps, not their sum


KINDS = {
    "bits": KindWords("bits per sequence", "wrong bits per sequence", "bits"),
    "classes": KindWords("bits per sequence", "fraction of questions wrong", "bits"),
    "tokens": KindWords("bits per token", "bits per token", "bits per token", is_mean=True),
    "values": KindWords("loss", "root mean squared error", "loss", per_nat=1.0, is_mean=True),
}
