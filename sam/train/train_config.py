"""The settings of a run: plain frozen dataclasses, one per section of a recipe."""

from dataclasses import dataclass
from typing import Any, Literal

from index.checks import MOST_FLOAT
from sam.errors import ConfigError
from sam.setting_checks import check_between
from sam.train.curriculum import CurriculumConfig

_INT64, MOST_THREADS = 2**63 - 1, 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerConfig:
    """How gradients update the parameters.

    Attributes:
        name: which optimizer of torch.
        lr: learning rate; the highest one where there is a warm-up or a schedule.
        betas: decay of the two averages; Adam and AdamW only.
        decay: decay of the squared gradient's average; RMSProp only.
        momentum: RMSProp only.
        weight_decay: AdamW shrinks the parameters by it; the others add it times the parameters to
            the gradient.
        clip_norm: longest gradient; a longer one is scaled down to it. `inf` switches this off.
        warmup: updates in which the learning rate rises linearly to `lr`.
        hold: updates after that in which it stays at `lr`, before a schedule makes it fall.
        schedule: how it falls then; see `sam.train.schedule`.
        schedule_updates: the update at which it has fallen; `train.max_updates` when not given.
        final_factor: what is left of `lr` by then, as a fraction.
    """

    name: Literal["adam", "adamw", "rmsprop"] = "adam"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    decay: float = 0.95
    momentum: float = 0.0
    weight_decay: float = 0.0
    clip_norm: float = 10.0
    warmup: int = 0
    hold: int = 0
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    schedule_updates: int | None = None
    final_factor: float = 0.0

    def __post_init__(self) -> None:
        for name in ("momentum", "weight_decay"):
            check_between(f"optimizer.{name}", getattr(self, name), 0, MOST_FLOAT)
        for name in ("warmup", "hold"):
            check_between(f"optimizer.{name}", getattr(self, name), 0, _INT64)
        check_between("optimizer.final_factor", self.final_factor, 0, 1)
        if self.schedule_updates is not None:
            least = 1 if self.schedule == "constant" else self.warmup + self.hold + 1
            check_between("optimizer.schedule_updates", self.schedule_updates, least, _INT64)
        for name, value in (("lr", self.lr), ("clip_norm", self.clip_norm)):
            if not value > 0:
                raise ConfigError(f"optimizer.{name}: expected above 0, got {value}")
        if self.lr > MOST_FLOAT:
            raise ConfigError(f"optimizer.lr: expected a finite number of 32 bits, got {self.lr}")
        for name, value in (("betas", max(self.betas)), ("decay", self.decay)):
            if not 0 <= value < 1:
                raise ConfigError(f"optimizer.{name}: expected 0 <= value < 1, got {value}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """How long a run lasts, and what it writes when.

    Attributes:
        batch_size: sequences per batch.
        accumulate: batches per update; their gradients are averaged.
        loss: what is differentiated: the mean over the sequences of each one's sum over its
            targets, or of its mean, with which `optimizer.clip_norm` means the same at every
            length. Where a task's loss is a mean already, they are the same.
        max_updates: where the run ends at the latest.
        stop_below: ends the run once the mean error of the last `window` updates is below this;
            wrong bits per sequence, or the fraction of questions wrong. Never when not given.
        window: updates in that mean.
        max_loss: ends the run with an error once the loss of an update is above this, in bits per
            sequence; the last checkpoint is kept. Never when not given; NaN and infinity always end
            it.
        max_gradient_norm: ends the run likewise once the gradient, before clipping, is longer.
        fall_back_above: goes back to the best parameters so far at this level, with a lower rate,
            once the loss has risen by so much; see `sam.train.fall_back`. Never when not given.
        fall_back_rate: what each time is left of the learning rate, as a fraction.
        first_top_k: K at the first update, of a model with `top_k`; it falls to that of the model,
            by equal factors, until update `top_k_updates`. The model's own when not given.
        top_k_updates: updates until K is that of the model.
        begin_with: folder of a run whose parameters are this one's first; its settings may be
            others, as long as the parameters are alike. They are drawn when not given.
        seed: of the parameters' first values and of all data.
        log_every: updates between two lines of metrics.jsonl.
        checkpoint_every: updates between two checkpoints.
        evaluate_every: updates between two evaluations on validation data. Never when not given.
        patience: evaluations without a lower loss on validation data after which the run ends.
            Never when not given.
        keep_best: whether the run results in the parameters of its best evaluation, not its last.
        judge_by: what an evaluation on validation data is judged by: the mean loss, or the share of
            wrong targets, mean over the slices, and of equals by the loss. Far beyond what was
            trained on, a loss says little: what is right in most sequences and surely wrong in
            some has a higher one than guessing.
        ema: decay of an average of the parameters, such as 0.999, which is evaluated and saved in
            their place. None when not given.
        precision: `bfloat16` runs the model under autocast; loss and parameters are in float32.
        device: what trains; `auto` is a GPU where there is one.
        threads: threads torch may use; the steps are small, and one is often the fastest. The
            command line sets it; a program of your own calls `torch.set_num_threads`.
        loggers: further loggers beside metrics.jsonl, for example `tensorboard`.
    """

    batch_size: int = 8
    accumulate: int = 1
    loss: Literal["per_sequence", "per_target"] = "per_sequence"
    max_updates: int = 10_000
    stop_below: float | None = None
    window: int = 200
    max_loss: float | None = None
    max_gradient_norm: float | None = None
    fall_back_above: float | None = None
    fall_back_rate: float = 0.5
    first_top_k: int | None = None
    top_k_updates: int = 1000
    begin_with: str | None = None
    seed: int = 0
    log_every: int = 10
    checkpoint_every: int = 500
    evaluate_every: int | None = None
    patience: int | None = None
    keep_best: bool = False
    judge_by: Literal["loss", "error"] = "loss"
    ema: float | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    threads: int = 1
    loggers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("batch_size", "accumulate", "window", "log_every", "checkpoint_every"):
            check_between(f"train.{name}", getattr(self, name), 1)
        check_between("train.threads", self.threads, 1, MOST_THREADS)
        check_between("train.max_updates", self.max_updates, 0, _INT64)
        check_between("train.seed", self.seed, 0, _INT64)
        for name in ("evaluate_every", "patience"):
            if getattr(self, name) is not None:
                check_between(f"train.{name}", getattr(self, name), 1)
        if self.evaluate_every is None and (self.keep_best or self.patience is not None):
            name = "keep_best" if self.keep_best else "patience"
            raise ConfigError(f"train.{name}: expected train.evaluate_every as well, got none")
        if self.ema is not None and not 0 <= self.ema < 1:
            raise ConfigError(f"train.ema: expected a value in [0, 1), got {self.ema}")
        if not 0 < self.fall_back_rate <= 1:
            raise ConfigError(
                f"train.fall_back_rate: expected above 0 and at most 1, got {self.fall_back_rate}"
            )
        if self.first_top_k is not None:
            check_between("train.first_top_k", self.first_top_k, 1)
        check_between("train.top_k_updates", self.top_k_updates, 1, _INT64)
        for name in ("stop_below", "max_loss", "max_gradient_norm", "fall_back_above"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"train.{name}: expected above 0, got {value}")


@dataclass(frozen=True, kw_only=True, slots=True)
class EvalConfig:
    """What a model is evaluated on.

    Attributes:
        levels: difficulties to draw; the task's own range when empty. They may lie above what was
            trained on.
        count: sequences at each level.
        batch_size: sequences per forward pass.
    """

    levels: tuple[int, ...] = ()
    count: int = 200
    batch_size: int = 20

    def __post_init__(self) -> None:
        check_between("eval.count", self.count, 1)
        check_between("eval.batch_size", self.batch_size, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """Everything that decides the numbers of a run; `sam.train.settings` reads and writes it.

    Attributes:
        task_name: the task's name in its registry.
        task: the task, whose fields are its settings.
        model: keyword arguments of the model's constructor and `kind`, its name; a dataclass
            derived from the constructor.
        index: an `index.IndexConfig`, or None for a model that has no index.
        optimizer, train, curriculum, eval: see their classes.
        imports: modules and files of one's own that register what is named above; see
            `sam.train.imports`.
    """

    task_name: str
    task: Any
    model: Any
    index: Any
    optimizer: OptimizerConfig
    train: TrainConfig
    curriculum: CurriculumConfig
    eval: EvalConfig
    imports: tuple[str, ...] = ()
