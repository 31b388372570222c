"""Differentiable functions without parameters, from which the memories are built."""

from sam.ops.access import sparse_access
from sam.ops.content import content_read, content_read_plain
from sam.ops.similarity import (
    content_weights,
    cosine_similarity,
    gathered_cosine,
    gathered_distance,
)
from sam.ops.sparse import SparseWeights, no_weights, sparse_read, sparse_write, write_values
from sam.ops.squash import squash, squash_plain
from sam.ops.store import WordStore
from sam.ops.usage import AccessOrder

__all__ = [
    "AccessOrder",
    "SparseWeights",
    "WordStore",
    "content_read",
    "content_read_plain",
    "content_weights",
    "cosine_similarity",
    "gathered_cosine",
    "gathered_distance",
    "no_weights",
    "sparse_access",
    "sparse_read",
    "sparse_write",
    "squash",
    "squash_plain",
    "write_values",
]
