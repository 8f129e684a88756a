"""segue convert."""

from __future__ import annotations

from segue.cli.app import app


@app.command
def convert(
    file: str,
    /,
    *,
    source: str = "",
    args: str = "{}",
    out: str = "",
    classes: str = "",
    mean: tuple[float, ...] = (),
    std: tuple[float, ...] = (),
    bgr: bool | None = None,
    partly: bool = False,
) -> None:
    """Make a model of another codebase's checkpoint: `segue predict` and `segue train --init` then take it.

    Parameters
    ----------
    file
        The checkpoint: .safetensors, or a PyTorch file that can be read without running code from it.
    source
        Whose it is ("open-mmlab/mmsegmentation", say); recognised by its tensors' names otherwise.
    args
        The other codebase's constructor or configuration arguments as JSON, for what tensors cannot tell.
    out
        The model's folder; the file's name without suffix by default.
    classes
        A file of class names, a line each.
    mean
        Subtracted from each channel, in 0..255; what the source trains with by default.
    std
        Each channel is divided by it.
    bgr
        Turn the channels round first.
    partly
        Allow tensors without a place and places without a tensor; they are listed.
    """
    from segue import importing

    print(
        importing.convert_file(
            file, source=source, args=args, out=out, classes=classes, mean=mean, std=std, bgr=bgr, partly=partly
        )
    )
