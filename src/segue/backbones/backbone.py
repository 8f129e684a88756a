"""The face that every encoder shows, and the reading of its weights from a file."""

from __future__ import annotations

import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """An encoder: images (B, in_channels, H, W) -> feature maps, finest first.

    name: what it is called, `resnet50` say.
    channels, strides: of each feature map; a stride is the image's side divided by the map's.
    """

    name: str
    in_channels: int
    channels: tuple[int, ...]
    strides: tuple[int, ...]

    @abstractmethod
    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, in_channels, H, W) -> [(B, channels[0], ~H / strides[0], ~W / strides[0]), ...]."""


@dataclass(frozen=True, kw_only=True)
class BackboneOptions(ABC):
    """What a network's pretrained part is made from, as data: the fields are keys of a recipe's `[model]` table.

    width: multiplies its channels. pretrained: fetch weights trained on ImageNet; weights: a file of them instead.
    """

    width: float = 1.0
    pretrained: bool = False
    weights: str | Path | None = None

    @abstractmethod
    def build(self, in_channels: int) -> nn.Module:
        """The pretrained part, for images of `in_channels`. Raises ValueError for a wish that cannot be granted."""


def create_timm(name: str, **options: Any) -> Any:
    """timm's model of this name. Raises ValueError, in one line, where its weights are to be fetched and do not come.

    What keeps them may be of the hub's library, of its HTTP client, which changed, or of the system.
    """
    import timm

    try:
        return timm.create_model(name, **options)
    except (RuntimeError, AttributeError, TypeError, AssertionError):
        raise  # of the encoder itself
    except Exception as error:
        raise ValueError(
            f"{name}: its ImageNet weights could not be fetched ({type(error).__name__}); check the connection, or set "
            "pretrained = false, and weights = a file of them if you have one"
        ) from error


def names(pattern: str = "*") -> list[str]:
    """The names of the timm encoders that give feature maps, those that match a shell-style pattern."""
    import timm

    return [name for name in timm.list_models(pattern) if timm.models.is_model(name)]


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file, or of a PyTorch file read without running code from it.

    Raises ValueError, in one line, when the file cannot be read so.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file of weights")
    try:
        if path.suffix == ".safetensors":
            state: object = load_file(path)
        else:
            with warnings.catch_warnings(action="ignore"):  # of pickles that other programs wrote
                state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path}: not a file of weights that can be read without running code from it ({_why(error)}); "
            "save the tensors alone, as .safetensors"
        ) from error
    if not isinstance(state, Mapping):
        raise ValueError(f"{path}: holds {type(state).__name__}, not named tensors")
    tensors = {str(name): value for name, value in unwrap(state).items() if isinstance(value, Tensor)}
    if not tensors:
        raise ValueError(f"{path}: holds no tensors")
    return tensors


def _why(error: Exception) -> str:
    """What is wrong with a file, in a few words: PyTorch's own advice is to run the code after all."""
    called = re.search(r"GLOBAL ([\w.]+)", str(error))
    if called:
        return f"it wants to call {called[1]}"
    if isinstance(error, SafetensorError):
        return str(error).splitlines()[0]
    return "torch.save did not write it, or not all of it is there"


def unwrap(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    """What lies in a checkpoint below the names that training programs wrap a network in, and its tensors with.

    Checkpoints hold their tensors under one of a few names, once or twice, or alone under another one; DataParallel,
    torch.compile and Lightning put something in front of every tensor's name.
    """
    state = checkpoint
    for _ in range(2):
        for key in ("state_dict", "model", "model_state_dict", "model_state", "network", "net"):
            if isinstance(state.get(key), Mapping):
                state = state[key]
                break
        else:
            inner = [value for value in state.values() if _holds_tensors(value)]
            if len(inner) == 1 and not _holds_tensors(state):
                state = inner[0]
    wrapped = [
        re.match(r"((module|_orig_mod|model)\.)*", str(name)) for name in state if isinstance(state[name], Tensor)
    ]
    before = {match[0] for match in wrapped if match}
    if len(before) == 1:
        state = {str(name).removeprefix(*before): value for name, value in state.items()}
    return state


def _holds_tensors(value: object) -> bool:
    return isinstance(value, Mapping) and any(isinstance(one, Tensor) for one in value.values())


def adapt_first_convolution(weight: Tensor, in_channels: int) -> Tensor:
    """(O, 3, k, k) -> (O, in_channels, k, k): the sum for one channel, else repeated and scaled to the same sum."""
    if weight.shape[1] == in_channels:
        return weight
    if in_channels == 1:
        return weight.sum(dim=1, keepdim=True)
    repeats = -(-in_channels // weight.shape[1])
    return weight.repeat(1, repeats, 1, 1)[:, :in_channels] * (weight.shape[1] / in_channels)


def load_weights(backbone: nn.Module, path: str | Path, in_channels: int = 3) -> list[str]:
    """Fill an encoder from a local file of weights; return the names in the file that found no place.

    The first convolution is converted to `in_channels`. Every tensor of the encoder has to be in the file, with its
    shape; what the file has beyond that (a classifier, say) is left out. Raises ValueError otherwise.
    """
    state = read_state(path)
    own = backbone.state_dict()
    for prefix in ("backbone.body.", "backbone.", "encoder."):
        if not set(own) & set(state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    fill(backbone, state, str(path), in_channels)
    return sorted(set(state) - set(own))


def fill(backbone: nn.Module, state: Mapping[str, Tensor], origin: str, in_channels: int = 3) -> None:
    """Fill an encoder from tensors of its own names, with the checks of `load_weights`; `origin` is for the message."""
    own = backbone.state_dict()
    state = dict(state)
    for name, value in state.items():
        wanted = own.get(name)
        if wanted is not None and value.ndim == 4 and value.shape[1] == 3 and wanted.shape[1] == in_channels:
            state[name] = adapt_first_convolution(value, in_channels)
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    wrong = [
        f"{name} {tuple(state[name].shape)}" for name in own if name in state and state[name].shape != own[name].shape
    ]
    if missing or wrong:
        listed = ", ".join([*missing, *wrong][:5])
        raise ValueError(
            f"{origin}: does not fit this backbone: {len(missing)} tensors absent, "
            f"{len(wrong)} of another shape ({listed})"
        )
    backbone.load_state_dict({name: state[name] for name in own if name in state}, strict=False)
