"""`BaseMemory`: words in a folder, mapped read-only, with one index for all who search them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from index.base.build import BuildPlan, build_base
from index.base.commit import commit
from index.base.exact_scan import scan_words
from index.base.header import Header, read_header
from index.base.interface import Base
from index.base.opened import Opened, open_files
from index.base.source import Words
from index.errors import FileFormatError
from index.metric import Metric, full_width
from index.neighbors import Neighbors, empty_neighbors
from index.storage import StorageName

Progress = Callable[[str, int, int | None], None]
"""Is told the name of a phase, how many words are done, and of how many if that is known."""


class BaseMemory(Base):
    """Words that are there before an episode begins, shared by all memories and processes.

    `create` writes them to a folder, `open` maps the folder into memory: nothing is read before it
    is needed, and processes that open the same base share it. A base never changes, and a copy of
    it is the same object. A pickle holds its path and opens it again.

    Args of the methods that search: queries [Q, W] or [W], finite, tensor or array. No gradient
    passes.

    Attributes:
        path: of the folder.
    """

    def __init__(self, path: Path, header: Header, opened: Opened) -> None:
        self.path, self._header, self._opened = path, header, opened

    @classmethod
    def create(
        cls,
        path: str | Path,
        words: Words,
        *,
        index: str = "exact",
        dtype: StorageName = "float32",
        metric: Metric = "cosine",
        recall: float = 0.9,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> "BaseMemory":
        """Writes a base to a new folder, or in the place of another base, and opens it.

        Args:
            path: the folder. A kill at any moment leaves what was there, or the new base.
            words: [n, W] as a tensor or array, of which a `numpy.memmap` is read piece by piece,
                or an iterator of pieces [m, W]. Float or integer; rounded to `dtype`.
            index: ``"exact"`` compares every word. ``"ivf"`` and ``"product"`` keep the words list
                by list, and look into a few lists; see `index.ivf` and `index.product`.
                ``"faiss"`` or ``"faiss:<factory string>"`` is an index of FAISS beside the words,
                as `FaissIndex` has it for each memory; FAISS chooses candidates, and scores are
                computed from the words.
            dtype: how words are kept. Scores are those of the words as they are kept.
            metric: as `IndexConfig.metric`.
            recall: the share of the true 4 best that an approximate index shall find for queries
                near words.
            seed: of whatever is drawn at random.
            progress: is called after each piece.

        Raises:
            TypeError, ShapeError: `words` are not as said.
            NonFiniteError: a number is NaN or infinite, or too large for `dtype`; names the row.
            ValueError: another argument is not valid.
            OSError: there is no space on the disk, looked at before; or something else than a base
                is at `path`.
            Whatever is raised, `path` is as before, and nothing is left beside it.

        Cost: O(n) time, and O(n sqrt(n)) with lists. Some 10 MB of memory beside what an index
        learns from; with lists some 20 n bytes, with FAISS its index.
        """
        plan = BuildPlan.checked(index=index, dtype=dtype, metric=metric, recall=recall, seed=seed)
        build_base(Path(path), words, plan, progress or _silent)
        return cls.open(path)

    @classmethod
    def open(cls, path: str | Path, *, check: bool = False) -> "BaseMemory":
        """Maps a base into memory.

        Args:
            path: the folder. It may come from a stranger: nothing in it is run.
            check: read all of it and compare the checksums. Otherwise header, sizes and shapes of
                all files are looked at, and tables that are not mapped.

        Raises:
            FileNotFoundError: there is nothing.
            FileFormatError: there is something else, or it is half built, cut short or damaged.
            BackendMissingError: the package of the index is not installed.

        Cost: milliseconds; with `check` one pass over the files.
        """
        path = Path(path).resolve()
        for _ in range(3):
            header = read_header(path)
            try:
                opened = open_files(path, header, check=check)
            except (FileFormatError, OSError):
                if read_header(path) == header:
                    raise
                continue  # another base has come to its place
            if read_header(path) == header:
                break
        else:
            raise FileFormatError(f"{path}: expected a base, got one that changes all the time")
        return cls(path, header, opened)

    @property
    def num_words(self) -> int:
        """n; words are at slots 0 .. n-1."""
        return self._header.num_words

    @property
    def word_size(self) -> int:
        """W."""
        return self._header.word_size

    @property
    def dtype(self) -> StorageName:
        """How words are kept: float32, float16, bfloat16, or int8 with a scale for each word."""
        return self._header.dtype

    @property
    def metric(self) -> Metric:
        """How a word scores for a query; see `IndexConfig`."""
        return self._header.metric

    @property
    def index(self) -> str:
        """The kind of the index."""
        return self._header.index

    @property
    def tables(self) -> dict[str, int | float | str]:
        """Numbers of an approximate index by name, as how many words a query meets."""
        return dict(self._header.tables)

    @property
    def identity(self) -> str:
        """A text that no other base has; it changes when the base is made anew."""
        return self._header.identity

    def __repr__(self) -> str:
        size = f"num_words={self.num_words}, word_size={self.word_size}"
        return f"BaseMemory({str(self.path)!r}, {size}, dtype={self.dtype!r}, index={self.index!r})"

    @property
    def nbytes(self) -> int:
        """Bytes of all files."""
        return self._header.nbytes

    @property
    def resident(self) -> int:
        """Bytes of it that lie in memory now, shared by all processes. Cost: O(pages)."""
        return self._opened.resident

    def _fetch(self, slots: Tensor, dtype: torch.dtype) -> Tensor:
        """`words_at`; pages that are not in memory are read all at once."""
        if not slots.numel():
            return torch.zeros(0, self.word_size, dtype=dtype)
        return self._opened.words.at(slots, dtype)

    def put_words(self, slots: Tensor, into: Tensor, rows: Tensor) -> None:
        if not self._opened.words.put(slots, into, rows):
            super().put_words(slots, into, rows)

    def nearest(
        self, queries: Tensor, k: int, root_eps: Tensor, *, exact: bool = False
    ) -> Neighbors:
        device, existing = queries.device, min(k, self.num_words)
        if not len(queries):
            return Neighbors(*(part[0] for part in empty_neighbors(queries.unsqueeze(0), k)))
        words, tables = self._opened.words, self._opened.tables
        with torch.no_grad(), full_width(torch.device("cpu")):
            given = words, queries.detach().cpu(), existing, self.metric, root_eps.cpu()
            if exact:
                scores, rows = scan_words(*given)
                slots = words.slots_of(rows)
            else:
                scores, slots = tables.nearest_slots(*given)
        if existing < k:
            scores = functional.pad(scores, (0, k - existing), value=-torch.inf)
            slots = functional.pad(slots, (0, k - existing), value=-1)
        return Neighbors(slots.to(device), scores.to(device))

    def whole_search(self, k: int) -> Any:
        tables: Any = self._opened.tables
        if self.index != "ivf" or k > self.num_words:
            return None
        return tables.whole_search(self._opened.words, k)

    commit = commit

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (str(self.path), self.identity)


def _reopened(path: str, identity: str) -> BaseMemory:
    """The base of a pickle.

    Raises:
        FileFormatError: another one has come to its place.
    """
    base = BaseMemory.open(path)
    if base.identity != identity:
        raise FileFormatError(
            f"{path}: expected the base {identity}, got {base.identity}, made anew"
        )
    return base


def _silent(phase: str, done: int, total: int | None) -> None:
    """Reports nothing."""
