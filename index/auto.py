"""The index for whoever does not want to choose: exact while that is the fastest, then lists."""

from index.hashed import HashedIndex
from index.ivf import IVFIndex

# Slots in use from which lists are faster than comparing every word, by `benchmarks.index` on the
# CPU; without compiled forms, and for words of up to 32 numbers, twice as many. On a GPU it was
# never measured.
_CROSSOVER = 2**12
_ON_A_GPU = 2**18


class AutoIndex(HashedIndex):
    """`exact` up to the measured crossover, `ivf` beyond; `searching` says which answers now.

    It changes over while words are added, and back when a reset leaves few in use. With
    `exact_below` the crossover is set by hand; the other options are those of `ivf`.
    """

    hash_type = IVFIndex.hash_type
    shared_options = IVFIndex.shared_options

    def _exact_below(self) -> int:
        return _CROSSOVER if self.device.type == "cpu" else _ON_A_GPU
