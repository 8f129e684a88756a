"""What every benchmark shares: alternating measurements, medians, and the machine's speed beside them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch


def alternate(sides: Mapping[str, Callable[[], object]], rounds: int = 7, warmup: int = 1) -> dict[str, float]:
    """Median seconds of each side; every round runs all sides in turn, so that a busy moment meets them all."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + warmup):
        for name, side in sides.items():
            start = time.perf_counter()
            side()
            took = time.perf_counter() - start
            if turn >= warmup:
                times[name].append(took)
    return {name: statistics.median(values) for name, values in times.items()}


def matrix_product() -> float:
    """Median seconds of a float32 matrix product of 2048^3: what this machine can do."""
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    return alternate({"product": lambda: a @ b}, rounds=9, warmup=2)["product"]


def machine() -> str:
    """One line about the machine, to print above every result."""
    return (
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}; "
        f"float32 product of 2048^3 in {matrix_product():.3f} s"
    )
