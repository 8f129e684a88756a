"""What a run is fed with: pictures that are kept once decoded, class weights, and rare classes seen more often."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from accelerate.utils import gather_object

from segue.data import DataSet
from segue.data.cache import CachePlan, DiskStore, KeptDataSet, Store, plan_cache
from segue.data.class_index import ClassIndex, index_classes
from segue.data.loading import TrainingSamples
from segue.data.memory import MemoryStore, free_memory
from segue.data.sampling import RareClasses, rare_classes
from segue.data.source import read_pair
from segue.data.transforms import Augmentation
from segue.data.weights import inverse_log_frequency, median_frequency
from segue.errors import DataError
from segue.files import cache_folder
from segue.options import DataOptions, Recipe
from segue.progress import ProgressLine, bar, in_bytes
from segue.recipe import RecipeError
from segue.training import share_object

Say = Callable[[str], None]

RULES: dict[str, Callable[[ClassIndex], tuple[float, ...]]] = {
    "median": median_frequency,
    "enet": inverse_log_frequency,
}
"""loss.weights -> the class weights that the training masks give."""


@dataclass(frozen=True)
class Balance:
    """What evens out classes of different size: their weights in the loss, and how the rare ones are drawn."""

    weights: tuple[float, ...] | None
    rare: RareClasses | None


# Keeping


def keep_pictures(
    training: DataSet, validation: DataSet, options: DataOptions, accelerator: Accelerator, say: Say
) -> tuple[DataSet, DataSet]:
    """Both splits, with their decoded pictures kept as `data.cache` asks; what becomes of them is said.

    All processes of a machine share one memory, those of the loader as well. Raises DataError where files are asked
    for and the data has none to tell them by.
    """
    if options.cache in ("off", False):
        return training, validation
    free = min(gather_object([free_memory()]))  # the machine with the least decides for all
    kept: list[DataSet] = []
    left = free
    for data, split in ((training, options.train), (validation, options.val)):
        first = read_pair(data, 0)
        plan = plan_cache(options.cache, len(data), first, left)
        left = max(0, left - min(plan.needed, plan.limit)) if plan.where == "ram" else left
        say(f"{split}: {describe_plan(plan, options, free)}")
        if plan.where == "off":
            kept.append(data)
            continue
        whole = KeptDataSet(data, _open_store(data, plan, options, accelerator))
        for slot, array in enumerate(first):
            whole.store.put(slot, array)
        kept.append(whole)
    return kept[0], kept[1]


def _open_store(data: DataSet, plan: CachePlan, options: DataOptions, accelerator: Accelerator) -> Store:
    if plan.where == "ram":
        return _shared_memory(2 * len(data), plan.limit, accelerator)
    if data.stamp(0) is None:
        raise DataError(f'data.cache = "disk": {options.name} has no files to know again; take "ram" or "off"')
    return DiskStore(disk_folder(), data)


def disk_folder() -> Path:
    """Where `data.cache = "disk"` keeps decoded pictures."""
    return cache_folder() / "pictures"


def _shared_memory(slots: int, limit: int, accelerator: Accelerator) -> MemoryStore:
    """One store for all processes of a machine; a process that cannot reach the others' has its own."""
    if accelerator.num_processes == 1:
        return MemoryStore(slots, limit)
    own = MemoryStore(slots, limit) if accelerator.is_local_main_process else None
    for store_of in gather_object([own.handle if own is not None else None]):
        if own is None and store_of is not None:
            own = MemoryStore.reach(store_of)
    accelerator.wait_for_everyone()
    return own or MemoryStore(slots, limit // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def describe_plan(plan: CachePlan, options: DataOptions, free: int) -> str:
    """What becomes of decoded pictures, for people."""
    size = f"about {in_bytes(plan.needed)}"
    if plan.where == "disk":
        return f"decoded pictures are kept in {disk_folder()} (less than {in_bytes(plan.needed)})"
    if plan.where == "off":
        return (
            f"decoded pictures are not kept: {size}, more than a quarter of the {in_bytes(free)} of free memory "
            '(data.cache = "ram" keeps what fits, "disk" keeps all in files)'
        )
    if plan.needed > plan.limit:
        return f"{plan.limit / plan.needed:.0%} of the decoded pictures ({size}) fit into memory and are kept there"
    return f"decoded pictures are kept in memory ({size} of {in_bytes(free)} free)"


# Balancing


def balance_classes(recipe: Recipe, training: DataSet, accelerator: Accelerator, say: Say) -> Balance:
    """Class weights and the drawing of rare classes, as the recipe asks; the table of the classes is said.

    Masks are counted by the first process, and only where something is made of it.
    """
    asked, rare = recipe.loss.weights, recipe.augment.rare
    if isinstance(asked, tuple) and len(asked) != training.labels.num_classes:
        raise RecipeError(f"loss.weights lists {len(asked)} numbers for {training.labels.num_classes} classes")
    index = None
    if rare > 0 or asked in RULES:
        index = share_object(_counted(training) if accelerator.is_main_process else None)
        assert isinstance(index, ClassIndex)
        if index.total.sum() == 0:
            raise DataError(f"{recipe.data.name}: no mask of {recipe.data.train} holds any class; see data.map")
    weights = (
        asked if isinstance(asked, tuple) else RULES[asked](index) if index is not None and asked in RULES else None
    )
    balance = Balance(weights, rare_classes(index, rare) if index is not None and rare > 0 else None)
    for line in class_table(training.labels.classes, index, balance):
        say(line)
    return balance


def training_samples(recipe: Recipe, training: DataSet, balance: Balance) -> TrainingSamples:
    """The pictures as the network sees them in training, by position."""
    how = recipe.augment
    return TrainingSamples(
        training,
        Augmentation(how.crop, how.scale, how.max_share, how.mirror, how.photometric),
        seed=recipe.training.seed,
        shrink=recipe.data.shrink,
        rare=balance.rare,
    )


def _counted(training: DataSet) -> ClassIndex:
    line = ProgressLine(every_in_file=10.0)
    index = index_classes(
        training, lambda done, count: line.show(f"counting classes {bar(done, count)} {done}/{count}")
    )
    line.finish()
    return index


def class_table(classes: tuple[str, ...], index: ClassIndex | None, balance: Balance) -> list[str]:
    """The classes with their share of all pixels, the pictures that hold them, their weight, and their share of crops.

    Columns that say nothing are left out; without weights and without counts there is no table.
    """
    columns: list[list[str]] = []
    if index is not None:
        columns.append(["of pixels", *(f"{share:.2%}" for share in index.share)])
        columns.append(["in pictures", *(f"{count / len(index.pixels):.0%}" for count in index.pictures)])
    if balance.weights is not None:
        columns.append(["weight", *(f"{weight:.2f}" for weight in balance.weights)])
    if balance.rare is not None:
        shares = balance.rare.share * balance.rare.chance
        columns.append(["crops centred on it", *(f"{share:.1%}" for share in np.asarray(shares))])
    if not columns:
        return []
    names = ["class", *classes]
    widths = [max(map(len, column)) for column in columns]
    longest = max(map(len, names))
    return [
        "  ".join([name.ljust(longest), *(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))])
        for name, *cells in zip(names, *columns, strict=True)
    ]
