"""What each network is, costs and sees, as `segue list networks` prints it: computed once and shipped, so that the list
needs neither PyTorch nor a network; a test holds it true.

The figures are those of `create(name, 11)` with no options: the default backbone, the eleven classes of CamVid.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segue.files import write_json

FILE = Path(__file__).with_name("figures.json")
CLASSES, HEIGHT, WIDTH = 11, 360, 480


@dataclass(frozen=True)
class Figures:
    """One network's figures.

    authors, venue, year, title: its paper.
    parameters: numbers that training changes, or could.
    gflop: 10^9 operations of a forward pass in eval() on one picture of 480x360; a multiplication and an addition are
        two. Convolutions and matrix products are counted, as they are all but a few per cent.
    field: pixels along one side that a pixel's scores can depend on; None for the whole picture.
    """

    authors: str
    venue: str
    year: int
    title: str
    parameters: int
    gflop: float
    field: int | None


def shipped() -> dict[str, Figures]:
    """The figures of every network, by name."""
    return {name: Figures(**values) for name, values in json.loads(FILE.read_text(encoding="utf-8")).items()}


def measure(name: str) -> Figures:
    """Compute one network's figures; it computes with shapes alone, and takes a second or two."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    from segue.field import trace
    from segue.models import MODELS, create

    with FakeTensorMode():
        network = create(name, CLASSES).eval()
        flop = count_flop(network, torch.empty(1, 3, HEIGHT, WIDTH))
    size = trace(network).rows.size
    paper = MODELS[name].paper
    return Figures(
        authors=paper.authors,
        venue=paper.venue,
        year=paper.year,
        title=paper.title,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        gflop=round(flop / 1e9, 1),
        field=round(size) if size < float("inf") else None,
    )


def count_flop(network: Any, images: Any) -> int:
    """The operations of a forward pass, a multiplication and an addition being two."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    def attend(query: Any, key: Any, value: Any, *rest: Any, **more: Any) -> int:
        (batch, channels, queries), keys, width = query, key[2], value[1]
        return int(2 * batch * queries * keys * (channels + width))

    with (
        torch.inference_mode(),
        sdpa_kernel(SDPBackend.MATH),  # as products: the fused kernels are not counted everywhere
        FlopCounterMode(display=False, custom_mapping={torch.ops.segue.attend: attend}) as counter,
    ):
        network(images)
    return int(counter.get_total_flops())


def write(names: Iterable[str]) -> None:
    """Compute the figures of these networks anew and write them."""
    write_json(FILE, {name: asdict(measure(name)) for name in sorted(names)})
