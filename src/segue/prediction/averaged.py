"""Probabilities averaged over windows, scales and mirror images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from segue.options import InferenceOptions
from segue.prediction.predictor import Predictor
from segue.prediction.resampling import Resampling
from segue.prediction.rows import Rows, ScaledRows, TensorRows, widened
from segue.prediction.windows import slide


class Averaged:
    """A predictor that looks at a picture in windows, at several scales and mirrored, and averages probabilities.

    At each scale the picture is resized, windows of one size slide over it, and the probabilities are brought back to
    the picture's own size before they are added up. Logits are never averaged: those of different views need not have
    the same spread.

    mirror: the class that each class becomes in a mirror image, as `Labels.mirror` has it; () for none that change.
    """

    def __init__(self, predictor: Predictor, options: InferenceOptions, mirror: Sequence[int] = ()) -> None:
        self.predictor, self.options, self.mirror = predictor, options, tuple(mirror)
        self.device, self.preprocessing = predictor.device, predictor.preprocessing

    @torch.inference_mode()
    def probabilities(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8 -> (B, K, H, W) float32 that add up to one at each pixel."""
        source = TensorRows(images.to(self.device))
        total: Tensor | None = None
        for scale in self.options.scales:  # one after the other: memory holds the sum and one of them
            top = 0
            for rows in self._at_scale(source, scale):
                if total is None:
                    total = rows.new_zeros(source.count, rows.shape[1], source.height, source.width)
                total[:, :, top : top + rows.shape[2]] += rows
                top += rows.shape[2]
        assert total is not None
        return total.div_(len(self.options.scales))

    @torch.inference_mode()
    def labels(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8 -> (B, H, W) int64, the class of the highest probability."""
        return self.probabilities(images).argmax(dim=1)

    @torch.inference_mode()
    def bands(self, source: Rows) -> Iterator[Tensor]:
        """The probabilities of pictures that are read by rows, from top to bottom: (B, K, n, W), some rows at a time.

        Equal to `probabilities` to the last bit, while memory holds one row of windows for each scale. A band is a
        view: use it before asking for the next.
        """
        scales = self.options.scales
        if len(scales) == 1:
            yield from self._at_scale(source, scales[0])
            return
        for total in _sums([self._at_scale(source, scale) for scale in scales]):
            yield total.div_(len(scales))

    def _at_scale(self, source: Rows, scale: float) -> Iterator[Tensor]:
        if scale == 1.0:
            return slide(self._views, source, self.options)
        scaled = ScaledRows(source, scale)
        return _resized(slide(self._views, scaled, self.options), scaled, source)

    def _views(self, images: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, K, h, w) probabilities: of the window, and of its mirror image."""
        direct = self.predictor.probabilities(images)
        if not self.options.mirror:
            return direct
        mirrored = self.predictor.probabilities(images.flip(-1)).flip(-1)
        if self.mirror:
            mirrored = mirrored[:, self.mirror]
        return direct.add_(mirrored).div_(2)


def _resized(bands: Iterator[Tensor], scaled: Rows, own: Rows) -> Iterator[Tensor]:
    """Bands of the scaled picture's height and width -> bands of the picture's own; never more than is at hand."""
    vertical = Resampling(scaled.height, own.height)
    kept: Tensor | None = None
    first, done = 0, 0  # which row of `scaled` is the first in `kept`, and how many of the result are out
    for band in bands:
        fresh = widened(band, own.width)
        kept = fresh.clone() if kept is None else torch.cat([kept, fresh], dim=2)
        ready = vertical.ready(first + kept.shape[2])
        if ready > done:
            yield vertical.combine(kept, first, done, ready)
            done = ready
        if done < own.height:
            needed = vertical.needed(done, done + 1)[0]
            kept, first = kept[:, :, needed - first :], needed


def _sums(streams: Sequence[Iterator[Tensor]]) -> Iterator[Tensor]:
    """Add up streams of bands that come in different heights."""
    waiting: list[Tensor | None] = [None] * len(streams)
    while True:
        bands = [next(stream, None) if band is None else band for band, stream in zip(waiting, streams, strict=True)]
        at_hand = [band for band in bands if band is not None]
        if not at_hand:
            return
        rows = min(band.shape[2] for band in at_hand)
        total = at_hand[0][:, :, :rows].clone()
        for band in at_hand[1:]:
            total += band[:, :, :rows]
        waiting = [band[:, :, rows:] if band.shape[2] > rows else None for band in at_hand]
        yield total
