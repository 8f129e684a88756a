"""Crop-first scaling against resize-then-crop with torchvision v2, picture and mask, 2048x1024 to crops of 1024x512.

python benchmarks/augmentation.py
"""

import numpy as np
import torch
from PIL import Image
from timing import alternate, machine
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from segue.data.transforms import crop_image, crop_target

CROP = (512, 1024)
SCALES = (0.5, 0.75, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0)


def main() -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (64, 128, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((2048, 1024), Image.Resampling.BICUBIC)
    target = np.kron(rng.integers(0, 19, (64, 128)), np.ones((16, 16))).astype(np.uint8)
    mask, pixels = Image.fromarray(target), np.asarray(image)
    tensors = tv_tensors.Image(F.pil_to_tensor(image)), tv_tensors.Mask(torch.from_numpy(target)[None])
    print(machine())
    print("scale   crop first   v2 on PIL      v2 on tensors    largest difference   mask pixels that differ")
    for scale in SCALES:
        size = (round(1024 * scale), round(2048 * scale))
        top = int(rng.integers(0, size[0] - CROP[0] + 1))
        left = int(rng.integers(0, size[1] - CROP[1] + 1))

        def crop_first(size=size, top=top, left=left):
            return crop_image(pixels, size, top, left, CROP), crop_target(target, size, top, left, CROP)

        def resize_first(size=size, top=top, left=left):
            resized = F.resize(image, list(size)), F.resize(mask, list(size), interpolation=InterpolationMode.NEAREST)
            return [np.asarray(F.crop(one, top, left, *CROP)) for one in resized]

        def resize_tensors(size=size, top=top, left=left):
            return [F.crop(F.resize(one, list(size)), top, left, *CROP) for one in tensors]

        sides = {"ours": crop_first, "pil": resize_first, "tensor": resize_tensors}
        times = alternate(sides, rounds=9, warmup=2)
        (ours, our_mask), (theirs, their_mask) = crop_first(), resize_first()
        grey = int(np.abs(ours.astype(int) - theirs).max())
        wrong = int((our_mask != their_mask).sum())
        print(
            f"{scale:5.2f} {times['ours'] * 1e3:9.1f} ms "
            f"{times['pil'] * 1e3:9.1f} ms {times['pil'] / times['ours']:4.1f}x "
            f"{times['tensor'] * 1e3:9.1f} ms {times['tensor'] / times['ours']:4.1f}x {grey:12} {wrong:22}"
        )


if __name__ == "__main__":
    main()
