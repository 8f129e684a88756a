"""Checkpoints of other codebases -> networks of this one. One file per source; `SOURCES` lists them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from segue.backbones import unwrap
from segue.convert import (
    danet,
    deeplab_public,
    deeplab_public_ver2,
    delta_onera,
    drsleep,
    jvanvugt,
    kazuto1011,
    lxtgh,
    markshih91,
    milesial,
    mmsegmentation,
    segnet_tutorial,
    shelhamer,
    smp,
    sssegmentation,
    thomasjpfan,
    torchseg,
    torchvision,
    wkentaro,
)
from segue.convert.reference import Conversion, ConversionError, Source, rename
from segue.models.network import Network

SOURCES: tuple[Source, ...] = (
    *danet.SOURCES,
    *mmsegmentation.SOURCES,
    *deeplab_public.SOURCES,
    *deeplab_public_ver2.SOURCES,
    *delta_onera.SOURCES,
    *drsleep.SOURCES,
    *jvanvugt.SOURCES,
    *kazuto1011.SOURCES,
    *lxtgh.SOURCES,
    *markshih91.SOURCES,
    *milesial.SOURCES,
    *segnet_tutorial.SOURCES,
    *shelhamer.SOURCES,
    *wkentaro.SOURCES,
    *smp.SOURCES,
    *sssegmentation.SOURCES,
    *thomasjpfan.SOURCES,
    *torchseg.SOURCES,
    *torchvision.SOURCES,
)

__all__ = ["SOURCES", "Conversion", "ConversionError", "Source", "load_reference", "rename"]


def load_reference(
    state: Mapping[str, Any],
    source: str | None = None,
    args: Mapping[str, Any] | None = None,
    *,
    strict: bool = True,
) -> Network[Any]:
    """A network that holds another codebase's weights, and computes what that codebase computes.

    state: the checkpoint's tensors by their own names, or the checkpoint that they lie in (`state_dict`, `model`, ...);
        what DataParallel and the like put in front of every name is left out.
    source: whose checkpoint it is, matched by its beginning ("junfu1115/DANet ..."); recognised by the tensors' names
        when it is not given.
    args: the reference's constructor or configuration arguments, for what tensors cannot tell (strides, rates,
        multi-grid, padding); absent ones take the reference's defaults.
    strict: every tensor has to find its place and every place its tensor, apart from tensors that the reference
        itself never uses; otherwise what is left over stays as it was.

    The network comes back in eval() with `all_outputs` set, and `network.unused_tensors` lists the tensors that the
    reference never uses. Raises ConversionError, which lists the tensors by name.
    """
    state = unwrap(state)
    return find_source(state, source).load(state, args or {}, strict=strict)


def find_source(state: Mapping[str, Tensor], name: str | None = None) -> Source:
    """The source called `name` (matched by its beginning) that knows these tensors, or the first one that does.

    Of several that know them, the one whose name is matched furthest is taken.
    """
    known_here = [source for source in SOURCES if source.recognise(state)]
    some = f"({', '.join(list(state)[:3])}, ...)"
    if name is None:
        if not known_here:
            raise ConversionError(f"no known source has tensors of these names {some}; name the source")
        return known_here[0]
    matched = {id(source): max(len(p) if name.startswith(p) else 0 for p in source.names) for source in SOURCES}
    named = [source for source in SOURCES if matched[id(source)]]
    if not named:
        known = sorted({prefix for source in SOURCES for prefix in source.names})
        raise ConversionError(f"there is no converter for {name!r}; known: {', '.join(known)}")
    fitting = [source for source in named if source in known_here]
    if not fitting:
        networks = ", ".join(dict.fromkeys(source.network for source in named))
        raise ConversionError(
            f"{name!r}: none of its networks known here ({networks}) has tensors of these names {some}"
        )
    return max(fitting, key=lambda source: matched[id(source)])
