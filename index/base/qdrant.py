"""Qdrant in the place of a base: a collection whose points have the ids 0 .. n-1."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from index.errors import BackendMissingError, FileFormatError, ShapeError
from index.metric import Metric

_INSTALL = "pip install 'sparse-access-memory[qdrant]'"
# Distances of Qdrant, what they are here, and by how much scores are multiplied.
_METRICS: dict[str, tuple[Metric, int]] = {
    "Cosine": ("cosine", 1),
    "Dot": ("dot", 1),
    "Euclid": ("l2", -1),
}


class QdrantStore:
    """A `VectorStore` of a collection of Qdrant, by its Python client.

    Words are the vectors of the points 0 .. n-1, as Qdrant returns them: with the distance Cosine
    it has divided them by their lengths. Payloads are not looked at.

    Args:
        client: a `qdrant_client.QdrantClient`, of a server or embedded; or the folder of an
            embedded one.
        collection: its name.
        vector: which of the vectors of a point, where they have names.
        identity: a text for these points and no others; client and collection do not tell whether
            a point has changed. Name and size unless told.

    Raises:
        BackendMissingError: the package is not installed.
        FileNotFoundError: there is no such collection.
        FileFormatError: it has no vectors of that name, another distance, or other ids.
    """

    def __init__(
        self,
        client: Any,
        collection: str,
        *,
        vector: str | None = None,
        identity: str | None = None,
    ) -> None:
        package = _import_qdrant()
        if isinstance(client, str | Path):
            client = package.QdrantClient(path=str(client))
        self.client, self.collection, self.vector = client, collection, vector
        self._request = package.models.QueryRequest
        if not client.collection_exists(collection):
            raise FileNotFoundError(2, "expected a collection of Qdrant, got none", collection)
        given = client.get_collection(collection).config.params.vectors
        if isinstance(given, dict) if vector is None else vector not in (given or {}):
            names = ", ".join(given) if isinstance(given, dict) else "one without a name"
            raise FileFormatError(f"{collection}: expected the vector {vector!r}, got {names}")
        kind: Any = given if vector is None else given[vector]
        if (distance := str(kind.distance.value)) not in _METRICS:
            known = ", ".join(_METRICS)
            raise FileFormatError(f"{collection}: expected a distance of {known}, got {distance}")
        self.metric, self._sign = _METRICS[distance]
        self.word_size = int(kind.size)
        self.num_words = int(client.count(collection, exact=True).count)
        self.identity = identity or f"qdrant {collection} of {self.num_words} words"
        if self.num_words:
            self.fetch(np.array([0, self.num_words - 1]))  # raises, where ids are others

    def __repr__(self) -> str:
        return f"QdrantStore({self.collection!r}, num_words={self.num_words})"

    def search(self, keys: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """See `VectorStore`; all keys go in one request."""
        options = {"limit": k, "with_payload": False, "using": self.vector}
        asked = [self._request(query=key, **options) for key in keys.tolist()]
        slots = np.full((len(asked), k), -1)
        scores = np.full((len(asked), k), -np.inf, np.float32)
        for row, found in enumerate(self.client.query_batch_points(self.collection, asked)):
            for place, point in enumerate(found.points):
                slots[row, place] = self._slot(point.id)
                scores[row, place] = self._sign * point.score
        return slots, scores

    def fetch(self, slots: np.ndarray) -> np.ndarray:
        """See `VectorStore`; a point is asked for once."""
        ids, back = np.unique(slots, return_inverse=True)
        which: Any = True if self.vector is None else [self.vector]
        options: Any = {"with_vectors": which, "with_payload": False}
        points = self.client.retrieve(self.collection, ids.tolist(), **options)
        found = {self._slot(point.id): point.vector for point in points}
        if missing := set(ids.tolist()) - set(found):
            raise ShapeError(
                f"{self.collection}: expected points with the ids 0 .. {self.num_words - 1}, got "
                f"none with {min(missing)}"
            )
        vectors = [found[slot] for slot in ids.tolist()]
        if self.vector is not None:
            vectors = [vector[self.vector] for vector in vectors]
        return np.array(vectors, np.float32)[back]

    def _slot(self, point: Any) -> int:
        if not isinstance(point, int):
            raise ShapeError(f"{self.collection}: expected whole numbers as ids, got {point!r}")
        return point


def _import_qdrant() -> Any:
    try:
        return importlib.import_module("qdrant_client")
    except ImportError as error:
        raise BackendMissingError(
            f"qdrant: expected an installed package, got {error}; {_INSTALL}"
        ) from error
