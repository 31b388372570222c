"""Descriptions as text: what is available, recipes, models, indexes, and results."""

import inspect
import math
import platform
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import nn

from index import HashedIndex, available_indexes, make_index
from sam import __version__
from sam.models import available_models, make_model
from sam.network import MemoryNetwork
from sam.tasks import Task, available_tasks
from sam.tasks.task import Kind
from sam.train.evaluate import SliceResult
from sam.train.folder import build_model
from sam.train.loggers import available_loggers
from sam.train.saved_bytes import bytes_per_step, saved_bytes
from sam.train.settings import available_recipes, to_tables
from sam.train.slice_errors import slice_name
from sam.train.toml import to_toml
from sam.train.train_config import RunConfig

# Lengths of two sequences; what the longer one keeps more is kept by a step.
_COUNTED = (2, 3)
_COLUMNS: Mapping[Kind, tuple[str, ...]] = {
    "bits": ("bits/sequence", "wrong bits/sequence", "bits right", "sequences right"),
    "classes": ("error %",),
    "tokens": ("bits/token", "perplexity", "tokens right"),
    "values": ("loss", "root mean squared error"),
}
_SLOTS_IN_USE = (2**7, 2**10, 2**13, 2**16, 2**20)


def describe_all() -> str:
    """Lists all models, tasks, indexes, recipes and loggers, and the versions."""
    lists = {
        "models": available_models(),
        "tasks": available_tasks(),
        "indexes": available_indexes(),
        "recipes": available_recipes(),
        "loggers": available_loggers(),
    }
    rows = [[name, ", ".join(values)] for name, values in lists.items()]
    versions = (
        f"sparse-access-memory {__version__}, torch {torch.__version__}, "
        f"Python {platform.python_version()}"
    )
    return table([*rows, ["versions", versions]])


def describe_recipe(config: RunConfig) -> str:
    """A recipe's settings, complete, and its model, if its size does not hang on data to come."""
    if getattr(config.task, "path", None) == "":
        return f"{to_toml(to_tables(config))}\nThe model's size follows from the data at task.path."
    sizes = config.task.input_size, config.task.output_size
    model = _describe(config.model.kind, build_model(config), *sizes)
    return f"{to_toml(to_tables(config))}\n{model}"


def describe_model(name: str, input_size: int = 9, output_size: int = 8) -> str:
    """A model with its default settings, by default at the widths of the copy task.

    Raises:
        UnknownNameError: there is no such model.
    """
    return _describe(name, make_model(name, input_size, output_size), input_size, output_size)


def describe_index(name: str, capacity: int = 2**20, word_size: int = 32) -> str:
    """An index: its documentation, and its layout at several numbers of slots in use.

    Raises:
        UnknownNameError: there is no such index.
        BackendMissingError: its package is not installed.
    """
    index = make_index(name, batch_size=1, capacity=capacity, word_size=word_size)
    parts = [f"{name}: {inspect.getdoc(type(index))}"]
    if isinstance(index, HashedIndex):
        rows = [["slots in use", "searching", "tables", "lists", "words each"]]
        for slots in _SLOTS_IN_USE:
            answers = index.answers(slots)
            tables, lists, length = index.size(slots)
            sizes = [str(tables), f"{lists:,}", f"{length or slots / lists:.0f}"]
            rows.append([f"{slots:,}", answers, *(sizes if answers != "exact" else ["", "", ""])])
        parts.append(f"words of {word_size} numbers\n{table(rows)}")
    return "\n\n".join(parts)


def _describe(name: str, model: nn.Module, input_size: int, output_size: int) -> str:
    parameters = dict(model.named_parameters())
    total = sum(value.numel() for value in parameters.values())
    rows = [["parameter", "shape", "numbers"]]
    rows += [[key, _shape(value.shape), f"{value.numel():,}"] for key, value in parameters.items()]
    rows.append(["total", "", f"{total:,}"])
    parts = [f"{name}: {input_size} inputs, {output_size} outputs", table(rows)]
    described: list[object] = [model]
    if isinstance(model, MemoryNetwork):
        rows = [["interface", "shape", "numbers", "squashed by"]]
        for one in model.cell.interface.fields:
            rows.append([one.name, _shape(one.shape), f"{math.prod(one.shape):,}", one.activation])
        parts.append(table(rows))
        described.append(model.cell.memory)
    parts += [cost for thing in described if (cost := _cost(thing))]
    if hasattr(model, "initial_state"):
        parts.append(_bytes(model, input_size))
    return "\n\n".join(parts)


def _shape(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape))


def _bytes(model: Any, input_size: int) -> str:
    """Counts the bytes of a fresh state and of what a step keeps."""
    like = next(model.parameters())

    def saved(steps: int) -> int:
        inputs = like.new_zeros(steps, 1, input_size)
        return saved_bytes(lambda: model(inputs)[0], apart_from=model.parameters())

    kept = bytes_per_step(saved, batch_size=1, steps=_COUNTED)
    return textwrap.fill(
        f"Bytes of a sequence, counted: {model.initial_state(1).nbytes:,} for a fresh state, "
        f"{kept:,.0f} kept per step for the backward pass.",
        100,
    )


def _cost(thing: object) -> str:
    """The paragraph of a class's documentation that begins with "Cost:", or nothing."""
    paragraphs = (inspect.getdoc(type(thing)) or "").split("\n\n")
    found = [text for text in paragraphs if text.startswith("Cost:")]
    return textwrap.fill(f"{type(thing).__name__} {found[0]}", 100) if found else ""


def describe_results(results: Sequence[SliceResult], task: Task) -> str:
    """Tables of an evaluation: bits for bit tasks; percent of questions wrong for classes;
    bits and perplexity of a token; error of values; and the task's own measures."""
    if not results:
        return "nothing was evaluated"
    groups = (list(group) for _, group in groupby(results, key=lambda result: result.name))
    return "\n\n".join(_described(group, task) for group in groups)


def _described(results: Sequence[SliceResult], task: Task) -> str:
    name = results[0].name
    measures = [*dict.fromkeys(key for result in results for key in result.measures or {})]
    first = "data" if name == "all" else name
    rows = [[first, "sequences", *_COLUMNS[task.kind], *measures]]
    for r in results:
        own = ((r.measures or {}).get(key) for key in measures)
        told = ("" if number is None else f"{number:.4g}" for number in own)
        shown = slice_name(task, r.name, r.value)
        rows.append([shown, str(r.sequences), *_numbers(r, task.kind), *told])
    described = table(rows)
    return described if task.kind != "classes" else f"{described}\n{_mean(results, task)}"


def _numbers(r: SliceResult, kind: Kind) -> tuple[str, ...]:
    if kind == "tokens":
        return f"{r.loss:.4g}", f"{r.perplexity:.4g}", f"{100 * r.accuracy:.2f} %"
    if kind == "values":
        return f"{r.loss:.4g}", f"{r.root_mean_square:.4g}"
    if kind == "bits":
        shares = f"{100 * r.accuracy:.2f} %", f"{100 * r.solved:.1f} %"
        return f"{r.loss:.4g}", f"{r.wrong:.4g}", *shares
    return (f"{r.error_percent:.2f}",)


def _mean(results: Sequence[SliceResult], task: Task) -> str:
    """Mean error of classes, without the slices that the task sets apart.

    A task may have the attribute `apart`: by the name of a slice, the values that a mean over its
    values leaves out, such as that of a task whose data are not whole.
    """
    apart = getattr(task, "apart", {}).get(results[0].name, ())
    errors = [r.error_percent for r in results if r.value not in apart]
    if not errors or len(errors) == len(results):
        errors, left_out = [r.error_percent for r in results], ""
    else:
        told = ", ".join(
            f"{slice_name(task, r.name, r.value)} with {r.error_percent:.2f} %"
            for r in results
            if r.value in apart
        )
        left_out = f"; apart: {results[0].name} {told}"
    mean = f"mean error {sum(errors) / len(errors):.2f} %"
    return f"{mean}, {sum(e > 5 for e in errors)} of {len(errors)} above 5 %{left_out}"


def table(rows: list[list[str]], *, align: Callable[[str, int], str] = str.ljust) -> str:
    """Lines up columns, two spaces between them; those after the first one by `align`."""
    first, *widths = (max(map(len, column)) for column in zip(*rows, strict=True))
    lines = ("  ".join([name.ljust(first), *map(align, row, widths)]) for name, *row in rows)
    return "\n".join(line.rstrip() for line in lines)
