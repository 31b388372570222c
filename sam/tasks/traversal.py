"""Graph traversal: follow labelled edges through a graph that has been described (DNC paper)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from sam.errors import ConfigError
from sam.setting_checks import check_choice, check_finite
from sam.tasks.drawing import distinct_numbers, permutations
from sam.tasks.graphs import Graphs, london, random_graphs
from sam.tasks.levels import RangeTask, check_whole
from sam.tasks.task import Batch, Kind

_LABELS, _DIGITS, _PARTS = 1000, 3, 3
_TRIPLE = _PARTS * _DIGITS * 10  # numbers of a triple: source, edge and end, of three digits each


@dataclass(frozen=True, kw_only=True, slots=True)
class Traversal(RangeTask):
    """A graph is shown edge by edge, then a start and L edges to take: the path. The level is L.

    From the DNC paper (Graves et al. 2016, Methods, "graph tasks"). An edge is a triple of labels:
    source, edge, end. A label is a number below 1,000, drawn anew for every sequence and shown as
    three digits, one-hot. With E edges there are ``T = E + 2 L`` steps, of 90 channels and two that
    mark the query and the answer::

        steps      the 90 channels                        query    answer    scored
        E          an edge, in random order               0        0         no
        1          the start and the first edge's label   1        0         no
        L - 1      the next edge's label                  1        0         no
        L          0; target: the edge taken              0        1         yes

    Training graphs are random points of the unit square with edges to their nearest neighbours.
    The labels of edges are drawn from `edge_labels` ones and differ among those of one source, so a
    path is given by its start and labels. All graphs of a batch have as many nodes, and their
    nodes as many edges. Walks are random. The split ``"test"`` is the London Underground unless
    `test` says otherwise: an edge's label is that of its line and direction; with zone 1 there are
    59 stations and 230 edges. The sizes are ours; the paper's are in a table that was not read.

    An evaluation tells the percentage of edges right, all nine digits by their largest outputs, and
    of whole paths.

    Args:
        min_length: shortest path in training, edges.
        max_length: longest path in training.
        min_nodes, max_nodes: nodes of a random graph.
        min_edges, max_edges: edges that leave a node of it.
        edge_labels: labels of edges in a random graph.
        test: ``"london"`` or ``"random"``.
        zone: London's stations up to this fare zone.
        path: folder of ``london.stations.csv`` and ``london.connections.csv``; when None the
            environment variable ``SPARSE_SAM_GRAPHS``, then ``../shared/data/graphs``.

    Raises:
        ConfigError: a setting is out of its range, or a range is empty.
    """

    kind: ClassVar[Kind] = "bits"
    curriculum_start: ClassVar[int] = 1
    level_settings: ClassVar[tuple[str, str]] = "min_length", "max_length"
    slice_name: ClassVar[str] = "length"
    # Without a type these are no settings.
    input_size = _TRIPLE + 2
    output_size = _TRIPLE

    min_length: int = 1
    max_length: int = 5
    min_nodes: int = 5
    max_nodes: int = 20
    min_edges: int = 1
    max_edges: int = 4
    edge_labels: int = 24
    test: Literal["london", "random"] = "london"
    zone: float = 1.0
    path: str | None = None

    def __post_init__(self) -> None:
        RangeTask.__post_init__(self)
        for name, least in (("nodes", 2), ("edges", 1)):
            low, high = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            check_whole(f"min_{name}", low, least)
            check_whole(f"max_{name}", high, least)
            if low > high:
                raise ConfigError(f"min_{name}: expected at most max_{name}={high}, got {low}")
        check_whole("edge_labels", self.edge_labels, 1)
        most = min(self.edge_labels, self.min_nodes - 1)
        if self.max_edges > most:
            raise ConfigError(
                f"max_edges: expected at most edge_labels and min_nodes - 1, {most}, got "
                f"{self.max_edges}"
            )
        for name in ("edge_labels", "max_nodes"):
            if getattr(self, name) > _LABELS:
                raise ConfigError(f"{name}: expected at most {_LABELS}, got {getattr(self, name)}")
        check_choice("test", self.test, ("london", "random"))
        check_finite("zone", self.zone)

    def _draw(self, batch_size: int, level: int, generator: torch.Generator) -> Batch:
        nodes = int(torch.randint(self.min_nodes, self.max_nodes + 1, (), generator=generator))
        degrees = torch.randint(self.min_edges, self.max_edges + 1, (nodes,), generator=generator)
        graphs = random_graphs(batch_size, degrees, self.edge_labels, generator)
        return self._questions(graphs, level, generator)

    def _draw_held_out(
        self, batch_size: int, level: int, generator: torch.Generator, split: str
    ) -> Iterator[Batch]:
        if split == "test" and self.test == "london":
            graphs = london(batch_size, self.path, self.zone)
            yield self._questions(graphs, level, generator)
        else:
            yield self._draw(batch_size, level, generator)

    def _questions(self, graphs: Graphs, length: int, generator: torch.Generator) -> Batch:
        """Labels, the order of edges, and a random walk of each graph."""
        batch_size, edges = graphs.ends.shape
        rows = torch.arange(batch_size)
        nodes = distinct_numbers(len(graphs.degrees), batch_size, _LABELS, generator)
        labels = distinct_numbers(graphs.num_kinds, batch_size, _LABELS, generator)
        parts = (
            nodes[graphs.sources],
            labels.gather(0, graphs.kinds.T),
            nodes.gather(0, graphs.ends.T),
        )
        triples = _encoded(torch.stack(parts, dim=2))  # [E, B, 90]
        taken = _walks(graphs, length, generator)

        order = permutations(edges, batch_size, generator)
        inputs = torch.zeros(edges + 2 * length, batch_size, self.input_size, dtype=torch.float32)
        inputs[:edges, :, :_TRIPLE] = triples[order, rows]
        query, third = inputs[edges : edges + length], _TRIPLE // _PARTS
        path = triples[taken, rows]  # [L, B, 90]
        query[:, :, third : 2 * third] = path[:, :, third : 2 * third]
        query[0, :, :third] = path[0, :, :third]
        query[:, :, _TRIPLE] = 1.0
        inputs[edges + length :, :, _TRIPLE + 1] = 1.0
        targets = torch.zeros(len(inputs), batch_size, _TRIPLE, dtype=torch.float32)
        targets[edges + length :] = path
        mask = torch.zeros(len(inputs), batch_size, dtype=torch.bool)
        mask[edges + length :] = True
        return Batch(inputs, targets, mask, self._slices(batch_size, length))

    def measures(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Percent of each path's edges that are right, and whether all are."""
        digits = (_digits(outputs) == _digits(batch.targets)).all(2)
        right = (digits & batch.mask).sum(0) / batch.mask.sum(0)
        return {"edges right %": 100 * right, "paths right %": 100.0 * (right == 1)}


def _walks(graphs: Graphs, length: int, generator: torch.Generator) -> Tensor:
    """The edges that random walks of every graph take, [length, B]."""
    batch_size = len(graphs.ends)
    rows, first = torch.arange(batch_size), graphs.first
    node = torch.randint(len(graphs.degrees), (batch_size,), generator=generator)
    chances = torch.rand(length, batch_size, generator=generator, dtype=torch.float64)
    taken = torch.empty(length, batch_size, dtype=torch.int64)
    for step in range(length):
        taken[step] = first[node] + (chances[step] * graphs.degrees[node]).long()
        node = graphs.ends[rows, taken[step]]
    return taken


def _encoded(labels: Tensor) -> Tensor:
    """Triples of labels [..., 3] as one-hot digits, [..., 90] float32."""
    digits = torch.stack([labels // 100, labels // 10 % 10, labels % 10], dim=-1)
    return functional.one_hot(digits, 10).flatten(-3).float()


def _digits(numbers: Tensor) -> Tensor:
    """The largest of each digit's ten outputs, [T, B, 9]."""
    return numbers.unflatten(2, (_PARTS * _DIGITS, 10)).argmax(3)
