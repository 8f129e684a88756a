"""segue field."""

from __future__ import annotations

import json
from typing import Annotated, Any

from cyclopts import Parameter

from segue.cli.app import app
from segue.cli.points import points


@app.command
def field(
    what: Annotated[tuple[str, ...], Parameter(consume_multiple=True)],
    /,
    *,
    model: str = "{}",
    module: str = "",
    image: str = "",
    point: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())] = (),
    out: str = "field.png",
    device: str = "",
) -> None:
    """The receptive field: layer by layer, of a whole network, and what of it the network uses.

    ```
    segue field unet                                  # the path that sees most
    segue field deeplabv2 --model '{"rates": [12]}'   # with options
    segue field fcn8s --module backbone               # up to a module
    segue field 7s2p3 3s2p1 3p2d2 t4s2                # a path of your own
    segue field runs/unet-camvid --image street.jpg   # what training uses of it
    ```

    R is what a unit sees, jump the distance between neighbouring units, start the pixel on which unit 0 is centred.

    Parameters
    ----------
    what
        A network's name, a run's folder, or the layers of a path: 3s2p1 is a kernel of 3, stride 2, padding 1; 3p2d2
        has dilation 2; t4s2 is a transposed convolution.
    model
        Options of a network named, as JSON.
    module
        Stop at this module's output, by its dotted name.
    image
        Measure the effective field, by the gradient of a pixel's score, on this picture.
    point
        Pixels to measure it at, as x,y; the middle one by default.
    out
        Where the picture of the effective field goes.
    device
        cpu, cuda or mps; by default the accelerator, if there is one.
    """
    from segue.explain import receptive

    if not what:
        raise ValueError("name a network, a run's folder, or layers such as 3s2p1")
    options = _options(model)
    for line in receptive.lines(what, options, module):
        print(line)
    if image:
        print(receptive.draw_effective(what, options, image, point=points(point), out=out, device=device))


def _options(text: str) -> dict[str, Any]:
    try:
        options = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"--model {text!r}: is not JSON ({error})") from error
    if not isinstance(options, dict):
        raise ValueError(f'--model {text!r}: a JSON object is needed, like {{"backbone": "resnet50"}}')
    return options
