"""Make the pictures of docs/gallery.md by running the commands that stand in it.

python docs/gallery/make.py FOLDER

Runs and pictures are made in FOLDER; what is there already is not trained or drawn again, so that a killed run goes on
where it stopped. Of each picture a smaller copy goes beside this file.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
GALLERY = HERE.with_suffix(".md")
WIDTH = 1100  # pixels of a picture in the gallery
SHOWN = re.compile(r"^!\[[^\]]*\]\(gallery/(?P<picture>[^)]+)\)\n\n    segue (?P<draw>.+)$", re.MULTILINE)
TRAINED = re.compile(r"^    segue (train docs/gallery/.+)$", re.MULTILINE)


def text() -> str:
    """The gallery, each command on one line."""
    return re.sub(r"\\\n *", "", GALLERY.read_text(encoding="utf-8"))


def trainings() -> Iterator[list[str]]:
    """The words of each command that trains a network of the gallery."""
    for match in TRAINED.finditer(text()):
        yield shlex.split(match[1], comments=True)


def pictures() -> Iterator[tuple[str, list[str]]]:
    """Each picture's file, and the words of the command under it."""
    for match in SHOWN.finditer(text()):
        yield match["picture"], shlex.split(match["draw"], comments=True)


def segue(words: list[str], folder: Path) -> None:
    """Run the command line in a folder; stop with its own message where it fails."""
    here = [str(HERE.parents[1] / word) if word.startswith("docs/") else word for word in words]
    subprocess.run([sys.executable, "-m", "segue", *here], cwd=folder, check=True)


def shrink(source: Path, target: Path) -> None:
    """A picture at the gallery's width, as WebP."""
    with Image.open(source) as file:
        image = file.convert("RGB")
    width = min(WIDTH, image.width)
    image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
    image.save(target, quality=82, method=6)


def main(folder: Path) -> None:
    """Train, draw and shrink."""
    folder.mkdir(parents=True, exist_ok=True)
    for words in trainings():
        run = folder / words[words.index("--out") + 1]
        if not (run / "model" / "card.json").is_file():
            segue(words, folder)
    for picture, words in pictures():
        drawn = folder / "drawn" / Path(picture).stem
        if not list(drawn.glob("*.png")):
            out = drawn if words[0] == "explain" else drawn / "picture.png"
            segue([*words, "--out", str(out.resolve())], folder)
        (source,) = drawn.glob("*.png")
        shrink(source, HERE / picture)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
