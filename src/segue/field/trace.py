"""The receptive field of any network: its forward pass is run without numbers, and each map's field is followed.

Every operator that moves, joins or mixes places has a rule; operators on single places need none. Where there is no
rule, a map counts as seeing the whole picture, and its step says so: the field is then an upper bound.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from segue.field.axis import Axis
from segue.field.rules import RULES, point, unknown
from segue.field.steps import Call, Map, Step

SIDE = 512
"""Of the picture that is sent through; only the alignment of corners makes the field depend on it, by less than 1 %."""


def trace(network: nn.Module, in_channels: int = 3, *, module: str = "", side: int = SIDE) -> Step:
    """The last step of a network's first output (`logits`); its `path` leads there from the picture.

    module: stop at this module's output instead, of several maps at the last. The network is in eval() meanwhile and
    computes nothing, so that it takes a moment whatever its size. Raises ValueError for a module that is not there, or
    that the forward pass does not reach.
    """
    known = dict(network.named_modules())
    if module not in known:
        near = [name for name in known if name and (module in name or name in module)] or [*known][1:]
        raise ValueError(f"the network has no module {module!r}; it has {', '.join(near[:6])}, ...")
    training = network.training
    found: list[Step] = []
    follower = Follower()

    def reached(_: nn.Module, inputs: Any, output: Any) -> None:
        found.extend(follower.maps[id(one)].step for one in tree_leaves(output) if id(one) in follower.maps)

    with torch.inference_mode(), FakeTensorMode(allow_non_fake_inputs=True), follower.names(network):
        kind = next((one.dtype for one in network.parameters()), torch.float32)
        images = torch.empty(1, in_channels, side, side, dtype=kind)
        follower.note(images, Map(Step("", "picture", Axis.of_picture(side), Axis.of_picture(side))))
        handle = known[module].register_forward_hook(reached)
        try:
            with follower:
                network.eval()(images)
        finally:
            handle.remove()
            network.train(training)
    if not found:
        raise ValueError(f"the forward pass gives no map at {module or 'its end'}")
    return found[-1] if module else found[0]


class Follower(TorchDispatchMode):
    """Sees every operator of a forward pass, and notes what is known of its outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.maps: dict[int, Map] = {}
        self.alive: list[Tensor] = []  # what `maps` knows by its id must not be freed
        self.inside: list[str] = [""]  # modules at work, the innermost last

    def note(self, tensor: Tensor, known: Map) -> None:
        """Remember what is known of a tensor."""
        self.maps[id(tensor)] = known
        self.alive.append(tensor)

    @contextmanager
    def names(self, network: nn.Module) -> Iterator[None]:
        """While it lasts, modules say when they are at work."""

        def entering(name: str) -> Any:
            return lambda module, inputs: self.inside.append(name)

        handles = []
        for name, module in network.named_modules():
            handles.append(module.register_forward_pre_hook(entering(name)))
            handles.append(module.register_forward_hook(lambda module, inputs, output: self._leave()))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _leave(self) -> None:
        self.inside.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        inputs = [(one, self.maps[id(one)]) for one in tensors if id(one) in self.maps]
        if not inputs:
            if any(isinstance(one, FakeTensor) for one in tensors):
                return func(*args, **kwargs)
            with unset_fake_temporarily():  # tables of positions are small, and their numbers matter
                return func(*args, **kwargs)
        rule = RULES.get(func.overloadpacket.__name__)
        if rule is None and torch.Tag.pointwise in func.tags:
            rule = point
        if rule is None and func.namespace == "aten":
            with self:
                out = func.decompose(*args, **kwargs)  # into operators that are seen here in turn
            if out is not NotImplemented:
                return out
        out = func(*args, **kwargs)
        if not any(isinstance(one, Tensor) for one in tree_leaves(out)):
            return out
        call = Call(self.inside[-1], args, kwargs, inputs, out)
        for tensor, known in zip(call.outputs, (rule or unknown)(call), strict=False):
            self.note(tensor, known)
        return out
