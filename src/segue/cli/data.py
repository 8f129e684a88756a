"""segue data: data sets in other forms."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from segue.cli.app import app, positive

data = App(name="data", help="Put data into other forms.")
app.command(data)


@data.command
def shard(
    source: str,
    out: str,
    /,
    *,
    root: str = "",
    split: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    size: int = 256,
) -> None:
    """Pack pictures and masks into tar shards (WebDataset's): large sets in few files, read from disk or over HTTP.

    Pictures are packed as they are, masks as PNG. `segue train NETWORK --data OUT` then takes them.

    Parameters
    ----------
    source
        A data set's name, or a folder or zip archive of your own.
    out
        The folder for the shards.
    root
        Where a named data set lies.
    split
        Which splits; all that there are by default.
    size
        Megabytes of a shard, at most.
    """
    from pathlib import Path

    from segue.data.sharding import shard_splits
    from segue.progress import ProgressLine

    line = ProgressLine()
    try:
        for done in shard_splits(source, root, split, Path(out).expanduser(), positive("size", size) * 10**6, line):
            print(done)
    finally:
        line.finish()
    print(f"use them with: --data {out}")


@data.command
def convert(source: str, out: str, /) -> None:
    """Write own data (COCO JSON, labelme, YOLO, colours, a zip archive) as pictures, index PNGs and classes.txt.

    Parameters
    ----------
    source
        A folder or zip archive.
    out
        A new folder: OUT/SPLIT/images, OUT/SPLIT/masks and OUT/classes.txt.
    """
    from pathlib import Path

    from segue.data import own_place
    from segue.data.folder.converting import convert as write
    from segue.progress import ProgressLine, bar

    line = ProgressLine()
    try:
        lines = write(
            own_place(source),
            Path(out).expanduser(),
            lambda split, done, count: line.show(f"{split} {bar(done, count)} {done}/{count}"),
        )
    finally:
        line.finish()
    for one in lines:
        print(one)
    print(f"use it with: --data {out}")
