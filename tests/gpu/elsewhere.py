"""A stand-in for a device that has to be waited for, on any machine.

Inside of `with Elsewhere() as place` tensors may live on "meta", which here is a place of its own:
they have values, which the CPU computes, but nobody looks at one unnoticed. What on a CUDA device
makes the host wait, or raises, does the same here: a look at a value, a shape that follows from
values, a copy from or to the host, and tensors of both places in one operation.
"""

import functools
import sys
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self
from unittest import mock

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import index
import sam

_OURS = tuple(Path(package.__file__).parent for package in (sam, index) if package.__file__)
HERE, THERE = torch.device("cpu"), torch.device("meta")
# What these return, or its shape, follows from values.
_LOOKS = {
    "_local_scalar_dense",
    "_unique",
    "_unique2",
    "bincount",
    "equal",
    "is_nonzero",
    "masked_select",
    "nonzero",
    "unique_consecutive",
    "unique_dim",
}
_INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_"}
# Tensors of Python numbers; torch makes none of values on "meta", so they are made before it does.
_LITERALS = {"tensor", "as_tensor", "asarray", "new_tensor"}
# Packed sequences have their lengths here, wherever their values are.
_WITH_LENGTHS = {"_pack_padded_sequence"}


class Wait(NamedTuple):
    """Something waited for the device."""

    operation: str
    within: tuple[str, ...]  # our functions that were running, from the innermost out


class Remote(Tensor):
    """A tensor that lives elsewhere; `held` are its values."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "Remote":
        if torch.is_inference_mode_enabled():
            with torch.inference_mode(False):  # a view must be made as its base was
                return cls(held)
        made = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=THERE,
        )
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func}: expected to be inside of the block that made the tensor")

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Remote({self.held!r})"


class Elsewhere(TorchDispatchMode):
    """The device, while it is entered.

    Attributes:
        device: where its tensors say they are.
        waits: what waited for it so far.
    """

    device = THERE

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or torch loads its compiler, which takes seconds

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[Wait] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(_Literals(self))
        # Torch knows of no autocast on "meta".
        self._stack.enter_context(mock.patch("torch.is_autocast_enabled", lambda kind: False))
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._stack.close()

    def put(self, tensor: Tensor) -> Tensor:
        """A copy of a tensor there, a leaf that needs a gradient if the tensor does."""
        return Remote(tensor.detach().clone()).requires_grad_(tensor.requires_grad)

    def fetch(self, tensor: Tensor) -> Tensor:
        """The values of a tensor that is there, without waiting."""
        remote = tensor.detach()
        assert isinstance(remote, Remote), "expected a tensor that lives elsewhere"
        return remote.held.clone()

    def model(self, model: nn.Module) -> nn.Module:
        """The model itself, its parameters put there."""
        for module in model.modules():
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    moved = nn.Parameter(self.put(parameter), parameter.requires_grad)
                    module._parameters[name] = moved
        return model

    @contextmanager
    def without_waiting(self, allowed: Collection[str] = ()) -> Iterator[None]:
        """Inside of it nothing may wait but within these functions of ours, by qualified name."""
        start = len(self.waits)
        yield
        wrong = {wait for wait in self.waits[start:] if not {*allowed} & {*wait.within}}
        assert not wrong, f"waits for the device: {sorted(wrong)}"

    def wait(self, operation: str) -> None:
        """Takes note that the host waits."""
        frame, within = sys._getframe(1), []
        while frame is not None:
            if _is_ours(frame.f_code.co_filename):
                within.append(frame.f_code.co_qualname)
            frame = frame.f_back
        self.waits.append(Wait(operation, tuple(within)))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = func._schema.name.removeprefix("aten::")
        given = [value for value in _leaves((args, kwargs)) if isinstance(value, Tensor)]
        there = [value for value in given if isinstance(value, Remote)]
        asked = kwargs.get("device")
        goes_there = bool(there) if asked is None else asked.type == THERE.type
        if not there and not goes_there:
            return func(*args, **kwargs)
        moves = name in ("_to_copy", "copy_")
        if not moves and name not in _WITH_LENGTHS:
            _check_one_place(func, given)
        if name in _LOOKS or _copies(name, given, goes_there) or _chooses(name, args, kwargs):
            self.wait(name)
        if asked is not None:
            kwargs["device"] = HERE
        found = func(*_held(args), **_held(kwargs))
        return _returned(func, args, kwargs, found) if goes_there else found


@functools.cache
def _is_ours(file: str) -> bool:
    return any(folder in Path(file).parents for folder in _OURS)


def _check_one_place(func: Any, given: list[Tensor]) -> None:
    for value in given:
        if not isinstance(value, Remote):
            if value.device.type == THERE.type:
                raise RuntimeError(f"{func}: a tensor has lost its values")
            if value.dim():  # a single number may come from here
                raise RuntimeError(f"{func}: expected tensors of one place, got {value} here")


def _copies(name: str, given: list[Tensor], goes_there: bool) -> bool:
    """Whether values come from the host or go to it."""
    if name == "copy_":
        return len({isinstance(value, Remote) for value in given}) == 2
    return name == "_to_copy" and isinstance(given[0], Remote) != goes_there


def _chooses(name: str, args: Any, kwargs: Any) -> bool:
    """Whether a mask, or counts, decide how many values are chosen."""
    if name == "repeat_interleave":
        return kwargs.get("output_size") is None
    kinds = {value.dtype for value in _leaves(args[1:2]) if isinstance(value, Tensor)}
    return name in _INDEXED and bool(kinds & {torch.bool, torch.uint8})


class _Literals(TorchFunctionMode):
    """Python numbers that become tensors, and tensors that become Python numbers."""

    def __init__(self, place: Elsewhere) -> None:
        super().__init__()
        self._place = place

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        if name == "tolist" and isinstance(args[0], Remote):
            self._place.wait(name)
            return args[0].held.tolist()
        if name not in _LITERALS:
            return func(*args, **kwargs)
        if name == "new_tensor":
            like, *args = args
            kwargs = {"dtype": like.dtype, "device": like.device} | kwargs
        device = torch.device(kwargs.get("device") or HERE)
        if isinstance(args[0], Tensor):
            return args[0].to(kwargs.get("device", args[0].device), kwargs.get("dtype"))
        made = torch.tensor(*args, **kwargs | {"device": HERE})
        if device.type != THERE.type:
            return made
        self._place.wait(name)
        return Remote(made)


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, list | tuple | dict):
        parts = value.values() if isinstance(value, dict) else value
        return [leaf for part in parts for leaf in _leaves(part)]
    return [value]


def _held(value: Any) -> Any:
    """The values of remote tensors, in lists and dictionaries as well."""
    if isinstance(value, Remote):
        return value.held
    if isinstance(value, list | tuple):
        return type(value)(map(_held, value))
    if isinstance(value, dict):
        return {name: _held(part) for name, part in value.items()}
    return value


def _remote(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(map(_remote, value))
    return Remote(value) if isinstance(value, Tensor) else value


@functools.cache
def _written(func: Any) -> tuple[str | None, ...]:
    """For each result of an operation which argument it is, if that is written to."""
    arguments, results = func._schema.arguments, func._schema.returns
    places = {
        place: argument.name
        for argument in arguments
        if argument.alias_info is not None and argument.alias_info.is_write
        for place in argument.alias_info.before_set
    }
    aliases = (None if result.alias_info is None else result.alias_info for result in results)
    return tuple(
        None if alias is None else next(map(places.get, alias.before_set), None)
        for alias in aliases
    )


def _returned(func: Any, args: Any, kwargs: Any, found: Any) -> Any:
    """What an operation returns there: an argument that it wrote to is returned itself."""
    written = _written(func)
    if not any(written):
        if func._schema.name.removeprefix("aten::") in _WITH_LENGTHS:
            return Remote(found[0]), *found[1:]
        return _remote(found)
    names = (argument.name for argument in func._schema.arguments)
    given = dict(zip(names, args, strict=False)) | kwargs
    results = (found,) if len(written) == 1 else found
    made = [
        _remote(result) if name is None else given[name]
        for name, result in zip(written, results, strict=True)
    ]
    return made[0] if len(made) == 1 else tuple(made)
