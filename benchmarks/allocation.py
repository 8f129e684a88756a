"""What it is worth to keep freed memory in the process, as the command line does (`segue.allocation`).

    python benchmarks/allocation.py

Processes of their own take turns: a training step (U-Net on ResNet-18, 4 pictures of 320x320, as `segue train` has it)
and the prediction of a window of 1024x1024.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys

import torch
from timing import alternate, machine
from training_step import step_of

from segue.allocation import keep_freed_memory
from segue.models import create
from segue.prediction import Predictor, Preprocessing

KINDS = ("returned to the system", "kept")
TURNS = 3


def measure() -> dict[str, float]:
    """In one process: seconds of each job, and MiB that the process had at most."""
    predictor = Predictor(create("unet", 11, backbone="resnet18"), Preprocessing())
    window = torch.randint(0, 256, (1, 3, 1024, 1024), dtype=torch.uint8)
    jobs = {"training step": step_of(True, "auto"), "prediction": lambda: predictor.labels(window)}
    times = alternate(jobs, rounds=9, warmup=3)
    return times | {"MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def main() -> None:
    print(machine())
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    for _ in range(TURNS):
        for kind in KINDS:
            answer = subprocess.run([sys.executable, __file__, kind], capture_output=True, text=True, check=True)
            found[kind].append(json.loads(answer.stdout))
    medians = {
        kind: {key: statistics.median(one[key] for one in ones) for key in ones[0]} for kind, ones in found.items()
    }
    for job in ("training step", "prediction"):
        before, after = (medians[kind][job] for kind in KINDS)
        print(f"{job:14} {before * 1e3:8.0f} ms, kept {after * 1e3:8.0f} ms: {before / after:.2f} times as fast")
    print(f"{'memory':14} {medians[KINDS[0]]['MiB']:8.0f} MiB, kept {medians[KINDS[1]]['MiB']:7.0f} MiB")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        if sys.argv[1] == KINDS[1] and not keep_freed_memory():
            raise SystemExit("another C library than glibc, or an environment that has chosen for itself")
        print(json.dumps(measure()))
