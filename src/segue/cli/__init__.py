"""The command line: parse, call one function, show. No logic lives here, and nothing heavy is imported at the top.

One file per verb; a verb registers with `app` when its file is imported here, in the order that `segue --help` shows.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence

from cyclopts import CycloptsError

from segue.allocation import keep_freed_memory
from segue.cli import (  # noqa: F401  # verbs register
    anomalies,
    benchmark,
    calibrate,
    check,
    compare,
    convert,
    data,
    download,
    evaluate,
    explain,
    field,
    listing,
    predict,
    schedule,
    train,
)
from segue.cli.app import app
from segue.cli.crf import CRF

__all__ = ["app", "main"]

SHORT = {"--data": "--data.name", "--root": "--data.root", "--hold-out": "--data.hold-out"}
"""What people type, and the recipe key that it is."""


def _long_names(tokens: Sequence[str]) -> Iterator[str]:
    """`--data camvid` of `train` as `--data.name camvid`."""
    for token in tokens:
        name, equals, value = token.partition("=")
        yield SHORT[name] + equals + value if name in SHORT else token


def _lists(tokens: Iterable[str]) -> Iterator[str]:
    """`--model.rates 2 4 8` as `--model.rates 2,4,8`: of a network's options, only their values tell what is a list."""
    values: list[str] = []
    of_network = False  # whether they stand behind one of its options
    for token in tokens:
        if of_network and re.fullmatch(r"-?\d+(\.\d*)?", token):
            values.append(token)
            continue
        if values:
            yield ",".join(values)
        values, of_network = [], token.startswith("--model.") and "=" not in token
        yield token
    if values:
        yield ",".join(values)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a user's error is one line on stderr and exit code 2."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in tokens
    tokens = [token for token in tokens if token != "--debug"]
    if tokens[:1] == ["train"] or tokens[:2] == ["benchmark", "data"]:
        tokens = list(_lists(_long_names(tokens)))
    if tokens[:1] in (["evaluate"], ["predict"]):
        tokens = [CRF if token == "--crf" else token for token in tokens]
    if tokens[:1] != ["explain"]:  # which makes tensors of many sizes, and promises to do with little memory
        keep_freed_memory()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal or pipe without a table's lines gets ? for them
    try:
        app(tokens, exit_on_error=False, print_error=False)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `segue list backbones | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        message = None if debug else _told(error)
        if message is None:
            raise
        _fail(message)


def _told(error: Exception) -> str | None:
    """What a user is told of an error that is theirs to mend; None of another one, which is a bug."""
    from segue.errors import SegueError

    if isinstance(error, UnicodeEncodeError):
        return f"{error.object!a}: is no text in UTF-8; rename the file"
    if isinstance(error, CycloptsError | SegueError | ValueError):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:  # a file or folder that the system refuses
        return f"{error.filename}: {error.strerror}"
    if type(error).__name__ == "OutOfMemoryError":  # PyTorch's, which is not imported here
        return (
            "the device's memory is full: take a smaller training.per_device (its steps are added up), augment.crop or "
            "training.validation_batch, or --inference.window"
        )
    return None


def _fail(message: str) -> None:
    line = " ".join(message.split())
    print(f"segue: {line}", file=sys.stderr)
    sys.exit(2)
