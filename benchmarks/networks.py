"""Every architecture on CamVid after the same time: the table of docs/networks.md.

    python benchmarks/networks.py --root ~/data/camvid --out runs/networks

Each network's `_camvid_cpu` recipe gets the same processor time: a step is timed first, and so many steps are trained, the
learning rate's schedule over them, as fill it. Time is what the processor spent (`--minutes` on 2 cores, so twice as many
core-minutes), so that other programs beside do not change the result. It is measured on the test split, at the end; nothing is
chosen by it.

Killed, it goes on where it stopped, in the middle of a network too; OUT/NAME.json holds the rows that are done. Several may
run side by side, each with networks of its own and --threads 1. `--write docs/networks.md` puts the table there.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from segue import recipe as recipes
from segue.files import write_json, write_text
from segue.models import MODELS, create

NETWORKS = (
    "fcn8s", "unet", "segnet", "segnet_basic", "deeplabv1", "deeplabv2", "deeplabv3", "refinenet", "dfn", "danet",
    "fcn", "pspnet", "ocrnet", "upernet", "mcibi",
)  # fmt: skip
CORES = 2
TIMED = 2, 10  # steps of the two runs whose difference tells what a step takes
BEGIN, END = "<!-- table of networks -->", "<!-- end of table -->"


def train(name: str, root: Path, steps: int, out: Path, threads: int, *, save_every: int = 0) -> float:
    """Train a network's recipe, or go on with it; returns the processor seconds that it took."""
    keys = ["--training.steps", f"{steps}", "--training.validate_every", f"{-(-steps // 2)}", "--data.val", "test"]
    how = ["--resume", f"{out}"] if (out / "checkpoints" / "last").is_file() else [f"{name}_camvid_cpu"]
    if how[0] != "--resume":
        how += [*keys, "--data.workers", "0", "--training.save_every", f"{save_every}"]
        how += ["--data.root", f"{root}", "--out", f"{out}"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "segue", "train", *how],
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": f"{threads}"},
        stdout=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def seconds_per_step(name: str, root: Path, threads: int) -> float:
    """Processor seconds of a training step: the difference of two short runs, validated on one picture each."""
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "camvid"
        for split in ("train", "test"):
            for kind in (split, f"{split}annot"):
                files = sorted((root / kind).iterdir())
                (small / kind).mkdir(parents=True)
                for file in files[:1] if split == "test" else files:
                    (small / kind / file.name).symlink_to(file.resolve())
        few, many = (train(name, small, steps, Path(folder) / f"{steps}", threads) for steps in TIMED)
    return (many - few) / (TIMED[1] - TIMED[0])


def size(name: str) -> tuple[float, float]:
    """Millions of parameters, and GFLOP (a multiplication with its addition counts 2) for one picture of 480x360."""
    recipe = recipes.read(recipes.shipped()[f"{name}_camvid_cpu"])
    network = create(name, 11, **recipe.model).eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        network(torch.randn(1, 3, 360, 480))
    return sum(one.numel() for one in network.parameters()) / 1e6, counter.get_total_flops() / 1e9


def measure(name: str, root: Path, out: Path, minutes: float, threads: int) -> None:
    """Train one network for its time and write its row."""
    plan = out / f"{name}.plan.json"
    if plan.is_file():
        planned = json.loads(plan.read_text())
    else:
        cost = seconds_per_step(name, root, threads)
        planned = {"seconds_per_step": cost, "steps": round(60 * minutes * CORES / cost), "minutes": minutes}
        write_json(plan, planned)
    steps = planned["steps"]
    train(name, root, steps, out / name, threads, save_every=max(1, steps // 6))
    with (out / name / "log.csv").open(newline="") as file:
        half, last = csv.DictReader(file)
    parameters, gflop = size(name)
    row = {
        "network": name,
        "parameters": parameters,
        "gflop": gflop,
        "test_miou": float(last["miou"]),
        "pixel_accuracy": float(last["pixel_accuracy"]),
        "loss": [float(half["loss"]), float(last["loss"])],
        **planned,
    }
    write_json(out / f"{name}.json", row)
    print(f"{name}: {steps} steps, test mIoU {row['test_miou']:.3f}", flush=True)


def table(out: Path, networks: Sequence[str]) -> str:
    """The rows that are done, as Markdown."""
    lines = [
        "| network | parameters, M | GFLOP at 480x360 | steps | loss, first and second half | test mIoU | pixel accuracy |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in networks:
        if (out / f"{name}.json").is_file():
            row = json.loads((out / f"{name}.json").read_text())
            lines.append(
                f"| `{name}` ({MODELS[name].paper.year}) | {row['parameters']:.2f} | {row['gflop']:.1f} | {row['steps']} "
                f"| {row['loss'][0]:.2f}, {row['loss'][1]:.2f} | {row['test_miou']:.3f} | {row['pixel_accuracy']:.3f} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="CamVid's folder; without it nothing is trained")
    parser.add_argument("--out", type=Path, default=Path("runs/networks"))
    parser.add_argument("--minutes", type=float, default=5.0, help=f"on {CORES} cores")
    parser.add_argument("--threads", type=int, default=CORES)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--write", type=Path, help="a document whose table is replaced")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.networks if given.root else ():
        if not (given.out / f"{name}.json").is_file():
            measure(name, given.root.expanduser(), given.out, given.minutes, given.threads)
    rows = table(given.out, NETWORKS)
    if given.write:
        text = given.write.read_text(encoding="utf-8")
        start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
        write_text(given.write, f"{text[:start]}\n{rows}\n{text[end:]}")
    print(rows)


if __name__ == "__main__":
    main()
