"""Starting a network from another one's weights: what fits is taken, what does not starts anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Initialised:
    """What became of each tensor of the network.

    loaded: taken as it is. by_class: classifier tensors of which the rows of common classes were taken.
    anew: left at their random values. unused: names in the file that found no place.
    """

    loaded: tuple[str, ...]
    by_class: tuple[str, ...]
    anew: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        def short(names: Sequence[str]) -> str:
            shown = ", ".join(names[:6])
            return shown if len(names) <= 6 else f"{shown}, ... ({len(names)})"

        parts = [f"{len(self.loaded)} tensors taken"]
        if self.by_class:
            parts.append(f"rows of common classes taken: {short(self.by_class)}")
        if self.anew:
            parts.append(f"starting anew: {short(self.anew)}")
        if self.unused:
            parts.append(f"not used: {short(self.unused)}")
        return "; ".join(parts)


def class_dimensions(build: Callable[[int], nn.Module], num_classes: int) -> dict[str, tuple[int, ...]]:
    """Which dimensions of which tensors count classes: those that change when there is one class more.

    build: number of classes -> network; it is called on the meta device, where nothing is allocated.
    """
    with torch.device("meta"):
        fewer, more = build(num_classes).state_dict(), build(num_classes + 1).state_dict()
    found = {}
    for name, tensor in fewer.items():
        grown = tuple(d for d in range(tensor.ndim) if tensor.shape[d] != more[name].shape[d])
        if grown:
            found[name] = grown
    return found


def initialise(
    network: nn.Module,
    state: Mapping[str, Tensor],
    *,
    dimensions: Mapping[str, tuple[int, ...]],
    old_classes: Sequence[str] = (),
    new_classes: Sequence[str] = (),
) -> Initialised:
    """Fill a network, in place, from a state dict by name and shape.

    dimensions: as `class_dimensions` finds them. Along these, when both sets of classes are known and differ, the rows
    of classes with the same name (letter case apart) are copied. Raises ValueError when nothing fits at all.
    """
    own = network.state_dict()
    places = {name.casefold(): index for index, name in enumerate(old_classes)}
    common = [(new, places[name.casefold()]) for new, name in enumerate(new_classes) if name.casefold() in places]
    renamed = bool(old_classes) and [*places] != [name.casefold() for name in new_classes]
    loaded, by_class, anew = [], [], []
    with torch.no_grad():
        for name, tensor in own.items():
            given = state.get(name)
            if given is None:
                anew.append(name)
            elif renamed and name in dimensions:
                if common and _rows_fit(tensor, given, dimensions[name], len(old_classes)):
                    _copy_rows(tensor, given, dimensions[name], common)
                    by_class.append(name)
                else:
                    anew.append(name)
            elif given.shape == tensor.shape:
                tensor.copy_(given)
                loaded.append(name)
            else:
                anew.append(name)
    if not loaded and not by_class:
        raise ValueError(
            f"no tensor fits this network by name and shape ({', '.join(list(state)[:3])}, ...); "
            "convert weights of another codebase with `segue convert` first"
        )
    counted = [name for name in anew if not name.endswith("num_batches_tracked")]
    unused = tuple(name for name in state if name not in own)
    return Initialised(tuple(loaded), tuple(by_class), tuple(counted), unused)


def _rows_fit(tensor: Tensor, given: Tensor, dimensions: Sequence[int], old_count: int) -> bool:
    return tensor.ndim == given.ndim and all(
        given.shape[d] == (old_count if d in dimensions else tensor.shape[d]) for d in range(tensor.ndim)
    )


def _copy_rows(tensor: Tensor, given: Tensor, dimensions: Sequence[int], common: Sequence[tuple[int, int]]) -> None:
    rows = {d: [list(side) for side in zip(*common, strict=True)] for d in dimensions}
    everything = [range(tensor.shape[d]) for d in range(tensor.ndim)]
    new = torch.meshgrid(
        [torch.tensor(rows[d][0] if d in rows else everything[d]) for d in range(tensor.ndim)], indexing="ij"
    )
    old = torch.meshgrid(
        [torch.tensor(rows[d][1] if d in rows else everything[d]) for d in range(tensor.ndim)], indexing="ij"
    )
    tensor[new] = given[old].to(tensor)
