"""Figures: a readable PNG with the data beside it, whole or not at all."""

import json
from pathlib import Path

import pytest
import torch

from sam.errors import ConfigError
from sam.models import make_model
from sam.tasks import Copy
from sam.tasks.task import Batch
from sam.train import access_map, plots
from sam.train.drawing import legend_below, new_figure, scale_with_zero
from sam.train.plots import Accesses, accesses, plot_access_map, plot_learning_curve
from sam.train.strips import Strip, episode_strips

pytest.importorskip("matplotlib")

PNG = b"\x89PNG\r\n\x1a\n"
RECORDS = [
    {"update": 10 * n, "loss": 8.0 / n, "error": float(max(0, 4 - n)), "window_error": 4.0 / n}
    for n in range(1, 9)
]


def picture(path: Path) -> bytes:
    content = path.read_bytes()
    assert content.startswith(PNG)
    assert content.rstrip(b"\x00")[-8:-4] == b"IEND"
    return content


def test_a_learning_curve_has_its_data_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "figures" / "curve.png"
    evaluation = {"update": 40, "evaluation": []}
    plot_learning_curve([*RECORDS, evaluation], path, title="copy", error_unit="wrong bits")
    assert len(picture(path)) > 5000
    data = json.loads(path.with_suffix(".json").read_text())
    assert data["update"] == [10, 20, 30, 40, 50, 60, 70, 80]
    assert data["error"] == [3.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert data["loss"][0] == 8.0


def test_an_error_that_is_the_loss_is_drawn_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, *given: drawn.append(figure))
    for kind in ("tokens", "values"):
        plot_learning_curve(RECORDS, tmp_path / "curve.png", kind=kind)
    once, twice = ([axes.get_ylabel() for axes in figure.axes] for figure in drawn)
    assert once == ["error"] and twice == ["error", "loss"]


def test_a_logarithmic_axis_has_several_numbers() -> None:
    for values in ([0.4, 0.5], [0.9, 1.1], [1, 30], [0.01, 90]):
        axes = new_figure(3, 3).subplots()
        scale_with_zero(axes, values)
        low, high = axes.get_ylim()
        assert sum(low <= tick <= high for tick in axes.get_yticks()) >= 2


def test_a_legend_has_all_labels_once_and_fits() -> None:
    figure = new_figure(6, 4)
    panels = figure.subplots(1, 3)
    for number, axes in enumerate(panels):
        axes.plot([0, 1], label="in all panels")
        axes.plot([1, 2], label=f"{'a long name, ' * 3}{number}")
    legend_below(figure, *panels)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "in all panels",
        *(f"{'a long name, ' * 3}{number}" for number in range(3)),
    ]
    figure.draw_without_rendering()
    box = legend.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1


def test_evaluations_are_points_and_time_has_an_axis(tmp_path: Path) -> None:
    slices = [
        {"sequences": 1, "loss": 2.0, "wrong": 3.0, "accuracy": 0.75},
        {"sequences": 3, "loss": 0.0, "wrong": 1.0, "accuracy": 1.0},
    ]
    records = [*RECORDS, {"update": 40, "evaluation": slices}]
    times = [{"update": 10 * n, "seconds": 100.0 * n} for n in range(1, 9)]
    path = tmp_path / "curve.png"
    plot_learning_curve(records, path, times=times)
    picture(path)
    data = json.loads(path.with_suffix(".json").read_text())
    assert data["evaluations"] == [{"update": 40, "loss": 0.5, "error": 1.5}]
    plot_learning_curve(records, path, kind="classes", times=times[:1])
    data = json.loads(path.with_suffix(".json").read_text())
    assert data["evaluations"][0]["error"] == 1 - (0.75 + 3) / 4


@pytest.mark.parametrize(
    ("values", "scale"), [([0.0, 0.5, 20.0], "symlog"), ([0.5, 20.0], "log"), ([0.0], "linear")]
)
def test_a_zero_has_its_place(values: list[float], scale: str) -> None:
    axes = new_figure(3, 3).subplots()
    axes.plot(values)
    scale_with_zero(axes, values)
    assert axes.get_yscale() == scale
    low, high = axes.get_ylim()
    assert low <= min(values) and max(values) <= high


def test_strips_show_what_is_compared() -> None:
    batch = Copy(max_length=2, bits=3).sample(2, generator=torch.Generator(), level=2)
    inputs, targets, outputs = episode_strips(batch, torch.zeros(5, 2, 3), "bits", row=1)
    assert torch.equal(inputs.values, batch.inputs[:, 1].T)
    assert torch.equal(targets.values[:, 3:], batch.targets[3:, 1].T)
    assert targets.values[:, :3].isnan().all() and outputs.values[:, :3].isnan().all()
    assert (outputs.values[:, 3:] == 0.5).all()


def test_strips_of_classes_are_one_hot_beside_probabilities() -> None:
    mask = torch.tensor([[False], [True]])
    batch = Batch(torch.ones(2, 1, 4), torch.tensor([[0], [2]]), mask, {})
    _, targets, outputs = episode_strips(batch, torch.zeros(2, 1, 4), "classes")
    assert targets.values[:, 1].tolist() == [0, 0, 1, 0]
    assert outputs.values[:, 1].tolist() == [0.25] * 4


@pytest.mark.parametrize("error", [0.0, 0.5])
def test_constant_and_single_records_can_be_drawn(tmp_path: Path, error: float) -> None:
    record = {"update": 1, "loss": error, "error": error, "window_error": error}
    plot_learning_curve([record], tmp_path / "one.png")
    picture(tmp_path / "one.png")


def test_no_records_are_an_error_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least one update with a loss"):
        plot_learning_curve([{"update": 3, "evaluation": []}], tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_accesses_leave_out_empty_places_and_zero_weights() -> None:
    slots = torch.tensor([[[[5, -1]], [[7, 7]]], [[[2, 3]], [[7, 7]]]])  # T = 2, B = 2, H = 1
    weights = torch.tensor([[[[0.5, 0.9]], [[1.0, 1.0]]], [[[0.0, 0.25]], [[1.0, 1.0]]]])
    assert accesses(slots, weights) == Accesses([0, 1], [0, 0], [5, 3], [0.5, 0.25])
    assert accesses(slots, weights, row=1).slots == [7, 7, 7, 7]


def test_dense_weights_are_accesses_of_all_words() -> None:
    """But for those so faint that the paper does not count them: a softmax is nowhere 0."""
    weights = torch.tensor([[[[0.0, 0.5, 0.496, 0.004]]]])
    assert accesses(None, weights).slots == [1, 2]


def test_a_map_of_a_models_episode(tmp_path: Path) -> None:
    model = make_model("sam", 5, 2, memory_size=2**20, word_size=4, num_heads=2, top_k=2)
    _, state = model(torch.randn(6, 3, 5), trace=True)
    reads = accesses(state.trace.read_slots, state.trace.read_weights)
    writes = accesses(state.trace.write_slots, state.trace.write_weights)
    assert set(writes.steps) == set(range(6))
    path = tmp_path / "map.png"
    plot_access_map(reads, writes, 6, path)
    picture(path)
    data = json.loads(path.with_suffix(".json").read_text())
    assert data["steps"] == 6
    assert data["writes"]["slots"] == writes.slots
    assert data["reads"]["weights"] == reads.weights


def test_a_view_for_each_head_below_the_strips(tmp_path: Path) -> None:
    reads = Accesses([0, 1, 2], [0, 0, 11], [4, 5, 6], [0.5, 0.25, 1.0])
    assert reads.of_head(11) == Accesses([2], [11], [6], [1.0])
    strips = [
        Strip("inputs", torch.full((2, 3), float("nan"))),
        Strip("outputs", torch.randn(2, 3)),
    ]
    path = tmp_path / "map.png"
    plot_access_map(reads, reads, 3, path, strips=strips, scored=[False, True, True])
    picture(path)
    data = json.loads(path.with_suffix(".json").read_text())
    assert data["scored"] == [False, True, True] and len(data["outputs"]) == 2


@pytest.mark.parametrize("far", [3, 10**6, 2**40])
def test_the_map_spans_what_was_touched_however_far_apart(tmp_path: Path, far: int) -> None:
    one, other = Accesses([0], [0], [1], [1.0]), Accesses([1], [0], [far], [0.5])
    plot_access_map(one, other, 2, tmp_path / "map.png")
    picture(tmp_path / "map.png")


def test_steps_share_columns_in_a_map_of_many_steps(tmp_path: Path) -> None:
    steps = 3 * access_map.MOST_COLUMNS - 1
    entries = Accesses([0, 2, steps - 1], [0, 0, 0], [5, 5, 6], [0.25, 0.5, 1.0])
    weights = access_map._weights(entries, steps, 5, 6)
    assert weights.shape == (2, access_map.MOST_COLUMNS)
    assert weights[0, 0] == 0.5 and weights[1, -1] == 1 and weights.count_nonzero() == 2
    plot_access_map(entries, entries, steps, tmp_path / "map.png")
    picture(tmp_path / "map.png")


def test_a_map_of_reads_only_can_be_drawn(tmp_path: Path) -> None:
    plot_access_map(Accesses([0], [0], [1], [1.0]), Accesses([], [], [], []), 1, tmp_path / "a.png")
    picture(tmp_path / "a.png")


def test_an_empty_map_is_an_error_and_no_file(tmp_path: Path) -> None:
    nothing = Accesses([], [], [], [])
    with pytest.raises(ConfigError, match="at least one read or write"):
        plot_access_map(nothing, nothing, 3, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_cannot_be_drawn_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        plot_learning_curve(RECORDS, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
