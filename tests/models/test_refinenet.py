"""RefineNet: its parts by hand, and its variants."""

import pytest
import torch
from torch import nn

from segue.models import create
from segue.models.refinenet import CRP, RCU, Cascade, DepthRefineNet, Fusion, one_versus_rest

WIDTHS = (8, 16, 32, 64)


def small(**options):
    torch.manual_seed(0)
    return create("refinenet", num_classes=5, backbone="resnet18", width=0.25, channels=16, **options)


def stages(batch=1):
    return [torch.randn(batch, width, 33 // 2**i + 1, 49 // 2**i + 1) for i, width in enumerate(WIDTHS)]


def identity(convolution):
    """Make a 3x3 give back its input."""
    nn.init.dirac_(convolution.weight)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)


def test_a_residual_unit_adds_to_the_input_that_no_relu_has_touched():
    unit = RCU(1)
    identity(unit.conv1)
    identity(unit.conv2)
    features = torch.tensor([[[[-2.0, 3.0]]]])
    before = features.clone()
    assert unit(features).tolist() == [[[[-2.0, 6.0]]]]  # x + relu(x)
    assert torch.equal(features, before)
    unit.rectified_shortcut = True
    assert unit(features).tolist() == [[[[0.0, 6.0]]]]


def test_fusion_enlarges_coarse_paths_to_the_finest_and_sums():
    fusion = Fusion([1, 1], 1)
    for convolution in fusion.convolutions:
        identity(convolution)
    coarse, fine = torch.tensor([[[[0.0, 4.0]]]]), torch.ones(1, 1, 1, 5)
    assert fusion([coarse, fine]).tolist() == [[[[1.0, 2.0, 3.0, 4.0, 5.0]]]]  # corners aligned


def pooled(conv_first, value):
    """One link whose convolution multiplies by -1, on a single bright pixel."""
    crp = CRP(1, links=1, conv_first=conv_first)
    identity(crp.convolutions[0])
    crp.convolutions[0].weight.data.neg_()
    features = torch.zeros(1, 1, 9, 9)
    features[..., 4, 4] = value
    return crp(features)[0, 0]


def test_the_order_in_a_link_of_chained_pooling_decides():
    pool_first = pooled(False, 2.0)  # the pooled square of 5 becomes -2 and is added
    assert pool_first[4, 4] == 0
    assert pool_first[2, 2] == pool_first[6, 6] == -2
    assert pool_first[1, 1] == 0
    conv_first = pooled(True, 2.0)  # -2 is never the largest of its window
    assert conv_first[4, 4] == 2
    assert conv_first.sum() == 2


def test_chained_pooling_rectifies_what_it_adds_to():
    assert pooled(False, -3.0).abs().sum() == 0


def test_pooling_never_sees_a_zero_beyond_the_rim():
    crp = CRP(1, links=1, conv_first=True)
    identity(crp.convolutions[0])
    crp.convolutions[0].weight.data.neg_()
    features = torch.full((1, 1, 6, 6), 2.0)
    assert (crp(features) == 0).all()  # 2 + max(-2, ...) = 0; padding of 0 would leave 2 at the rim


def test_the_chain_has_a_link_for_each_convolution():
    crp = CRP(1, links=2)
    for convolution in crp.convolutions:
        identity(convolution)
    features = torch.zeros(1, 1, 21, 21)
    features[..., 10, 10] = 1
    out = crp(features)[0, 0]
    assert (out[10, 10], out[10, 12], out[10, 14], out[10, 15]) == (3, 2, 1, 0)


@pytest.mark.parametrize(("cascade", "groups"), [(4, [1, 1, 1, 1]), (2, [2, 2]), (1, [4])])
def test_a_cascade_takes_every_stage_once_from_coarse_to_fine(cascade, groups):
    module = Cascade(WIDTHS, cascade=cascade, channels=16)
    outputs = module(stages())
    assert [len(block.adapt) for block in module.blocks] == groups
    assert outputs[-1].shape == (1, 16, 34, 50)
    sizes = [output.shape[-2] for output in outputs]
    assert sizes == sorted(sizes)


def test_the_coarsest_path_alone_keeps_twice_the_channels():
    outputs = Cascade(WIDTHS, channels=16)(stages())
    assert [output.shape[1] for output in outputs] == [32, 16, 16, 16]


@pytest.mark.parametrize("options", [{"cascade": 3}, {"cascade": 0}, {"output_units": 0}, {"output_units": 4}])
def test_a_wrong_number_of_blocks_or_units_is_refused(options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=rf"{name} = {value}: "):
        Cascade(WIDTHS, **options)


def test_whose_the_last_units_are_changes_no_number():
    torch.manual_seed(0)
    ours, papers = (Cascade(WIDTHS, channels=8, output_units=units).eval() for units in (3, 1))
    for block, theirs, following in zip(ours.blocks, papers.blocks, [*papers.blocks[1:], None], strict=True):
        kept = {name: tensor for name, tensor in block.state_dict().items() if not name.startswith("refine.")}
        theirs.load_state_dict(kept, strict=False)
        theirs.refine[0].load_state_dict(block.refine[0].state_dict())
        if following is not None:
            for unit, same in zip(following.carry, block.refine[1:], strict=True):
                unit.load_state_dict(same.state_dict())
    features = stages()
    last = papers(features)[-1]
    for unit in ours.blocks[-1].refine[1:]:
        last = unit(last)
    torch.testing.assert_close(ours(features)[-1], last)


def test_the_first_scores_are_small():  # nothing normalises the residual sums
    assert small().eval()(torch.randn(1, 3, 64, 64)).logits.abs().max() < 10


def test_one_versus_rest_counts_ignored_pixels_as_of_no_class():
    logits = torch.zeros(1, 2, 1, 2)
    logits[0, :, 0, 1] = torch.tensor([-40.0, -40.0])  # sure of no class, where the label is ignored
    loss = one_versus_rest(logits, torch.tensor([[[0, 255]]]))
    assert loss.item() == pytest.approx(torch.log(torch.tensor(2.0)).item() / 2)


def test_the_branch_for_depth_learns_beside_the_classes():
    torch.manual_seed(0)
    network = DepthRefineNet.build(3, backbone="resnet18", width=0.25, channels=8)
    images, depth = torch.randn(2, 3, 40, 56), torch.rand(2, 1, 40, 56)
    output = network(images)
    terms = network.loss_with_depth(output, torch.randint(0, 3, (2, 40, 56)), depth)
    assert terms["depth"] == 0.5 * nn.functional.mse_loss(output.depth, depth)
    sum(terms.values()).backward()
    assert all((parameter.grad != 0).any() for parameter in network.depth.parameters())
