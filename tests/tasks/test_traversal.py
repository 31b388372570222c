"""Traversal: graphs by hand and at random, walks found again in the inputs, and London."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sam.errors import ConfigError, DataMissingError
from sam.tasks import Batch, Traversal
from sam.tasks.graphs import Graphs, london, random_graphs
from sam.testing import TaskContract

STATIONS = """"id","latitude","longitude","name","zone"
1,51.5,-0.3,"West",1
2,51.5,-0.2,"Middle",1
3,51.5,-0.1,"East",1.5
4,51.5,0.0,"Far",2
9,51.5,0.1,"Alone",1
"""
CONNECTIONS = """"station1","station2","line","time"
1,2,7,1
2,3,7,2
3,2,7,2
2,1,5,1
3,4,5,1
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "london.stations.csv").write_text(STATIONS)
    (tmp_path / "london.connections.csv").write_text(CONNECTIONS)
    return tmp_path


class TestContract(TaskContract):
    def make_task(self) -> Any:
        return Traversal(test="random")


def number(channels: Tensor) -> int:
    """A label from its 30 channels."""
    digits = channels.view(3, 10)
    assert digits.sum(1).tolist() == [1, 1, 1]
    hundreds, tens, ones = digits.argmax(1).tolist()
    return 100 * hundreds + 10 * tens + ones


def triple(channels: Tensor) -> tuple[int, int, int]:
    source, edge, end = (number(part) for part in channels.view(3, 30))
    return source, edge, end


def check(batch: Batch, length: int) -> list[list[tuple[int, int, int]]]:
    """Follows the queries through the edges shown; the paths are the targets. Returns the edges."""
    steps = len(batch.inputs) - 2 * length
    shown_in = []
    for row in range(batch.inputs.shape[1]):
        inputs, targets = batch.inputs[:, row], batch.targets[:, row]
        edges = [triple(step[:90]) for step in inputs[:steps]]
        following = {(source, edge): end for source, edge, end in edges}
        assert len(following) == len(edges)  # edges of one source have different labels
        query = inputs[steps : steps + length]
        at = number(query[0, :30])
        assert not query[1:, :30].any() and not query[:, 60:90].any()
        for step in range(length):
            edge = number(query[step, 30:60])
            end = following[at, edge]
            assert triple(targets[steps + length + step]) == (at, edge, end)
            at = end
        assert not inputs[steps + length :, :90].any()
        assert not targets[: steps + length].any()
        shown_in.append(edges)
    marks = batch.inputs[:, :, 90:].sum(1) / batch.inputs.shape[1]
    assert marks.tolist() == [[0, 0]] * steps + [[1, 0]] * length + [[0, 1]] * length
    assert torch.equal(batch.mask, batch.inputs[:, :, 91] == 1)
    return shown_in


@pytest.mark.parametrize("length", [1, 4, 12])
def test_the_target_is_the_path_through_the_edges(length: int, generator: torch.Generator) -> None:
    task = Traversal()
    for _ in range(3):
        for edges in check(task.sample(5, generator=generator, level=length), length):
            assert 5 <= len({node for one, _, other in edges for node in (one, other)}) <= 20
            assert all(one != other for one, _, other in edges)


def test_edges_lead_to_the_nearest_points(generator: torch.Generator) -> None:
    degrees = torch.tensor([1, 3, 2, 2, 1])
    graphs = random_graphs(3, degrees, 4, generator)
    assert graphs.sources.tolist() == [0, 1, 1, 1, 2, 2, 3, 3, 4]
    assert graphs.first.tolist() == [0, 1, 4, 6, 8]
    points = torch.rand(3, 5, 2, generator=generator.manual_seed(7))  # the first numbers drawn
    for row in range(3):
        for node in range(5):
            away = (points[row] - points[row, node]).norm(dim=1)
            own = graphs.sources == node
            nearest = away.argsort()[1 : 1 + int(degrees[node])]
            assert graphs.ends[row, own].tolist() == nearest.tolist()
            kinds = graphs.kinds[row, own].tolist()
            assert len({*kinds}) == len(kinds) and {*kinds} <= {0, 1, 2, 3}


def pairs(graphs: Graphs) -> set[tuple[int, int, int]]:
    """Source, kind and end of every edge of the first graph."""
    parts = (graphs.sources, graphs.kinds[0], graphs.ends[0])
    return {*zip(*(part.tolist() for part in parts), strict=True)}


def test_london_has_an_edge_each_way_with_line_and_direction(source: Path) -> None:
    graphs = london(2, str(source), 2.0)
    assert graphs.ends.shape == (2, 8)
    assert graphs.degrees.tolist() == [2, 3, 2, 1]  # a connection given both ways counts once
    assert graphs.num_kinds == 3  # lines 5 and 7, the latter in two directions
    edges = pairs(graphs)
    kind = {(one, end, kind) for one, kind, end in edges}
    (to_middle,) = {k for one, end, k in kind if (one, end) == (2, 1)}
    (to_east,) = {k for one, end, k in kind if (one, end) == (1, 2)}
    assert to_middle != to_east  # from Middle, West and East are apart on line 7
    assert len({(one, k) for one, k, _ in edges}) == len(edges)
    assert len(pairs(london(1, str(source), 1.0))) == 4  # West and Middle alone, on two lines
    with pytest.raises(ConfigError, match="zone: expected one with connected stations"):
        london(1, str(source), 0.5)


def test_the_test_split_is_london(source: Path, generator: torch.Generator) -> None:
    task = Traversal(path=str(source), zone=1.5)
    (batch,) = task.evaluation(4, generator=generator, levels=(3,), count=4)
    shown_in = check(batch, 3)
    assert all(len(edges) == 6 for edges in shown_in)
    assert shown_in[0] != shown_in[1]  # labels are drawn anew
    (batch,) = task.evaluation(4, generator=generator, levels=(3,), count=4, split="valid")
    check(batch, 3)
    nowhere = Traversal(path="nowhere")
    with pytest.raises(DataMissingError, match=r"London Underground data: .*SPARSE_SAM_GRAPHS"):
        next(iter(nowhere.evaluation(4, generator=generator, count=4)))


def test_measures_tell_edges_and_paths(generator: torch.Generator) -> None:
    task = Traversal()
    batch = task.sample(2, generator=generator, level=4)
    outputs = batch.targets - 0.5
    outputs[-1, 0, :10] = outputs[-1, 0, :10].roll(1)  # one digit of one edge is wrong
    found = task.measures(outputs, batch)
    assert found["edges right %"].tolist() == [75.0, 100.0]
    assert found["paths right %"].tolist() == [0.0, 100.0]


def test_bad_settings_are_named() -> None:
    with pytest.raises(ConfigError, match="min_nodes: expected at most max_nodes=4, got 5"):
        Traversal(max_nodes=4)
    with pytest.raises(ConfigError, match=r"max_edges: expected at most .*min_nodes - 1, 4, got 5"):
        Traversal(max_edges=5)
    with pytest.raises(ConfigError, match="max_nodes: expected at most 1000, got 1001"):
        Traversal(max_nodes=1001)
    with pytest.raises(ConfigError, match="test: expected one of"):
        Traversal(test="paris")  # type: ignore[arg-type]
