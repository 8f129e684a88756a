"""How much memory a piece of work on a network would take, found out without doing it."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

TOTAL = 2.3 * 2**30
"""Bytes that are planned for the whole process, which is to stay below 3 GiB: what convolutions take for themselves
while they compute cannot be told from shapes, and was up to half a GiB."""
PROCESS = 0.85 * 2**30
"""Of them for PyTorch, the other libraries, and pictures being drawn."""

Work = Callable[[nn.Module, Tensor], object]
"""(the network, images (1, C, H, W)) -> whatever it keeps."""


def peak_bytes(network: nn.Module, size: Sequence[int], work: Work) -> int:
    """The most bytes that maps take at a time while `work` is done on a picture of size (C, H, W).

    It runs on shapes alone, so that it takes a moment and next to no memory itself.
    """
    with FakeTensorMode(allow_non_fake_inputs=True):
        images = torch.empty(1, *size)
        with _Living() as living:
            kept = work(network, images)
    del kept
    return living.most


def room_beside(network: nn.Module, kept: float = 0.0) -> float:
    """Bytes that are left for maps beside a network's weights, and what is kept besides; at least a tenth of all."""
    weights = sum(one.numel() * one.element_size() for one in [*network.parameters(), *network.buffers()])
    return max(TOTAL - PROCESS - weights - kept, TOTAL / 10)


def factor_to_fit(network: nn.Module, size: Sequence[int], work: Work, room: float) -> float:
    """By how much a picture's sides have to shrink, at most 1, so that the work fits the room."""
    needed = peak_bytes(network, size, work)
    return 1.0 if needed <= room else math.sqrt(room / needed) * 0.98


class _Living(TorchDispatchMode):
    """Counts the bytes of all tensors that are made and not yet freed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for one in tree_leaves(out):
            if isinstance(one, Tensor):
                self._note(one.untyped_storage())
        return out

    def _note(self, storage: Any) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self.known:
            return
        self.known.add(key)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._free, key, size)

    def _free(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size
