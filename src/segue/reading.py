"""Decoding pictures."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageOps

from segue.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm")


def read_image(path: Path) -> Image.Image:
    """A picture in RGB, turned as its EXIF orientation says. Raises DataError when it cannot be decoded."""
    try:
        with Image.open(path) as file:
            if file.mode.startswith(("I", "F")):
                raise DataError(f"{path}: a picture of more than 8 bits a channel ({file.mode}); save it with 8 bits")
            return ImageOps.exif_transpose(file).convert("RGB")
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such picture") from error
    except DataError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be decoded ({error}); replace the file, or take it out of the data") from error
