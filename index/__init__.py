"""Top-k lookup among slots whose words change, for many memories at once.

    index = make_index("exact", batch_size=8, capacity=2**20, word_size=32)
    index.update(slots, words)            # [B, M], [B, M, W]
    slots, scores = index.search(queries, k=4)  # [B, Q, W] -> [B, Q, 4] each

Knows torch and numpy, and nothing of any model.
"""

from index.audit import Audit
from index.base import (
    AdaptedBase,
    Base,
    BaseDiff,
    BaseMemory,
    JoinedBase,
    LayeredIndex,
    QdrantStore,
    ShardedBase,
    VectorStore,
    as_base,
    open_base,
    reshard,
)
from index.config import IndexConfig
from index.errors import (
    BackendMissingError,
    FileFormatError,
    NonFiniteError,
    RanksError,
    ShapeError,
    UnknownNameError,
)
from index.exact import ExactIndex
from index.hashed import HashedIndex
from index.neighbors import IndexStats, Neighbors
from index.recall_measure import recall_at_k
from index.registry import (
    as_index_config,
    available_indexes,
    load_index,
    make_index,
    register_index,
)
from index.stored import StoredIndex
from index.vector_index import VectorIndex

__all__ = [
    "AdaptedBase",
    "Audit",
    "BackendMissingError",
    "Base",
    "BaseDiff",
    "BaseMemory",
    "ExactIndex",
    "FileFormatError",
    "HashedIndex",
    "IndexConfig",
    "IndexStats",
    "JoinedBase",
    "LayeredIndex",
    "Neighbors",
    "NonFiniteError",
    "QdrantStore",
    "RanksError",
    "ShapeError",
    "ShardedBase",
    "StoredIndex",
    "UnknownNameError",
    "VectorIndex",
    "VectorStore",
    "as_base",
    "as_index_config",
    "available_indexes",
    "load_index",
    "make_index",
    "open_base",
    "recall_at_k",
    "register_index",
    "reshard",
]
