"""Names of the indexes, and how one is made from its name or its file."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from index.auto import AutoIndex
from index.base import Base, LayeredIndex, VectorStore
from index.checks import check_at_least
from index.config import IndexConfig
from index.errors import unknown_name
from index.exact import ExactIndex
from index.faiss_backend import FaissIndex
from index.ivf import IVFIndex
from index.lsh import LSHIndex
from index.plugins import load_plugin, plugin_names
from index.product import ProductIndex
from index.stored import StoredIndex
from index.tensor_files import read_parts
from index.vector_index import VectorIndex

_INDEXES: dict[str, type[VectorIndex]] = {
    "auto": AutoIndex,
    "exact": ExactIndex,
    "faiss": FaissIndex,
    "ivf": IVFIndex,
    "lsh": LSHIndex,
    "product": ProductIndex,
}


def _allow_loading(cls: type[VectorIndex]) -> None:
    """Lets `torch.load` take pickles of a class whose state is checked, by its default settings."""
    if getattr(cls, "__setstate__", None) is StoredIndex.__setstate__:
        torch.serialization.add_safe_globals([cls])


for _cls in (StoredIndex, *_INDEXES.values()):
    _allow_loading(_cls)


def available_indexes() -> tuple[str, ...]:
    """The registered names and those that installed packages bring, sorted."""
    return tuple(sorted({*_INDEXES, *plugin_names("indexes")}))


def register_index(name: str, cls: type[VectorIndex]) -> None:
    """Makes `make_index` know a class of yours.

    If it derives from `StoredIndex` and has no `__setstate__` of its own, `torch.load` then takes
    its pickles with `weights_only=True`.

    Args:
        name: a new name, without a colon: what follows a colon in a kind is the backend's.
        cls: a VectorIndex with its constructor's arguments. Options of its own are declared by its
            `options_class`, and given as `IndexConfig(kind=name, options={...})`.

    Raises:
        ValueError: the name is taken, empty or has a colon; or an option is named as a field of
            `IndexConfig`.
        TypeError: the class is not a VectorIndex.
    """
    if not isinstance(cls, type) or not issubclass(cls, VectorIndex):
        raise TypeError(f"cls: expected a subclass of VectorIndex, got {cls!r}")
    if not name or ":" in name:
        raise ValueError(f"name: expected a name without a colon, got {name!r}")
    if name in _INDEXES:
        raise ValueError(f"name: expected a new name, got {name!r}, which is {_INDEXES[name]!r}")
    own = {one.name for one in fields(cls.options_class)} if cls.options_class else set()
    if taken := own & {one.name for one in fields(IndexConfig)}:
        raise ValueError(f"options_class: expected names new to IndexConfig, got {min(taken)!r}")
    _INDEXES[name] = cls
    _allow_loading(cls)


def as_index_config(config: str | IndexConfig) -> IndexConfig:
    """Turns the name of an index into its configuration, and checks that the name is known.

    Args:
        config: a name such as ``"exact"``, a name with a suffix after a colon, or a configuration.

    Returns:
        The configuration.

    Raises:
        UnknownNameError: no index of that name is registered; the text lists those that are.
        ValueError: an option of the backend's own is not valid; see `IndexConfig.own_options`.
        TypeError: neither a name nor a configuration.
    """
    if isinstance(config, str):
        index_class(config)  # before IndexConfig, which only knows that "" is wrong
        return IndexConfig(kind=config)
    if not isinstance(config, IndexConfig):
        raise TypeError(f"config: expected a name or an IndexConfig, got {config!r}")
    config.own_options(index_class(config.kind).options_class)
    return config


def make_index(
    config: str | IndexConfig,
    *,
    batch_size: int | None = None,
    capacity: int,
    word_size: int,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
    base: Base | VectorStore | None = None,
) -> VectorIndex:
    """Makes an empty index, or one that begins with the words of a base.

    Args:
        config: a registered name or a configuration; the part of the kind before a colon decides.
        batch_size: B, the number of memories. Without it there is one memory, and no batch
            dimension in slots, words, queries and answers.
        capacity: slots per memory; costs nothing before slots are used.
        word_size: W.
        device: where the index lives; the CPU unless told.
        dtype: float32 or float64.
        base: words that all memories see at slots 0 .. n-1 until they write there, a `BaseMemory`,
            a `ShardedBase` or a `VectorStore`; see `index.base.LayeredIndex`. The index of the base
            answers for these, the kind that is made here for what the memories write.

    Returns:
        The index.

    Raises:
        UnknownNameError: no index of that name is registered.
        ValueError: a size or the dtype is not valid, or the base does not fit.
    """
    config = as_index_config(config)
    if batch_size is not None:
        check_at_least("batch_size", batch_size)
    cls, sizes = index_class(config.kind), {"capacity": capacity, "word_size": word_size}
    given: dict[str, Any] = {"batch_size": batch_size, **sizes, "device": device, "dtype": dtype}
    if base is not None:
        return LayeredIndex(config, base=base, overlay=cls, **given)
    return cls(config, **given)


def index_class(kind: str) -> type[VectorIndex]:
    """The class registered for a kind, whatever follows a colon in it.

    Raises:
        UnknownNameError: there is none; the text lists the registered names.
    """
    name = kind.partition(":")[0]
    if name not in _INDEXES and (brought := load_plugin("indexes", name)) is not None:
        register_index(name, brought)
    cls = _INDEXES.get(name)
    if cls is None:
        raise unknown_name("index", kind, _INDEXES)
    return cls


def load_index(
    path: str | Path,
    *,
    device: torch.device | str | None = None,
    mmap: bool = False,
    verify: bool | None = None,
) -> VectorIndex:
    """Reads an index that `VectorIndex.save` has written.

    Args:
        path: the file. It may come from a stranger: nothing in it is run.
        device: where the index is to live; the CPU unless told.
        mmap: map the file into memory instead of reading it. What is needed is read when it is
            needed, and processes that map the same file share it. What the index changes it copies
            page by page: the file stays as it is, and may be replaced by `save` meanwhile, but must
            not be written to or cut short in place. Files of version 1 are read as a whole.
        verify: compare the checksums of all parts, which reads them. Unless told, all are compared
            without `mmap`, and with it those of settings, shapes and parts below 1 MiB. In any case
            words are finite, and slots and tables within their bounds.

    Returns:
        The index. If the file has tables, they are those that were saved; else they are made anew.

    Raises:
        FileFormatError: the file is damaged, or of something else.
        BackendMissingError: safetensors, or the package of the backend, is not installed.
        OSError: there is no such file, or it cannot be read.

    Cost: O(bytes of the file). With `mmap` one look at each word, and at tables what their backend
    checks.
    """
    given = read_parts(path, "index", mapped=mmap, verify=verify)
    settings: dict[str, Any] = given.setting("config", dict)
    names = "batch_size", "capacity", "word_size"
    sizes = {name: given.number(name, 1, 2**63 - 1) for name in names}
    given.tensor("occupancy", (sizes["batch_size"],), torch.int64)  # before B makes tensors
    dtypes = {"float32": torch.float32, "float64": torch.float64}
    dtype = dtypes.get(given.setting("dtype", str), torch.int64)
    batched = given.setting("batched", bool, default=True)
    try:
        made: dict[str, Any] = sizes if batched else {**sizes, "batch_size": None}
        index = make_index(IndexConfig.from_settings(settings), **made, device=device, dtype=dtype)
    except (ValueError, TypeError, RuntimeError, MemoryError) as error:
        raise given.refuse("config", "settings of an index", error) from error
    index.restored(given)
    given.finish()
    return index
