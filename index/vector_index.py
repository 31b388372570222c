"""The contract of an index: top-k lookup among slots whose words change.

An index serves B independent memories of up to `capacity` slots each, searched and updated
together. `VectorIndex` does what is the same for every backend: checking, dropping repeated slots,
scaling for the metric, growing, padding. A backend is left with its own storage and clean input.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from index import checks
from index.audit import note
from index.backend import Backend
from index.neighbors import Neighbors, nothing
from index.tensor_files import write_parts


class VectorIndex(Backend):
    """Words at slots, replaced and looked up by similarity; no gradient passes through.

    To write an index of your own, derive from it and see `index.backend.Backend` for the methods
    that are yours.

    Args:
        config: what was asked for; `make_index` also takes a name.
        batch_size: B, the number of memories.
        capacity: slots per memory; costs nothing before slots are used.
        word_size: W.
        device: where the index lives; the CPU unless told.
        dtype: float32 or float64; words and queries of other floating dtypes are converted.

    Raises:
        ValueError: a size is below 1, the dtype is neither float32 nor float64, or the config has
            an option that the backend has no use for.
    """

    def update(self, slots: Tensor, words: Tensor) -> None:
        """Puts words at slots, in place of what was there; the next search sees them.

        Args:
            slots: integers in [0, capacity), [B, M]; -1 is skipped; of a slot that comes twice in
                a row the last word counts.
            words: [B, M, W], finite, at skipped slots too.

        Raises:
            ShapeError: a shape, dtype or device is not as said.
            ValueError: a slot is out of range.
            NonFiniteError: a word is not finite.
            Whatever is raised, the index is as before.

        Cost: away from the CPU this waits for the device, unless `reserve` was called.
        """
        slots = checks.check_slot_tensor(slots, self.batch_size, self.device)
        shape = (self.batch_size, slots.shape[1], self.word_size)
        words = checks.check_vectors("words", words, shape, self._like)
        look = self._promised is None or self.device.type == "cpu"
        limit = self.capacity if self._promised is None else self._promised
        highest = checks.check_slot_values(slots, limit, look=look)
        if slots.shape[1] == 0:
            return
        if highest >= self._in_use:
            self._grow(highest + 1)
            self._in_use = highest + 1
        with self._full_width():
            self._update(checks.keep_last(slots), self._scaled(words))

    def load(self, words: Tensor) -> None:
        """Puts words at slots 0, 1, ... of each memory, in place of what was there.

        Args:
            words: [B, n, W], finite, n at most `capacity`; a view that repeats the same words for
                each memory is not copied first.

        Raises:
            ShapeError: a shape, dtype or device is not as said.
            ValueError: there are more words than slots.
            NonFiniteError: a word is not finite.

        Cost: O(B n W), once; an approximate backend also builds its tables.
        """
        shape = (self.batch_size, None, self.word_size)
        words = checks.check_vectors("words", words, shape, self._like)
        count = words.shape[1]
        if count > self.capacity:
            raise ValueError(f"words: expected at most capacity={self.capacity}, got {count}")
        if count == 0:
            return
        if count > self._in_use:
            self._grow(count)
            self._in_use = count
        slots = torch.arange(count, device=self.device).expand(self.batch_size, -1)
        with self._full_width():
            self._update(slots, self._scaled(words))

    def remove(self, slots: Tensor) -> None:
        """Forgets the words at slots; a slot that holds none is legal.

        Args:
            slots: integers in [0, capacity), [B, M]; -1 is skipped.

        Raises:
            ShapeError, ValueError: as `update`.
        """
        slots = checks.check_slot_tensor(slots, self.batch_size, self.device)
        look = self.device.type == "cpu"
        checks.check_slot_values(slots, self.capacity, look=look)
        if slots.shape[1] and self._in_use:
            self._remove(checks.keep_last(slots.masked_fill(slots >= self._in_use, -1)))

    def search(self, queries: Tensor, k: int) -> Neighbors:
        """Finds for each query the k words with the highest scores.

        Args:
            queries: [B, Q, W], finite.
            k: how many, at least 1; more than there are words is legal.

        Returns:
            Slots and scores [B, Q, k]. Scores are exact for the slots returned.

        Raises:
            ShapeError: a shape, dtype or device is not as said.
            ValueError: k is below 1.
            NonFiniteError: a query is not finite.
        """
        queries = self._checked_queries(queries, k)
        return note(self, queries, k, self._padded(queries, k, self._search))

    def _checked_queries(self, queries: Tensor, k: int) -> Tensor:
        checks.check_size("k", k)
        shape = (self.batch_size, None, self.word_size)
        return checks.check_vectors("queries", queries, shape, self._like)

    def _padded(
        self, queries: Tensor, k: int, search: Callable[[Tensor, int], Neighbors]
    ) -> Neighbors:
        """What `search` finds for checked queries, as far as words exist, then -1."""
        existing = min(k, self._in_use)
        if existing == 0 or queries.shape[1] == 0:
            return nothing(queries, k)
        with self._full_width():
            near = search(self._scaled(queries), existing)
        if existing == k:
            return near
        pairs = zip(near, nothing(queries, k - existing), strict=True)
        return Neighbors(*(torch.cat(pair, -1) for pair in pairs))

    def exchange(self, slots: Tensor, words: Tensor, queries: Tensor, k: int) -> Neighbors:
        """`update`, then `search`, for the inner loop of a caller that knows what it does.

        Arguments and result are theirs. The caller promises, and nobody looks, that shapes, dtypes
        and devices are as they say, and that a slot that comes twice in a row comes with the same
        word; and that slots are below what was `reserve`d, or in use. That is looked at on the CPU
        only.

        Raises:
            ValueError: a slot is out of range.
            NonFiniteError: a word or query is not finite.
            With either the index is as before.
        """
        if self.device.type == "cpu":
            # A higher one would be another memory's, or not be found.
            checks.check_slot_values(slots, self._below(), look=True)
        if torch.is_grad_enabled():
            words, queries = words.detach(), queries.detach()
        checks.check_finite_together(words, queries)
        if self._promised is not None and self._promised > self._in_use:
            self._in_use = self._promised
        if slots.shape[1]:
            slots = slots if self._takes_repeats else checks.keep_last(slots)
            with self._full_width():
                self._update(slots, self._scaled(words))
        return note(self, queries, k, self._padded(queries, k, self._search))

    def _below(self) -> int:
        """All slots of an exchange are smaller."""
        return max(self._in_use, self._promised or 0)

    def reset(self, rows: Tensor | None = None) -> None:
        """Forgets all words of some memories; without `rows` of all, and lifts `reserve`'s promise.

        Args:
            rows: bool [B], true for the memories to empty.

        Raises:
            ShapeError: `rows` is not bool [B] on the device of the index.

        Cost: O(slots in use), whatever the capacity.
        """
        if rows is None:
            self._reset(None)
            self._in_use, self._promised = 0, None
            return
        checks.check_rows(rows, self.batch_size, self.device)
        if self._in_use and (self.device.type != "cpu" or bool(rows.any())):
            self._reset(rows)

    def reserve(self, slots: int) -> None:
        """Promises that all slots to come are below `slots`, until the next call of `reserve`.

        Makes room for that many slots. With the promise an update away from the CPU need not wait
        for the device to learn how high its slots are; a slot that breaks it is an error. There a
        search looks at all promised slots, so promise no more than will be used.

        Args:
            slots: at least 1, at most `capacity`.

        Raises:
            ValueError: it is not.
        """
        if checks.check_size("slots", slots, checks.MOST_SLOTS) > self.capacity:
            raise ValueError(f"slots: expected at most capacity={self.capacity}, got {slots}")
        self._grow(slots)
        self._promised = slots

    def resize(self, capacity: int) -> None:
        """Changes how many slots each memory may have; the words stay.

        Args:
            capacity: at least 1, and above every slot in use or reserved.

        Raises:
            ValueError: it is not.

        Cost: O(1); space for slots is taken when they are used.
        """
        least = max(self._in_use, self._promised or 0)
        if checks.check_size("capacity", capacity, checks.MOST_SLOTS) < least:
            raise ValueError(f"capacity: expected at least the {least} in use, got {capacity}")
        self.capacity = capacity

    def save(self, path: str | Path) -> None:
        """Writes settings and words to a file, for `load_index`; whole or not at all.

        What a backend has learned from its words is not saved: it is made anew. So an approximate
        one may choose other slots once loaded; an exact one finds the same, to the last bit.

        Args:
            path: the file to write or replace; a safetensors file.

        Raises:
            BackendMissingError: safetensors is not installed.
            NotImplementedError: a backend of your own does not say what to save.
            OSError: the file cannot be written.
        """
        write_parts(path, "index", self.content())
