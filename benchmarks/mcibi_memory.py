"""MCIBI's memory update without enlarging the features, against the class-by-class loop over the enlarged map.

    python benchmarks/mcibi_memory.py                    # 150 classes, 2 pictures of 512 x 512, features at stride 8
    python benchmarks/mcibi_memory.py --classes 19 --height 512 --width 1024
    python benchmarks/mcibi_memory.py --device cuda

Both ways start from the same memory, features (512 channels, float32) and labels: blocks of 16 x 16 pixels, one in
fifty of them ignored. Times are medians, alternating between the ways in one process. Memory is the peak beyond the
inputs, each way in a process of its own: of resident pages on a processor, of PyTorch's allocations on a GPU. The error
is against the loop in float64.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from pam import highest, status
from timing import alternate, machine
from torch import Tensor

from segue.labels import IGNORE
from segue.models.mcibi import ClassMemory

CHANNELS, PICTURES, STRIDE, MOMENTUM = 512, 2, 8, 0.9


def class_by_class(memory: Tensor, features: Tensor, target: Tensor) -> Tensor:
    """The update as the paper tells it: enlarge, then walk over the classes; every class has been seen before."""
    moved = memory.clone()
    enlarged = F.interpolate(features, size=target.shape[-2:], mode="bilinear", align_corners=False)
    enlarged = enlarged.permute(0, 2, 3, 1).contiguous().view(-1, memory.shape[1])
    flat = target.flatten()
    for label in target.unique().tolist():
        if label == IGNORE:
            continue
        pixels = enlarged[flat == label]
        unlike = 1 - F.cosine_similarity(pixels, memory[label].expand_as(pixels))
        mean = (pixels * (unlike / unlike.sum())[:, None]).sum(0)
        moved[label] = (1 - MOMENTUM) * memory[label] + MOMENTUM * mean
    return moved


def without_enlarging(memory: Tensor, features: Tensor, target: Tensor) -> Tensor:
    module = ClassMemory(*memory.shape).to(memory.device)
    module.rows.copy_(memory)
    module.update(features, target, MOMENTUM)
    return module.rows


WAYS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "class by class": class_by_class,
    "without enlarging": without_enlarging,
}


def draw(classes: int, height: int, width: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(PICTURES, CHANNELS, height // STRIDE, width // STRIDE, generator=generator).relu()
    blocks = torch.randint(0, classes, (PICTURES, -(-height // 16), -(-width // 16)), generator=generator)
    target = blocks.repeat_interleave(16, 1).repeat_interleave(16, 2)[:, :height, :width].contiguous()
    target[torch.rand(target.shape, generator=generator) < 0.02] = IGNORE
    memory = torch.rand(classes, CHANNELS, generator=generator)
    return memory.to(device), features.to(device), target.to(device)


def peak(way: str, inputs: tuple[Tensor, Tensor, Tensor]) -> float:
    """Peak MiB beyond the inputs; for a fresh process."""
    memory, features, target = inputs
    WAYS[way](memory, features[..., :4, :4], target[..., :32, :32])  # libraries take their own memory first
    if memory.is_cuda:
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        WAYS[way](*inputs)
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")  # sets the peak to the present size
        before = status("VmRSS")
        WAYS[way](*inputs)
        return (status("VmHWM") - before) / 2**20
    before = highest()
    WAYS[way](*inputs)
    return (highest() - before) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--classes", type=int, default=150)
    parser.add_argument("--height", type=int, default=512)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peak", metavar="WAY", help=argparse.SUPPRESS)
    options = parser.parse_args()
    inputs = draw(options.classes, options.height, options.width, options.device)
    if options.peak:
        print(peak(options.peak, inputs))
        return

    def timed(way: str) -> Callable[[], None]:
        def run() -> None:
            WAYS[way](*inputs)
            if options.device == "cuda":
                torch.cuda.synchronize()

        return run

    print(machine())
    times = alternate({way: timed(way) for way in WAYS}, rounds=options.rounds)
    memory, features, target = inputs
    exact = class_by_class(memory.double(), features.double(), target)
    megabytes = {}
    for way in WAYS:
        command = [sys.executable, __file__, *sys.argv[1:], "--peak", way]
        megabytes[way] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        error = torch.linalg.vector_norm(WAYS[way](*inputs) - exact) / torch.linalg.vector_norm(exact)
        print(f"{way:18} {times[way] * 1e3:9.1f} ms {megabytes[way]:8.0f} MiB   relative error {error.item():.1e}")
    plain, ours = WAYS
    print(f"{times[plain] / times[ours]:.0f} times as fast, {megabytes[plain] / megabytes[ours]:.0f} times less memory")


if __name__ == "__main__":
    main()
