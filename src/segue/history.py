"""What a run kept of its network over training, for those who look back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from segue.files import write_atomically

FOLDER = "history"


def keep(run: Path, step: int, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors to RUN/history/STEP.safetensors; nothing where there are none."""
    if tensors:
        small = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        write_atomically(run / FOLDER / f"{step}.safetensors", lambda temporary: save_file(small, temporary))


def kept(run: Path | None) -> list[tuple[int, dict[str, Tensor]]]:
    """(step, tensors by name) of RUN/history/STEP.safetensors, in order; empty where there are none."""
    if run is None or not (run / FOLDER).is_dir():
        return []
    found = [path for path in (run / FOLDER).iterdir() if re.fullmatch(r"\d+\.safetensors", path.name)]
    return [(int(path.stem), load_file(path)) for path in sorted(found, key=lambda path: int(path.stem))]
