"""Differentiable functions without parameters, from which the memories are built.

Shapes: B batch, H heads (V that write, R that read), N words, W numbers a word, K words read.
"""

from sam.ops.addressing import ntm_weights, ntm_weights_plain
from sam.ops.allocation import allocation_weights, dnc_usage, retention
from sam.ops.content import content_read, content_read_plain
from sam.ops.decayed_usage import decayed_usage, least_used
from sam.ops.dense import erase_add, erase_add_plain, erase_add_subtractive, read_words
from sam.ops.dense_access import dense_access, dense_access_plain
from sam.ops.dense_write import dense_write, dense_write_weights
from sam.ops.linkage import directional_weights, sharpened, update_links, update_precedence
from sam.ops.masked import masked_content_weights
from sam.ops.mixing import mix_reads
from sam.ops.sharpening import sharpen_reads
from sam.ops.shift import interpolate, sharpen, shift
from sam.ops.similarity import (
    content_weights,
    content_weights_plain,
    cosine_similarity,
    gathered_cosine,
    gathered_distance,
)
from sam.ops.sparse import SparseWeights, no_weights, sparse_read, sparse_write, write_values
from sam.ops.sparse_links import SparseLinks
from sam.ops.squash import squash, squash_plain
from sam.store.access_order import AccessOrder
from sam.store.word_store import WordStore

__all__ = [
    "AccessOrder",
    "SparseLinks",
    "SparseWeights",
    "WordStore",
    "allocation_weights",
    "content_read",
    "content_read_plain",
    "content_weights",
    "content_weights_plain",
    "cosine_similarity",
    "decayed_usage",
    "dense_access",
    "dense_access_plain",
    "dense_write",
    "dense_write_weights",
    "directional_weights",
    "dnc_usage",
    "erase_add",
    "erase_add_plain",
    "erase_add_subtractive",
    "gathered_cosine",
    "gathered_distance",
    "interpolate",
    "least_used",
    "masked_content_weights",
    "mix_reads",
    "no_weights",
    "ntm_weights",
    "ntm_weights_plain",
    "read_words",
    "retention",
    "sharpen",
    "sharpen_reads",
    "sharpened",
    "shift",
    "sparse_read",
    "sparse_write",
    "squash",
    "squash_plain",
    "update_links",
    "update_precedence",
    "write_values",
]
