"""The command line: parse, call one function, show. No logic lives here, and nothing heavy is imported at the top."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter
from cyclopts.argument import ArgumentCollection

from segue.options import CRFOptions, CRFSearch, Recipe

SHORT = {"--data": "--data.name", "--root": "--data.root"}
"""What people type, and the recipe key that it is."""
CRF = "--with-crf"
"""What `--crf` is: a word cannot be a switch and the beginning of `--crf.iterations` at once."""

app = App(
    name="segue",
    help="Semantic segmentation from paper to pixels: train, evaluate and predict with the networks of the papers.",
    help_flags=["--help", "-h"],
    default_parameter=Parameter(consume_multiple=True, negative_iterable=()),
    result_action="return_value",
)


class _Given:
    """Which keys of the recipe or the CRF were given on the command line, by their dotted names."""

    names: tuple[tuple[str, ...], ...] = ()


def _note_given(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    tables = {"crf", *(one.name for one in fields(Recipe))}
    given = []
    for argument in arguments:
        for token in argument.tokens:
            keys = (*argument.name.removeprefix("--").replace("-", "_").split("."), *token.keys)
            if keys[0] in tables and len(keys) > 1:
                given.append(keys)
    _Given.names = tuple(given)


app.config = (_note_given,)


def _changes(recipe: Recipe) -> dict[str, Any]:
    """What the command line says about the recipe, as nested dicts."""
    changes: dict[str, Any] = {}
    for keys in _Given.names:
        value: Any = recipe
        for key in keys:
            value = value[key] if isinstance(value, Mapping) else getattr(value, key)
        place = changes
        for key in keys[:-1]:
            place = place.setdefault(key, {})
        place[keys[-1]] = _plain(value) if keys[0] in ("model",) or keys[:2] == ("data", "map") else value
    return changes


def _crf(switched_on: bool, options: CRFOptions) -> dict[str, Any] | None:
    """The CRF's options that were given; None where there shall be no CRF."""
    given = {keys[1]: getattr(options, keys[1]) for keys in _Given.names if keys[0] == "crf"}
    return given if switched_on or given else None


def _plain(text: Any) -> Any:
    """A value of a free table as TOML would read it: 0.5 is a number, true a truth, resnet18 a text."""
    import tomllib

    if not isinstance(text, str):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


CRFSwitch = Annotated[bool, Parameter(name=CRF, negative=())]
CRFKeys = Annotated[CRFOptions, Parameter(name="--crf", show_default=True)]
RecipeKeys = Annotated[Recipe, Parameter(name="*", show_default=True)]


@app.command
def train(
    what: str = "",
    /,
    *,
    out: str = "",
    init: str = "",
    resume: str = "",
    change_recipe: bool = False,
    recipe: RecipeKeys = Recipe(),  # noqa: B008  # frozen, and what cyclopts reads the options from
) -> None:
    """Train a network.

    segue train scenes                                    a shipped recipe
    segue train unet --data ~/my-pictures                 a network, and a folder of images and masks
    segue train deeplabv3 --data camvid --root ~/camvid   a network, and a known data set
    segue train my.toml --optim.lr 0.02                   your recipe, with any key overridden
    segue train --resume runs/unet-camvid                 goes on where it stopped

    Parameters
    ----------
    what
        A recipe (a TOML file, or a shipped one's name) or a network's name.
    out
        The run's folder; runs/NETWORK-DATA by default. It is numbered when it is taken.
    init
        A run's folder or a file of weights to start from: what fits is taken, the rest is listed.
    resume
        A run's folder to go on with.
    change_recipe
        Go on although the recipe has changed.
    recipe
        Any key of the recipe.
    """
    from segue import recipe as recipes
    from segue import run

    changes = _changes(recipe)
    if resume:
        if what or init:
            raise ValueError("--resume goes on with a run as it is: drop the recipe, the network and --init")
        finished = run.resume(resume, changes, change_recipe=change_recipe, command=sys.argv)
    else:
        if not what:
            raise ValueError("say what to train: a network or a recipe (`segue list recipes`, `segue list networks`)")
        path = recipes.find(what)
        if path is not None:
            chosen = recipes.override(recipes.read(path), changes, what)
        else:
            from segue.models import MODELS, unknown

            if what not in MODELS:
                raise ValueError(unknown("network or recipe", what, [*MODELS, *recipes.shipped()]))
            chosen = recipes.from_dict({"network": what, **changes}, "the command line")
        finished = run.begin(chosen, out=out, init=init, command=sys.argv)
    if int(os.environ.get("RANK", "0")) == 0:
        if finished.result.signal:
            print(f"stopped at step {finished.result.step}; go on with: segue train --resume {finished.folder}")
        else:
            print(f"{finished.folder}: best mIoU {finished.result.best:.4f}; open {finished.folder / 'report.html'}")
    if finished.result.signal:
        sys.exit(128 + finished.result.signal)


@app.command
def evaluate(
    run: str,
    /,
    *,
    split: str = "val",
    data: str = "",
    root: str = "",
    batch: int = 8,
    out: str = "",
    device: str = "",
    boundary: Annotated[bool, Parameter(negative=())] = False,
    with_crf: CRFSwitch = False,
    crf: CRFKeys = CRFOptions(),  # noqa: B008
) -> None:
    """Measure a run's model on a split: IoU, accuracy and Dice per class, the confusion matrix, the worst pictures.

    Parameters
    ----------
    run
        A run's folder.
    split
        Which split of the data.
    data
        Other data than the run's own: a data set's name or a folder.
    root
        Where a named data set lies now.
    batch
        Pictures of one size that go through the network together.
    out
        Where the tables and pictures go; RUN/evaluation/SPLIT by default, SPLIT-crf with the CRF.
    device
        cpu, cuda or mps; by default the accelerator, if there is one.
    boundary
        Measure the boundaries as well, which takes time.
    with_crf
        Sharpen with the dense CRF: --crf for short. Any --crf.* switches it on as well.
    crf
        The CRF's parameters; by default those that tune-crf found for the run, if it has.
    """
    from segue import apply
    from segue.model import load

    evaluation = apply.evaluate_run(
        run,
        split=split,
        data=data,
        root=root,
        batch=_positive("batch", batch),
        out=out,
        device=device,
        crf=_crf(with_crf, crf),
        boundary=boundary,
    )
    print(apply.summary_lines(evaluation, load(run, "cpu").labels))


@app.command
def predict(
    run: str,
    inputs: Annotated[tuple[str, ...], Parameter(consume_multiple=True)],
    /,
    *,
    out: str = "masks",
    overlays: bool = True,
    batch: int = 8,
    device: str = "",
    with_crf: CRFSwitch = False,
    crf: CRFKeys = CRFOptions(),  # noqa: B008
) -> None:
    """Segment pictures: masks in the data's own label values, and overlays.

    Parameters
    ----------
    run
        A run's folder.
    inputs
        Pictures, folders of pictures, or patterns.
    out
        The folder for the masks; overlays go to overlays/ in it.
    overlays
        Write overlays as well.
    batch
        Pictures of one size that go through the network together.
    device
        cpu, cuda or mps; by default the accelerator, if there is one.
    with_crf
        Sharpen with the dense CRF: --crf for short. Any --crf.* switches it on as well.
    crf
        The CRF's parameters; by default those that tune-crf found for the run, if it has.
    """
    from segue import apply

    if not inputs:
        raise ValueError("name pictures, folders or patterns to predict")
    outcome = apply.predict_files(
        run,
        inputs,
        out=out,
        overlays=overlays,
        batch=_positive("batch", batch),
        device=device,
        crf=_crf(with_crf, crf),
    )
    print(f"{outcome.done} masks in {out}")
    if outcome.failed:
        raise ValueError(f"{len(outcome.failed)} of {outcome.done + len(outcome.failed)} pictures could not be read")


@app.command
def tune_crf(
    run: str,
    /,
    *,
    split: str = "val",
    data: str = "",
    root: str = "",
    device: str = "",
    search: Annotated[CRFSearch, Parameter(name="*", show_default=True)] = CRFSearch(),  # noqa: B008
) -> None:
    """Search the best parameters of the dense CRF for a run: `--crf` of evaluate and predict then takes them.

    Killed, it goes on where it stopped. RUN/crf/search.csv holds every combination tried.

    Parameters
    ----------
    run
        A run's folder.
    split
        Which split of the data.
    data
        Other data than the run's own: a data set's name or a folder.
    root
        Where a named data set lies now.
    device
        cpu, cuda or mps; by default the accelerator, if there is one.
    search
        What is tried.
    """
    from segue import tuning

    print(tuning.tune(run, search, split=split, data=data, root=root, device=device).lines())


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


@app.command(name="list")
def list_things(what: Literal["networks", "datasets", "recipes", "backbones"], pattern: str = "*", /) -> None:
    """List what there is.

    Parameters
    ----------
    what
        networks, datasets, recipes or backbones.
    pattern
        A shell-style pattern that names must match.
    """
    from segue import listing

    for line in listing.lines(what, pattern):
        print(line)


def _positive(name: str, value: int) -> int:
    if value < 1:
        raise ValueError(f"--{name} {value}: it must be 1 or more")
    return value


def _long_names(tokens: Sequence[str]) -> Iterator[str]:
    """`--data camvid` of `train` as `--data.name camvid`."""
    for token in tokens:
        name, equals, value = token.partition("=")
        yield SHORT[name] + equals + value if name in SHORT else token


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a user's error is one line on stderr and exit code 2."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in tokens
    tokens = [token for token in tokens if token != "--debug"]
    if tokens[:1] == ["train"]:
        tokens = list(_long_names(tokens))
    if tokens[:1] in (["evaluate"], ["predict"]):
        tokens = [CRF if token == "--crf" else token for token in tokens]
    from segue.errors import SegueError

    try:
        app(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        if debug:
            raise
        _fail(str(error))
    except (SegueError, ValueError) as error:
        if debug:
            raise
        _fail(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `segue list backbones | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str) -> None:
    line = " ".join(message.split())
    print(f"segue: {line}", file=sys.stderr)
    sys.exit(2)
