"""What every converter shares: renaming tensors, and the check that each found its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from segue.models.network import Network


class ConversionError(ValueError):
    """A checkpoint does not fit; the message lists tensors by name."""


@dataclass(frozen=True)
class Conversion:
    """What a converter makes of a checkpoint.

    network: built for these tensors, not yet filled.
    tensors: this package's name -> tensor.
    unused: the checkpoint's names of tensors that the reference holds but never computes with.
    """

    network: Network[Any]
    tensors: Mapping[str, Tensor]
    unused: Sequence[str] = field(default=())


@dataclass(frozen=True)
class Source:
    """One codebase's checkpoints of one kind of network.

    names: how the codebase is called; a caller's `source` is matched by its beginning.
    recognise: whether a checkpoint's tensor names are this source's.
    convert: (tensors, the reference's arguments) -> Conversion.
    """

    names: tuple[str, ...]
    network: str
    recognise: Callable[[Mapping[str, Tensor]], bool]
    convert: Callable[[Mapping[str, Tensor], Mapping[str, Any]], Conversion]

    def load(self, state: Mapping[str, Tensor], args: Mapping[str, Any], *, strict: bool = True) -> Network[Any]:
        """Convert, fill and check; see `segue.convert.load_reference`."""
        try:
            conversion = self.convert(state, args)
        except KeyError as error:
            raise ConversionError(f"not a checkpoint of {self.names[0]}: it has no tensor {error}") from error
        except (IndexError, StopIteration) as error:
            raise ConversionError(
                f"not a checkpoint of {self.names[0]}: a tensor has fewer dimensions than it has there"
            ) from error
        except (TypeError, AttributeError) as error:
            if not args:
                raise
            raise ConversionError(f"{self.names[0]}: cannot use the arguments {', '.join(args)}: {error}") from error
        except ConversionError:
            raise
        except ValueError as error:  # from the network's own parts: an output stride of 4, say
            raise ConversionError(f"{self.names[0]}: {error}") from error
        network = conversion.network
        own = network.state_dict()
        tensors = dict(conversion.tensors)
        # Complaints are about the caller's file, so they use its names, as far as a tensor is still the same.
        theirs = {id(tensor): name for name, tensor in state.items()}
        called = {name: theirs.get(id(tensor), name) for name, tensor in tensors.items()}
        missing = [n for n in own if n not in tensors and not n.endswith("num_batches_tracked")]
        unplaced = [called[n] for n in tensors if n not in own]
        wrong = [
            f"{called[n]} {tuple(tensors[n].shape)} for {tuple(own[n].shape)}"
            for n in tensors
            if n in own and tensors[n].shape != own[n].shape
        ]
        if strict and (missing or unplaced or wrong):
            parts = [
                f"{len(names)} {what}: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
                for what, names in (
                    ("tensors without a place", unplaced),
                    ("places without a tensor", missing),
                    ("tensors of another shape", wrong),
                )
                if names
            ]
            raise ConversionError(f"{self.names[0]}, {self.network}: {'; '.join(parts)}")
        fitting = {n: t for n, t in tensors.items() if n in own and t.shape == own[n].shape}
        network.load_state_dict(fitting, strict=False)
        network.all_outputs = True
        network.unused_tensors = tuple(conversion.unused)
        return network.eval()


Rule = tuple[str, str | None]


def rename(state: Mapping[str, Tensor], rules: Sequence[Rule]) -> tuple[dict[str, Tensor], list[str]]:
    """Rename tensors by the first regular expression that matches a name's beginning.

    rules: (pattern, replacement as in `re.sub`), tried in order; a replacement of None marks the tensor as one that
    the reference never uses. A name that no rule matches is kept. Returns (renamed tensors, unused names). Raises
    ConversionError where two tensors would get one name, so that none is lost.
    """
    renamed: dict[str, Tensor] = {}
    origins: dict[str, str] = {}
    unused: list[str] = []
    for name, tensor in state.items():
        new: str | None = name
        for pattern, replacement in rules:
            if re.match(pattern, name):
                new = None if replacement is None else re.sub(pattern, replacement, name, count=1)
                break
        if new is None:
            unused.append(name)
        elif new in renamed:
            raise ConversionError(
                f"{origins[new]} and {name} are the same tensor here, {new}; the file has one too many"
            )
        else:
            renamed[new] = tensor
            origins[new] = name
    return renamed, unused


def two_scores(tensors: dict[str, Tensor], classifier: str) -> int:
    """Make two classes of a classifier of one, in place, and return how many classes there are then.

    A sigmoid of one score, the foreground's, is the softmax of zero and that score.
    """
    names = (f"{classifier}.weight", f"{classifier}.bias")
    if tensors[names[0]].shape[0] == 1:
        for name in names:
            tensors[name] = torch.cat([torch.zeros_like(tensors[name]), tensors[name]])
    return tensors[names[0]].shape[0]
