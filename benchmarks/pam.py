"""Position attention (DANet's PAM) in blocks against the plain way: time and memory.

    python benchmarks/pam.py                      # N = 9216: a 768 x 768 picture at stride 8
    python benchmarks/pam.py --positions 32768    # a 2048 x 1024 one; memory only, unless --plain
    python benchmarks/pam.py --device cuda

Both ways take the same queries and keys (64 channels) and values (512 channels) of one picture. Times alternate
between the ways in one process; the middle of `--repeat` runs is shown, and a float32 product of two 2048 x 2048
matrices beside them, which says how fast the machine was meanwhile. Memory is the peak beyond the inputs, results and
gradients included, each way in a process of its own: of resident pages on a processor, of PyTorch's allocations on a
GPU.
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from segue.layers import attend

CHANNELS, ATTENTION_CHANNELS = 512, 64
Way = Callable[[Tensor, Tensor, Tensor], Tensor]


def plain(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    weights = torch.softmax(torch.bmm(query.transpose(1, 2), key), dim=-1)
    return torch.bmm(value, weights.transpose(1, 2))


WAYS: dict[str, Way] = {"plain": plain, "blocks": attend}


def draw(positions: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    widths = (ATTENTION_CHANNELS, ATTENTION_CHANNELS, CHANNELS)
    query, key, value = (torch.randn(1, width, positions, generator=generator).to(device) for width in widths)
    return query / 4, key / 4, value


def forward(way: Way, inputs: tuple[Tensor, ...]) -> Tensor:
    with torch.no_grad():
        return way(*inputs)


def forward_backward(way: Way, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    out = way(*leaves)
    out.backward(inputs[2])  # any gradient will do
    return [leaf.grad for leaf in leaves]


PASSES = {"forward": forward, "forward and backward": forward_backward}


def seconds(work: Callable[[], object], device: str) -> float:
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def status(field: str) -> int:
    """Bytes, from the kernel's account of this process: VmRSS is the resident memory, VmHWM its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def highest() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if platform.system() == "Darwin" else 1024)


def peak(name: str, what: str, positions: int, device: str) -> float:
    """Peak MiB beyond the inputs; for a fresh process."""
    inputs = draw(positions, device)
    PASSES[what](WAYS[name], draw(64, device))  # libraries take their own memory first
    if device == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        PASSES[what](WAYS[name], inputs)
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")  # sets the peak to the present size
        before = status("VmRSS")
        PASSES[what](WAYS[name], inputs)
        return (status("VmHWM") - before) / 2**20
    before = highest()  # elsewhere only the highest so far is known, which a short pass may not exceed
    PASSES[what](WAYS[name], inputs)
    return (highest() - before) / 2**20


def peak_in_own_process(name: str, what: str, positions: int, device: str) -> float:
    command = [sys.executable, __file__, "--device", device, "--positions", str(positions), "--peak", name, what]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--positions", type=int, default=9216)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--plain", action="store_true", help="measure the plain way, too, where it takes over 4 GiB")
    parser.add_argument("--peak", nargs=2, metavar=("WAY", "PASSES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    device, positions = options.device, options.positions
    if options.peak:
        print(peak(*options.peak, positions, device))
        return

    name = torch.cuda.get_device_name() if device == "cuda" else f"{platform.processor() or platform.machine()}"
    print(f"PyTorch {torch.__version__}, {name}, {torch.get_num_threads()} threads; N = {positions}, float32")
    square = torch.randn(2048, 2048, device=device)
    inputs = draw(positions, device)
    ways = WAYS if positions <= 16384 or options.plain else {"blocks": attend}
    for what, run in PASSES.items():
        times: dict[str, list[float]] = {way: [] for way in (*ways, "product")}
        for turn in range(options.repeat + 1):
            for way, function in ways.items():
                taken = seconds(lambda: run(function, inputs), device)  # noqa: B023  # runs at once
                times[way].append(taken)
            times["product"].append(seconds(lambda: square @ square, device))
            if turn == 0:  # warm-up
                times = {way: [] for way in times}
        middle = {way: statistics.median(values) for way, values in times.items()}
        megabytes = {way: peak_in_own_process(way, what, positions, device) for way in ways}
        print(f"{what}:")
        for way in ways:
            print(f"  {way:7s} {middle[way]:8.4f} s   {megabytes[way]:8.0f} MiB")
        if "plain" in ways:
            print(f"  blocks are {middle['plain'] / middle['blocks']:.2f} times as fast")
        print(f"  a product of 2048^3 took {middle['product']:.4f} s")
    if "plain" in ways:
        difference = (forward(attend, inputs) - forward(plain, inputs)).abs().max().item()
        print(f"largest difference of the results: {difference:.2g}")


if __name__ == "__main__":
    main()
