"""What is explained: a network, one picture as the network sees it, and what is asked about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from segue.explain.memory import Work, factor_to_fit, room_beside
from segue.explain.sheet import Mark
from segue.explain.taps import enter
from segue.labels import IGNORE, Labels
from segue.model import Model
from segue.models import Network
from segue.pictures import resized, viewable
from segue.prediction import Preprocessing, as_batch

POINTS = 3  # places that are looked at when none are named
SHOWN_CLASSES = 4  # classes that are explained one by one when none are named


@dataclass(frozen=True)
class Point:
    """A pixel of the picture as the network sees it. name: its place in the picture's own pixels, as x,y."""

    x: int
    y: int
    name: str


@dataclass(frozen=True)
class Wishes:
    """What was asked for. points: x, y in the picture's own pixels. classes: by name or number. layers: by dotted name.

    Empty ones are chosen by what the network says of the picture.
    """

    points: Sequence[tuple[int, int]] = ()
    classes: Sequence[str] = ()
    layers: Sequence[str] = ()


@dataclass
class Subject:
    """A network in eval(), and one picture.

    inputs: (1, C, h, w) float32, what the network takes. pixels: (h, w, 3) uint8, the same to look at.
    target: (h, w) uint8 classes, where they are known. size: the picture's own (height, width).
    run: the run's folder, where there is one.
    """

    network: Network[Any]
    inputs: Tensor
    pixels: np.ndarray
    labels: Labels
    size: tuple[int, int]
    target: np.ndarray | None = None
    wishes: Wishes = Wishes()
    run: Path | None = None
    say: Callable[[str], None] = field(default=lambda text: None)

    @property
    def seen_at(self) -> str:
        """How the network sees the picture, where it is not as it is."""
        height, width = self.pixels.shape[:2]
        if (height, width) == self.size:
            return ""
        return f"The network sees the picture of {self.size[1]}x{self.size[0]} shrunk to {width}x{height}."

    @cached_property
    def logits(self) -> Tensor:
        """(K, h, w) float32."""
        with torch.inference_mode():
            scores: Tensor = self.network(self.inputs).logits[0].float()
        return scores

    @cached_property
    def probabilities(self) -> Tensor:
        """(K, h, w) float32, adding up to 1 at each pixel."""
        return self.logits.softmax(dim=0)

    @cached_property
    def predicted(self) -> np.ndarray:
        """(h, w) uint8, the class of the highest score."""
        return self.logits.argmax(dim=0).to(torch.uint8).cpu().numpy()

    @cached_property
    def points(self) -> list[Point]:
        """The points asked for, or the surest places of the largest classes. Raises ValueError for one outside."""
        height, width = self.pixels.shape[:2]
        named = []
        for x, y in self.wishes.points:
            if not (0 <= x < self.size[1] and 0 <= y < self.size[0]):
                raise ValueError(f"--point {x},{y}: it is not in the picture, which is {self.size[1]}x{self.size[0]}")
            named.append(Point(x * width // self.size[1], y * height // self.size[0], f"{x},{y}"))
        return named or [self._surest(label) for label in self._largest(POINTS)]

    @cached_property
    def classes(self) -> list[int]:
        """The classes asked for, or the largest ones. Raises ValueError for one that is not there."""
        return [self._class(name) for name in self.wishes.classes] or self._largest(SHOWN_CLASSES)

    def occurring(self, *maps: np.ndarray | None) -> list[int]:
        """The classes that occur in these maps, or in the prediction, in their order; None is no map."""
        found = np.unique(np.concatenate([one.reshape(-1) for one in maps or (self.predicted,) if one is not None]))
        return [int(label) for label in found if label != IGNORE]

    def marks(self, points: Sequence[Point] | None = None) -> list[Mark]:
        """Points as marks on a picture of any size."""
        height, width = self.pixels.shape[:2]
        return [
            Mark((point.x + 0.5) / width, (point.y + 0.5) / height, point.name)
            for point in (self.points if points is None else points)
        ]

    def named(self, point: Point) -> str:
        """A point with the class that is predicted there."""
        return f"point {point.name}: {self.labels.classes[self.predicted[point.y, point.x]]}"

    def layer(self, name: str) -> nn.Module:
        """A module by its dotted name. Raises ValueError for a name that is not there."""
        return enter(self.network, name)

    def shrunk_to_fit(self, work: Work) -> tuple[Tensor, str]:
        """The inputs, as small as a piece of work on them has to be in memory, and a sentence that says so."""
        kept = 2 * self.logits.numel() * self.logits.element_size()  # and the probabilities
        factor = factor_to_fit(self.network, self.inputs.shape[1:], work, room_beside(self.network, kept))
        return self.shrunk(factor, "to fit into memory")

    def shrunk(self, factor: float, why: str) -> tuple[Tensor, str]:
        """The inputs shrunk by a factor, and a sentence that says so; empty where they are as large as ever."""
        if factor >= 1:
            return self.inputs, ""
        height, width = (max(32, round(side * factor)) for side in self.inputs.shape[-2:])
        inputs = F.interpolate(self.inputs, size=(height, width), mode="bilinear", antialias=True)
        return inputs, f"Computed at {width}x{height}, {why}."

    def _largest(self, count: int) -> list[int]:
        pixels = np.bincount(self.predicted.reshape(-1), minlength=self.labels.num_classes)
        return [int(label) for label in np.argsort(-pixels, kind="stable")[:count] if pixels[label]]

    def _surest(self, label: int) -> Point:
        """The place in whose surroundings a class is most probable."""
        around = max(1, min(self.pixels.shape[:2]) // 16) * 2 + 1
        mean = F.avg_pool2d(
            self.probabilities[None, label : label + 1], around, stride=1, padding=around // 2, count_include_pad=False
        )[0, 0]
        y, x = divmod(int(mean.argmax()), mean.shape[1])
        height, width = mean.shape
        return Point(x, y, f"{x * self.size[1] // width},{y * self.size[0] // height}")

    def _class(self, name: str) -> int:
        if name in self.labels.classes:
            return self.labels.classes.index(name)
        if name.isdecimal() and int(name) < self.labels.num_classes:
            return int(name)
        raise ValueError(f"there is no class {name!r}; the classes are {', '.join(self.labels.classes)}")


def prepare(
    model: Model,
    picture: np.ndarray,
    target: np.ndarray | None = None,
    *,
    wishes: Wishes = Wishes(),  # frozen
    run: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Subject:
    """A model and a picture (H, W, C) as the network sees it: shrunk as the model says, and to what fits into memory.

    target: (H, W) classes, where they are known. Raises ValueError where sizes or channels do not belong together.
    """
    size = picture.shape[:2]
    if target is not None and target.shape != size:
        raise ValueError(
            f"the label is {target.shape[1]}x{target.shape[0]}, the picture {size[1]}x{size[0]}: they must be one size"
        )
    network = model.network.eval()
    network.all_outputs = False
    device = next(network.parameters()).device
    inputs = _inputs(model.preprocessing, picture).to(device)
    factor = factor_to_fit(network, inputs.shape[1:], _forward, room_beside(network))
    if factor < 1:
        small = tuple(max(32, round(side * factor)) for side in inputs.shape[-2:])
        inputs = F.interpolate(inputs, size=small, mode="bilinear", antialias=True)
        say(f"shrunk to {small[1]}x{small[0]}, to fit into memory")
    height, width = inputs.shape[-2:]
    shown = np.asarray(resized(viewable(picture), (height, width)))
    if target is not None and target.shape != (height, width):
        target = np.asarray(Image.fromarray(target).resize((width, height), Image.Resampling.NEAREST))
    return Subject(
        network,
        inputs.contiguous(memory_format=torch.channels_last),
        shown,
        model.labels,
        (size[0], size[1]),
        target,
        wishes,
        run,
        say,
    )


def _forward(network: nn.Module, images: Tensor) -> object:
    """What every picture begins with: scores and probabilities are kept while the network runs again."""
    with torch.inference_mode():
        logits = network(images).logits
        return logits, logits.softmax(dim=1), network(images).logits


def _inputs(preprocessing: Preprocessing, picture: np.ndarray) -> Tensor:
    with torch.no_grad():
        return preprocessing(as_batch([picture]))
