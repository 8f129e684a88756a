"""A run: from a recipe to a folder with a trained model, its log and its pictures; begun or gone on with."""

from __future__ import annotations

import json
import math
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration

import segue
from segue import history, report
from segue import recipe as recipes
from segue.backbones import read_state
from segue.data import DATASETS, DataSet, Understood, open_split, short_name, understand_own
from segue.data.held_out import hold_out, labels_without, values_without
from segue.data.levels import is_usual, mean_and_deviation
from segue.evaluation import Evaluation
from segue.feed import balance_classes, keep_pictures, training_samples
from segue.files import make_folder, read_json, write_json, write_text
from segue.initialise import class_dimensions, initialise
from segue.labels import Labels
from segue.log import write_log
from segue.model import FETCHED, Card, Model, ModelError, load
from segue.models import Network, create
from segue.options import DataOptions, Recipe
from segue.pictures import viewable
from segue.prediction import Preprocessing, bfloat16_is_fast
from segue.progress import ProgressLine, bar, counted, duration
from segue.recipe import RecipeError
from segue.training import Job, Result, ResumeError, Seen, Tick, read_checkpoint, share_object, train

Say = Callable[[str], None]


@dataclass(frozen=True)
class Finished:
    """A run's folder and how it ended."""

    folder: Path
    result: Result


def begin(recipe: Recipe, *, out: str = "", init: str = "", command: Sequence[str] = ()) -> Finished:
    """Train by a recipe, in a new folder: `out`, or runs/NETWORK-DATA; numbered when it is taken.

    init: a run's folder, or a file of weights, to start from.
    """
    return _run(recipe, out=out, init=init, command=command)


def resume(
    folder: str | Path, changes: Mapping[str, Any], *, change_recipe: bool = False, command: Sequence[str] = ()
) -> Finished:
    """Go on with a run from its last checkpoint.

    changes: recipe keys that are to differ from now on; an error unless `change_recipe`, as is a recipe.toml that is
    no longer the one of the checkpoint. Raises ResumeError.
    """
    folder = Path(folder)
    if not (folder / "recipe.toml").is_file():
        raise ResumeError(f"{folder}: is not a run's folder (no recipe.toml)")
    checkpoint = folder / "checkpoints" / "last"
    before = read_checkpoint(checkpoint)
    now = recipes.override(recipes.read(folder / "recipe.toml"), changes, "the command line")
    changed = recipes.changed_keys(before["recipe"], recipes.to_dict(now))
    if changed and not change_recipe:
        raise ResumeError(
            f"{folder}: the recipe differs from the checkpoint's in {', '.join(changed)}; put it back, "
            "or say --change-recipe to go on with the new one"
        )
    return _run(now, out=str(folder), init="", command=command, checkpoint=checkpoint)


def _run(recipe: Recipe, *, out: str, init: str, command: Sequence[str], checkpoint: Path | None = None) -> Finished:
    accelerator = make_accelerator(recipe, Path(out or "runs"))
    line = ProgressLine()
    say: Say = line.say if accelerator.is_main_process else (lambda text: None)
    earlier = Path(out) / DATA if checkpoint is not None else None
    data = share_object(understand_data(recipe, earlier) if accelerator.is_main_process else None)
    for one in data.lines:
        say(f"{recipe.data.name}: {one}")
    labels = labels_without(data.labels, recipe.data.hold_out)
    if isinstance(recipe.loss.weights, tuple):
        kept = values_without(recipe.loss.weights, data.labels, recipe.data.hold_out)
        recipe = replace(recipe, loss=replace(recipe.loss, weights=kept))
    training, validation = (
        hold_out(open_split(recipe.data.name, recipe.data.root, split, data.labels), recipe.data.hold_out)
        for split in (recipe.data.train, recipe.data.val)
    )
    training, validation = keep_pictures(training, validation, recipe.data, accelerator, say)
    recipe = share_object(fit_levels(recipe, training, say) if accelerator.is_main_process else None)
    steps = recipe.training.steps or math.ceil(recipe.training.epochs * len(training) / recipe.training.batch)
    recipe = replace(recipe, training=replace(recipe.training, steps=steps))
    say(
        f"{recipe.network} on {recipe.data.name}: {len(training)} training and {len(validation)} validation pictures, "
        f"{labels.num_classes} classes; {steps} steps of {recipe.training.batch} "
        f"({steps * recipe.training.batch / len(training):.1f} epochs)"
    )
    first = training.image(0)
    recipe = recipes.resolve_crop(recipe, first.shape[:2])
    balance = balance_classes(recipe, training, accelerator, say)
    torch.manual_seed(recipe.training.seed)
    network = build_network(recipe, labels, balance.weights, fetch=checkpoint is None and not init)
    if init:
        say(_initialise(network, recipe, labels, init))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    precision = _precision(recipe, accelerator.device)
    say(f"{parameters / 1e6:.2f} M parameters; {accelerator.num_processes} x {accelerator.device.type}, {precision}")

    folder = Path(out)
    if checkpoint is None:
        folder = Path(share_object(str(_new_folder(recipe, out)) if accelerator.is_main_process else None))
    preprocessing = Preprocessing(recipe.data.mean, recipe.data.std, recipe.data.shrink)
    card = Card(recipe.network, _card_options(recipe), labels, preprocessing, pixels=str(first.dtype))
    watcher = _Watcher(folder, recipe, labels, line, network)
    if accelerator.is_main_process:
        write_text(
            folder / "recipe.toml",
            recipes.to_toml(recipe, f"Every value as used; train again with: segue train {folder}/recipe.toml"),
        )
        write_json(folder / "environment.json", environment(accelerator, recipe.training.seed, command))
        if checkpoint is None:
            write_json(
                folder / DATA,
                {
                    "lines": list(data.lines),
                    "labels": data.labels.to_dict(),
                    "map": recipe.data.map,
                    "classes": list(recipe.data.classes),
                },
            )
            report.labels_picture(labels, None, folder / "labels.png")
    if recipe.training.trackers:
        accelerator.init_trackers("segue", config=_flat(recipes.to_dict(recipe)))
    job = Job(
        network=network,
        samples=training_samples(recipe, training, balance),
        validation=validation,
        preprocessing=preprocessing,
        policy=recipes.build_policy(recipe.schedule, steps),
        steps=steps,
        how=recipe.training,
        optim=recipe.optim,
        folder=folder,
        recipe=recipes.to_dict(recipe),
        accelerator=accelerator,
        watcher=watcher,
        keep=lambda best, row: Model(best, replace(card, measured=dict(row))).save(folder / "model"),
        workers=loader_workers(recipe, accelerator.num_processes, beside_processor=accelerator.device.type == "cpu"),
    )
    try:
        result = train(job, checkpoint)
    except BaseException:
        if accelerator.is_main_process and not (folder / "log.csv").exists() and not (folder / "checkpoints").exists():
            shutil.rmtree(folder, ignore_errors=True)  # nothing was learned that anyone could use
        raise
    finally:
        line.finish()
        if recipe.training.trackers:
            accelerator.end_training()
    return Finished(folder, result)


def make_accelerator(recipe: Recipe, folder: Path) -> Accelerator:
    """Accelerate's face to devices and processes: what `torchrun` says, or this process alone.

    Mixed precision stays with `segue.prediction.autocast`, so that training and prediction compute alike.
    """
    trackers = list(recipe.training.trackers)
    return Accelerator(
        cpu=not (torch.cuda.is_available() or torch.backends.mps.is_available()),
        log_with=trackers or None,
        project_config=ProjectConfiguration(project_dir=str(folder), logging_dir=str(folder / "trackers")),
    )


def understand_data(recipe: Recipe, earlier: Path | None = None) -> Understood:
    """What the data is: the data set's declaration, or what a folder's files and the recipe say.

    earlier: where a run that goes on has written it down.
    """
    data = recipe.data
    values = recipes.raw_values(data.map, "data.map")
    if data.name in DATASETS:
        if values or data.classes:
            raise RecipeError(f"data.map and data.classes are for folders; {data.name} declares its own")
        return Understood(open_split(data.name, data.root, data.train).labels, ())
    if earlier is not None and earlier.is_file():
        kept = read_json(earlier, "delete it, and the data are looked at anew")
        if (kept["map"], kept["classes"]) == (data.map, list(data.classes)):
            return Understood(Labels.from_dict(kept["labels"]), tuple(kept["lines"]))
    return understand_own(data.name, values, data.classes, data.train)


def fit_levels(recipe: Recipe, training: DataSet, say: Say) -> Recipe:
    """The recipe, with mean and deviation of the training pictures where ImageNet's do not fit them.

    Raises RecipeError when the recipe says some for another number of channels.
    """
    first = training.image(0)
    if recipe.data.mean == DataOptions.mean and recipe.data.std == DataOptions.std and not is_usual(first):
        mean, std = mean_and_deviation(training)
        say(
            f"pictures of {counted(first.shape[2], 'channel')} of {8 * first.itemsize} bits: "
            f"mean {' '.join(f'{one:g}' for one in mean)}, deviation {' '.join(f'{one:g}' for one in std)}"
        )
        return replace(recipe, data=replace(recipe.data, mean=mean, std=std))
    if len(recipe.data.mean) != first.shape[2]:
        raise RecipeError(
            f"data.mean has {len(recipe.data.mean)} numbers, but the pictures {first.shape[2]} channels; "
            "give one for each, or none to have them measured"
        )
    return recipe


DATA = "data.json"
"""What the run's data was taken to be, in a run's folder."""


def build_network(
    recipe: Recipe, labels: Labels, weights: Sequence[float] | None = None, *, fetch: bool = True
) -> Network[Any]:
    """The recipe's network with its criterion; `fetch=False` leaves out pretrained weights."""
    options = dict(recipe.model)
    if not fetch:
        options = {key: value for key, value in options.items() if key not in FETCHED}
    for key in options:
        if key in ("criterion", "in_channels", "num_classes"):
            raise RecipeError(f"model.{key} follows from the data and the loss: leave it out")
    criterion = recipes.build_criterion(recipe.loss, weights)
    channels = len(recipe.data.mean)
    return create(recipe.network, labels.num_classes, in_channels=channels, criterion=criterion, **options)


def _card_options(recipe: Recipe) -> dict[str, Any]:
    return {**recipe.model, "in_channels": len(recipe.data.mean)}


def _initialise(network: Network[Any], recipe: Recipe, labels: Labels, source: str) -> str:
    """Fill the network from a run or a file; returns what became of it, for people."""
    path = Path(source)
    old_classes: tuple[str, ...] = ()
    if path.is_dir():
        model = load(path, device="cpu")
        state, old_classes = model.network.state_dict(), model.labels.classes
    elif path.is_file():
        state = read_state(path)
    else:
        raise ModelError(f"{source}: there is no such run or file to start from")
    options = {key: value for key, value in _card_options(recipe).items() if key not in FETCHED}
    dimensions = class_dimensions(lambda count: create(recipe.network, count, **options), labels.num_classes)
    try:
        outcome = initialise(network, state, dimensions=dimensions, old_classes=old_classes, new_classes=labels.classes)
    except ValueError as error:
        raise ModelError(f"{source}: {error}") from error
    return f"starting from {source}: {outcome}"


def loader_workers(recipe: Recipe, processes: int, *, beside_processor: bool) -> int:
    """Loader processes of each process: one beside a network on the processor, up to eight beside an accelerator."""
    if recipe.data.workers >= 0:
        return recipe.data.workers
    own = cores() // processes
    if beside_processor:
        return 1 if own > 1 else 0
    return max(1, min(8, own - 1))


def cores() -> int:
    """Processor cores that this process may use."""
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _precision(recipe: Recipe, device: torch.device) -> str:
    if recipe.training.precision == "auto":
        return "bfloat16" if bfloat16_is_fast(device) else "float32"
    return recipe.training.precision


def _new_folder(recipe: Recipe, out: str) -> Path:
    """Make the run's folder: `out` or runs/NETWORK-DATA, with -2, -3, ... behind it when it is taken."""
    wanted = Path(out) if out else Path("runs") / f"{recipe.network}-{short_name(recipe.data.name)}"
    make_folder(wanted.parent)
    number = 1
    while True:
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            make_folder(folder, new=True)
        except FileExistsError:
            number += 1
        else:
            return folder


def environment(accelerator: Accelerator, seed: int, command: Sequence[str]) -> dict[str, Any]:
    """Versions, devices, seed, git commit and command, for whoever repeats the run."""
    import accelerate
    import PIL
    import timm
    import torchvision

    devices = [accelerator.device.type] * accelerator.num_processes
    if accelerator.device.type == "cuda":
        devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "segue": segue.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "timm": timm.__version__,
        "accelerate": accelerate.__version__,
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "platform": platform.platform(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "devices": devices,
        "processes": accelerator.num_processes,
        "seed": seed,
        "git_commit": _git_commit(),
        "command": " ".join(command) if command else " ".join(sys.argv),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _git_commit() -> str | None:
    """The commit of the working folder, which is the user's own project; None outside of one."""
    try:
        answer = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None if answer.returncode == 0 else None


def _flat(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value if isinstance(value, int | float | str | bool) else str(value)
    return flat


class _Watcher:
    """Shows progress, and keeps the run's log and pictures up to date."""

    def __init__(self, folder: Path, recipe: Recipe, labels: Labels, line: ProgressLine, network: Network[Any]) -> None:
        self.folder, self.recipe, self.labels, self.line, self.network = folder, recipe, labels, line, network

    def stepped(self, tick: Tick) -> None:
        self.line.show(
            f"{bar(tick.step, tick.steps)} {tick.step}/{tick.steps}  loss {tick.loss:.3f}  lr {tick.lr:.2e}  "
            f"{tick.images_per_second:.1f} images/s  waiting {tick.waiting:.0%}  {duration(tick.remaining)} left"
        )

    def validated(
        self, rows: Sequence[Mapping[str, float]], evaluation: Evaluation, panels: Sequence[Seen], best: bool
    ) -> None:
        write_log(rows, self.folder / "log.csv")
        last = rows[-1]
        history.keep(self.folder, round(last["step"]), self.network.remembered())
        self.line.say(
            f"step {last['step']:.0f}  loss {last['loss']:.4f}  miou {last['miou']:.4f}  "
            f"pixel accuracy {last['pixel_accuracy']:.4f}  {duration(last['seconds'])}" + ("  (best)" if best else "")
        )
        self.draw(rows, evaluation, panels)

    def draw(self, rows: Sequence[Mapping[str, float]], evaluation: Evaluation, panels: Sequence[Seen]) -> None:
        """All of the run's pictures, and the report with all of them in it."""
        folder = self.folder
        table = evaluation.table.cpu().numpy()
        shares = table.sum(axis=1) / max(table.sum(), 1)
        report.curves(rows, folder / "curves.png")
        report.confusion_picture(table, self.labels, folder / "confusion.png")
        report.labels_picture(self.labels, shares, folder / "labels.png")
        report.predictions_picture(
            [report.Panel(one.name, viewable(one.image), one.truth, one.predicted) for one in panels],
            self.labels,
            folder / "predictions.png",
        )
        summary = evaluation.summary()
        absent = [self.labels.classes[index] for index in summary.absent]
        top = max(rows, key=lambda row: row["miou"])
        report.write_report(
            folder,
            title=folder.name,
            summary={
                **summary.numbers(),
                "classes averaged": f"{summary.classes} of {self.labels.num_classes}"
                + (f" (absent: {', '.join(absent)})" if absent else ""),
                "best mIoU": f"{top['miou']:.4f} at step {top['step']:.0f}",
                "split": self.recipe.data.val,
                "step": f"{rows[-1]['step']:.0f} of {self.recipe.training.steps}",
            },
            recipe=(folder / "recipe.toml").read_text(encoding="utf-8"),
            environment=json.loads((folder / "environment.json").read_text(encoding="utf-8")),
            class_rows=evaluation.class_rows(self.labels),
            pictures=[
                ("Predictions on validation pictures", folder / "predictions.png"),
                ("Training", folder / "curves.png"),
                ("Confusion of classes", folder / "confusion.png"),
                ("Classes", folder / "labels.png"),
            ],
        )
