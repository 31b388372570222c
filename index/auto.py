"""The index for whoever does not want to choose: exact while that is the fastest, then lists."""

from index.ivf import IVFIndex

# Slots in use from which lists are faster than comparing every word, by `benchmarks.index` on the
# CPU; without compiled twins, and for words of up to 32 numbers, twice as many. On a GPU it was
# never measured.
_CROSSOVER = 2**12
_ON_A_GPU = 2**18


class AutoIndex(IVFIndex):
    """`exact` up to the measured crossover, `ivf` beyond; `searching` says which answers now.

    It changes over while words are added, and back when a reset leaves few in use. With
    `exact_below` the crossover is set by hand; the other options are those of `ivf`.
    """

    @property
    def _exact_below(self) -> int:
        if self.device.type != "cpu":
            return _ON_A_GPU
        return _CROSSOVER
