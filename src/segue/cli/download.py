"""segue download."""

from __future__ import annotations

from segue.cli.app import app


@app.command
def download(name: str, /, *, root: str) -> None:
    """Fetch a data set and unpack it, to where --root of the other commands finds it.

    What breaks off is gone on with when the same command is given again. Where publishers ask for a registration, this
    says where, and unpacks what you fetched.

    Parameters
    ----------
    name
        A data set's name; `segue list datasets` lists them.
    root
        The folder to put it in.
    """
    from pathlib import Path

    from segue.data import declared
    from segue.data.downloading import download as fetch
    from segue.data.downloading import splits_there
    from segue.progress import ProgressLine

    declaration, folder, line = declared(name), Path(root).expanduser(), ProgressLine()
    line.say(f"{declaration.title} (licence: {declaration.licence})")
    try:
        fetch(declaration, folder, line)
    finally:
        line.finish()
    for split in splits_there(declaration, folder):
        print(split)
    print(f"use it with: --data {name}" + ("" if declaration.rootless else f" --root {root}"))
