"""``sparse-sam plot``: the figures of a run, of a sweep, or of several runs in one."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from sam.errors import ConfigError
from sam.train.curves import CURVES, draw_curves
from sam.train.eval_command import runs_of
from sam.train.figures import make_figures
from sam.train.folder import check_metrics, load_run
from sam.train.names import FIGURES
from sam.train.streams import print_error
from sam.train.sweep.command import redraw
from sam.train.sweep.plan import is_sweep


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``plot``."""
    parser.add_argument(
        "folders", metavar="RUN", type=Path, nargs="+", help="folder of a run, or of a sweep"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="of the figure of several runs; default `figures` beside them",
    )


def plot_command(options: argparse.Namespace, *, prog: str) -> int:
    """Draws, and prints the files.

    One run: its learning curve and its map of accesses. A sweep: its table and figures, and the
    learning curves of all its runs. Several runs: their learning curves, with a band over the
    seeds of runs that differ in nothing else.

    Args:
        options: as `add_arguments` parses them.
        prog: name of the program, for messages.

    Raises:
        ConfigError: a folder is not that of a run, a file is damaged, or there is nothing to draw.
        OSError: a figure cannot be written.
    """
    folders: list[Path] = options.folders
    if len(folders) == 1 and not is_sweep(folders[0]):
        if options.out is not None:
            raise ConfigError("--out: expected several runs; figures of one are in its folder")
        config, model, progress = load_run(folders[0])
        check_metrics(folders[0], config)
        torch.set_num_threads(config.train.threads)
        made = make_figures(config, folders[0], model, progress)
    else:
        made = [path for one in folders if is_sweep(one) for path in redraw(one, prog=prog)]
        if len(folders) > 1 or options.out is not None:
            made.append(_place(folders, options.out))
            for folder in draw_curves(runs_of(folders), made[-1]):
                print_error(f"{prog}: {folder} is left out: it has no line of an update yet")
    for path in made:
        print(path)
    return 0


def _place(folders: Sequence[Path], out: Path | None) -> Path:
    if out is not None:
        return out / CURVES
    common = os.path.commonpath([folder.absolute().parent for folder in folders])
    return Path(common) / FIGURES / CURVES
