"""Where the archive is looked for, what is read of it, and what is said when it is not whole."""

import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sam.errors import DataMissingError
from sam.tasks import BAbI
from sam.tasks.babi_archive import ENVIRONMENT_VARIABLE, find_source, read_texts
from sam.tasks.babi_stories import vocabulary


@pytest.fixture
def real_archive() -> str:
    try:
        return str(find_source(None))
    except DataMissingError as error:
        pytest.skip(f"needs the real bAbI archive: {error}")


def test_archive_file_its_folder_and_the_unpacked_folder_give_the_same(
    babi_archive: Path, tmp_path: Path
) -> None:
    unpacked = tmp_path / "elsewhere"
    with tarfile.open(babi_archive) as archive:
        archive.extractall(unpacked, filter="data")
    sources = [babi_archive, babi_archive.parent, unpacked, unpacked / "tasks_1-20_v1-2"]
    texts = [
        read_texts(find_source(str(path)), "en-10k", (8, 1), "train").texts for path in sources
    ]
    assert sorted(texts[0]) == [1, 8]
    assert all(text == texts[0] for text in texts)


def test_gzip_is_read_too(pack: Callable[..., Path], babi_texts: dict[str, str]) -> None:
    path = pack(babi_texts, "gz")
    texts = read_texts(find_source(str(path.parent)), "en", (1,), "test").texts
    assert texts == {1: babi_texts["en/qa1_single-supporting-fact_test.txt"]}


def test_environment_variable_is_used_unless_a_path_is_given(
    babi_archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(babi_archive.parent))
    assert find_source(None) == babi_archive
    with pytest.raises(DataMissingError, match="not-there"):
        find_source(str(tmp_path / "not-there"))


def test_default_folder_is_seen_from_the_working_directory(
    babi_archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "shared" / "data" / "babi"
    folder.mkdir(parents=True)
    moved = babi_archive.rename(folder / babi_archive.name)
    (tmp_path / "checkout").mkdir()
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path / "checkout")
    assert find_source(None) == moved


def test_absent_data_says_where_and_what_to_do(tmp_path: Path, generator: torch.Generator) -> None:
    task = BAbI(path=str(tmp_path))
    with pytest.raises(DataMissingError) as caught:
        task.sample(1, generator=generator)
    text = str(caught.value)
    for part in (str(tmp_path), "tar.xz", "--task.path", ENVIRONMENT_VARIABLE, "../shared/data"):
        assert part in text
    with pytest.raises(DataMissingError):
        task.evaluation(1, generator=generator)


def test_missing_training_file_says_which_languages_have_it(babi_archive: Path) -> None:
    generator = torch.Generator()
    task = BAbI(tasks=(1, 3), substitute="none", path=str(babi_archive))
    with pytest.raises(DataMissingError, match=r"train file of task 3 .*'en' or 'en-10k-partial'"):
        task.sample(1, generator=generator)
    assert len(list(task.evaluation(8, generator=generator))) == 1  # its test file is there
    nowhere = BAbI(tasks=(20,), path=str(babi_archive))
    with pytest.raises(DataMissingError, match=r"task 20 .*no language has it"):
        nowhere.sample(1, generator=generator)


@pytest.mark.parametrize("ending", ["xz", "gz"])
def test_truncated_archive_is_named(
    ending: str, pack: Callable[..., Path], babi_texts: dict[str, str]
) -> None:
    path = pack(babi_texts, ending)
    whole = path.read_bytes()
    for size in (0, 10, len(whole) // 2):
        path.write_bytes(whole[:size])
        with pytest.raises(DataMissingError, match=f"{path.name}: expected a whole tar archive"):
            read_texts(path, "en-10k-partial", (3,), "train")


def test_a_file_that_is_no_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tasks_1-20_v1-2.tar.xz"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(DataMissingError, match=f"{path.name}.* damaged or cut short"):
        BAbI(path=str(path)).sample(1, generator=torch.Generator())


def test_only_the_first_draw_reads_the_archive(
    babi_archive: Path, generator: torch.Generator
) -> None:
    task = BAbI(path=str(babi_archive))
    task.sample(1, generator=generator)
    babi_archive.write_bytes(b"no longer an archive")
    assert task.sample(2, generator=generator).inputs.shape[1] == 2


def count(task: BAbI, split: str) -> tuple[int, set[int]]:
    """Counts the questions of a split, and collects the tokens it shows and asks for."""
    questions, tokens = 0, set()
    for batch in task.evaluation(256, generator=torch.Generator(), split=split):
        questions += int((task.question_ids(batch).amax(0) + 1).sum())
        tokens |= set(batch.inputs.any(1).any(0).nonzero().flatten().tolist())
        tokens |= set(batch.targets[batch.mask].tolist())
    return questions, tokens


def test_real_archive_has_the_questions_of_the_paper(real_archive: str) -> None:
    task = BAbI(path=real_archive)
    (train, _), (valid, _), (test, _) = (count(task, split) for split in ("train", "valid", "test"))
    assert (train, valid, test) == (9000, 1000, 1000)


def test_real_archive_uses_the_whole_vocabulary_and_no_other_word(real_archive: str) -> None:
    task = BAbI(tasks=tuple(range(1, 21)), language="en", path=real_archive)
    questions, tokens = count(task, "test")
    assert questions == 20_000
    for split in ("train", "valid"):
        tokens |= count(task, split)[1]
    assert tokens == set(range(len(vocabulary())))


def test_real_archive_lacks_the_training_file_of_task_three(real_archive: str) -> None:
    with pytest.raises(DataMissingError, match=r"task 3 .*'en' or 'en-10k-partial'"):
        BAbI(tasks=(3,), substitute="none", path=real_archive).sample(
            1, generator=torch.Generator()
        )
    partial = BAbI(tasks=(3,), language="en-10k-partial", path=real_archive, validation=0.0)
    assert count(partial, "train")[0] == 1925
    assert count(partial, "test")[0] == 1000


def test_real_archive_trains_task_three_with_others(real_archive: str) -> None:
    task = BAbI(tasks=(1, 3, 15), path=real_archive, bucket_size=32)
    assert task.apart == {"task": (3,)}
    generator, shown, steps = torch.Generator().manual_seed(0), 0, 0
    for _ in range(100):
        batch = task.sample(8, generator=generator)
        shown, steps = shown + int(batch.inputs.sum()), steps + batch.mask.numel()
    assert shown / steps > 0.9  # the few stories of task 3 have few of their length
