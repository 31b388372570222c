"""Archives and folders that are no release: links, pipes, huge files, and names that lead out."""

import io
import os
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sam.errors import DataMissingError
from sam.tasks import babi_files
from sam.tasks.babi_archive import find_source, read_texts

NAME = "tasks_1-20_v1-2/en/qa1_single-supporting-fact_test.txt"
TEXT = b"1 Sandra moved to the school.\n2 Where is Sandra?\tschool\t1\n"


def member(name: str = NAME, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


@pytest.fixture
def pack_members(tmp_path: Path) -> Callable[..., Path]:
    """Packs members as they are, each with its bytes."""

    def write(*members: tuple[tarfile.TarInfo, bytes], mode: str = "w:xz", **options) -> Path:
        path = tmp_path / "tasks_1-20_v1-2.tar.xz"
        with tarfile.open(path, mode, **options) as archive:
            for info, content in members:
                info.size = len(content) if info.isreg() else 0
                archive.addfile(info, io.BytesIO(content))
        return path

    return write


def refusal(path: Path) -> str:
    with pytest.raises(DataMissingError) as caught:
        read_texts(path, "en", (1,), "test")
    text = str(caught.value)
    assert text.startswith(f"bAbI data {path}: ")
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("kind", "fields", "told"),
    [
        (tarfile.SYMTYPE, {"linkname": "not-there"}, "got a link to 'not-there'"),
        (tarfile.SYMTYPE, {"linkname": NAME.rpartition("/")[2]}, "got a link to 'qa1_"),
        (tarfile.SYMTYPE, {"linkname": "/etc/passwd"}, "got a link to '/etc/passwd'"),
        (tarfile.LNKTYPE, {"linkname": NAME}, f"got a link to '{NAME}'"),
        (tarfile.DIRTYPE, {}, "got a folder"),
        (tarfile.FIFOTYPE, {}, "got a pipe or device"),
        (tarfile.CHRTYPE, {"devmajor": 1, "devminor": 5}, "got a pipe or device"),
        (tarfile.BLKTYPE, {}, "got a pipe or device"),
    ],
)
def test_only_regular_files_are_read(
    kind: bytes, fields: dict, told: str, pack_members: Callable[..., Path]
) -> None:
    path = pack_members((member(type=kind, **fields), b""), (member("other"), TEXT))
    assert f"'{NAME}': expected a regular file, {told}" in refusal(path)


@pytest.mark.parametrize(
    "name", ["/x/en/qa1_test.txt", "x/../en/qa1_test.txt", "../en/qa1_test.txt"]
)
def test_names_that_lead_out_are_refused(name: str, pack_members: Callable[..., Path]) -> None:
    path = pack_members((member(name), TEXT))
    assert "expected a name inside of the archive" in refusal(path)


def test_a_file_that_comes_twice_is_refused(pack_members: Callable[..., Path]) -> None:
    once, again = (member(), TEXT), (member(NAME.replace("en/", "more/en/")), TEXT * 2)
    path = pack_members(once, again, (member("x/en/qa2_test.txt"), TEXT))
    with pytest.raises(DataMissingError, match="expected one test file of task 1, got two"):
        read_texts(path, "en", (1, 2), "test")


def test_a_file_that_is_too_large_is_not_read(
    tmp_path: Path, pack_members: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tasks_1-20_v1-2.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.fileobj.write(member(size=3 * 2**30).tobuf())
    assert "expected at most 33,554,432 bytes, got 3,221,225,472" in refusal(path)
    monkeypatch.setattr(babi_files, "LARGEST_FILE", len(TEXT))
    assert read_texts(pack_members((member(), TEXT)), "en", (1,), "test").texts == {
        1: TEXT.decode()
    }
    assert "bytes, got" in refusal(pack_members((member(), TEXT + b"\n")))


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_no_more_is_unpacked_than_a_release_has(kind: bytes, tmp_path: Path) -> None:
    """A file that would be passed over, and headers that would be read whole."""
    path = tmp_path / "tasks_1-20_v1-2.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.fileobj.write(member("other", type=kind, size=2**40).tobuf(tarfile.GNU_FORMAT))
        archive.fileobj.write(member().tobuf() + TEXT)
    assert "expected at most 1,073,741,824 bytes unpacked, got more" in refusal(path)


def test_a_bomb_is_left_alone(
    pack_members: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pack_members((member("other"), bytes(2**22)), (member(), TEXT))
    assert path.stat().st_size < 2**12
    assert read_texts(path, "en", (1,), "test")
    monkeypatch.setattr(babi_files, "LARGEST_ARCHIVE", 2**20)
    assert "bytes unpacked, got more" in refusal(path)


def test_very_many_entries_are_refused(
    pack_members: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(babi_files, "MOST_ENTRIES", 10)
    many = [(member(f"other{i}"), b"") for i in range(9)]
    assert read_texts(pack_members(*many, (member(), TEXT)), "en", (1,), "test")
    many.append((member("one more"), b""))
    assert "expected at most 10 entries" in refusal(pack_members(*many, (member(), TEXT)))


def test_headers_that_follow_each_other_for_ever_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tasks_1-20_v1-2.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        header = member("x", type=tarfile.GNUTYPE_LONGNAME, size=1).tobuf(tarfile.GNU_FORMAT)
        archive.fileobj.write((header + b"a" + bytes(511)) * 3000)
    assert "damaged or cut short" in refusal(path)


def test_a_number_that_is_too_long_is_no_task(pack_members: Callable[..., Path]) -> None:
    odd = member(f"x/en/qa{'9' * 5000}_test.txt")
    path = pack_members((odd, TEXT), (member(), TEXT), format=tarfile.PAX_FORMAT)
    assert read_texts(path, "en", (1,), "test").texts == {1: TEXT.decode()}


@pytest.mark.parametrize("mode", ["w:", "w:gz", "w:xz", "w:bz2"])
def test_every_damaged_byte_is_told_in_one_line_or_harmless(
    mode: str, pack_members: Callable[..., Path]
) -> None:
    path = pack_members((member(), TEXT), mode=mode)
    whole = path.read_bytes()
    read_texts(path, "en", (1,), "test")
    for place in range(0, len(whole), 1 + len(whole) // 300):
        for changed in (whole[:place], whole[:place] + b"\xff" + whole[place + 1 :]):
            path.write_bytes(changed)
            try:
                read_texts(path, "en", (1,), "test")
            except DataMissingError as error:
                assert "\n" not in str(error)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tasks_1-20_v1-2/en").mkdir(parents=True)
    return tmp_path / "tasks_1-20_v1-2"


def test_a_folder_may_have_links_to_files_and_nothing_else(folder: Path) -> None:
    file = folder / "en" / "qa1_test.txt"
    (folder / "text").write_bytes(TEXT)
    file.symlink_to(folder / "text")
    source = find_source(str(folder))
    assert read_texts(source, "en", (1,), "test").texts == {1: TEXT.decode()}
    for target in (file.name, "nothing"):
        file.unlink()
        file.symlink_to(target)
        assert "got " in refusal(source)
    file.unlink()
    file.symlink_to("/dev/zero")
    assert "expected a regular file, got a pipe, socket or device" in refusal(source)
    file.unlink()
    file.mkdir()
    assert "expected a regular file, got a folder" in refusal(source)


def test_a_pipe_in_a_folder_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "en" / "qa1_test.txt")
    told: list[str] = []
    reader = threading.Thread(target=lambda: told.append(refusal(folder)), daemon=True)
    reader.start()
    reader.join(30)
    assert "expected a regular file, got a pipe" in told[0]


def test_a_huge_file_in_a_folder_is_not_read(folder: Path) -> None:
    with (folder / "en" / "qa1_test.txt").open("wb") as file:
        file.truncate(3 * 2**30)
    assert "expected at most 33,554,432 bytes, got 3,221,225,472" in refusal(folder)


def test_two_files_of_a_task_in_a_folder_are_refused(folder: Path) -> None:
    for name in ("qa1_a_test.txt", "qa1_b_test.txt"):
        (folder / "en" / name).write_bytes(TEXT)
    assert "expected one test file of task 1, got two" in refusal(folder)
