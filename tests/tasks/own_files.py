"""Small data of one's own, as users have them: a series, a text, labelled sequences."""

import math
import random
from pathlib import Path

SENTENCES = ("the cat sat on the mat.", "a dog ran in the park.", "rain falls on old stones.")


def write_series(path: Path, rows: int = 400) -> Path:
    """Two waves and a column of dates."""
    lines = ["date,load,heat"]
    lines += [f"day {t},{math.sin(t / 3):.4f},{math.cos(t / 3):.4f}" for t in range(rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_text(path: Path, sentences: int = 120) -> Path:
    draw = random.Random(0)
    path.write_text(" ".join(draw.choice(SENTENCES) for _ in range(sentences)))
    return path


def steps(label: str, draw: random.Random) -> list[tuple[float, float]]:
    """A sequence that rises or falls, and noise; of 3 to 8 steps."""
    sign = 1 if label == "up" else -1
    return [
        (sign * (i - 2) + draw.gauss(0, 0.5), draw.gauss(0, 1)) for i in range(draw.randint(3, 8))
    ]


def write_sequences(folder: Path, each: int = 20) -> Path:
    """A folder for each label, a file for each sequence."""
    draw = random.Random(0)
    for label in ("down", "up"):
        (folder / label).mkdir(parents=True)
        for i in range(each):
            rows = "".join(f"{x:.3f};{y:.3f}\n" for x, y in steps(label, draw))
            (folder / label / f"{i}.csv").write_text(f"x;y\n{rows}")
    return folder


def write_sequence_table(path: Path, each: int = 20) -> Path:
    """The same in one file."""
    draw = random.Random(0)
    lines = ["sequence,label,x,y"]
    for label in ("down", "up"):
        for i in range(each):
            lines += [f"{label}{i},{label},{x:.3f},{y:.3f}" for x, y in steps(label, draw)]
    path.write_text("\n".join(lines) + "\n")
    return path
