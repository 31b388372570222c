"""Generators, and a bAbI release of a few lines."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

SINGLE = (
    "1 Mary moved to the garden.\n"
    "2 Where is Mary? \tgarden\t1\n"
    "3 John went back to the office.\n"
    "4 Where is John?\toffice\t3\n"
)
LISTS = (
    "1 Daniel got the milk.\n"
    "2 Daniel took the apple there.\n"
    "3 What is Daniel carrying?\tmilk,apple\t1 2\n"
)
TEST = "1 Sandra moved to the school.\n2 Where is Sandra?\tschool\t1\n"


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


@pytest.fixture
def babi_texts() -> dict[str, str]:
    """File names below the release's folder, with their contents."""
    return {
        "en/qa1_single-supporting-fact_test.txt": TEST,
        "en/qa1_single-supporting-fact_train.txt": SINGLE,
        "en/qa8_lists-sets_test.txt": LISTS,
        "en/qa8_lists-sets_train.txt": LISTS,
        "en/qa3_three-supporting-facts_train.txt": SINGLE,
        "en-10k/qa1_single-supporting-fact_test.txt": TEST,
        "en-10k/qa1_single-supporting-fact_train.txt": SINGLE * 20,
        "en-10k/qa3_three-supporting-facts_test.txt": TEST,
        "en-10k/qa8_lists-sets_test.txt": LISTS,
        "en-10k/qa8_lists-sets_train.txt": LISTS * 10,
        "en-10k-partial/qa3_three-supporting-facts_train.txt": SINGLE,
        "en-valid/qa1_train.txt": LISTS,
    }


@pytest.fixture
def pack(tmp_path: Path) -> Callable[..., Path]:
    """Packs texts into an archive with the release's layout."""

    def write(texts: dict[str, str], ending: str = "xz") -> Path:
        path = tmp_path / f"tasks_1-20_v1-2.tar.{ending}"
        with tarfile.open(path, "w:xz" if ending == "xz" else "w:gz") as archive:
            for name, text in texts.items():
                member = tarfile.TarInfo(f"tasks_1-20_v1-2/{name}")
                content = text.encode()
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return path

    return write


@pytest.fixture
def babi_archive(pack: Callable[..., Path], babi_texts: dict[str, str]) -> Path:
    return pack(babi_texts)
