"""Which indexes are compared, and which of them fit into memory together."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness import Report
from benchmarks.index.raw_faiss import RawFaiss
from index import BackendMissingError
from index.bench.comparison import EXACT, Maker, maker
from index.bench.traffic import Setting
from index.spelling import parse_index

RAW = "raw faiss"
# {lists}: about the square root of N, a power of 2.
INDEXES = (EXACT, RAW, "faiss:IVF{lists},Flat[probes=4]", "ivf", "product", "lsh")
_PROBES = 4  # of raw FAISS
# References of every group: exact search, and the library that one would use otherwise.
_REFERENCES = (EXACT, RAW)
# By family: copies of the words that an index may hold, and bytes beside them for each word.
_BYTES = {EXACT: (1, 8), RAW: (1, 32), "faiss": (2, 64), "lsh": (1, 256)}
_OTHERS = (1, 128)
# While the indexes are filled, memory also holds the words to load and a scaled copy.
_LOADING = 2
_MEMINFO = Path("/proc/meminfo")
_ASSUMED_FREE = 8 * 2**30


class Participant(NamedTuple):
    """One index of a comparison."""

    name: str
    family: str  # its row in the README
    make: Maker
    nbytes: int  # estimated


def family_of(name: str) -> str:
    """The kind without suffix and options: "faiss" of ``faiss:IVF256,Flat[probes=4]``."""
    return name.partition("[")[0].partition(":")[0]


def participants(specs: Sequence[str], setting: Setting, report: Report) -> list[Participant]:
    """The indexes to measure in a setting, exact search first.

    Args:
        specs: as `index.spelling.parse_index` reads them, with ``{lists}`` for about sqrt(N), and
            "raw faiss".
        setting: the sizes.
        report: takes a line about each index that is left out because it is not installed.

    Raises:
        ValueError: a spec cannot be read, or its index refuses an option.
    """
    found = []
    for spec in dict.fromkeys((EXACT, *specs)):
        name = spec.replace("{lists}", str(lists(setting.memory_size)))
        family = family_of(name)
        try:
            make = _raw(setting) if name == RAW else maker(parse_index(name), setting)
            make()  # empty: it costs next to nothing
        except BackendMissingError as error:
            report(f"{name}: left out; {error}")
            continue
        copies, beside = _BYTES.get(family, _OTHERS)
        words = setting.batch_size * setting.memory_size
        nbytes = words * (4 * copies * setting.word_size + beside)
        found.append(Participant(name, family, make, nbytes))
    return found


def lists(memory_size: int) -> int:
    """Inverted lists for N words: sqrt(N), or the next lower power of 2."""
    return 2 ** ((memory_size.bit_length() - 1) // 2)


def groups(
    candidates: Sequence[Participant], setting: Setting, limit: int, report: Report
) -> list[list[Participant]]:
    """Splits participants so that each group fits into memory, with the references in each.

    Args:
        candidates: in the order to measure.
        setting: the sizes.
        limit: bytes.
        report: takes a line about each that does not fit even alone with the references.
    """
    references = [one for one in candidates if one.family in _REFERENCES]
    words = 4 * setting.batch_size * setting.memory_size * setting.word_size
    always = _LOADING * words + sum(one.nbytes for one in references)
    found: list[list[Participant]] = []
    free = 0
    for one in candidates:
        if one.family in _REFERENCES:
            continue
        if always + one.nbytes > limit:
            report(_too_large(one.name, setting, always + one.nbytes, limit))
            continue
        if not found or one.nbytes > free:
            found.append([*references])
            free = limit - always
        found[-1].append(one)
        free -= one.nbytes
    if not found and always <= limit and len(references) == len(candidates):
        return [references]
    return found


def free_bytes() -> int:
    """Bytes that are free without swapping; 8 GiB where the system does not report them."""
    if _MEMINFO.exists():
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return _ASSUMED_FREE


def _too_large(name: str, setting: Setting, needed: int, limit: int) -> str:
    return (
        f"{name}: left out at N = {setting.memory_size}, W = {setting.word_size}; takes about "
        f"{needed / 2**30:.1f} GiB, {limit / 2**30:.1f} GiB may be used"
    )


def _raw(setting: Setting) -> Maker:
    return lambda: RawFaiss(setting, lists=lists(setting.memory_size), probes=_PROBES)
