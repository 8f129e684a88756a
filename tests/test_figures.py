"""The shipped figures of the networks are what is computed from them."""

from dataclasses import asdict

import pytest

from segue import figures
from segue.models import MODELS

SMALL = ("deeplabv1", "unet")
"""Networks whose figures take a moment; all the others are computed in the long test."""


def test_every_network_has_figures_and_no_other():
    assert set(figures.shipped()) == set(MODELS), "run: python benchmarks/figures.py"


def test_the_papers_are_the_networks_own():
    for name, known in figures.shipped().items():
        paper = MODELS[name].paper
        assert (known.authors, known.venue, known.year, known.title) == (
            paper.authors,
            paper.venue,
            paper.year,
            paper.title,
        )


@pytest.mark.parametrize(
    "name", [name if name in SMALL else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
)
def test_the_figures_are_those_of_the_network(name):
    assert asdict(figures.measure(name)) == asdict(figures.shipped()[name])


def test_operations_by_hand():
    import torch
    from torch import nn

    convolution = nn.Conv2d(3, 8, 3, padding=1, bias=False)
    assert figures.count_flop(convolution, torch.empty(1, 3, 10, 20)) == 2 * 10 * 20 * 8 * 3 * 9


def test_attention_is_counted():
    import torch
    from torch import nn

    from segue.layers import attend

    class Attention(nn.Module):
        def forward(self, maps):
            flat = maps.flatten(2)
            return attend(flat[:, :2], flat[:, :2], flat)

    maps = torch.rand(1, 6, 4, 5)
    assert figures.count_flop(Attention(), maps) == 2 * 20 * 20 * (2 + 6)
