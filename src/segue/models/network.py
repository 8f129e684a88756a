"""The contract: all that the toolkit relies on when it trains, evaluates, predicts or exports a network."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Generic, Self, TypeVar, get_type_hints

from torch import Tensor, nn

from segue.backbones import BackboneOptions

Criterion = Callable[[Tensor, Tensor], Tensor]
"""(logits (B, K, H, W), target (B, H, W)) -> scalar: the loss of one segmentation map."""

OutputT = TypeVar("OutputT", bound=tuple[Any, ...])


@dataclass(frozen=True)
class Paper:
    """Where a network was published."""

    title: str
    authors: str
    venue: str
    year: int
    arxiv: str | None = None


@dataclass(frozen=True)
class Progress:
    """Where training stands, for networks that learn from it (`Network.observe`).

    step counts optimiser steps from 0; lr and base_lr are those of the first parameter group.
    """

    step: int
    total_steps: int
    epoch: int
    lr: float
    base_lr: float


class Network(nn.Module, ABC, Generic[OutputT]):
    """A segmentation network: `__init__` takes its parts and, by keyword only, its options.

    backbone_options: the paper's backbone, for `build`; None where a network has none, or a `build` of its own.
    backbone: its pretrained part, which may train at a lower rate than the rest; None where there is none.
    all_outputs: compute in eval() also what only training reads.
    unused_tensors: names of a converted checkpoint's tensors that its own codebase never computes with.
    """

    paper: ClassVar[Paper]
    backbone_options: ClassVar[BackboneOptions | None] = None
    backbone: nn.Module | None
    num_classes: int
    in_channels: int
    all_outputs: bool = False
    unused_tensors: tuple[str, ...] = ()

    @classmethod
    def build(cls, num_classes: int, *, in_channels: int = 3, **options: Any) -> Self:
        """The network from a recipe's `[model]` keys; without any, the paper's.

        options: fields of `backbone_options`, and keywords of `__init__`; what is both goes to both.
        """
        assert cls.backbone_options is not None  # or the class has a `build` of its own
        of_backbone = {field.name for field in fields(cls.backbone_options)}
        chosen = replace(cls.backbone_options, **{key: options[key] for key in of_backbone & options.keys()})
        own = {key: options[key] for key in options if key not in of_backbone or key in keywords(cls.__init__)}
        return cls(chosen.build(in_channels), num_classes, **own)

    @classmethod
    def options(cls) -> dict[str, Any]:
        """The keywords that `build` takes, with their defaults."""
        options = keywords(cls.build)
        if cls.backbone_options is not None:
            own = {field.name: getattr(cls.backbone_options, field.name) for field in fields(cls.backbone_options)}
            options |= own | keywords(cls.__init__)
        return options

    @classmethod
    def kinds(cls) -> dict[str, Any]:
        """The same keywords with the annotations of their values."""
        kinds = keyword_kinds(cls.build)
        if cls.backbone_options is not None:
            kinds |= get_type_hints(type(cls.backbone_options)) | keyword_kinds(cls.__init__)
        return kinds

    @abstractmethod
    def forward(self, images: Tensor) -> OutputT:
        """(B, C, H, W) -> a NamedTuple, `logits` (B, K, H, W) first; one type in train() and eval()."""

    def scores(self, images: Tensor) -> OutputT:
        """What `forward` enlarges: the same maps at their own strides; by default, those of `forward` itself."""
        output: OutputT = self(images)
        return output

    @abstractmethod
    def loss(self, output: OutputT, target: Tensor) -> dict[str, Tensor]:
        """Weighted terms by name, of a target (B, H, W) int64; training adds them up and logs each."""

    def observe(self, output: OutputT, target: Tensor, progress: Progress) -> None:
        """Called between forward and loss in training, without gradient: a network with a memory learns here."""

    def remembered(self) -> dict[str, Tensor]:
        """Small tensors that training changes and that one may want to look back at; a run keeps them over time."""
        return {}

    def beside_memory(self, images: Tensor) -> tuple[Tensor, Tensor] | None:
        """What a network with a memory of classes compares with it: features (B, C, h, w), and its rows (K, C)."""
        return None


def keywords(function: Callable[..., Any]) -> dict[str, Any]:
    """Its keyword-only parameters, with their defaults."""
    parameters = inspect.signature(function).parameters.values()
    return {one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY}


def keyword_kinds(function: Callable[..., Any]) -> dict[str, Any]:
    """Its keyword-only parameters, with the types that they are annotated with."""
    hints = get_type_hints(function)
    return {name: hints[name] for name in keywords(function)}
