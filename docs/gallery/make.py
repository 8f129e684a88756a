"""Make the pictures of docs/gallery.md: train each recipe beside this file, explain one scene, shrink the pictures.

python docs/gallery/make.py FOLDER

What is in FOLDER already is not trained or drawn again, so that a killed run goes on where it stopped.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
SCENE = "val:0"
POINTS = ("66,78", "118,60", "20,110")
WIDTH = 1100  # pixels of a picture in the gallery

SHOWN = {
    "danet": (
        "prediction", "confidence", "position_attention", "channel_attention", "branches", "features", "grad_cam",
        "field", "occlusion",
    ),
    "dfn": ("gates", "borders", "stages"),
    "refinenet": ("cascade",),
    "segnet": ("unpooling",),
    "deeplabv2": ("aspp", "crf"),
    "deeplabv3": ("aspp",),
    "fcn8s_atonce": ("skips",),
    "mcibi": ("memory", "class_weights", "memory_adds", "tsne"),
}  # fmt: skip
"""network -> its pictures in the gallery."""
SCHEDULES = {
    "policies": ("poly", "step", "exp", "inv", "multistep", "sigmoid", "cosine", "poly:power=2,warmup=100,ratio=0.1"),
    "recipe": ("danet_camvid", "unet_camvid"),
}


def segue(*words: str) -> None:
    """Run the command line; stop with its own message where it fails."""
    subprocess.run([sys.executable, "-m", "segue", *words], check=True)


def shrink(source: Path, target: Path) -> None:
    """A picture at the gallery's width, as WebP."""
    with Image.open(source) as file:
        image = file.convert("RGB")
    width = min(WIDTH, image.width)
    image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
    image.save(target, quality=82, method=6)


def main(folder: Path) -> None:
    """Train, explain and shrink."""
    for network, names in SHOWN.items():
        run = folder / network
        if not (run / "model" / "card.json").is_file():
            segue("train", str(HERE / "recipes" / f"{network}.toml"), "--out", str(run))
        out = run / "gallery"
        if not (out / "explain.html").is_file():
            segue("explain", str(run), SCENE, "--only", *names, "--point", *POINTS, "--out", str(out))
        for name in names:
            shrink(out / f"{name}.png", HERE / f"{network}_{name}.webp")
    for name, words in SCHEDULES.items():
        segue("schedule", *words, "--out", str(folder / f"{name}.png"))
        shrink(folder / f"{name}.png", HERE / f"schedule_{name}.webp")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
