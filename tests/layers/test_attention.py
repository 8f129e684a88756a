"""Attention in blocks: equal to the plain way in every layout and precision, in little memory."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch

from segue.layers import attend, attention, attention_rows


def plain(query, key, value):
    return value @ torch.softmax(query.transpose(1, 2) @ key, dim=-1).transpose(1, 2)


def draw(batch=2, positions=37, keys=29, dtype=torch.float64, last=False, requires_grad=True):
    """Queries (B, 3, N), keys (B, 3, M), values (B, 5, M); `last` keeps channels last in memory."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((batch, 3, positions), (batch, 3, keys), (batch, 5, keys))
    tensors = [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]
    if last:
        tensors = [tensor.transpose(1, 2).contiguous().transpose(1, 2) for tensor in tensors]
    return [tensor.requires_grad_(requires_grad) for tensor in tensors]


@pytest.fixture(params=[1, 7, 10**6], ids=["rows one by one", "7 rows", "one block"])
def rows(request, monkeypatch):
    """Rows of float64 per block, over 29 keys; half as many going backward."""
    monkeypatch.setitem(attention.ROOM, "cpu", request.param * 29 * 8)


def test_a_position_takes_the_mean_of_the_values_by_its_softmax():
    query = torch.tensor([[[1.0, 0.0]]])  # one channel, two positions
    key = torch.tensor([[[0.0, 3.0]]]).log1p()  # products with the first query: log 1 and log 4
    value = torch.tensor([[[10.0, 20.0]]])
    assert attend(query, key, value).tolist() == [[[pytest.approx(18.0), 15.0]]]  # 1/5 and 4/5, then 1/2 and 1/2


@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
def test_blocks_equal_the_plain_way_forward_and_backward(rows, last):
    inputs, others = draw(last=last), draw(last=last)
    out, expected = attend(*inputs), plain(*others)
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    grad = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(1))
    out.backward(grad)
    expected.backward(grad)
    for mine, theirs in zip(inputs, others, strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-11, atol=1e-12)
    assert out.stride() == ((37 * 5, 1, 5) if last else (37 * 5, 37, 1))


def test_the_gradient_passes_gradcheck(rows):
    assert torch.autograd.gradcheck(attend, draw(positions=6, keys=29))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_as_near_as_its_rounding(rows, dtype):
    inputs = draw(dtype=dtype)
    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
    out, expected = attend(*inputs), plain(*exact)
    assert out.dtype == dtype
    out.sum().backward()
    expected.sum().backward()
    step = torch.finfo(dtype).eps
    assert (out - expected).norm() < step * expected.norm()
    assert (inputs[2].grad - exact[2].grad).norm() < step * exact[2].grad.norm()
    for mine, theirs in pairwise([inputs[0].grad, exact[0].grad]):  # a difference of near equals, before its rounding
        assert (mine - theirs).norm() < 10 * step * expected.norm()


def test_half_precision_products_do_not_overflow():
    query, key, value = draw(dtype=torch.float16, requires_grad=False)
    out = attend(query * 200, key * 200, value)  # products up to several times float16's largest
    assert out.isfinite().all()


def test_autocast_reaches_the_values_and_leaves_the_softmax():
    query, key, value = draw(dtype=torch.float32)
    project = torch.nn.Conv1d(3, 3, 1)
    with torch.autocast("cpu", torch.bfloat16):
        out = attend(project(query), project(key), value.bfloat16())
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert project.weight.grad.isfinite().all()


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck's own doing
def test_the_operators_keep_pytorchs_rules():
    torch.library.opcheck(attention._attend, draw(positions=6, keys=5))
    query, key, value = draw(positions=6, keys=5, requires_grad=False)
    grad = torch.ones_like(attend(query, key, value))
    torch.library.opcheck(attention._attend_backward, (query, key, value, grad))


@pytest.mark.parametrize("strict", [True, False])
def test_an_exported_program_holds_plain_operators_alone(strict):
    class Attend(torch.nn.Module):
        def forward(self, query, key, value):
            return attend(query, key, value)

    inputs = tuple(draw(dtype=torch.float32, requires_grad=False))
    exported = torch.export.export(Attend(), inputs, strict=strict)
    assert all(str(node.target).startswith("aten") for node in exported.graph.nodes if node.op == "call_function")
    torch.testing.assert_close(exported.module()(*inputs), attend(*inputs))


def test_torch_compile_keeps_the_blocks():
    torch._dynamo.reset()
    compiled = torch.compile(attend, backend="aot_eager", fullgraph=True)
    inputs, others = draw(), draw()
    compiled(*inputs).sum().backward()
    attend(*others).sum().backward()
    for mine, theirs in zip(inputs, others, strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)


def test_a_few_rows_of_the_table_are_those_of_the_whole():
    query, key, _ = draw(requires_grad=False)
    rows = attention_rows(query[:, :, [4, 30]], key)
    torch.testing.assert_close(rows, torch.softmax(query.transpose(1, 2) @ key, dim=-1)[:, [4, 30]])
    torch.testing.assert_close(rows.sum(dim=-1), torch.ones(2, 2, dtype=torch.float64))


def resident(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks of memory are read from Linux's /proc")
def test_the_table_of_all_pairs_is_never_held():
    positions = 12288  # the table would be 576 MiB, and training would hold three
    tensors = [torch.randn(1, channels, positions).requires_grad_() for channels in (2, 2, 4)]
    attend(*[tensor[:, :, :64] for tensor in tensors]).sum().backward()
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak to the present
    before = resident("VmRSS")
    attend(*tensors).sum().backward()
    assert resident("VmHWM") - before < 192
