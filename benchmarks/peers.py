"""The same networks with the same weights, as torchvision and segmentation_models.pytorch run them and as segue does.

    python benchmarks/peers.py                          # needs the extra `benchmark`
    python benchmarks/peers.py --networks unet fcn

A peer's network is drawn at random and converted, and both have to give the same scores. Then they take turns:

- a prediction: a picture of 480x352, sides that every peer takes, to the classes of its pixels;
- a training step: 4 pictures of 320x320 with AdamW, the same loss on both sides.

The peer stands twice: plainly, as its own README has it, and with the layout and the precision that segue chooses here,
which its user would have to know of and to write. Segue is as `segue predict` and `segue train` have it.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
import torchvision
from timing import alternate, machine
from torch import Tensor, nn
from torchvision.models import segmentation

from segue.convert import load_reference
from segue.labels import IGNORE
from segue.models import Network
from segue.prediction import Predictor, Preprocessing, autocast

CLASSES = 11
HEIGHT, WIDTH = 352, 480
BATCH, SIDE = 4, 320
PLAIN, TUNED, SEGUE = "peer, plain", "peer, channels-last, bfloat16 where it is fast", "segue"


@dataclass(frozen=True)
class Peer:
    """A network of another package. source, args: what `load_reference` is told of it. auxiliary: its loss's weight."""

    package: str
    build: Callable[[], nn.Module]
    source: str
    args: dict[str, Any]
    auxiliary: float = 0.0


def _of_torchvision(build: Callable[..., nn.Module]) -> Peer:
    def network() -> nn.Module:
        return build(weights=None, weights_backbone=None, num_classes=CLASSES, aux_loss=True)

    return Peer(f"torchvision {torchvision.__version__}", network, "torchvision.models.segmentation", {}, 0.5)


def _of_smp(build: Callable[..., nn.Module], encoder: str) -> Peer:
    def network() -> nn.Module:
        return build(encoder, encoder_weights=None, classes=CLASSES)

    args = {"encoder_name": encoder, "classes": CLASSES}
    return Peer(f"segmentation_models.pytorch {smp.__version__}", network, "segmentation_models_pytorch", args)


PEERS = {
    "unet": _of_smp(smp.Unet, "resnet18"),
    "pspnet": _of_smp(smp.PSPNet, "resnet50"),
    "upernet": _of_smp(smp.UPerNet, "resnet50"),
    "deeplabv3": _of_torchvision(segmentation.deeplabv3_resnet50),
    "fcn": _of_torchvision(segmentation.fcn_resnet50),
}


def scores(output: Tensor | dict[str, Tensor]) -> Tensor:
    """A peer's main scores."""
    return output["out"] if isinstance(output, dict) else output


def laid_out(module: nn.Module, tuned: bool) -> nn.Module:
    return copy.deepcopy(module).to(memory_format=torch.channels_last if tuned else torch.contiguous_format)


def prediction(peer: nn.Module, network: Network[Any], images: Tensor) -> dict[str, Callable[[], object]]:
    """Pictures (B, 3, H, W) uint8 to classes, each side's way."""
    preprocessing = Preprocessing()

    def of_peer(tuned: bool) -> Callable[[], Tensor]:
        module = laid_out(peer, tuned).eval()
        layout = torch.channels_last if tuned else torch.contiguous_format

        @torch.inference_mode()
        def predict() -> Tensor:
            inputs = preprocessing(images).contiguous(memory_format=layout)
            with autocast(torch.device("cpu"), "auto" if tuned else "float32"):
                return scores(module(inputs)).argmax(dim=1)

        return predict

    predictor = Predictor(network, preprocessing)
    return {PLAIN: of_peer(False), TUNED: of_peer(True), SEGUE: lambda: predictor.labels(images)}


def training(peer: nn.Module, network: Network[Any], weight: float) -> dict[str, Callable[[], object]]:
    """A step of AdamW, each side's way."""
    images = torch.randn(BATCH, 3, SIDE, SIDE)
    target = torch.randint(0, CLASSES, (BATCH, SIDE, SIDE))

    def loss_of_peer(output: Tensor | dict[str, Tensor]) -> Tensor:
        loss = F.cross_entropy(scores(output), target, ignore_index=IGNORE)
        if isinstance(output, dict):
            loss = loss + weight * F.cross_entropy(output["aux"], target, ignore_index=IGNORE)
        return loss

    def step_of(module: nn.Module, tuned: bool, loss_of: Callable[[Any], Tensor]) -> Callable[[], None]:
        module = laid_out(module, tuned).train()
        inputs = images.contiguous(memory_format=torch.channels_last if tuned else torch.contiguous_format)
        optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4)

        def step() -> None:
            with autocast(torch.device("cpu"), "auto" if tuned else "float32"):
                loss = loss_of(module(inputs))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        return step

    def loss_of_segue(output: Any) -> Tensor:
        return torch.stack(list(network.loss(output, target).values())).sum()

    return {
        PLAIN: step_of(peer, False, loss_of_peer),
        TUNED: step_of(peer, True, loss_of_peer),
        SEGUE: step_of(network, True, loss_of_segue),
    }


def difference(peer: nn.Module, network: Network[Any]) -> float:
    """Relative error of segue's scores."""
    images = torch.randn(1, 3, SIDE, SIDE)
    with torch.inference_mode():
        expected, found = scores(peer.eval()(images)), network.eval()(images).logits
    return float((found - expected).norm() / expected.norm())


def show(title: str, times: dict[str, float], unit: int) -> None:
    print(f"  {title}")
    for side, seconds in times.items():
        print(f"    {side:46} {seconds / unit * 1e3:8.1f} ms a picture   {times[PLAIN] / seconds:5.2f} x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    print(machine())
    for name in given.networks:
        peer = PEERS[name]
        torch.manual_seed(0)
        theirs = peer.build()
        network = load_reference(theirs.state_dict(), peer.source, peer.args)
        print(f"{name}: {peer.package}; relative difference of the scores {difference(theirs, network):.1e}")
        images = torch.randint(0, 256, (1, 3, HEIGHT, WIDTH), dtype=torch.uint8)
        network.all_outputs = False
        show("prediction", alternate(prediction(theirs, network, images), given.rounds), 1)
        show("training step", alternate(training(theirs, network, peer.auxiliary), given.rounds), BATCH)


if __name__ == "__main__":
    main()
