"""Dot-product attention over all positions of a map that never holds the table of all pairs of positions.

A map of 2048 x 1024 pixels at stride 8 has N = 32768 positions; the table of their pairs is 4 GiB in float32, and
training the plain way holds three of them. Here it is made in blocks of rows, each in the same piece of memory, and the
backward pass makes the blocks again instead of keeping them. The sums are the plain way's own, in its own order of
softmax and product, so nothing is approximated.

PyTorch's `scaled_dot_product_attention` does not do it: where values are wider than queries (512 against 64 channels in
DANet) it falls back to the whole table on processors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

ROOM = {"cpu": 32 * 2**20}
"""Bytes for blocks of the table, by kind of device; more would leave the processor's caches, and be slower."""
OTHER_ROOM = 128 * 2**20
"""On accelerators: enough rows to keep all of their units busy."""


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Each position's mean of the values, weighted by the softmax of its query's products with all keys.

    query (B, D, N), key (B, D, M), value (B, C, M) -> (B, C, N), where
    out[:, :, j] = sum over i of softmax over i (query[:, :, j] . key[:, :, i]) value[:, :, i].

    Products are not scaled. Products of float16 are made in float32, where they cannot overflow; a softmax adds up in
    float32 whatever its type. Memory beyond the result and the gradients is some tens of MiB, whatever N and M are. In
    a program made by `torch.export` it is three plain operators, which every runtime knows, and the whole table.
    """
    if _exporting():
        exact = _products_type(query.dtype)
        weights = torch.softmax(query.to(exact).transpose(1, 2) @ key.to(exact), dim=-1).to(value.dtype)
        return value @ weights.transpose(1, 2)
    attended: Tensor = _attend(query, key, value)
    return attended


def attention_rows(query: Tensor, key: Tensor) -> Tensor:
    """The table's rows of a few queries: (B, D, R), (B, D, M) -> (B, R, M), each row adding up to 1."""
    exact = torch.promote_types(query.dtype, torch.float32)
    return torch.softmax(query.to(exact).transpose(1, 2) @ key.to(exact), dim=-1)


def _products_type(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype == torch.float16 else dtype


# PyTorch 2.6 cannot tell; there an exported program holds the operator below, and needs this package to run.
_exporting = getattr(torch.compiler, "is_exporting", bool)


def _blocks(query: Tensor, key: Tensor, held: int) -> Iterator[tuple[int, slice]]:
    """(picture, rows): the table of each picture in blocks of rows, so small that `held` of them fit the room."""
    batch, positions = query.shape[0], query.shape[2]
    room = ROOM.get(query.device.type, OTHER_ROOM)
    rows = max(1, room // (held * key.shape[2] * key.element_size()))
    for picture in range(batch):
        for start in range(0, positions, rows):
            yield picture, slice(start, min(start + rows, positions))


def _like_values(query: Tensor, value: Tensor) -> Tensor:
    """An empty (B, C, N) that keeps the values' order of channels and positions in memory."""
    batch, channels, positions = value.shape[0], value.shape[1], query.shape[2]
    if value.stride(1) == 1:  # channels last
        return value.new_empty(batch, positions, channels).transpose(1, 2)
    return value.new_empty(batch, channels, positions)


class _Memory:
    """Room for one block, taken once and used again for every block."""

    def __init__(self, like: Tensor) -> None:
        self.room = like.new_empty(0)

    def block(self, rows: int, columns: int) -> Tensor:
        """(rows, columns), with whatever was there."""
        if self.room.numel() < rows * columns:
            self.room = self.room.new_empty(rows * columns)
        return self.room[: rows * columns].view(rows, columns)


def _weights(query: Tensor, key: Tensor, memory: _Memory) -> Tensor:
    """A block of the table: (D, rows), (D, M) -> (rows, M) in `memory`."""
    weights = memory.block(query.shape[1], key.shape[1])
    torch.mm(query.T, key, out=weights)
    return torch.softmax(weights, dim=-1, out=weights)


@torch.library.custom_op("segue::attend", mutates_args=(), schema="(Tensor query, Tensor key, Tensor value) -> Tensor")
def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    out = _like_values(query, value)
    products_type = _products_type(query.dtype)
    query, key = query.to(products_type), key.to(products_type)
    memory = _Memory(query)
    for picture, rows in _blocks(query, key, held=1):
        weights = _weights(query[picture, :, rows], key[picture], memory).to(value.dtype)
        torch.mm(value[picture], weights.T, out=out[picture, :, rows])
    return out


@_attend.register_fake
def _(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return _like_values(query, value)


_softmax_backward = torch.ops.aten._softmax_backward_data.out
"""(g, w) -> w * (g - the row's sum of w * g) in one pass: what autograd itself calls for a softmax."""


@torch.library.custom_op(
    "segue::attend_backward",
    mutates_args=(),
    schema="(Tensor query, Tensor key, Tensor value, Tensor grad) -> (Tensor, Tensor, Tensor)",
)
def _attend_backward(query: Tensor, key: Tensor, value: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    products_type = _products_type(query.dtype)
    queries, keys = query.to(products_type), key.to(products_type)
    sums_type = torch.promote_types(value.dtype, torch.float32)
    query_grad = torch.empty_like(query)
    key_grad, value_grad = torch.zeros_like(key, dtype=sums_type), torch.zeros_like(value, dtype=sums_type)
    memory, grad_memory = _Memory(queries), _Memory(value)
    for picture, rows in _blocks(queries, keys, held=2):
        weights = _weights(queries[picture, :, rows], keys[picture], memory)
        out_grad = grad[picture, :, rows]  # (C, rows)
        weights_grad = grad_memory.block(*weights.shape)
        torch.mm(out_grad.T, value[picture], out=weights_grad)
        _add_product(value_grad[picture], out_grad, weights.to(value.dtype))
        products_grad = weights_grad.to(weights.dtype)
        _softmax_backward(products_grad, weights, -1, weights.dtype, grad_input=products_grad)
        products_grad = products_grad.to(query.dtype)
        torch.mm(key[picture], products_grad.T, out=query_grad[picture, :, rows])
        _add_product(key_grad[picture], query[picture, :, rows], products_grad)
    return query_grad, key_grad.to(key.dtype), value_grad.to(value.dtype)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right, added up in the total's type."""
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right


@_attend_backward.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    gradients: tuple[Tensor, Tensor, Tensor] = _attend_backward(*ctx.saved_tensors, grad)
    return gradients


_attend.register_autograd(_backward, setup_context=_keep)
