"""The command line: ``sparse-sam`` and ``python -m sam`` (train, sweep, eval and others)."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NoReturn

import torch

from sam import __version__
from sam.available import failed_allocation, limited_to_free_memory
from sam.errors import BackendMissingError, ConfigError, ProcessesError, StaleStateError
from sam.train import (
    base_command,
    bench_index,
    describe,
    eval_command,
    new_task,
    plot_command,
    sampling,
)
from sam.train.device import chosen_device
from sam.train.extras import import_extra
from sam.train.finish import evaluated, finish_run
from sam.train.imports import import_parts, taken_from
from sam.train.interrupt import stop_on_signal
from sam.train.plan import held_folder, plan
from sam.train.processes import Processes, on_this_machine, process_group, speaker
from sam.train.progress import Reporter, duration, make_reporter
from sam.train.run import train_run
from sam.train.settings import read_recipe, resolve
from sam.train.streams import flush_or_drop, open_streams, print_error
from sam.train.summary import error_unit
from sam.train.sweep import command as sweep_command
from sam.train.train_config import RunConfig

PROG = "sparse-sam"
USER_ERROR, INTERRUPTED, BROKEN_PIPE = 2, 130, 141
# ValueError is the base of the library's errors about arguments and damaged files.
USER_ERRORS = (ValueError, OSError, BackendMissingError, ProcessesError, StaleStateError)


class _Parser(argparse.ArgumentParser):
    """Raises where argparse would print its usage and exit."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        argv: the arguments; those of the process by default.

    Returns:
        The exit code: 0; 2 for a user's mistake, reported in one line on stderr. The codes of
        signals: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP, and 141 when the program
        that standard output is piped into has ended.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    with open_streams():
        try:
            code = _run(arguments)
            sys.stdout.flush()
            return code
        except KeyboardInterrupt:
            print_error(f"{PROG}: interrupted")
            return INTERRUPTED
        except BrokenPipeError:
            return BROKEN_PIPE
        except (*USER_ERRORS, MemoryError, RuntimeError, OverflowError, TypeError) as error:
            text = failed_allocation(error)
            if text is None and not isinstance(error, USER_ERRORS):
                raise
            print_error(f"{PROG}: {speaker()}error: {text or _one_line(error)}")
            return USER_ERROR
        finally:
            flush_or_drop()


def _run(arguments: list[str]) -> int:
    typed = shlex.join([PROG, *arguments])
    try:
        imports, arguments = taken_from(arguments)
        options, rest = _parser().parse_known_args(arguments)
        if rest and not getattr(options, "takes_more", False):
            raise ConfigError(f"unknown argument {rest[0]!r}; see {PROG} {options.command} --help")
        options.typed, options.imports = typed, import_parts(imports)
        with limited_to_free_memory(on_this_machine()):
            return options.run(options, rest)
    except SystemExit as leaving:  # after --help or --version
        return int(leaving.code or 0)


def _one_line(error: BaseException) -> str:
    text = str(error)
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    return " ".join(text.split())


def _parser() -> _Parser:
    parser = _Parser(prog=PROG, description="Train and look into Sparse Access Memory networks.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    train = commands.add_parser(
        "train",
        help="train a model from a recipe",
        usage=f"{PROG} train RECIPE | --config TOML | --resume DIR  "
        "[--run DIR] [--import MODULE] [--section.key value ...]",
        description="RECIPE is a name that `info` lists, or a TOML file. Each of its settings can "
        "be overridden: --model.memory-size 1048576 --index lsh. `train RECIPE --help` lists them. "
        "--import names a module or file of yours that registers tasks, models or indexes.",
        add_help=False,
        allow_abbrev=False,
    )
    train.add_argument("--config", metavar="TOML", help="repeat the run with this config.toml")
    train.add_argument("--resume", metavar="DIR", help="go on with the run in this folder")
    train.add_argument(
        "--run", dest="folder", metavar="DIR", help="new folder, default runs/RECIPE-N"
    )
    train.set_defaults(run=_train, help=train.format_help, takes_more=True)

    evaluate = commands.add_parser("eval", help="evaluate trained models")
    eval_command.add_arguments(evaluate)
    evaluate.set_defaults(run=lambda options, rest: eval_command.eval_command(options, prog=PROG))

    sweep = commands.add_parser(
        "sweep",
        help="train a recipe over a grid of settings",
        usage=f"{PROG} sweep RECIPE --grid KEY=V1,V2 ... [--seeds N] [--jobs N] [--out DIR] "
        "[--cost-only [--full]] [--section.key value ...] | --resume DIR [--jobs N]",
        allow_abbrev=False,
    )
    sweep_command.add_arguments(sweep)
    sweep.set_defaults(
        run=lambda options, rest: sweep_command.sweep_command(options, rest, prog=PROG),
        takes_more=True,
    )

    bench = commands.add_parser("bench-index", help="measure the indexes side by side")
    bench_index.add_arguments(bench)
    bench.set_defaults(run=lambda options, rest: bench_index.bench_index(options, print) or 0)

    base = commands.add_parser("base", help="build a memory that many share, or look into one")
    base_command.add_arguments(base)
    base.set_defaults(run=lambda options, rest: base_command.base_command(options, print))

    plot = commands.add_parser("plot", help="draw the figures of runs")
    plot_command.add_arguments(plot)
    plot.set_defaults(run=lambda options, rest: plot_command.plot_command(options, prog=PROG))

    sample = commands.add_parser("sample", help="write text with a trained model")
    sampling.add_arguments(sample)
    sample.set_defaults(run=lambda options, rest: print(sampling.sample(options)) or 0)

    new = commands.add_parser("new-task", help="write a file to begin a task of your own with")
    new_task.add_arguments(new)
    new.set_defaults(run=lambda options, rest: print(new_task.new_task(options, PROG)) or 0)

    info = commands.add_parser("info", help="list what there is, or describe a recipe or a model")
    info.add_argument("recipe", metavar="RECIPE", nargs="?", help="name or TOML file")
    info.add_argument("--model", metavar="NAME", help="describe a model")
    info.add_argument("--index", metavar="NAME", help="describe an index")
    info.set_defaults(run=_info)
    return parser


def _train(options: argparse.Namespace, rest: list[str]) -> int:
    recipe = rest.pop(0) if rest and not rest[0].startswith("-") else None
    given = [name for name in (recipe, options.config, options.resume) if name is not None]
    if not given and {"-h", "--help"} & {*rest}:
        print(options.help())
        return 0
    if len(given) != 1:
        raise ConfigError("train: expected one of RECIPE (right after it), --config, --resume")
    planned = plan(
        recipe or options.config,
        rest,
        resume=options.resume,
        folder=options.folder,
        imports=options.imports,
        prog=PROG,
    )
    # A package that is needed at the end is missed at the start.
    for name in ("safetensors.torch", "matplotlib.figure"):
        import_extra(name)
    torch.set_num_threads(planned.config.train.threads)
    with process_group(chosen_device(planned.config.train.device).type) as processes:
        held = held_folder(planned) if processes.is_first else nullcontext()
        with held as folder:
            return _train_in(processes.broadcast(folder), planned.config, options, processes)


def _train_in(
    folder: Path, config: RunConfig, options: argparse.Namespace, processes: Processes
) -> int:
    resume = options.resume is not None
    reporting = make_reporter(sys.stdout) if processes.is_first else Reporter()
    with reporting as reporter, stop_on_signal() as should_stop:
        outcome = train_run(
            config,
            folder,
            resume=resume,
            reporter=reporter,
            should_stop=should_stop,
            processes=processes,
            lock=nullcontext(),
        )
    if not processes.is_first:
        return should_stop.exit_code if outcome.stopped else 0
    update, spent = outcome.progress.update, duration(outcome.seconds)
    if outcome.stopped:
        resume = shlex.join([PROG, "train", "--resume", str(folder)])
        print(f"stopped and saved at update {update}; {resume} goes on")
        return should_stop.exit_code
    error = ""
    if outcome.window_error is not None:
        unit, count = error_unit(config.task.kind), len(outcome.progress.errors)
        error = f", {outcome.window_error:.4g} {unit} over the last {count}"
    print(f"{update} updates in {spent}{error}")
    results = evaluated(config, outcome.model)
    print(describe.describe_results(results, config.task))
    for path in finish_run(config, folder, outcome, results, command=options.typed):
        print(path)
    return 0


def _info(options: argparse.Namespace, rest: list[str]) -> int:
    if sum(o is not None for o in (options.recipe, options.model, options.index)) > 1:
        raise ConfigError("info: expected one of RECIPE, --model and --index, got several")
    if options.recipe is not None:
        print(describe.describe_recipe(resolve(*read_recipe(options.recipe))))
    elif options.model is not None:
        print(describe.describe_model(options.model))
    elif options.index is not None:
        print(describe.describe_index(options.index))
    else:
        print(describe.describe_all())
    return 0
