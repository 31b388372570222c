"""A memory that many share: words in a folder, mapped read-only, and what a row writes over them.

    base = BaseMemory.create("facts", words)             # [n, W]
    base = BaseMemory.open("facts")                      # in milliseconds, whatever n is
    slots, scores = base.search(queries, k=4)            # [Q, W] -> [Q, 4] each
    index = make_index("exact", batch_size=8, capacity=2**25, word_size=32, base=base)

A base never changes. An index that is made with `base=` is a layer over it: its memories see the
words of the base at slots 0 .. n-1 until they write there.
"""

from index.base.adapted import AdaptedBase, VectorStore, as_base
from index.base.cut import reshard
from index.base.diff import BaseDiff
from index.base.interface import Base
from index.base.joined import JoinedBase, open_base
from index.base.layered import LayeredIndex
from index.base.memory import BaseMemory
from index.base.qdrant import QdrantStore
from index.base.sharded import ShardedBase

__all__ = [
    "AdaptedBase",
    "Base",
    "BaseDiff",
    "BaseMemory",
    "JoinedBase",
    "LayeredIndex",
    "QdrantStore",
    "ShardedBase",
    "VectorStore",
    "as_base",
    "open_base",
    "reshard",
]
