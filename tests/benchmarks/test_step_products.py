import json
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from benchmarks.step import products
from benchmarks.workload import Workload

LOAD = Workload(batch_size=2, steps=3, hidden_size=5, num_heads=2, top_k=2, word_size=4)


def counted(run) -> int:
    """Multiplications of all products."""
    found, product = [], torch.Tensor.__matmul__

    def count(left, right):
        found.append(left.numel() * right.shape[1])
        return product(left, right)

    with patch.object(torch.Tensor, "__matmul__", count):
        run()
    return sum(found)


def test_the_products_are_those_of_forward_pass_gradients_and_weights():
    gates, both, rows = 4 * 5, LOAD.input_size + LOAD.read_size, 2 * 3
    controls = LOAD.model(8).cell.interface.linear.out_features
    # The loop's inputs get no gradient.
    loop = rows * gates * (both + 5) * 2 + rows * gates * 5
    step = 3 * rows * (gates * (both + 5) + 5 * controls)
    assert counted(products.loop_products(LOAD)) == loop
    assert counted(products.step_products(LOAD)) == step


def test_results_are_written(tmp_path: Path):
    told: list[str] = []
    sizes = ["--batches", "2", "--units", "5", "--steps", "2", "--rounds", "1"]
    products.main([*sizes, "--out", str(tmp_path)], told.append)
    (case,) = json.loads((tmp_path / products.FILE).read_text())["cases"]
    assert case["batch_size"] == 2 and case["us"].keys() == {"loop", *case["to_loop"]}
    assert "its products" in told[0]


def test_unknown_sizes_are_refused(capsys):
    with pytest.raises(SystemExit):
        products.main(["--batches", "0"])
    assert "--batches" in capsys.readouterr().err
