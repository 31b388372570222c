"""Several processes that train one model together, each with its share of every batch.

    torchrun --nproc-per-node 2 -m sam train copy

Every process draws the whole batch from the same generator and takes its rows of it, so the data do
not depend on the number of processes. In every process, gradients and scores are those of the whole
batch, so all processes take the same decisions. Only the first one writes files. All read the
checkpoint, so the run folder must be visible to all.
"""

import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn

from sam.errors import ConfigError, ProcessesError
from sam.tasks.task import Batch
from sam.train.losses import Scores
from sam.train.seeds import generator_for

# The first update may wait for another process to compile its loops.
TIMEOUT = timedelta(minutes=5)
_BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}
# Words in the errors of gloo and NCCL when another process is lost; gloo's are RuntimeErrors.
_LOST = ("gloo", "nccl", "connection", "timed out", "timeout")
_Parallel = nn.parallel.DistributedDataParallel
# Groups that an error has ended are kept alive until the process ends. Otherwise the last user of
# the group, the model in the error's traceback, would wait for a thread of gloo while it holds
# Python's lock. The thread needs that lock to release a tensor, so both would wait forever.
_ENDED_EARLY: list[Any] = []


class Processes:
    """This process among those that train together.

    Args:
        rank: of this process, counted from 0.
        count: how many there are; if more than one, torch's process group has been started.
    """

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank, self.count = rank, count

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and prints."""
        return self.rank == 0

    def rows(self, batch_size: int) -> slice:
        """The rows of a batch that are this process's share; shares differ by one row at most.

        Raises:
            ConfigError: there are fewer rows than processes.
        """
        if batch_size < self.count:
            raise ConfigError(
                f"train.batch_size: expected at least a sequence for each of {self.count} "
                f"processes, got {batch_size}"
            )
        first, end = (rank * batch_size // self.count for rank in (self.rank, self.rank + 1))
        return slice(first, end)

    def share(self, batch: Batch) -> Batch:
        """This process's rows of a batch."""
        if self.count == 1:
            return batch
        return batch.rows(self.rows(batch.inputs.shape[1]))

    def weighted(self, loss: Tensor, batch_size: int) -> Tensor:
        """The mean loss of this share, so that the mean over processes is that of the batch."""
        if self.count == 1:
            return loss
        rows = self.rows(batch_size)
        return loss * ((rows.stop - rows.start) * self.count / batch_size)

    def combined(self, scores: Scores, batch_size: int) -> Scores:
        """Scores of the whole batch, from those of this share; the loss has no gradient."""
        if self.count == 1:
            return scores
        # Adding zeros is exact, and shares may differ in size.
        every = torch.zeros(3, batch_size, dtype=torch.float64)
        parts = (scores.bits, scores.wrong, scores.targets)
        every[:, self.rows(batch_size)] = torch.stack([part.double().cpu() for part in parts])
        bits, wrong, targets = self.sum(every)
        loss = self.sum(self.weighted(scores.loss.detach(), batch_size).cpu()) / self.count
        return Scores(
            loss, bits.to(scores.bits.dtype), wrong.to(scores.wrong.dtype), targets.long()
        )

    def mean(self, value: float | None, batch_size: int) -> float | None:
        """Mean over the whole batch, from the mean over this share; None if that is None."""
        if self.count == 1 or value is None:
            return value
        weighted = self.weighted(torch.tensor(value, dtype=torch.float64), batch_size)
        return self.sum(weighted).item() / self.count

    def any(self, flag: bool) -> bool:
        """Whether the flag is true in any process."""
        return flag if self.count == 1 else bool(self.sum(torch.tensor(float(flag))).item())

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes; `values` are overwritten.

        Raises:
            ProcessesError: another process is lost, or does not answer in time.
        """
        if self.count > 1:
            with _lost_processes_detected():
                distributed.all_reduce(values)
        return values

    def broadcast(self, value: Any) -> Any:
        """The first process's value, in every process: text, numbers, or tuples of them."""
        if self.count == 1:
            return value
        held = [value]
        with _lost_processes_detected():
            distributed.broadcast_object_list(held)
        return held[0]

    def gather(self, value: Any) -> list[Any]:
        """The value of each process, in every process: plain data and tensors on the CPU."""
        if self.count == 1:
            return [value]
        found: list[Any] = [None] * self.count
        with _lost_processes_detected():
            distributed.all_gather_object(found, value)
        return found

    def check_equal(self, what: str, value: object) -> None:
        """Checks that a value is the same in all processes, such as settings or a checkpoint.

        Raises:
            ConfigError: in every process, if `repr(value)` differs between them.
        """
        crc = zlib.crc32(repr(value).encode())
        if self.any(crc != self.broadcast(crc)):
            raise ConfigError(
                f"{what}: expected the same in all {self.count} processes, got others in one; the "
                "run folder must lie where all processes see it"
            )

    def begin_update(self, seed: int, number: int) -> None:
        """Seeds what the model draws at random, as for dropout, from update and process."""
        if self.count > 1:
            stream = generator_for(seed, number, f"process {self.rank}")
            torch.manual_seed(stream.initial_seed())

    def accumulating(self, model: nn.Module) -> AbstractContextManager[None]:
        """Around passes after which another follows in the same update: nothing is exchanged."""
        return model.no_sync() if isinstance(model, _Parallel) else nullcontext()

    def detecting_lost_processes(self) -> AbstractContextManager[None]:
        """Around code that communicates by itself: a model's forward and backward pass.

        Raises:
            ProcessesError: another process is lost, or does not answer in time.
        """
        return nullcontext() if self.count == 1 else _lost_processes_detected()

    def wrapped(self, model: nn.Module) -> nn.Module:
        """The model, wrapped so that its gradients are means over the processes."""
        if self.count == 1:
            return model
        with _lost_processes_detected():
            return _Parallel(model)

    def unwrapped(self, model: nn.Module) -> nn.Module:
        """The model that `wrapped` was given."""
        return model.module if isinstance(model, _Parallel) else model


ALONE = Processes()


def several(environment: Mapping[str, str] = os.environ) -> tuple[int, int] | None:
    """Rank and number of processes, if torchrun or the like started more than one.

    Raises:
        ConfigError: the environment variables contradict each other.
    """
    if "RANK" not in environment or "WORLD_SIZE" not in environment:
        return None
    texts = environment["RANK"], environment["WORLD_SIZE"]
    if not all(text.isdecimal() for text in texts) or not int(texts[0]) < int(texts[1]):
        raise ConfigError(
            f"RANK, WORLD_SIZE: expected a rank below a number of processes, got {texts}"
        )
    rank, count = map(int, texts)
    return None if count == 1 else (rank, count)


def on_this_machine(environment: Mapping[str, str] = os.environ) -> int:
    """How many processes torchrun has started on this machine; 1 without it."""
    count = environment.get("LOCAL_WORLD_SIZE", "")
    return max(int(count), 1) if count.isdecimal() else 1


def speaker() -> str:
    """Prefix of a line that every process may print: which one it is; empty if it is alone."""
    with suppress(ConfigError):
        if (found := several()) is not None:
            return f"process {found[0]} of {found[1]}: "
    return ""


@contextmanager
def process_group(device: str = "cpu", *, timeout: timedelta = TIMEOUT) -> Iterator[Processes]:
    """Joins the processes that torchrun started beside this one; alone without torchrun.

    Args:
        device: type of the device that trains.
        timeout: how long to wait for an answer of another process.

    Raises:
        ConfigError: the environment does not say where the processes meet, or torch has no support.
        ProcessesError: the others do not join, or are lost inside the block.
    """
    found = several()
    if found is None:
        yield ALONE
        return
    if not distributed.is_available():
        raise ConfigError("WORLD_SIZE: expected one process, as this torch has no distributed part")
    if distributed.is_initialized():
        raise ConfigError("processes: expected no process group yet, got one that has begun")
    try:
        with _lost_processes_detected():
            distributed.init_process_group(_BACKENDS[device], timeout=timeout)
    except ValueError as error:
        raise ConfigError(f"processes: expected what torchrun sets, {error}") from error
    try:
        yield Processes(*found)
    except BaseException:
        _ENDED_EARLY.append(distributed.group.WORLD)
        raise
    finally:
        distributed.destroy_process_group()


@contextmanager
def _lost_processes_detected() -> Iterator[None]:
    """Turns the errors of torch about a lost process into one line.

    Raises:
        ProcessesError: another process is lost.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error).lower()
        if not isinstance(error, distributed.DistError) and not (
            type(error) is RuntimeError and any(word in text for word in _LOST)
        ):
            raise
        raise ProcessesError(
            "processes: expected an answer of every other process, got none from one that has "
            "ended or hangs; resume the run to go on from its last checkpoint"
        ) from error
