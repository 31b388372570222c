"""The index for whoever does not want to choose: exact while that is the fastest, then lists."""

from index.hashed import HashedIndex
from index.ivf import IVFIndex

# Numbers in use from which tables pay: words times their size. Under l2 comparing every word takes
# longer. On the CPU, by `benchmarks.index.costs`; on a GPU it was never measured.
_FROM, _FROM_L2, _LEAST = 2**18, 2**17, 2**9
_ON_A_GPU = 2**18  # words


class AutoIndex(HashedIndex):
    """`exact` while that is the fastest by the measured costs, `ivf` beyond.

    Tables are kept from 2^18 / W words on, at least 512, and under l2 from half as many; without
    compiled forms from twice as many. It changes over while words are added, and back when a reset
    leaves few in use; `searching` says which it is. With tables a search still compares every word
    where that is cheaper than the lists that the recall takes. With `exact_below` the crossover is
    set by hand, and tables are always used beyond; the other options are those of `ivf`.
    """

    hash_type = IVFIndex.hash_type
    shared_options = IVFIndex.shared_options

    def _exact_below(self) -> int:
        if self.device.type != "cpu":
            return _ON_A_GPU
        numbers = _FROM_L2 if self.config.metric == "l2" else _FROM
        twice = 1 if self._kernels() is not None else 2
        return max(_LEAST, twice * numbers // self.word_size)
