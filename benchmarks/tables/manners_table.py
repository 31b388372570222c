"""The table of `benchmarks.manners`."""

from typing import Any

from benchmarks.tables.markdown import Column, field, of_file, table

FILE = "manners.json"
_GROUPS = {
    "`nn.LSTM`": ("nn.LSTM",),
    "SAM, SDNC": ("sam", "sdnc"),
    "DAM, NTM, DNC": ("dam", "ntm", "dnc"),
    "LSTM": ("lstm",),
}


def _word(outcome: str) -> str:
    return outcome if outcome in ("yes", "no") else "refused"


def _group(title: str, names: tuple[str, ...]) -> Column:
    """What the models of a group say, as one word if they agree."""

    def cell(row: dict[str, Any]) -> str:
        words = {name: _word(row["outcomes"][name]) for name in names}
        if len(set(words.values())) == 1:
            return words[names[0]]
        return ", ".join(f"{name} {word}" for name, word in words.items())

    return Column(title, cell)


_COLUMNS = (
    field("what", "habit"),
    *(_group(title, names) for title, names in _GROUPS.items()),
    field("what differs, and why", "note"),
)


@of_file(FILE, "benchmarks.manners")
def manners_table(found: dict[str, Any]) -> str:
    """A row per habit: nn.LSTM, the sparse models, the dense ones, the baseline, and why."""
    version = found["versions"]["torch"]
    return f"{table(_COLUMNS, found['habits'])}\n\nTried with torch {version}, {found['date']}."
