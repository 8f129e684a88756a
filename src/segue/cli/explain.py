"""segue explain."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from segue.cli.app import app
from segue.cli.points import points

Several = Parameter(consume_multiple=True, negative=())


@app.command
def explain(
    run: str,
    image: str,
    /,
    *,
    label: str = "",
    point: Annotated[tuple[str, ...], Several] = (),
    class_: Annotated[tuple[str, ...], Parameter(name="--class", consume_multiple=True, negative=())] = (),
    layer: Annotated[tuple[str, ...], Several] = (),
    only: Annotated[tuple[str, ...], Several] = (),
    root: str = "",
    out: str = "",
    device: str = "",
) -> None:
    """Look inside a run's network: what it attends to, what each part adds, where it is unsure. PNGs and a page.

    ```
    segue explain runs/danet-camvid street.jpg --point 120,80 300,200
    segue explain runs/unet val:3 --only prediction grad_cam --class road
    ```

    Parameters
    ----------
    run
        A run's folder.
    image
        A picture; or val:3, the picture of that number in a split of the run's own data, which brings its label.
    label
        The picture's mask, in the data's own label values.
    point
        Pixels to ask about, as x,y; by default the surest places of the largest classes.
    class_
        Classes to explain one by one, by name or number; by default the largest ones.
    layer
        Modules to look at, by their dotted names; by default the backbone's maps and what is scored.
    only
        Which pictures; by default all that the network has.
    root
        Where a named data set lies now, for val:3.
    out
        The folder; RUN/explain/PICTURE by default.
    device
        cpu, cuda or mps; cpu by default.
    """
    from segue.explain import explain as draw
    from segue.progress import ProgressLine, counted

    line = ProgressLine(every_in_file=5.0)
    done = draw(
        run, image, out=out, label=label, points=points(point), classes=class_, layers=layer, only=only, root=root,
        device=device, say=line.show,
    )  # fmt: skip
    line.finish()
    for name, reason in done.left_out.items():
        print(f"not drawn: {name} ({reason})")
    print(f"{counted(len(done.pictures), 'picture')}: {done.page}")
