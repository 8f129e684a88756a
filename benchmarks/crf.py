"""The fully connected CRF, lattices included: seconds, peak memory, and the ratio to pydensecrf's time.

    python benchmarks/crf.py

pydensecrf's seconds were measured on two x86-64 cores that took 0.10-0.12 s for the float32 product of 2048^3; compare
ratios only where the product printed here takes about as long. Where pydensecrf is installed it runs beside segue, in
turn, and the second ratio is measured on this machine.
"""

import importlib.util
import math
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import psutil
import torch
from timing import alternate, machine
from torch import Tensor

from segue.crf import Bilateral, Gaussian, dense_crf

SIZES = {(360, 480, 11): 0.42, (500, 500, 21): 1.05, (1024, 2048, 19): 11.1}
"""(H, W, K): seconds of pydensecrf for 10 iterations."""

KERNELS = {
    "pydensecrf's example": (Gaussian(3, 3), Bilateral(80, 13, 10)),
    "DeepLab v1 LargeFOV": (Gaussian(3, 3), Bilateral(121, 5, 4)),
}


def scene(height: int, width: int, num_classes: int) -> tuple[Tensor, Tensor]:
    """A street of flat and textured regions under changing light, and the smooth scores of a network that saw it."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    sky = torch.stack([120 + 60 * y, 150 + 50 * y, 220 - 20 * x])
    bricks, stripes = torch.sin(60 * x + 50 * y), torch.sin(90 * y)
    walls = torch.stack([150 + 40 * torch.sin(40 * x), 110 + 30 * stripes, 90 + 20 * bricks])
    leaves, twigs = torch.sin(110 * x + 30 * y), torch.sin(70 * x * y)
    trees = torch.stack([50 + 30 * twigs, 110 + 40 * leaves, 40 + 20 * stripes])
    road = torch.stack([90 + 25 * y, 88 + 22 * y, 95 + 20 * y]) + 6 * torch.sin(300 * x * y)
    image = torch.where(y + 0.1 * torch.sin(9 * x) < 0.35, sky, walls)
    image = torch.where((x - 0.2) ** 2 + (y - 0.45) ** 2 < 0.03, trees, image)
    image = torch.where(y > 0.55 + 0.35 * (x - 0.5).abs(), road, image)
    image = image + 5 * torch.sin(1.7 * height * y) * torch.cos(1.3 * width * x)  # grain
    waves = [
        torch.cos(2 * math.pi * ((k % 5 - 2) * x + (k % 3 - 1.3) * y) + k) + torch.sin((3 + k) * x * y + 2 * k)
        for k in range(num_classes)
    ]
    return (2 * torch.stack(waves)).softmax(0)[None], image.clamp(0, 255).to(torch.uint8)[None]


def pydensecrf_side(
    probabilities: Tensor, images: Tensor, gaussian: Gaussian, bilateral: Bilateral
) -> Callable[[], object]:
    from pydensecrf.densecrf import DenseCRF2D

    _, num_classes, height, width = probabilities.shape
    unary = (-probabilities[0].clamp(min=1e-5).log()).reshape(num_classes, -1).contiguous().numpy()
    picture = images[0].permute(1, 2, 0).contiguous().numpy()

    def run() -> object:
        crf = DenseCRF2D(width, height, num_classes)
        crf.setUnaryEnergy(unary)
        crf.addPairwiseGaussian(sxy=gaussian.sxy, compat=gaussian.compat)
        crf.addPairwiseBilateral(sxy=bilateral.sxy, srgb=bilateral.srgb, rgbim=picture, compat=bilateral.compat)
        return crf.inference(10)

    return run


def extra_memory(size: tuple[int, int, int], name: str) -> float:
    """Peak MiB that a call adds to a process that holds its input. To be run in a process of its own."""
    torch.set_num_threads(2)
    dense_crf(*scene(8, 8, size[2]), *KERNELS[name])  # what is loaded at the first call is no memory of the second
    given = scene(*size)
    before = psutil.Process().memory_info().rss
    dense_crf(*given, *KERNELS[name])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return (peak - before) / 2**20


def main() -> None:
    torch.set_num_threads(2)
    beside = importlib.util.find_spec("pydensecrf") is not None
    for size, stated in SIZES.items():
        for name, kernels in KERNELS.items():
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                memory = pool.submit(extra_memory, size, name).result()
            given = scene(*size)
            sides = {"segue": lambda given=given, kernels=kernels: dense_crf(*given, *kernels)}
            if beside:
                sides["pydensecrf"] = pydensecrf_side(*given, *kernels)
            print(machine())
            times = alternate(sides, rounds=3 if size[0] > 1000 else 9)
            line = f"{size[0]} x {size[1]}, {size[2]} classes, {name}: segue {times['segue']:.3f} s"
            line += f", {times['segue'] / stated:.2f} of {stated} s, {memory:.0f} MiB"
            if beside:
                line += (
                    f"; pydensecrf here {times['pydensecrf']:.3f} s, {times['segue'] / times['pydensecrf']:.2f} of it"
                )
            print(line, flush=True)


if __name__ == "__main__":
    main()
