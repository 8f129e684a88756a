"""Looking at what the modules of a network take and give, while it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from segue.models import Network


@dataclass(frozen=True)
class Seen:
    """One call of a module: its positional arguments, and what it gave."""

    inputs: tuple[Any, ...]
    output: Any


@contextmanager
def watched(*modules: nn.Module) -> Iterator[dict[nn.Module, list[Seen]]]:
    """While it lasts, every call of these modules is kept, in order."""
    calls: dict[nn.Module, list[Seen]] = {module: [] for module in modules}

    def keep(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        calls[module].append(Seen(inputs, output))

    handles = [module.register_forward_hook(keep) for module in modules]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def replaced(module: nn.Module, change: Callable[[Any], Any]) -> Iterator[None]:
    """While it lasts, the module gives `change` of what it gives."""
    handle = module.register_forward_hook(lambda module, inputs, output: change(output))
    try:
        yield
    finally:
        handle.remove()


def last_map(output: Any) -> Tensor:
    """The one map of a module that gives one, or the last of several: of a backbone's, the coarsest."""
    if isinstance(output, Tensor):
        return output
    maps = [one for one in output if isinstance(one, Tensor) and one.ndim == 4]
    if not maps:
        raise ValueError("this module gives no map")
    return maps[-1]


def parts(network: nn.Module, kind: type[nn.Module]) -> list[tuple[str, nn.Module]]:
    """All modules of a kind, with their names, in the network's order."""
    return [(name, module) for name, module in network.named_modules() if isinstance(module, kind)]


def scoring(network: Network[Any], images: Tensor) -> list[str]:
    """The names of the convolutions that score the classes out of features, in the order in which they compute.

    They are recognised by what they are: outside of the backbone they give, on such images, as many channels as there
    are classes out of another number of them.
    """
    own = set() if network.backbone is None else set(network.backbone.modules())
    names = {module: name for name, module in network.named_modules() if module not in own}
    classes = network.num_classes
    found: list[str] = []

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        if names[module] not in found:
            found.append(names[module])

    handles = [
        module.register_forward_hook(note)
        for module in names
        if isinstance(module, nn.Conv2d) and module.out_channels == classes != module.in_channels
    ]
    try:
        with torch.inference_mode(), FakeTensorMode(allow_non_fake_inputs=True):
            network(torch.empty(images.shape))
    finally:
        for handle in handles:
            handle.remove()
    return found


def enter(network: nn.Module, layer: str) -> nn.Module:
    """A module by its dotted name. Raises ValueError with near ones for a name that is not there."""
    known = dict(network.named_modules())
    if not layer or layer not in known:
        near = [name for name in known if name and (layer in name or name in layer)] or [name for name in known if name]
        raise ValueError(f"the network has no layer {layer!r}; it has {', '.join(near[:8])}, ...")
    return known[layer]
