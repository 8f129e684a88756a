"""A training step of the U-Net on ResNet-18: plain eager float32 against channels-last and bfloat16.

python benchmarks/training_step.py
"""

import torch
from timing import alternate, machine

from segue.models import create
from segue.prediction import autocast

BATCH, SIDE = 4, 320


def step_of(channels_last: bool, precision: str):
    torch.manual_seed(0)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = create("unet", 11, backbone="resnet18").to(memory_format=layout)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    images = torch.randn(BATCH, 3, SIDE, SIDE).contiguous(memory_format=layout)
    target = torch.randint(0, 11, (BATCH, SIDE, SIDE))

    def step() -> None:
        with autocast(torch.device("cpu"), precision):
            loss = sum(network.loss(network(images), target).values())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def main() -> None:
    plain, fast = "eager float32", "channels-last bfloat16"
    sides = {
        plain: step_of(False, "float32"),
        "channels-last float32": step_of(True, "float32"),
        fast: step_of(True, "bfloat16"),
    }
    times = alternate(sides, rounds=7, warmup=2)
    print(machine())
    for name, seconds in times.items():
        print(f"{name:24} {seconds:6.3f} s   {BATCH / seconds:6.1f} images/s   {times[plain] / seconds:5.2f} x")


if __name__ == "__main__":
    main()
