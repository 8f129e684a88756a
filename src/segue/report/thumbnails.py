"""A picture with its truth and prediction, small enough that a page can hold thousands of them."""

from __future__ import annotations

import base64
import io
import zlib
from dataclasses import dataclass

import numpy as np

from segue.pictures import fitted, resized, viewable

QUALITY = 78  # of the JPEG; at this size artefacts are smaller than what is looked for


@dataclass(frozen=True)
class Thumbnail:
    """What a page needs to draw a picture, its truth, its prediction and its errors of any class.

    photo: JPEG. classes: deflated bytes, the truth's rows and then the prediction's, height * width of each.
    """

    width: int
    height: int
    photo: bytes
    classes: bytes

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        photo, classes = (base64.b64encode(one).decode("ascii") for one in (self.photo, self.classes))
        return {"w": self.width, "h": self.height, "photo": photo, "classes": classes}


def thumbnail(pixels: np.ndarray, truth: np.ndarray, predicted: np.ndarray, side: int) -> Thumbnail:
    """(H, W, C) and (H, W) uint8 twice -> what they look like at most `side` pixels high and wide."""
    height, width = fitted(truth.shape, (side, side))
    if height > truth.shape[0]:
        height, width = truth.shape
    rows, columns = (
        ((np.arange(count) + 0.5) * (have / count)).astype(np.intp)
        for count, have in zip((height, width), truth.shape, strict=True)
    )
    small = np.stack([one[rows[:, None], columns] for one in (truth, predicted)])
    buffer = io.BytesIO()
    resized(viewable(pixels), (height, width)).save(buffer, format="JPEG", quality=QUALITY, subsampling=0)
    deflated = zlib.compress(np.ascontiguousarray(small).tobytes(), 9)
    return Thumbnail(width, height, buffer.getvalue(), deflated)


def side_for(pictures: int) -> int:
    """How large thumbnails of so many pictures may be, so that a page of all of them still opens at once."""
    return 320 if pictures <= 300 else 200 if pictures <= 1500 else 128
