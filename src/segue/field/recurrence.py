"""The receptive field along one side of a picture: size, jump and place, layer by layer.

The recurrence is that of Araujo, Norris and Sim (Computing Receptive Fields of Convolutional Neural Networks, Distill
2019); numbers are fractions, so that centres of half a pixel and enlarged maps stay exact.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Field:
    """What the units of a map see along one side; unit u is centred on pixel start + u * jump.

    size: pixels that a unit sees, R.
    jump: pixels between neighbouring units, J.
    start: the pixel on which unit 0 is centred, pixel 0 being centred on 0.
    """

    size: Fraction = Fraction(1)
    jump: Fraction = Fraction(1)
    start: Fraction = Fraction(0)

    def window(self, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Field:
        """After a convolution or a pooling."""
        reach = dilation * (kernel - 1)
        return Field(
            self.size + reach * self.jump,
            self.jump * stride,
            self.start + (Fraction(reach, 2) - padding) * self.jump,
        )

    def transposed(self, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Field:
        """After a transposed convolution: an output is reached from at most ceil(kernel / stride) inputs."""
        jump = self.jump / stride
        reached = kernel if stride == 1 else -(-(dilation * (kernel - 1) + 1) // stride)
        spread = (reached - 1) * (dilation if stride == 1 else 1)
        return Field(
            self.size + spread * self.jump,
            jump,
            self.start + (padding - Fraction(dilation * (kernel - 1), 2)) * jump,
        )


@dataclass(frozen=True)
class Layer:
    """One layer of a sequential path, along one side. `transposed`: a transposed convolution."""

    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    transposed: bool = False

    def __post_init__(self) -> None:
        if min(self.kernel, self.stride, self.dilation) < 1 or self.padding < 0:
            raise ValueError(f"{self}: kernel, stride and dilation are 1 or more, padding is 0 or more")

    def __str__(self) -> str:
        letters = (("s", self.stride, 1), ("p", self.padding, 0), ("d", self.dilation, 1))
        rest = "".join(f"{letter}{value}" for letter, value, default in letters if value != default)
        return f"{'t' if self.transposed else ''}{self.kernel}{rest}"

    def __call__(self, field: Field) -> Field:
        step = field.transposed if self.transposed else field.window
        return step(self.kernel, self.stride, self.padding, self.dilation)


LAYER = re.compile(r"(t?)(\d+)(?:s(\d+))?(?:p(\d+))?(?:d(\d+))?")


def parse_layer(text: str) -> Layer:
    """`3s2p1` is a kernel of 3 with stride 2 and padding 1, `3p12d12` one with dilation 12, `t4s2` a transposed one.

    Raises ValueError for anything else.
    """
    found = LAYER.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text!r} is not a layer: write its kernel, then stride, padding and dilation where they are not 1, 0 and "
            "1, as in 3, 3s2p1, 3p12d12, or t4s2 for a transposed convolution"
        )
    transposed, kernel, stride, padding, dilation = found.groups()
    return Layer(int(kernel), int(stride or 1), int(padding or 0), int(dilation or 1), bool(transposed))


def recurrence(layers: Sequence[Layer]) -> list[Field]:
    """The field after each layer of a sequential path."""
    fields, last = [], Field()
    for layer in layers:
        last = layer(last)
        fields.append(last)
    return fields
