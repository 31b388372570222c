"""What a base has beside its words to find the nearest of them, and the exact search without."""

from abc import ABC, abstractmethod

from torch import Tensor

from index.base.exact_scan import scan_words
from index.base.row_file import MappedRows
from index.base.words import BaseWords
from index.metric import Metric


class Tables(ABC):
    """Finds words of a base, for all queries of a call together."""

    @abstractmethod
    def nearest(
        self, words: BaseWords, queries: Tensor, k: int, metric: Metric, root_eps: Tensor
    ) -> tuple[Tensor, Tensor]:
        """True scores and rows of the words found for queries [Q, W], both [Q, k], best first.

        Arguments as those of `scan_words`; -inf and -1 where fewer are found.
        """

    def nearest_slots(
        self, words: BaseWords, queries: Tensor, k: int, metric: Metric, root_eps: Tensor
    ) -> tuple[Tensor, Tensor]:
        """`nearest` with slots in the place of rows."""
        scores, rows = self.nearest(words, queries, k, metric, root_eps)
        return scores, words.slots_of(rows)

    @property
    def files(self) -> dict[str, MappedRows]:
        """Mapped files."""
        return {}

    @property
    def nbytes_held(self) -> int:
        """Bytes that are not mapped."""
        return 0


class NoTables(Tables):
    """Every word is compared."""

    def nearest(
        self, words: BaseWords, queries: Tensor, k: int, metric: Metric, root_eps: Tensor
    ) -> tuple[Tensor, Tensor]:
        return scan_words(words, queries, k, metric, root_eps)
