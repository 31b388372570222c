"""The code of README and docs runs, their commands parse, and what they point to exists."""

import importlib
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

from index import BaseMemory
from index import registry as index_registry
from sam import cli
from sam.models import model_registry as registry
from sam.tasks import task_registry
from sam.tasks.babi_archive import ENVIRONMENT_VARIABLE

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {"README.md": TEXT} | {
    f"docs/{page.name}": text
    for page in sorted((ROOT / "docs").glob("*.md"))
    if "include} ../" not in (text := page.read_text(encoding="utf-8"))  # shows other files only
}


def blocks(text: str) -> list[tuple[str, str]]:
    """Language and content of each block of code."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


BLOCKS = [block for text in PAGES.values() for block in blocks(text)]
LINES = [
    shlex.split(line, comments=True)
    for language, block in BLOCKS
    if language == "bash"
    for line in block.splitlines()
]
# Commands in running text; "..." stands for more.
LINES += [
    shlex.split(command)
    for text in PAGES.values()
    for command in re.findall(r"`((?:python -m|make) [^`]+)`", text)
    if "..." not in command
]
TINY = shlex.split(
    "--model.hidden-size 8 --model.memory-size 32 --model.word-size 4 --train.max-updates 1 "
    "--train.batch-size 1 --eval.levels 2 --eval.count 1"
)


class Parsed(BaseException):
    """Stands in for a training run: all arguments were understood."""


@pytest.fixture
def models_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forgets the models and tasks that a page registers."""
    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))
    monkeypatch.setattr(task_registry, "_TASKS", dict(task_registry._TASKS))


def run_blocks(page: str) -> dict[str, Any]:
    """Runs a page's Python in order; returns its names."""
    namespace: dict[str, Any] = {"__name__": page}
    for language, block in blocks(PAGES[page]):
        if language == "python":
            exec(compile(block, page, "exec"), namespace)
    return namespace


def test_python_blocks_run_in_order(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    models_as_before: None,
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    namespace = run_blocks("README.md")
    printed = capsys.readouterr().out
    assert "bytes: space for the words written, not for all 1,048,576" in printed
    assert "torch.Size([50, 4, 4, 4])" in printed  # the trace
    assert namespace["outputs"].shape == (50, 4, 8)
    assert "averages" in task_registry.available_tasks()


def test_a_model_of_ones_own_is_trained_by_the_loop_that_trains_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models_as_before: None
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace = run_blocks("docs/own_model.md")
    outcome = namespace["outcome"]
    assert outcome.progress.update == 20
    assert isinstance(outcome.model.cell.memory, namespace["MixedMemory"])
    assert len((tmp_path / "runs/mixed/metrics.jsonl").read_text().splitlines()) > 0


def test_memory_and_controller_of_ones_own_are_short() -> None:
    block = next(code for language, code in BLOCKS if "class MixedMemory" in code)
    own = block[block.index("class State") : block.index("def mixed")]
    assert len(own.strip().splitlines()) < 40


def test_a_network_of_ones_own_has_the_manners_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models_as_before: None
) -> None:
    monkeypatch.chdir(tmp_path)
    model = run_blocks("docs/own_model.md")["mixed"](5, 3)
    inputs, starts = torch.randn(9, 4, 5), torch.zeros(9, 4, dtype=torch.bool)
    starts[4, 1] = True
    whole, _ = model(inputs, starts=starts)
    first, state = model(inputs[:6], starts=starts[:6])
    copy = state.clone()
    second, state = model(inputs[6:], state, trace=True)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    assert torch.equal(model(inputs[6:], copy)[0], second)
    alone, _ = model(inputs[4:, 1:2])
    torch.testing.assert_close(alone, whole[4:, 1:2])
    assert state.trace.read_slots.shape == (3, 4, 2, 4)
    packed = pack_padded_sequence(inputs, torch.tensor([9, 2, 5, 5]), enforce_sorted=False)
    short, _ = model(packed)
    assert short.data.shape == (21, 3)
    model(inputs)[0].sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize(
    "page", [page for page, text in PAGES.items() if page != "README.md" and "```python" in text]
)
def test_python_blocks_of_the_docs_run(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models_as_before: None
) -> None:
    if "safetensors" in PAGES[page]:
        pytest.importorskip("safetensors")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(index_registry, "_INDEXES", dict(index_registry._INDEXES))
    torch.manual_seed(0)
    assert run_blocks(page).keys() - {"__name__", "__builtins__"}


def test_every_command_is_of_a_known_kind() -> None:
    assert {language for language, _ in BLOCKS} == {"python", "bash", "bibtex", "text"}
    kinds = {kind(words) for words in LINES}
    assert kinds == {"sam", "benchmarks", "tests", "pip", "make"}
    assert sum(kind(words) == "sam" for words in LINES) > 8


def kind(words: list[str]) -> str:
    if words[:2] == ["python", "-m"]:
        return words[2].partition(".")[0]
    if words[:3] == ["torchrun", "--nproc-per-node", "2"]:
        words[:] = ["python", *(word for word in words[3:] if word != "--")]
        return kind(words)
    return words[0]


def of(name: str) -> list[Any]:
    return [pytest.param(words, id=" ".join(words)) for words in LINES if kind(words) == name]


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with a tiny run where the README's run would be."""
    pytest.importorskip("tyro")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "recall", "--run", "runs/recall", *TINY]) == 0


def uses_run(words: list[str]) -> bool:
    return words[3] in ("eval", "plot") or "--resume" in words


@pytest.mark.parametrize("words", [p for p in of("sam") if uses_run(p.values[0])])
def test_commands_on_a_run(words: list[str], trained: None) -> None:
    assert cli.main(words[3:]) == 0


@pytest.mark.parametrize("words", [p for p in of("sam") if not uses_run(p.values[0])])
def test_commands_that_train_or_tell(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tyro")

    def stop(*args: Any, **kwargs: Any) -> None:
        raise Parsed

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "train_run", stop)
    monkeypatch.setattr("sam.train.sweep.command.run_jobs", stop)
    if words[3] in ("train", "sweep") and "--help" not in words:
        with pytest.raises(Parsed):
            cli.main(words[3:])
    else:
        if words[3] == "base":
            np.save("words.npy", np.random.default_rng(0).standard_normal((200, 4)))
            BaseMemory.create("facts", np.load("words.npy"))
        assert cli.main(words[3:]) == 0


@pytest.mark.parametrize("words", [*of("benchmarks"), *of("tests")])
def test_benchmarks_exist(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(words[2])
    if hasattr(module, "__path__"):
        module = importlib.import_module(f"{words[2]}.__main__")
    if words[2:] == ["benchmarks.report"]:
        assert callable(module.main)
        return
    with pytest.raises(SystemExit) as leaving:
        module.main([*words[3:], "--help"])
    assert leaving.value.code == 0
    assert words[2] in capsys.readouterr().out


@pytest.mark.parametrize("words", of("make"))
def test_make_targets_exist(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert len(words) == 2
    assert re.search(rf"^{re.escape(words[1])}:", makefile, re.MULTILINE)


def test_extras_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = set(project["optional-dependencies"])
    lines = [words for words in LINES if kind(words) == "pip"]
    assert lines
    for words in lines:
        what = words[-1].partition("[")[0]
        assert (words[3:-1], what) in (
            (["install", "-e"], "."),
            (["install"], "sparse-access-memory"),
        )
        for extra in re.findall(r"\[(.*)\]", words[-1]):
            assert set(extra.split(",")) <= extras
    assert project["requires-python"] == ">=3.11"
    for extra in extras - {"train", "docs"}:  # CONTRIBUTING names the latter
        assert any(f"`{extra}`" in text for text in PAGES.values())


def test_what_is_named_exists() -> None:
    for page, text in PAGES.items():
        files = [ROOT / f for f in re.findall(r"`((?:sam|index|benchmarks)/[\w/.]+)`", text)]
        files += [(ROOT / page).parent / f for f in re.findall(r"\]\((?!http)([^)]+)\)", text)]
        assert len(files) > 0
        assert [str(path) for path in files if not path.exists()] == []
        # In a table of steps `index.exchange` is not a module, but an operation.
        written = re.sub(r"<!-- table: step -->.*?<!-- end -->", "", text, flags=re.DOTALL)
        for module in re.findall(r"`((?:sam|index|benchmarks)(?:\.\w+)+)`", written):
            importlib.import_module(module)
    assert ENVIRONMENT_VARIABLE in TEXT


def test_it_says_first_what_it_is_not_and_stays_short() -> None:
    opening = " ".join(TEXT.splitlines()[:6])
    for name in ("Sparse Access Memory", "Segment Anything", "sharpness-aware minimisation"):
        assert name in opening
    assert len(TEXT.splitlines()) < 270
    example = next(block for language, block in BLOCKS if language == "python")
    assert len(example.splitlines()) <= 12
