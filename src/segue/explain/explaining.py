"""All explanations of one picture: PNGs, and a page that holds them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from segue.apply import open_run_split
from segue.data.source import classes_of, read_raw_mask
from segue.explain.drawing import CannotDraw
from segue.explain.sheet import Sheet, draw
from segue.explain.subject import Wishes, prepare
from segue.explain.table import Explainer, explainers_of
from segue.labels import Labels
from segue.model import Model, as_pixels, load
from segue.report.canvas import save_png
from segue.report.page import facts, figure, section, write_page
from segue.report.text import escaped

PAGE = "explain.html"


@dataclass(frozen=True)
class Explained:
    """What was drawn. page: the HTML file; pictures: the PNGs by name; left_out: why others were not drawn."""

    page: Path
    pictures: dict[str, Path]
    left_out: dict[str, str]


def explain(
    run: str | Path | Model,
    image: str | Path | np.ndarray,
    *,
    out: str | Path = "",
    label: str | Path | np.ndarray | None = None,
    points: Sequence[tuple[int, int]] = (),
    classes: Sequence[str] = (),
    layers: Sequence[str] = (),
    only: Sequence[str] = (),
    root: str = "",
    device: str = "",
    say: Callable[[str], None] = lambda text: None,
) -> Explained:
    """Draw what a run's network can show of a picture, as PNGs and one page, `out`/explain.html.

    run: a run's folder, or a model. image: a file, an array (H, W, C), or `val:3`, the picture of that number in a
    split of the run's own data, which brings its label along. label: a mask in the data's own values, or classes
    (H, W). points: (x, y) pixels to ask about. classes: names or numbers to explain one by one. layers: dotted names of
    modules. only: names of pictures, by default all that the network has. root: where the run's data lies now.
    out: RUN/explain/PICTURE by default.

    Raises ValueError where something is asked for that is not there, before anything is drawn.
    """
    model = run if isinstance(run, Model) else load(run, device or "cpu")
    folder = None if isinstance(run, Model) else Path(run)
    name, pixels, target = _picture(model, folder, image, label, root)
    chosen = _chosen(model, only)
    place = Path(out) if out else (folder or Path()) / "explain" / name
    subject = prepare(model, pixels, target, wishes=Wishes(points, classes, layers), run=folder, say=say)
    _ = subject.classes, subject.points, [subject.layer(layer) for layer in layers]  # refuse them now
    pictures: dict[str, Path] = {}
    sections: list[str] = []
    left_out: dict[str, str] = {}
    for one in chosen:
        say(f"{one.name} ...")
        try:
            drawing = one.draw(subject)
        except CannotDraw as error:
            left_out[one.name] = str(error)
            continue
        path = place / f"{drawing.name}.png"
        save_png(draw(drawing.sheet), path)
        pictures[drawing.name] = path
        sections.append(_section(drawing.sheet))
    page = place / PAGE
    paper = subject.network.paper
    known = {
        "network": f"{type(subject.network).__name__}: {paper.authors}, {paper.title}, {paper.venue} {paper.year}",
        "picture": f"{name}, {subject.size[1]}x{subject.size[0]}",
        **({"seen at": f"{subject.pixels.shape[1]}x{subject.pixels.shape[0]}"} if subject.seen_at else {}),
        **{f"not drawn: {key}": reason for key, reason in left_out.items()},
    }
    title = f"Inside {folder.name if folder else 'a network'}: {name}"
    write_page(page, title, [section("", facts(known)), *sections])
    return Explained(page, pictures, left_out)


def _section(sheet: Sheet) -> str:
    """A sheet on the page: its title and text are the page's own, which wrap on a narrow screen and can be read out."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "sheet.png"
        save_png(draw(replace(sheet, title="", text="")), path)
        return section(sheet.title, f'<p class="hint">{escaped(sheet.text)}</p>\n{figure(sheet.title, path)}')


def _chosen(model: Model, only: Sequence[str]) -> list[Explainer]:
    known = explainers_of(model.network)
    names = list(dict.fromkeys(one.name for one in known))
    for name in only:
        if name not in names:
            raise ValueError(f"--only {name}: this network has {', '.join(names)}")
    return [one for one in known if not only or one.name in only]


def _picture(
    model: Model, run: Path | None, image: str | Path | np.ndarray, label: str | Path | np.ndarray | None, root: str
) -> tuple[str, np.ndarray, np.ndarray | None]:
    """Its name, the picture (H, W, C), and its classes (H, W) where they are known."""
    target = _target(label, model.labels)
    if isinstance(image, np.ndarray):
        return "picture", image, target
    split, colon, number = str(image).rpartition(":")
    if colon and number.isdecimal() and run is not None and not Path(image).exists():
        data = open_run_split(run, model, split, root=root)
        index = int(number)
        if index >= len(data):
            raise ValueError(f"{image}: the split {split} has {len(data)} pictures, counted from 0")
        own = data.target(index)
        return data.name(index).replace("/", "-"), data.image(index), own if target is None else target
    return Path(image).stem, as_pixels(Path(image)), target


def _target(label: str | Path | np.ndarray | None, labels: Labels) -> np.ndarray | None:
    if label is None or isinstance(label, np.ndarray):
        return label
    return classes_of(read_raw_mask(Path(label)), labels, Path(label)) if str(label) else None
