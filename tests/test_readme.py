"""The README's code runs, its commands parse, and what it points to exists."""

import importlib
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest

from sam import cli
from sam.tasks.babi_archive import ENVIRONMENT_VARIABLE

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
LINES = [
    shlex.split(line, comments=True)
    for language, block in BLOCKS
    if language == "bash"
    for line in block.splitlines()
]
# Commands in running text; "..." stands for more.
LINES += [
    shlex.split(command)
    for command in re.findall(r"`((?:python -m|make) [^`]+)`", TEXT)
    if "..." not in command
]
TINY = shlex.split(
    "--model.hidden-size 8 --model.memory-size 32 --model.word-size 4 --train.max-updates 1 "
    "--train.batch-size 1 --eval.levels 2 --eval.count 1"
)


class Parsed(BaseException):
    """Stands in for a training run: all arguments were understood."""


def test_python_blocks_run_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = [block for language, block in BLOCKS if language == "python"]
    assert len(blocks) > 5
    namespace: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), namespace)
    printed = capsys.readouterr().out
    assert "bytes: space for the words written, not for all 1,048,576" in printed
    assert "torch.Size([50, 4, 4, 4])" in printed  # the trace
    assert namespace["outputs"].shape == (50, 4, 8)


def test_every_command_is_of_a_known_kind() -> None:
    assert {language for language, _ in BLOCKS} == {"python", "bash", "bibtex"}
    kinds = {kind(words) for words in LINES}
    assert kinds == {"sam", "benchmarks", "pip", "make"}
    assert sum(kind(words) == "sam" for words in LINES) > 8


def kind(words: list[str]) -> str:
    if words[:2] == ["python", "-m"]:
        return words[2].partition(".")[0]
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
    if words[3] == "train" and "--help" not in words:
        with pytest.raises(Parsed):
            cli.main(words[3:])
    else:
        assert cli.main(words[3:]) == 0


@pytest.mark.parametrize("words", of("benchmarks"))
def test_benchmarks_exist(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(words[2])
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
        assert words[3:5] == ["install", "-e"]
        for extra in re.findall(r"\[(.*)\]", words[5]):
            assert set(extra.split(",")) <= extras
    assert project["requires-python"] == ">=3.11"
    for extra in extras - {"train"}:
        assert f"`{extra}`" in TEXT


def test_what_is_named_exists() -> None:
    files = re.findall(r"`((?:sam|index|benchmarks)/[\w/.]+)`", TEXT)
    files += re.findall(r"\]\((?!http)([^)]+)\)", TEXT)
    assert len(files) > 3
    assert [name for name in files if not (ROOT / name).exists()] == []
    for module in re.findall(r"`((?:sam|index)(?:\.\w+)+)`", TEXT):
        importlib.import_module(module)
    assert ENVIRONMENT_VARIABLE in TEXT


def test_it_says_first_what_it_is_not_and_stays_short() -> None:
    opening = " ".join(TEXT.splitlines()[:6])
    for name in ("Sparse Access Memory", "Segment Anything", "sharpness-aware minimisation"):
        assert name in opening
    assert len(TEXT.splitlines()) < 250
    example = next(block for language, block in BLOCKS if language == "python")
    assert len(example.splitlines()) <= 12
