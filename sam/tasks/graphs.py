"""Directed graphs whose edges have labels: random ones, and the London Underground."""

import functools
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from sam.errors import ConfigError
from sam.tasks.csv_files import read_table
from sam.tasks.data_places import find_data
from sam.tasks.drawing import permutations

ENVIRONMENT_VARIABLE = "SPARSE_SAM_GRAPHS"
DEFAULT_FOLDER = "../shared/data/graphs"
FILES = ("london.stations.csv", "london.connections.csv")


class Graphs(NamedTuple):
    """A batch of graphs with as many nodes and edges each.

    Edge e leads from node `sources[e]` of each graph to `ends`; edges of one source follow one
    another, and have different kinds.
    """

    degrees: Tensor  # edges of each node, at least 1, [N] int64
    sources: Tensor  # [E] int64
    ends: Tensor  # [B, E] int64
    kinds: Tensor  # [B, E] int64, below `num_kinds`
    num_kinds: int

    @property
    def first(self) -> Tensor:
        """The first edge of each node, [N] int64."""
        return self.degrees.cumsum(0) - self.degrees


def random_graphs(
    batch_size: int, degrees: Tensor, num_kinds: int, generator: torch.Generator
) -> Graphs:
    """Draws points in the unit square; edges lead to the nearest others (DNC paper, Methods).

    Args:
        batch_size: B, graphs.
        degrees: edges of each node, [N] int64, from 1 to N - 1 and at most `num_kinds`.
        num_kinds: kinds of edges; those of one node differ.
        generator: source of all randomness, on the CPU.

    Cost: O(B N^2 log N) time.
    """
    nodes, most = len(degrees), int(degrees.max())
    points = torch.rand(batch_size, nodes, 2, generator=generator)
    away = torch.cdist(points, points)
    away.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    nearest = away.topk(most, dim=2, largest=False).indices
    kinds = permutations(num_kinds, batch_size * nodes, generator)[:most]
    kinds = kinds.T.view(batch_size, nodes, most)
    used = torch.arange(most) < degrees.unsqueeze(1)
    sources = used.nonzero()[:, 0]
    return Graphs(degrees, sources, nearest[:, used], kinds[:, used], num_kinds)


def london(batch_size: int, path: str | None, zone: float) -> Graphs:
    """The London Underground, once for each sequence, without stations that have no neighbours.

    Every connection of a line leads both ways. Its kind is the line, and the place of the next
    station among the neighbours on that line, from west to east.

    Args:
        batch_size: B; all graphs are the same.
        path: folder of the data; see `find_data`.
        zone: stations up to this fare zone.

    Raises:
        DataMissingError: the data are not there.
        ConfigError: a file is not as it should be, or no stations are connected in these zones.
    """
    source = find_data(
        "London Underground",
        FILES,
        path=path,
        variable=ENVIRONMENT_VARIABLE,
        folder=DEFAULT_FOLDER,
    )
    one = _london(source, zone)
    ends, kinds = one.ends.expand(batch_size, -1), one.kinds.expand(batch_size, -1)
    return one._replace(ends=ends, kinds=kinds)


@functools.lru_cache(maxsize=4)
def _london(source: Path, zone: float) -> Graphs:
    stations = read_table(source / FILES[0]).numbers(("id", "zone", "longitude")).tolist()
    connections = read_table(source / FILES[1]).numbers(("station1", "station2", "line")).tolist()
    east = {number: longitude for number, at, longitude in stations if at <= zone}
    # Of each station: (line, longitude of the next station, next station), both ways, sorted.
    edges: dict[float, list[tuple[float, float, float]]] = {}
    for one, other, line in {(*sorted((a, b)), line) for a, b, line in connections}:
        if one in east and other in east:
            edges.setdefault(one, []).append((line, east[other], other))
            edges.setdefault(other, []).append((line, east[one], one))
    if not edges:
        raise ConfigError(f"zone: expected one with connected stations in {source}, got {zone}")
    nodes = {station: number for number, station in enumerate(sorted(edges))}
    kinds: dict[tuple[float, int], int] = {}
    ends, of_edges = [], []
    for station in nodes:
        found = sorted(edges[station])
        lines = [line for line, _, _ in found]
        for place, (line, _, following) in enumerate(found):
            kind = line, place - lines.index(line)
            of_edges.append(kinds.setdefault(kind, len(kinds)))
            ends.append(nodes[following])
    degrees = torch.tensor([len(edges[station]) for station in nodes])
    sources = torch.arange(len(nodes)).repeat_interleave(degrees)
    return Graphs(degrees, sources, torch.tensor([ends]), torch.tensor([of_edges]), len(kinds))
