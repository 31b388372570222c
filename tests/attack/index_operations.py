"""Every backend of the index against a dictionary: random calls, right and wrong ones."""

import contextlib
import copy
import importlib.util
import pickle
import random
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from index import IndexConfig, make_index
from index.compiled import use_compiled
from tests.attack.index_dictionary import Dictionary
from tests.attack.index_wrong_calls import WRONG

FULL = 50_000  # of each backend
KINDS = ("auto", "exact", "ivf", "lsh", "product", "faiss")
_FACTORIES = ("faiss", "faiss", "faiss:Flat", "faiss:IVF3,Flat", "faiss:HNSW8", "faiss:SQ8")
_CALLS = 100  # of each index
# The largest number of a word: sums of its square are still a float32. And now and then the
# largest there is: then scores may be of no use, but whatever comes back must be slots with words.
_LARGEST, _LARGEST_OF_ALL = 1e15, 3e38


def attack(count: int, seed: int) -> dict[str, int]:
    """Makes `count` calls of each backend; returns how many of each kind there were."""
    ended: Counter[str] = Counter()
    with _one_thread(), warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in KINDS:
            if kind == "faiss" and importlib.util.find_spec("faiss") is None:
                ended["without faiss"] += count
            else:
                _attack(kind, count, seed, ended)
    return dict(sorted(ended.items()))


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Keeps threads from waiting for each other: the tensors are small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    if importlib.util.find_spec("faiss"):
        importlib.import_module("faiss").omp_set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _attack(kind: str, count: int, seed: int, ended: Counter[str]) -> None:
    life = Life(kind, f"{seed} {kind} 0")
    for call in range(count):
        if call and call % _CALLS == 0:
            life = Life(kind, f"{seed} {kind} {call}")
        try:
            ended[life.go_on()] += 1
        except Exception as error:  # whatever it is, it must say which try it was
            told = f"{kind}, seed {seed}, call {call}, {life}: {error!r}"
            raise AssertionError(told) from error


class Life:
    """An index and the dictionary that it must agree with, through some calls."""

    def __init__(self, kind: str, seed: str) -> None:
        self.random = random.Random(seed)
        self.drawn = torch.Generator().manual_seed(self.random.getrandbits(60))
        pick = self.random.choice
        self.batch, self.width = pick((1, 2, 3)), pick((1, 2, 3, 5, 8, 17))
        self.span = pick((1, 7, 40, 40, 150, 150, 400, 3000))
        self.dtype = pick((torch.float32, torch.float32, torch.float64))
        self.config = self._config(kind)
        # Powers of ten between small and large words.
        self.size = pick((0.0, 0.0, 0.0, 0.0, 0.0, 12.0, 12.0, 38.0))
        capacity = self.span if self.random.random() < 0.7 else 2**30
        sizes: Any = {"batch_size": self.batch, "capacity": capacity, "word_size": self.width}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that words of FAISS's graphs cannot be replaced
            self.index: Any = make_index(self.config, **sizes, dtype=self.dtype)
        self.truth = Dictionary(self.batch, capacity, self.width, self.config.metric)
        self.last = "make"

    def __repr__(self) -> str:
        return f"{self.config}, {self.batch} x {self.span} x {self.width}, {self.last}"

    def _config(self, kind: str) -> IndexConfig:
        pick, some = self.random.choice, lambda: self.random.random() < 0.4
        kind = pick(_FACTORIES) if kind == "faiss" else kind
        options: dict[str, Any] = {"seed": self.random.randrange(9)}
        if kind != "exact" and self.random.random() < 0.8:
            options["exact_below"] = pick((0, 0, 0, 20))
        if kind in ("ivf", "product", "auto", "lsh"):
            options |= {"buckets": pick((1, 4, 37))} if some() else {}
            options |= {"bucket_size": pick((16, 48))} if kind in ("ivf", "auto") and some() else {}
            options |= {"refresh_after": pick((0, 0.1, 2.0))} if some() else {}
            options |= {"tables": pick((1, 3))} if kind == "lsh" and some() else {}
        if kind not in ("exact", "faiss:Flat", "faiss:SQ8"):
            options |= {"probes": pick((1, 3, 50))} if some() else {}
        if kind in ("ivf", "product", "auto", "lsh") and "probes" not in options and some():
            options["recall"] = pick((0.5, 0.95, 1))
        if importlib.util.find_spec("numba") and not kind.startswith("faiss"):
            options["compiled"] = pick((None, True, False))
        return IndexConfig(kind=kind, metric=pick(("cosine", "dot", "l2")), **options)

    def go_on(self) -> str:
        """Makes one call and checks what there is afterwards; returns what was called."""
        names = ("update", "exchange", "search", "search_exact", "remove", "reset", "reset_all")
        others = (
            "load",
            "reserve",
            "resize",
            "copy",
            "wrong",
            "stats",
            "remove_region",
            "fill_row",
        )
        weights = (30, 25, 15, 3, 10, 4, 0.5, 2, 2, 2, 3, 6, 1, 3, 3)
        (self.last,) = self.random.choices(names + others, weights)
        with self._around():
            getattr(self, f"_{self.last}")()
            self.truth.check(self.index)
            if self.random.random() < 0.1:
                self._search()
        return self.last

    @contextlib.contextmanager
    def _around(self) -> Iterator[None]:
        """A setting that must make no difference."""
        pick = self.random.random()
        numba = importlib.util.find_spec("numba") is not None
        with contextlib.ExitStack() as stack:
            if pick < 0.4:
                stack.enter_context(use_compiled(numba and pick < 0.2))
            elif pick < 0.45:
                stack.enter_context(torch.inference_mode())
            elif pick < 0.5:
                stack.enter_context(torch.autocast("cpu", dtype=torch.bfloat16))
            elif pick < 0.6:
                stack.enter_context(torch.no_grad())
            yield

    # What calls are made with.

    def _count(self) -> int:
        few = self.random.randrange(8)
        return few if self.random.random() < 0.97 else self.random.randrange(2 * self.span + 2)

    def _slots(self, count: int, limit: int) -> Tensor:
        high = min(limit, self.span)
        return torch.randint(-1, high, (self.batch, count), generator=self.drawn)

    def _vectors(self, count: int, *, words: bool = False) -> Tensor:
        """Vectors in the dtype of the index: drawn, of small integers, all the same, or zero."""
        shape, how = (self.batch, count, self.width), self.random.random()
        if how < 0.15:
            return torch.zeros(shape, dtype=self.dtype)
        if how < 0.4:
            found = torch.randint(-1, 2, shape, generator=self.drawn).to(self.dtype)
        elif how < 0.5:
            found = torch.randn(shape[2], generator=self.drawn, dtype=self.dtype).expand(shape)
        else:
            found = torch.randn(shape, generator=self.drawn, dtype=self.dtype)
            if self.size:
                power = torch.rand(shape[:2], generator=self.drawn).to(self.dtype) * 2 - 1
                found = found * (10 ** (self.size * power)).unsqueeze(2)
            if how > 0.9 and count:  # lies otherwise in memory
                found = found.transpose(1, 2).contiguous().transpose(1, 2)
        most = _LARGEST if self.size < 38 else _LARGEST_OF_ALL
        return found.clamp(-most, most)

    def _k(self) -> int:
        return self.random.choice((1, 2, 4, 9, 33))

    # The calls, each with its effect on the dictionary.

    def _update(self) -> None:
        count = self._count()
        slots, words = self._slots(count, self.truth.limit), self._vectors(count)
        kind = self.random.choice((torch.int64, torch.int64, torch.int32))
        self.index.update(slots.to(kind), words)
        self.truth.update(slots, words)

    def _exchange(self) -> None:
        if self.truth.promised is None:
            self._reserve()
        count = self._count()
        slots, words = self._slots(count, self.truth.limit), self._vectors(count)
        for b, row in enumerate(slots.tolist()):  # a slot that comes twice has the same word
            first: dict[int, int] = {}
            same = [first.setdefault(slot, m) for m, slot in enumerate(row)]
            words = words.clone() if b == 0 else words
            words[b] = words[b, same]
        queries, k = self._vectors(self.random.randrange(6)), self._k()
        near = self.index.exchange(slots, words, queries, k)
        self.truth.update(slots, words)
        self._check(near, queries, k)

    def _search(self) -> None:
        queries, k = self._vectors(self.random.randrange(6)), self._k()
        self._check(self.index.search(queries, k), queries, k)

    def _search_exact(self) -> None:
        queries, k = self._vectors(self.random.randrange(6)), self._k()
        self._check(self.index.search_exact(queries, k), queries, k, complete=True)

    def _check(self, near: Any, queries: Tensor, k: int, complete: bool | None = None) -> None:
        if self.size == 38:
            self.truth.check_slots(near.slots, (*queries.shape[:2], k))
            return
        complete = self.index.searching == "exact" if complete is None else complete
        self.truth.check_found(near, queries, k, self.dtype, complete=complete)

    def _remove(self) -> None:
        slots = self._slots(self._count(), self.truth.capacity)
        self.index.remove(slots)
        self.truth.remove(slots)

    def _remove_region(self) -> None:
        """Forgets the words near one of them, in one of the memories."""
        b, count = self.random.randrange(self.batch), self.random.randint(1, self.span)
        apart = (self.truth.words - self._vectors(1)[:, :1].double()).norm(dim=2)[b]
        slots = torch.full((self.batch, min(count, len(apart))), -1)
        slots[b] = apart.topk(slots.shape[1], largest=False).indices
        slots[slots >= self.truth.capacity] = -1
        self.index.remove(slots)
        self.truth.remove(slots)

    def _fill_row(self) -> None:
        """Puts words into one of the memories only."""
        b, count = self.random.randrange(self.batch), min(self.span, self.truth.limit)
        slots = torch.full((self.batch, count), -1)
        slots[b] = torch.randperm(count, generator=self.drawn)
        words = self._vectors(count)
        self.index.update(slots, words)
        self.truth.update(slots, words)

    def _reset(self) -> None:
        rows = torch.rand(self.batch, generator=self.drawn) < 0.5
        self.index.reset(rows)
        self.truth.reset(rows)

    def _reset_all(self) -> None:
        self.index.reset()
        self.truth.reset(None)

    def _load(self) -> None:
        words = self._vectors(self.random.randrange(min(self.span, self.truth.capacity) + 1))
        self.index.load(words)
        self.truth.load(words)

    def _reserve(self) -> None:
        slots = self.random.randint(1, min(self.span, self.truth.capacity))
        self.index.reserve(slots)
        self.truth.promised = slots
        self.truth.peak = max(self.truth.peak, slots)

    def _resize(self) -> None:
        truth, promised = self.truth, self.truth.promised or 0
        capacity = self.random.choice((self.random.randint(1, self.span), self.span, 2**30))
        try:
            self.index.resize(capacity)
            assert capacity >= max(truth.top, promised), "resized below a slot in use"
            truth.capacity = capacity
        except ValueError as error:
            assert "in use" in str(error) and capacity < max(truth.peak, promised), str(error)

    def _stats(self) -> None:
        stats = self.index.stats()
        assert stats.occupancy.tolist() == self.truth.held.sum(1).tolist()
        assert stats.nbytes > 0 and 0 <= stats.candidates < 2**31 and stats.unplaced >= 0

    def _copy(self) -> None:
        """Goes on with a copy, after the other one was spoiled."""
        ways = (self.index.clone, lambda: copy.deepcopy(self.index), self._pickled)
        other = self.random.choice(ways)()
        assert self.index.to("cpu") is self.index
        if self.random.random() < 0.5:
            other, self.index = self.index, other
        other.reset()
        other.update(self._slots(5, other.capacity), self._vectors(5))
        other.search(self._vectors(2), 3)

    def _pickled(self) -> Any:
        return pickle.loads(pickle.dumps(self.index))

    def _wrong(self) -> None:
        """A call that must be refused, in words, and must not change anything."""
        size, call = self.index.nbytes, self.random.choice(WRONG)
        self.last = f"wrong {WRONG.index(call)}"
        try:
            call(self.index, self._vectors(2), self.truth)
        except ValueError as error:
            assert ": expected " in str(error) and "\n" not in str(error), str(error)
        else:
            raise AssertionError("nothing was refused")
        finally:
            self.last = "wrong"
        assert self.index.nbytes == size
        self._search()
