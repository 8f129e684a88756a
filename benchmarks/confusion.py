"""The confusion matrix against torchmetrics' on (4, 512, 1024) with 19 classes and ignored pixels.

python benchmarks/confusion.py
"""

import torch
from timing import alternate, machine
from torchmetrics.classification import MulticlassConfusionMatrix

from segue.labels import IGNORE
from segue.metrics import confusion

K, SHAPE = 19, (4, 512, 1024)


def main() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, K, SHAPE, generator=generator)
    target[torch.rand(SHAPE, generator=generator) < 0.1] = IGNORE
    predicted = torch.randint(0, K, SHAPE, generator=generator)
    checked = MulticlassConfusionMatrix(K, ignore_index=IGNORE)
    unchecked = MulticlassConfusionMatrix(K, ignore_index=IGNORE, validate_args=False)
    assert torch.equal(confusion(predicted, target, K), checked(predicted, target))
    times = alternate(
        {
            "segue": lambda: confusion(predicted, target, K),
            "torchmetrics": lambda: checked(predicted, target),
            "torchmetrics, validate_args=False": lambda: unchecked(predicted, target),
        },
        rounds=15,
    )
    print(machine())
    for name, seconds in times.items():
        print(f"{name:36} {seconds * 1e3:8.2f} ms   {seconds / times['segue']:6.1f} x segue")


if __name__ == "__main__":
    main()
