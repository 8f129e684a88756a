"""Every architecture on CamVid after the same time: the table of docs/networks.md.

    python benchmarks/networks.py --root ~/data/camvid --out runs/networks

Each network's `_camvid_cpu` recipe gets the same processor time: a step is timed first, and as many steps are trained,
the learning rate's schedule over them, as fill it. Time is what the processor spent (`--minutes` on 2 cores, so twice
as many core-minutes): other programs beside do not change the result. It is measured on the test split, at the end;
nothing is chosen by it.

Killed, it goes on where it stopped, in the middle of a network too; OUT/NAME.json holds the rows that are done. Several
may run side by side, each with networks of its own and --threads 1. `--steps` fixes the number of steps instead of the
time, on a machine that is slower than that of the other rows. `--write docs/networks.md` puts the rows into the table
there; those of networks that OUT does not hold stay.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import torch
from torch.utils.flop_counter import FlopCounterMode

from segue import recipe as recipes
from segue import run
from segue.files import write_json, write_text
from segue.models import MODELS, create
from segue.training import Tick

NETWORKS = (
    "fcn8s", "unet", "segnet", "segnet_basic", "deeplabv1", "deeplabv2", "deeplabv3", "refinenet", "dfn", "danet",
    "fcn", "pspnet", "ocrnet", "upernet", "mcibi",
)  # fmt: skip
CORES = 2
WARM, TIMED = 3, 12  # steps before the timed ones, and those
BEGIN, END = "<!-- table of networks -->", "<!-- end of table -->"


class Timed(run._Watcher):
    """Notes the processor's time after every step, and ends the run after the last one that is timed."""

    def stepped(self, tick: Tick) -> None:
        if tick.step == WARM:
            self.began = time.process_time()
        if tick.step == WARM + TIMED:
            raise Done((time.process_time() - self.began) / TIMED)


class Done(Exception):
    """Holds the processor seconds of a training step."""


def seconds_per_step(name: str, root: Path) -> float:
    """Processor seconds of a training step of a network's recipe, by a run that is then thrown away."""
    keys = {"data": {"root": f"{root}", "workers": 0}}
    recipe = recipes.override(recipes.read(recipes.shipped()[f"{name}_camvid_cpu"]), keys, "the benchmark")
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(run, "_Watcher", Timed):
        try:
            run.begin(recipe, out=f"{folder}/run")
        except Done as done:
            return float(done.args[0])
    raise RuntimeError(f"{name}: its recipe ends before step {WARM + TIMED}")


def train(name: str, root: Path, steps: int, out: Path) -> None:
    """Train a network's recipe for so many steps, or go on with it."""
    if (out / "checkpoints" / "last").is_file():
        run.resume(out, {})
        return
    shutil.rmtree(out, ignore_errors=True)  # killed before its first checkpoint
    keys = {
        "data": {"root": f"{root}", "workers": 0, "val": "test"},
        "training": {"steps": steps, "validate_every": math.ceil(steps / 2), "save_every": math.ceil(steps / 6)},
    }
    run.begin(
        recipes.override(recipes.read(recipes.shipped()[f"{name}_camvid_cpu"]), keys, "the benchmark"), out=f"{out}"
    )


def size(name: str) -> tuple[float, float]:
    """Millions of parameters, and GFLOP (a multiplication with its addition counts 2) for one picture of 480x360."""
    recipe = recipes.read(recipes.shipped()[f"{name}_camvid_cpu"])
    network = create(name, 11, **recipe.model).eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        network(torch.randn(1, 3, 360, 480))
    return sum(one.numel() for one in network.parameters()) / 1e6, counter.get_total_flops() / 1e9


def measure(name: str, root: Path, out: Path, minutes: float, steps: int) -> None:
    """Train one network for its time, or so many steps if that is above 0, and write its row."""
    plan = out / f"{name}.plan.json"
    if plan.is_file():
        planned = json.loads(plan.read_text())
    elif steps:
        planned = {"steps": steps}
        write_json(plan, planned)
    else:
        cost = seconds_per_step(name, root)
        planned = {"seconds_per_step": cost, "steps": round(60 * minutes * CORES / cost), "minutes": minutes}
        write_json(plan, planned)
    steps = planned["steps"]
    train(name, root, steps, out / name)
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


def table(out: Path, networks: Sequence[str], before: str = "") -> str:
    """The rows that are done, as Markdown, and of the table before those of the other networks."""
    lines = [
        "| network | parameters, M | GFLOP | steps | loss, first and second half | test mIoU | pixel accuracy |",
        "|---|---|---|---|---|---|---|",
    ]
    kept = {line.split("`")[1]: line for line in before.splitlines() if line.startswith("| `")}
    for name in networks:
        if not (out / f"{name}.json").is_file():
            lines += [kept[name]] if name in kept else []
        else:
            row = json.loads((out / f"{name}.json").read_text())
            lines.append(
                f"| `{name}` ({MODELS[name].paper.year}) | {row['parameters']:.2f} | {row['gflop']:.1f} "
                f"| {row['steps']} | {row['loss'][0]:.2f}, {row['loss'][1]:.2f} "
                f"| {row['test_miou']:.3f} | {row['pixel_accuracy']:.3f} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="CamVid's folder; without it nothing is trained")
    parser.add_argument("--out", type=Path, default=Path("runs/networks"))
    parser.add_argument("--minutes", type=float, default=5.0, help=f"on {CORES} cores")
    parser.add_argument("--steps", type=int, default=0, help="instead of the time")
    parser.add_argument("--threads", type=int, default=CORES)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--write", type=Path, help="a document whose table is replaced")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(given.threads)
    waiting = [name for name in given.networks if not (given.out / f"{name}.json").is_file()]
    if given.root and len(waiting) == 1:
        measure(waiting[0], given.root.expanduser(), given.out, given.minutes, given.steps)
    elif given.root:  # each in a process of its own, so that none meets another's memory
        for name in waiting:
            subprocess.run([sys.executable, *sys.argv, "--networks", name], check=True, stdout=subprocess.DEVNULL)
    if given.write:
        text = given.write.read_text(encoding="utf-8")
        start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
        rows = table(given.out, NETWORKS, text[start:end])
        write_text(given.write, f"{text[:start]}\n{rows}\n{text[end:]}")
    print(table(given.out, NETWORKS))


if __name__ == "__main__":
    main()
