"""Several processes that share one evaluation: each has its pictures, and all of them are put together once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TypeVar

import torch

T = TypeVar("T")


@dataclass(frozen=True)
class Team:
    """This process among those that `torchrun` or Slurm started; one alone by default.

    index, count: which one of how many. device: its own; "" leaves it to the caller.
    """

    index: int = 0
    count: int = 1
    device: str = ""

    @classmethod
    def joined(cls, device: str = "") -> Team:
        """The team that the environment speaks of, joined. device: what the user asked for, "" for the accelerator."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls(device=device)
        from accelerate import PartialState

        state = PartialState(cpu=device == "cpu" or not torch.cuda.is_available())
        return cls(state.process_index, state.num_processes, str(state.device))

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.index == 0

    def share(self, count: int) -> range:
        """The pictures of this process: each picture is in exactly one's share, however uneven they are."""
        return range(self.index, count, self.count)

    def gather(self, value: T) -> list[T]:
        """What every process found, in their order, on every process. Tensors in it must be on the CPU."""
        if self.count == 1:
            return [value]
        from accelerate.utils import gather_object

        gathered: list[T] = gather_object([value])
        return gathered
