"""What each of PyTorch's operators does to the receptive field."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch._subclasses.fake_tensor import FakeTensor, unset_fake_temporarily

from segue.field.axis import Axis
from segue.field.steps import Call, Map

Rule = Callable[[Call], list[Map]]
"""An operator's call -> what is known of each of its outputs."""


def pair(value: Any) -> tuple[int, int]:
    """An option for rows and columns; one number stands for both."""
    if isinstance(value, int):
        return value, value
    last = list(value)[-2:]
    return (last[0], last[0]) if len(last) == 1 else (last[0], last[1])


def described(what: str, kernel: int, stride: int, padding: int, dilation: int) -> str:
    """`3x3 convolution, stride 2, padding 1`."""
    parts = [f"{kernel}x{kernel} {what}"]
    parts += [f"stride {stride}"] if stride != 1 else []
    parts += [f"padding {padding}"] if padding else []
    parts += [f"dilation {dilation}"] if dilation != 1 else []
    return ", ".join(parts)


def point(call: Call) -> list[Map]:
    """Place by place; maps of several inputs meet."""
    return call.joined()


def unknown(call: Call) -> list[Map]:
    """What nothing is known of may look anywhere."""
    return call.whole("an operator without a rule", followed=False)


def convolution(call: Call) -> list[Map]:
    """A convolution, or a transposed one, of rows and columns."""
    weight = call.argument(1, "weight")
    if weight.ndim != 4 or not call.first.spatial:
        return unknown(call)
    kernel, stride = (weight.shape[2], weight.shape[3]), pair(call.argument(3, "stride"))
    padding, dilation = pair(call.argument(4, "padding")), pair(call.argument(5, "dilation"))
    if call.argument(6, "transposed"):
        what, layer = "transposed convolution", Axis.transposed
    else:
        what, layer = "convolution", Axis.window
    return call.stepped(
        described(what, kernel[0], stride[0], padding[0], dilation[0]),
        lambda side, axis, after: layer(axis, after, kernel[side], stride[side], padding[side], dilation[side]),
    )


def pooling(what: str, dilated: bool) -> Rule:
    """A pooling; `dilated`: it takes a dilation."""

    def rule(call: Call) -> list[Map]:
        if not call.first.spatial:
            return unknown(call)
        kernel = pair(call.argument(1, "kernel_size"))
        stride = pair(call.argument(2, "stride") or kernel)
        padding = pair(call.argument(3, "padding", 0) or 0)
        dilation = pair(call.argument(4, "dilation", 1)) if dilated else (1, 1)
        return call.stepped(
            described(what, kernel[0], stride[0], padding[0], dilation[0]),
            lambda side, axis, after: axis.window(after, kernel[side], stride[side], padding[side], dilation[side]),
        )

    return rule


def unpooling(call: Call) -> list[Map]:
    """A value goes back to where its window had the maximum; where that is, the indices tell."""
    (met,) = call.joined()
    return call.stepped("unpooling", lambda side, axis, after: axis.repeated(after), met)


def interpolation(what: str, neighbours: int, corners: bool) -> Rule:
    """An interpolation from so many neighbours; `corners`: it can align corners."""

    def rule(call: Call) -> list[Map]:
        if not call.first.spatial:
            return unknown(call)
        before, after = call.inputs[0][0].shape, call.outputs[0].shape
        aligned = bool(corners and call.argument(2, "align_corners", False))
        text = f"{what} interpolation, {before[-2]} to {after[-2]} rows"

        def change(side: int, axis: Axis, after: int) -> Axis:
            return axis.interpolated(after, neighbours, aligned)

        return call.stepped(text + (", corners aligned" if aligned else ""), change)

    return rule


def repetition(call: Call) -> list[Map]:
    """Enlarging by repeating, or shrinking by leaving out."""
    before, after = call.inputs[0][0].shape, call.outputs[0].shape
    return call.stepped(
        f"repeating, {before[-2]} to {after[-2]} rows",
        lambda side, axis, after: axis.repeated(after),
    )


def grid(call: Call) -> list[Map]:
    """A pooling to a grid of a fixed number of cells, each of which grows with the picture."""
    before, after = call.inputs[0][0].shape, call.outputs[0].shape
    if before[-2:] == after[-2:]:
        return call.kept(call.first.rows, call.first.columns)
    return call.stepped(
        f"pooling to {after[-2]}x{after[-1]} cells",
        lambda side, axis, after: axis.repeated(after).whole(),
    )


def padding(call: Call) -> list[Map]:
    """Padding of the last two dimensions; cells move, the field stays."""
    amounts = list(call.argument(1, "pad", None) or call.argument(1, "padding"))
    columns, rows = amounts[:2], amounts[2:4] or [0, 0]
    shape = call.outputs[0].shape[-2:]
    if not call.first.spatial or any(amounts[4:]):
        return call.kept(call.first.rows, call.first.columns) if not any(amounts[:4]) else unknown(call)
    fronts = (rows[0], columns[0])
    return call.stepped(f"padding to {shape[0]}x{shape[1]}", lambda side, axis, after: axis.cut(after, -fronts[side]))


def reduction(call: Call) -> list[Map]:
    """A sum, mean or maximum over some dimensions."""
    source, known = call.inputs[0]
    given = call.argument(1, "dim")
    dims = range(source.ndim) if given in (None, []) else [given] if isinstance(given, int) else given
    gone = {dim % source.ndim - source.ndim for dim in dims}
    if known.rows is None or gone & {known.rows, known.columns}:
        if not call.argument(2, "keepdim", False) or not known.spatial:
            return call.whole("mean over the map", rows=None, columns=None)
        return call.stepped("mean over the map", lambda side, axis, after: axis.repeated(after).whole())
    if call.argument(2, "keepdim", False):
        return call.kept(known.rows, known.columns)
    assert known.columns is not None
    return call.kept(*(dim + sum(other > dim for other in gone) for dim in (known.rows, known.columns)))


def along(place: int) -> Rule:
    """A softmax, or a normalisation, along one dimension."""

    def rule(call: Call) -> list[Map]:
        source, known = call.inputs[0]
        dim = call.argument(place, "dim") % source.ndim - source.ndim
        if known.rows is None or dim in (known.rows, known.columns):
            return call.whole("softmax over the map", rows=known.rows, columns=known.columns)
        return call.kept(known.rows, known.columns)

    return rule


def layer_norm(call: Call) -> list[Map]:
    """LayerNorm over the last dimensions: of channels alone, or of places too."""
    known = call.first
    normalised = range(-len(call.argument(1, "normalized_shape")), 0)
    if known.rows is None or known.rows in normalised or known.columns in normalised:
        return call.whole("normalisation over the map")
    return call.kept(known.rows, known.columns)


def batch_norm(call: Call) -> list[Map]:
    """BatchNorm: place by place, unless it takes the statistics of its own input."""
    if call.argument(5, "training"):
        return call.whole("statistics of the batch")
    return call.kept(call.first.rows, call.first.columns)


def linear(call: Call) -> list[Map]:
    """A matrix over the last dimension."""
    known = call.first
    if -1 in (known.rows, known.columns) or len(call.inputs) > 1:
        return call.whole("matrix product over the map")
    return call.kept(known.rows, known.columns)


def concatenation(call: Call) -> list[Map]:
    """Maps put behind each other; each place meets itself."""
    dim = call.argument(1, "dim", 0) % call.outputs[0].ndim - call.outputs[0].ndim
    known = call.first
    if dim in (known.rows, known.columns):
        return call.whole("places put side by side", followed=False)
    return call.joined()


def stacking(call: Call) -> list[Map]:
    """As `concatenation`, in a dimension of its own."""
    dim = call.argument(1, "dim", 0) % call.outputs[0].ndim - call.outputs[0].ndim
    if call.first.rows is None or dim >= min(call.first.rows, call.first.columns or 0):
        return unknown(call)
    return call.joined()


def cut(call: Call) -> list[Map]:
    """`tensor[..., begin:end:step]` along one dimension."""
    source, known = call.inputs[0]
    dim = call.argument(1, "dim", 0) % source.ndim - source.ndim
    length = source.shape[dim]
    begin, step = call.argument(2, "start", 0) or 0, call.argument(4, "step", 1)
    begin = max(0, begin + length) if begin < 0 else begin
    if dim not in (known.rows, known.columns):
        return call.kept(known.rows, known.columns)
    sides = (dim == known.rows, dim == known.columns)
    return call.stepped(
        f"cut from {begin}" + (f" in steps of {step}" if step != 1 else ""),
        lambda side, axis, after: axis.cut(after, begin, step) if sides[side] else axis,
    )


def picking(call: Call) -> list[Map]:
    """`index_select`: of places, it is known where the picture begins when its border is mirrored."""
    source, known = call.inputs[0]
    dim, index = call.argument(1, "dim") % source.ndim - source.ndim, call.argument(2, "index")
    if dim not in (known.rows, known.columns):
        return call.kept(known.rows, known.columns)
    if isinstance(index, FakeTensor):
        return unknown(call)
    with unset_fake_temporarily():
        positions = index.tolist()
    front = next((at for at in range(len(positions)) if positions[at : at + 3] == [0, 1, 2]), None)
    if front is None:
        return unknown(call)
    sides = (dim == known.rows, dim == known.columns)
    return call.stepped(
        "mirrored border", lambda side, axis, after: axis.picked(positions, front) if sides[side] else axis
    )


def one_of(call: Call) -> list[Map]:
    """`select`: one index of a dimension, which is gone then."""
    source, known = call.inputs[0]
    dim = call.argument(1, "dim") % source.ndim - source.ndim
    if known.rows is None or dim in (known.rows, known.columns):
        return call.whole("one place for all", followed=False)
    assert known.columns is not None
    return call.kept(*(one + (dim > one) for one in (known.rows, known.columns)))


def apart(place: int) -> Rule:
    """`split` and its like along one dimension."""

    def rule(call: Call) -> list[Map]:
        source, known = call.inputs[0]
        dim = call.argument(place, "dim", 0) % source.ndim - source.ndim
        if dim in (known.rows, known.columns):
            return unknown(call)
        return call.kept(known.rows, known.columns)

    return rule


def permuted(order: Callable[[Call, int], list[int]]) -> Rule:
    """`order`: (the call, its number of dimensions) -> which dimension comes to each place."""

    def rule(call: Call) -> list[Map]:
        source, known = call.inputs[0]
        now = order(call, source.ndim)
        moved = {old % source.ndim - source.ndim: new - source.ndim for new, old in enumerate(now)}
        rows, columns = (None if dim is None else moved[dim] for dim in (known.rows, known.columns))
        return call.kept(rows, columns)

    return rule


def _swapped(call: Call, dims: int) -> list[int]:
    order = list(range(dims))
    if call.argument(1, "dim0") is None:
        return order[::-1]
    one, other = call.argument(1, "dim0") % dims, call.argument(2, "dim1") % dims
    order[one], order[other] = order[other], order[one]
    return order


def reshaped(call: Call) -> list[Map]:
    """A dimension is still there where one of its size has the same number of entries behind it.

    Rows and columns may become one dimension of places, and places rows and columns again.
    """
    source, known = call.inputs[0]
    shape = call.outputs[0].shape
    if known.rows is None or known.columns is None:
        return call.kept(None, None)
    behind = math.prod(source.shape[known.columns :]) // source.shape[known.columns]
    if known.rows == known.columns:  # places in one row
        columns = _dimension(shape, behind)
        if columns is not None and columns > -len(shape):
            if shape[columns] == source.shape[known.columns]:
                return call.kept(columns, columns)
            if shape[columns - 1] * shape[columns] == source.shape[known.columns]:
                return call.kept(columns - 1, columns)
        return call.kept(None, None)
    height = source.shape[known.rows]
    rows = _dimension(shape, math.prod(source.shape[known.rows :]) // height, height)
    columns = _dimension(shape, behind, source.shape[known.columns])
    if rows is not None and columns is not None and rows != columns:
        return call.kept(rows, columns)
    places = _dimension(shape, behind, height * source.shape[known.columns])
    return call.kept(places, places) if known.columns == known.rows + 1 else call.kept(None, None)


def _dimension(shape: Sequence[int], behind: int, size: int | None = None) -> int | None:
    """The dimension, counted from the end, with so many entries behind it, and of this size; None if there is none."""
    for dim in range(-1, -len(shape) - 1, -1):
        if math.prod(shape[dim:]) // shape[dim] == behind and (shape[dim] != 1 if size is None else shape[dim] == size):
            return dim
    return None


def attention(call: Call) -> list[Map]:
    """Every place looks at every place."""
    return call.whole("attention over the map")


def product(call: Call) -> list[Map]:
    """A matrix product: places stay apart where it is not them that are added up."""
    left, right = call.args[-2:]
    source, known = call.inputs[0]
    summed = -1 if source is left else -2
    if len(call.inputs) > 1 or known.rows is None or summed in (known.rows, known.columns) or left is right:
        return call.whole("matrix product over the map", rows=None, columns=None)
    return call.kept(known.rows, known.columns)


def spread(call: Call) -> list[Map]:
    """`expand`: one place's value for all of them."""
    after = call.outputs[0].shape
    if not call.first.spatial:
        return call.kept(call.first.rows, call.first.columns)
    return call.stepped(
        f"spread over {after[-2]}x{after[-1]} places",
        lambda side, axis, after: axis.repeated(after),
    )


def _unchanged(call: Call) -> list[Map]:
    return call.kept(call.first.rows, call.first.columns)


RULES: dict[str, Rule] = {
    "convolution": convolution,
    "max_pool2d_with_indices": pooling("max pooling", dilated=True),
    "avg_pool2d": pooling("average pooling", dilated=False),
    "avg_pool3d": pooling("average pooling", dilated=False),
    "max_unpool2d": unpooling,
    "upsample_bilinear2d": interpolation("bilinear", 2, corners=True),
    "_upsample_bilinear2d_aa": interpolation("bilinear", 2, corners=True),
    "upsample_bicubic2d": interpolation("bicubic", 4, corners=True),
    "upsample_nearest2d": repetition,
    "_upsample_nearest_exact2d": repetition,
    "_adaptive_avg_pool2d": grid,
    "adaptive_max_pool2d": grid,
    "constant_pad_nd": padding,
    "reflection_pad2d": padding,
    "replication_pad2d": padding,
    "mean": reduction,
    "sum": reduction,
    "amax": reduction,
    "_softmax": along(1),
    "_log_softmax": along(1),
    "softmax": along(1),
    "log_softmax": along(1),
    "native_layer_norm": layer_norm,
    "layer_norm": layer_norm,
    "batch_norm": batch_norm,
    "native_batch_norm": batch_norm,
    "_native_batch_norm_legit_no_training": _unchanged,
    "linear": linear,
    "cat": concatenation,
    "stack": stacking,
    "slice": cut,
    "index_select": picking,
    "select": one_of,
    "split": apart(2),
    "split_with_sizes": apart(2),
    "chunk": apart(2),
    "permute": permuted(lambda call, dims: list(call.argument(1, "dims"))),
    "transpose": permuted(_swapped),
    "t": permuted(_swapped),
    "numpy_T": permuted(_swapped),
    "view": reshaped,
    "_unsafe_view": reshaped,
    "reshape": reshaped,
    "flatten": reshaped,
    "unflatten": reshaped,
    "squeeze": reshaped,
    "unsqueeze": reshaped,
    "scaled_dot_product_attention": attention,
    "attend": attention,
    "matmul": product,
    "mm": product,
    "bmm": product,
    "addmm": product,
    "dropout": _unchanged,
    "feature_dropout": _unchanged,
    "native_dropout": _unchanged,
    "expand": spread,
    "clone": _unchanged,
    "contiguous": _unchanged,
    "alias": _unchanged,
    "detach": _unchanged,
    "to": _unchanged,
    "_to_copy": _unchanged,
}
"""By the operator's name; the operators that PyTorch itself calls pointwise go by `point`."""
