"""A white picture to draw on, and text that fits the place it is given."""

from __future__ import annotations

import math
from functools import cache, lru_cache
from pathlib import Path

import matplotlib
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

from segue.files import write_atomically
from segue.labels import Colour
from segue.report.text import one_line

INK, QUIET, RULE, PAPER = (28, 30, 34), (104, 108, 116), (216, 218, 222), (255, 255, 255)


@cache
def _font_file(bold: bool) -> Path:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name


@cache
def typeface(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, `size` pixels high: the font that matplotlib brings along."""
    # Pillow's basic layout: the other one depends on a library that a machine may lack.
    return ImageFont.truetype(_font_file(bold), size, layout_engine=ImageFont.Layout.BASIC)


@cache
def _known_characters() -> frozenset[int]:
    regular, bold = (FT2Font(str(_font_file(bold))).get_charmap() for bold in (False, True))
    return frozenset(regular) & frozenset(bold)


def drawable(text: str) -> str:
    """Text on one line, with a box for each character that the font lacks."""
    return "".join(one if ord(one) in _known_characters() else "\u25a1" for one in one_line(text))


@lru_cache(maxsize=4096)
def shortened(text: str, width: float, font: ImageFont.FreeTypeFont) -> str:
    """As much of a text as `width` pixels hold, with an ellipsis where it was cut."""
    text = drawable(text)
    if font.getlength(text) <= width:
        return text
    for kept in range(len(text) - 1, 0, -1):
        candidate = text[:kept].rstrip() + "…"
        if font.getlength(candidate) <= width:
            return candidate
    return ""


class Canvas:
    """A white picture to draw on, with text that is measured and never runs over."""

    def __init__(self, width: int, height: int) -> None:
        self.image = Image.new("RGB", (width, height), PAPER)
        self.draw = ImageDraw.Draw(self.image)

    def text(
        self,
        left: float,
        middle: float,
        text: str,
        *,
        size: int = 22,
        width: float = math.inf,
        colour: Colour = INK,
        bold: bool = False,
        anchor: str = "lm",
    ) -> None:
        """One line of text, vertically centred at `middle`, cut to `width`; anchors are Pillow's."""
        font = typeface(size, bold)
        self.draw.text((left, middle), shortened(text, width, font), fill=colour, font=font, anchor=anchor)

    def upright(self, centre: float, bottom: float, text: str, *, size: int, width: float, colour: Colour) -> None:
        """A line of text that runs upwards from `bottom`."""
        font = typeface(size)
        short = shortened(text, width, font)
        strip = Image.new("L", (max(1, math.ceil(font.getlength(short)) + 2), size + size // 2), 0)
        ImageDraw.Draw(strip).text((0, strip.height / 2), short, fill=255, font=font, anchor="lm")
        turned = strip.transpose(Image.Transpose.ROTATE_90)
        place = (round(centre - turned.width / 2), round(bottom - turned.height))
        self.image.paste(colour, (*place, place[0] + turned.width, place[1] + turned.height), turned)

    def swatch(self, left: float, middle: float, colour: Colour, size: int) -> None:
        """A small square of a class's colour, with an edge that shows white ones too."""
        box = (left, middle - size / 2, left + size, middle + size / 2)
        self.draw.rectangle(box, fill=colour, outline=(120, 120, 120))

    def save(self, path: Path) -> None:
        save_png(self.image, path)


def save_png(image: Image.Image, path: Path) -> None:
    """Write a PNG, whole or not at all."""
    write_atomically(path, lambda temporary: image.save(temporary, format="PNG"))
