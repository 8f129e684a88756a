"""The initialisation of layers that no batch normalisation follows (He et al., ICCV 2015, arXiv:1502.01852)."""

from __future__ import annotations

from torch import nn


def he_initialise(module: nn.Module) -> None:
    """Draw every convolution below `module` from a normal distribution of variance 2 / fan_in; its biases are zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
