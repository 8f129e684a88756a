"""SegNet (Badrinarayanan et al., TPAMI 2017, Fig. 3): what the pooling indices remember and unpooling restores."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor

from segue.explain.changes import opening
from segue.explain.colouring import scale_of
from segue.explain.drawing import Drawing
from segue.explain.sheet import Cell, Sheet, heat
from segue.explain.subject import Subject
from segue.models.segnet import SegNet, SegNetBasic, unpool

CORNERS = (
    ("maximum upper left", (0, 114, 178)),
    ("upper right", (230, 159, 0)),
    ("lower left", (0, 158, 115)),
    ("lower right", (204, 121, 167)),
)
"""Where in its window a maximum was, in colours of Okabe and Ito."""


def places_in_windows(indices: Tensor, size: tuple[int, int]) -> Tensor:
    """(h, w) indices into a map of `size` -> (h, w) in 0..3: the corner of its 2x2 window that each one names."""
    return indices // size[1] % 2 * 2 + indices % size[1] % 2


def unpooling(subject: Subject) -> Drawing:
    """One channel on its way down and up again, at each stage."""
    network = cast("SegNet | SegNetBasic", subject.network)
    names, rows = ["the picture"], [opening(subject, subject.predicted)]
    with torch.inference_mode():
        encoded = network.encode(subject.inputs)
        maps = encoded.maps
        decoders = _decoders(network)
        count = len(encoded.indices)
        for stage in range(count - 1, -1, -1):
            indices, size = encoded.indices[stage], encoded.sizes[stage]
            restored = unpool(maps, indices, size)
            channel = int(maps[0].flatten(1).var(dim=1).argmax())
            corners = places_in_windows(indices[0, channel], size).cpu().numpy()
            dense = decoders[count - 1 - stage](restored)
            after = int(dense[0].flatten(1).var(dim=1).argmax())
            one = slice(channel, channel + 1)
            put = unpool(torch.ones_like(maps[:, one]), indices[:, one], size)[0, 0].bool()
            scale = scale_of(_numbers(maps[0, channel]), unit="activation", rim=0.01)
            shown = np.where(put.cpu().numpy(), _numbers(restored[0, channel]), np.nan)
            table = np.array([colour for _, colour in CORNERS], dtype=np.uint8)
            rows.append(
                [
                    heat(_numbers(maps[0, channel]), scale, "comes in", f"{maps.shape[-1]}x{maps.shape[-2]}"),
                    Cell(table[corners], "remembered place", "of each maximum"),
                    heat(shown, scale, "unpooled", f"{size[1]}x{size[0]}, white: zero"),
                    _filled(_numbers(dense[0, after]), after),
                ]
            )
            names.append(f"stage {stage + 1}\nchannel {channel + 1}")
            maps = dense
    text = (
        "Up through the decoder, coarse to fine, in each stage's most varied channel: the values that come in, where "
        "in its 2x2 window the encoder's pooling had the maximum, the values put back there with zeros around them, "
        "and what the stage's convolutions fill in (their own most varied channel)."
    )
    sheet = Sheet(
        "Pooling indices and unpooling",
        text,
        rows,
        names,
        labels=subject.labels,
        classes=subject.occurring(subject.predicted, subject.target),
        extra=CORNERS,
    )
    return Drawing("unpooling", sheet)


def _numbers(maps: Tensor) -> np.ndarray:
    return maps.float().cpu().numpy()


def _filled(values: np.ndarray, channel: int) -> Cell:
    return heat(values, scale_of(values, unit="activation", rim=0.01), "filled in", f"channel {channel + 1}")


def _decoders(network: SegNet | SegNetBasic) -> list[torch.nn.Module]:
    """The stages of the decoder, coarse to fine."""
    if isinstance(network, SegNetBasic):
        return list(network.decoder)
    return list(network.decoder.stages.values())
