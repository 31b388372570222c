"""The index for whoever does not want to choose: exact while that is the fastest, then lists."""

from index.hashed import HashedIndex
from index.ivf import IVFIndex


class AutoIndex(HashedIndex):
    """`exact` while that is the fastest by the measured costs, `ivf` beyond.

    It changes over while words are added, and back when a reset leaves few in use; `searching` says
    which it is. With tables a search still compares every word where that is cheaper than the lists
    that the recall takes. With `exact_below` the crossover is set by hand, and tables are always
    used beyond; with `probes` it stays the measured one. The other options are those of `ivf`.
    """

    hash_type = IVFIndex.hash_type
    shared_options = IVFIndex.shared_options
    _always_measured = True
