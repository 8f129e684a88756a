"""The training loop: pictures to steps, steps to checkpoints, and back again after any interruption.

Accelerate supplies devices, processes and trackers; the loop itself is in the open. A run is a function of its recipe:
which pictures a step sees depends on its number alone (`data/loading.py`), and a checkpoint holds all the rest, so a
run that was killed goes on as if it had not been.
"""

from __future__ import annotations

import copy
import math
import os
import signal
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn

from segue.data.loading import Batch, TrainingSamples, WholePictures, share, training_loader, training_positions
from segue.data.source import DataSet
from segue.errors import DataError, NonFiniteLoss
from segue.evaluation import Evaluation, Looked, evaluate
from segue.files import write_atomically
from segue.models.network import Network, Progress
from segue.options import OptimOptions, TrainingOptions
from segue.prediction import Predictor, Preprocessing, autocast
from segue.schedule import Policy

PANELS = 4  # validation pictures that are kept for the predictions' picture


class ResumeError(ValueError):
    """A run cannot go on as asked."""


@dataclass(frozen=True)
class Seen:
    """A validation picture with its truth and prediction, (H, W, C) and (H, W) twice."""

    name: str
    image: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray


@dataclass(frozen=True)
class Tick:
    """Where the run stands after a step: for a progress line.

    waiting: share of the time that was spent waiting for pictures. seconds, waited: of training so far.
    """

    step: int
    steps: int
    loss: float
    lr: float
    images_per_second: float
    waiting: float
    remaining: float
    seconds: float
    waited: float


class Watcher(Protocol):
    """Who is told what happens; only the first process tells. Training itself draws and prints nothing."""

    def stepped(self, tick: Tick) -> None:
        """After every step."""

    def validated(
        self, rows: Sequence[Mapping[str, float]], evaluation: Evaluation, panels: Sequence[Seen], best: bool
    ) -> None:
        """After every validation; rows are the whole log so far."""


@dataclass
class Job:
    """All that a run needs, as objects."""

    network: Network[Any]
    samples: TrainingSamples
    validation: DataSet
    preprocessing: Preprocessing
    policy: Policy
    steps: int
    how: TrainingOptions
    optim: OptimOptions
    folder: Path
    recipe: Mapping[str, Any]
    accelerator: Accelerator
    watcher: Watcher
    keep: Callable[[Network[Any], Mapping[str, float]], None]
    """Writes the model of the best validation so far."""
    workers: int = 0


@dataclass
class State:
    """What changes during a run, apart from weights and optimiser; a checkpoint holds it."""

    step: int = 0
    rows: list[dict[str, float]] = field(default_factory=list)
    best: float = -1.0
    sums: dict[str, float] = field(default_factory=dict)
    summed: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    pictures: int = 0


@dataclass(frozen=True)
class Result:
    """How a run ended: `signal` is the one that stopped it early, 0 for none."""

    step: int
    best: float
    signal: int


class MovingAverage:
    """An exponential moving average of a network's weights and statistics: a network of its own.

    Early on the decay is (1 + t) / (10 + t), so that the first weights are soon forgotten.
    """

    def __init__(self, network: Network[Any], decay: float) -> None:
        self.decay = decay
        self.network = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move towards the network's present tensors; those that are not floating-point are copied."""
        decay = min(self.decay, (1 + step) / (10 + step))
        average, present = self.network.state_dict(), network.state_dict()
        floating = [name for name, tensor in average.items() if tensor.is_floating_point()]
        torch._foreach_lerp_([average[n] for n in floating], [present[n] for n in floating], 1 - decay)
        for name, tensor in average.items():
            if not tensor.is_floating_point():
                tensor.copy_(present[name])


def train(job: Job, resume: Path | None = None) -> Result:
    """Train, validate and save until the last step, or until SIGINT or SIGTERM; both leave a checkpoint behind.

    resume: a checkpoint to go on from. Raises NonFiniteLoss, DataError for pictures that cannot be used, and SaveError
    when a checkpoint cannot be written.
    """
    accelerator, how = job.accelerator, job.how
    device = accelerator.device
    memory_format = torch.channels_last if how.channels_last else torch.contiguous_format
    network = job.network.to(device).to(memory_format=memory_format)
    freeze(network, backbone=how.freeze_backbone, norm=how.freeze_norm)
    if accelerator.num_processes > 1 and device.type != "cpu":
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    optimizer = build_optimizer(network, job.optim)
    average = MovingAverage(network, how.ema) if how.ema > 0 else None
    torch.manual_seed(how.seed + 1 + accelerator.process_index)  # dropout differs between processes
    state = State()
    if resume is not None:
        load_checkpoint(resume, network, optimizer, average, state, accelerator)
    if how.compile:
        network.compile()
    model = accelerator.prepare_model(network)
    train_mode(network, how)

    accumulate = passes(how, accelerator.num_processes)
    positions = training_positions(
        state.step, job.steps, how.batch, accumulate, accelerator.process_index, accelerator.num_processes
    )
    loader = training_loader(job.samples, positions, workers=job.workers, pin_memory=device.type == "cuda")
    validate_every = how.validate_every or max(1, math.ceil(job.steps / 10))
    save_every = how.save_every or validate_every

    def save() -> None:
        save_checkpoint(
            job.folder / "checkpoints" / "last", network, optimizer, average, state, accelerator, job.recipe
        )

    # Closed, so that its processes end with an error as well: its traceback would keep them, and Python wait for them.
    with stop_signals() as received, closing(_batches(loader)) as batches:
        step_parts = (model, network, optimizer)
        clock = _Clock(state)
        while state.step < job.steps:
            loss, lr = train_step(job, step_parts, batches, accumulate, state, clock)
            if average is not None:
                average.update(network, state.step)
            state.step += 1
            clock.stop(how.batch)
            if accelerator.is_main_process:
                job.watcher.stepped(clock.tick(job.steps, loss, lr))
            due = state.step % validate_every == 0 or state.step == job.steps
            if due:
                chosen = average.network if average is not None else network
                _validate(job, chosen, state, lr)
                train_mode(network, how)
            stop = _agreed(received[0], accelerator)
            if due or stop or state.step % save_every == 0:
                save()
            clock.start()
            if stop:
                break
    return Result(state.step, state.best, received[0])


def train_step(
    job: Job,
    parts: tuple[nn.Module, Network[Any], torch.optim.Optimizer],
    batches: Iterator[Batch],
    accumulate: int,
    state: State,
    clock: _Clock,
) -> tuple[float, float]:
    """One optimiser step over `accumulate` forward passes; returns the loss and the base learning rate."""
    model, network, optimizer = parts
    device = job.accelerator.device
    factor = job.policy(state.step)
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
    lr = job.optim.lr * factor
    epoch = state.step * job.how.batch // len(job.samples.data)
    progress = Progress(state.step, job.steps, epoch, lr, job.optim.lr)
    totals: dict[str, float] = {}
    for turn in range(accumulate):
        with clock.waiting():
            images, target, names = next(batches)
        images = job.preprocessing.normalise(images.to(device, non_blocking=True))
        target = target.to(device, non_blocking=True).long()
        last = turn == accumulate - 1
        with nullcontext() if last else job.accelerator.no_sync(model):
            with autocast(device, job.how.precision):
                output = model(images)
                with torch.no_grad():
                    network.observe(output, target, progress)
                terms = network.loss(output, target)
            values = {name: float(term.detach()) for name, term in terms.items()}
            bad = [name for name, value in values.items() if not math.isfinite(value)]
            if bad:
                raise NonFiniteLoss(
                    f"step {state.step}: the loss term {bad[0]!r} is {values[bad[0]]}, "
                    f"with the pictures {', '.join(names)}; lower --optim.lr, or set --optim.clip"
                )
            job.accelerator.backward(torch.stack(list(terms.values())).sum() / accumulate)
        for name, value in values.items():
            totals[name] = totals.get(name, 0.0) + value / accumulate
    if job.optim.clip > 0:
        nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], job.optim.clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    for name, value in totals.items():
        state.sums[name] = state.sums.get(name, 0.0) + value
    state.summed += 1
    return sum(totals.values()), lr


def _validate(job: Job, network: Network[Any], state: State, lr: float) -> None:
    """Evaluate on every process, add up the counts once, and write the log's next row."""
    accelerator = job.accelerator
    predictor = Predictor(network, job.preprocessing, precision=job.how.precision, channels_last=job.how.channels_last)
    whole = WholePictures(job.validation)
    mine = share(len(whole), accelerator.process_index, accelerator.num_processes)
    wanted = {job.validation.name(mine[place]) for place in _spread(len(mine), PANELS)}
    panels: list[Seen] = []

    def see(one: Looked) -> None:
        if one.name in wanted:
            truth, predicted = (classes.to(torch.uint8).cpu().numpy() for classes in (one.target, one.predicted))
            panels.append(Seen(one.name, one.pixels, truth, predicted))

    evaluation = evaluate(
        predictor,
        (whole[index] for index in mine),
        network.num_classes,
        batch=job.how.validation_batch,
        device=accelerator.device,
        seen=see,
    )
    evaluation.table = accelerator.reduce(evaluation.table, reduction="sum")
    sums = accelerator.reduce(
        torch.tensor(list(state.sums.values()), dtype=torch.float64, device=_float64_device(accelerator)), "mean"
    )
    summary = evaluation.summary()
    terms = {f"loss/{n}": s / max(state.summed, 1) for n, s in zip(state.sums, sums.tolist(), strict=True)}
    row = {
        "step": state.step,
        "epoch": state.step * job.how.batch / len(job.samples.data),
        "lr": lr,
        "loss": sum(terms.values()),
        **terms,
        **summary.numbers(),
        "images_per_s": state.pictures / max(state.seconds, 1e-9),
        "waiting": state.waited / max(state.seconds, 1e-9),
        "seconds": state.seconds,
    }
    state.rows.append(row)
    state.sums, state.summed = {}, 0
    best = summary.miou > state.best
    if best:
        state.best = summary.miou
    if accelerator.is_main_process:
        if best:
            job.keep(network, row)
        panels.sort(key=lambda one: one.name)
        job.watcher.validated(state.rows, evaluation, panels, best)
        accelerator.log({name: value for name, value in row.items() if name != "step"}, step=state.step)
    if best:
        accelerator.wait_for_everyone()


def _float64_device(accelerator: Accelerator) -> torch.device:
    return torch.device("cpu") if accelerator.device.type == "mps" else accelerator.device


def _spread(count: int, wanted: int) -> list[int]:
    """`wanted` places spread evenly over 0..count-1."""
    return sorted({int(place) for place in np.linspace(0, count - 1, min(wanted, count))})


def passes(how: TrainingOptions, processes: int) -> int:
    """Forward passes per optimiser step, so that their pictures add up to the total batch."""
    if how.batch % processes:
        raise ValueError(f"training.batch = {how.batch} pictures cannot be shared evenly by {processes} processes")
    part = how.batch // processes
    if not how.per_device or part <= how.per_device:
        return 1
    accumulate = math.ceil(part / how.per_device)
    while part % accumulate:
        accumulate += 1
    return accumulate


def build_optimizer(network: Network[Any], options: OptimOptions) -> torch.optim.Optimizer:
    """Groups of parameters by rate (backbone or head) and decay (weights, or norms and biases)."""
    backbone = set(network.backbone.parameters()) if network.backbone is not None else set()
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        if not parameter.requires_grad:
            continue
        rate = options.lr if parameter in backbone or not backbone else options.lr * options.head_lr
        decay = options.weight_decay if parameter.ndim > 1 or options.decay_norms else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    described: list[dict[str, Any]] = [
        {"params": parameters, "lr": rate, "base_lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]
    if not described:
        raise ValueError("nothing is left to train: freeze_backbone leaves this network no parameters")
    if options.name == "sgd":
        return torch.optim.SGD(described, lr=options.lr, momentum=options.momentum)
    return torch.optim.AdamW(described, lr=options.lr, betas=(options.momentum, 0.999))


def freeze(network: Network[Any], *, backbone: bool, norm: bool) -> None:
    """Switch off gradients of the backbone, or of BatchNorm's scales and shifts."""
    if backbone:
        if network.backbone is None:
            raise ValueError("freeze_backbone: this network has no backbone")
        network.backbone.requires_grad_(False)
    if norm:
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.requires_grad_(False)


def train_mode(network: Network[Any], how: TrainingOptions) -> None:
    """train(), but what is frozen stays in eval(), where BatchNorm keeps its statistics."""
    network.train()
    frozen = [network.backbone] if how.freeze_backbone and network.backbone is not None else []
    if how.freeze_norm:
        frozen.append(network)
    for part in frozen:
        for module in part.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def save_checkpoint(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: MovingAverage | None,
    state: State,
    accelerator: Accelerator,
    recipe: Mapping[str, Any],
) -> None:
    """Write everything that the run's future depends on; `best` is a copy of `last` where the last row is the best."""
    random = gather_object([_random_state(accelerator.device)])  # dropout's generators, one per process
    if accelerator.is_main_process:
        checkpoint = {
            "network": network.state_dict(),
            "average": average.network.state_dict() if average is not None else {},
            "optimizer": optimizer.state_dict(),
            "random": random,
            "state": vars(state),
            "recipe": dict(recipe),
        }
        write_atomically(path, lambda temporary: torch.save(checkpoint, temporary))
        newest = state.rows[-1] if state.rows else None
        if newest is not None and newest["step"] == state.step and newest["miou"] == state.best:
            write_atomically(path.with_name("best"), lambda temporary: os.link(path, temporary))
    accelerator.wait_for_everyone()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content, without running code from it. Raises ResumeError when it is absent or cannot be read."""
    if not path.is_file():
        raise ResumeError(f"{path}: there is no checkpoint; the run stopped before its first one, start it again")
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ResumeError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from error
    return content


def load_checkpoint(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: MovingAverage | None,
    state: State,
    accelerator: Accelerator,
) -> None:
    """Put everything back as it was when the checkpoint was written."""
    checkpoint = read_checkpoint(path)
    network.load_state_dict(checkpoint["network"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    if average is not None:
        average.network.load_state_dict(checkpoint["average"])
    for name, value in checkpoint["state"].items():
        setattr(state, name, value)
    random = checkpoint["random"]
    if len(random) == accelerator.num_processes:
        _restore_random_state(random[accelerator.process_index], accelerator.device)


def _random_state(device: torch.device) -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _restore_random_state(states: Mapping[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def _batches(loader: Any) -> Generator[Batch]:
    """The loader's batches; an error of a worker process keeps its one line and loses the traceback around it."""
    try:
        yield from loader
    except DataError as error:
        raise DataError(str(error).strip().splitlines()[-1].removeprefix("segue.errors.DataError: ")) from None


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """SIGINT and SIGTERM are noted in the list instead of ending the process; a second one ends it as ever."""
    received = [0]
    before: dict[int, Any] = {}

    def note(number: int, frame: FrameType | None) -> None:
        received[0] = number
        signal.signal(number, before[number])

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, note)
    except ValueError:  # not in the main thread: whoever started the thread handles signals
        pass
    try:
        yield received
    finally:
        for installed, handler in before.items():
            signal.signal(installed, handler)


def _agreed(received: int, accelerator: Accelerator) -> bool:
    """Whether any process was told to stop: all stop at the same step."""
    if accelerator.num_processes == 1:
        return received != 0
    told = torch.tensor(float(received != 0), device=accelerator.device)
    return float(accelerator.reduce(told, reduction="sum")) > 0


def share_object(value: Any) -> Any:
    """The first process's value, on every process."""
    return broadcast_object_list([value])[0]


class _Clock:
    """Time of training alone: validation and saving are not counted."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.since_start = (state.step, state.seconds)
        self.recent: list[float] = []
        self.start()

    def start(self) -> None:
        self.started = time.perf_counter()

    def stop(self, pictures: int) -> None:
        took = time.perf_counter() - self.started
        self.state.seconds += took
        self.state.pictures += pictures
        self.recent = [*self.recent[-49:], took]
        self.batch = pictures

    @contextmanager
    def waiting(self) -> Iterator[None]:
        before = time.perf_counter()
        yield
        self.state.waited += time.perf_counter() - before

    def tick(self, steps: int, loss: float, lr: float) -> Tick:
        mean = sum(self.recent) / len(self.recent)
        return Tick(
            step=self.state.step,
            steps=steps,
            loss=loss,
            lr=lr,
            images_per_second=self.batch / mean,
            waiting=self.state.waited / max(self.state.seconds, 1e-9),
            remaining=mean * (steps - self.state.step),
            seconds=self.state.seconds,
            waited=self.state.waited,
        )
