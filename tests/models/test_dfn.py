"""DFN: its blocks by hand, its losses, and the two forms."""

import pytest
import torch
from torch import nn

from segue.labels import IGNORE
from segue.losses import binary_focal
from segue.models import create
from segue.models.borders import border_labels
from segue.models.dfn import CAB, RRB, BorderNetwork, Head, SmoothNetwork

SMALL = {"backbone": "resnet18", "width": 0.25}


def build(name="dfn", **options):
    torch.manual_seed(0)
    sizes = {"channels": 16, "border_channels": 4} if name == "dfn" else {}
    return create(name, num_classes=5, **SMALL, **sizes, **options)


def draw():
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, 3, 65, 97, generator=generator)
    target = torch.randint(0, 5, (2, 5, 7), generator=generator).repeat_interleave(16, 1).repeat_interleave(16, 2)
    target = target[:, :65, :97].clone()
    target[:, :6] = IGNORE
    return images, target


def test_a_refinement_block_is_a_unified_map_and_its_residual():
    block = RRB(3, 2).eval()
    features = torch.randn(1, 3, 5, 5)
    nn.init.zeros_(block.residual[3].weight)
    torch.testing.assert_close(block(features), block.unify(features).relu())
    assert all(layer.bias is None for layer in block.modules() if isinstance(layer, nn.Conv2d))


def test_a_head_has_nine_channels_a_map_and_no_relu_before_its_classifier():
    head = Head(8, 5)
    assert head[0].unify.weight.shape == (45, 8, 1, 1)
    assert head[1].weight.shape == (5, 45, 1, 1)
    assert (head[0].eval()(torch.randn(1, 8, 6, 6)) < 0).any()


def test_attention_gates_this_stage_and_adds_the_coarser_one_untouched():
    block = CAB(2)
    for layer in block.attend:
        if isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
    low, high = torch.full((1, 2, 3, 3), 4.0), torch.full((1, 2, 3, 3), 10.0)
    out, gate = block(low, high)
    assert gate.tolist() == [[0.5, 0.5]]
    assert (out == 0.5 * 4 + 10).all()


def test_attention_reads_both_stages_averages():
    block = CAB(3)
    low, high = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    _, gate = block(low, high)
    assert gate.shape == (2, 3)
    shuffled = low.flatten(2).flip(-1).view_as(low)  # other places, the same average
    torch.testing.assert_close(block(shuffled, high)[1], gate)
    assert not torch.allclose(block(low + 1, high)[1], gate)
    assert not torch.allclose(block(low, high + 1)[1], gate)


def test_the_smooth_network_goes_from_coarse_to_fine_and_the_border_network_back():
    stages = [torch.randn(1, width, size, size + 3) for width, size in ((4, 17), (8, 9), (16, 5), (32, 3))]
    context = nn.Conv2d(32, 6, 1)
    features, gates = SmoothNetwork((4, 8, 16, 32), 6, context).eval()(stages)
    assert [maps.shape[-2] for maps in features] == [3, 5, 9, 17]
    assert [gate.shape for gate in gates] == [(1, 6)] * 4
    network = BorderNetwork((4, 8, 16, 32), 5).eval()
    sums = network(stages)
    assert [maps.shape for maps in sums] == [(1, 5, 17, 20)] * 4
    assert len(network.after) == 3  # stage 2 has nothing to be added to
    torch.testing.assert_close(sums[0], network.before[0](stages[0]))


def test_supervision_reaches_every_stage_and_lambda_weighs_the_borders():
    network = build().train()
    images, target = draw()
    output = network(images)
    terms = network.loss(output, target)
    assert list(terms) == ["logits", "stage5", "stage4", "stage3", "border"]
    labels = border_labels(target, 5)
    borders = sum(binary_focal(maps[:, 0], labels) for maps in output.borders)
    torch.testing.assert_close(terms["border"], 0.1 * borders)
    for name, maps in zip(("stage5", "stage4", "stage3"), output.stages, strict=True):
        assert terms[name] == network.criterion(maps, target)


def test_void_borders_count_only_when_asked_for():
    images, target = draw()
    plain, authors = build(), build(void_borders=True)
    authors.load_state_dict(plain.state_dict())
    with torch.no_grad():
        output = plain.eval()(images)
        plain.all_outputs = True
        output = plain(images)
    # What the border network says of void and of what is beside it: nothing to the default, something to the authors.
    left_out = border_labels(target, 5) == IGNORE
    assert left_out[:, :6].all()
    changed = output._replace(borders=tuple(maps.where(~left_out[:, None], 3.0) for maps in output.borders))
    assert plain.loss(changed, target)["border"] == plain.loss(output, target)["border"]
    assert authors.loss(changed, target)["border"] != authors.loss(output, target)["border"]


def test_evaluation_leaves_out_what_only_the_loss_reads():
    network = build().eval()
    images, target = draw()
    with torch.inference_mode():
        output = network(images)
    assert (output.stages, output.borders) == (None, None)
    assert list(network.loss(output, target)) == ["logits"]
    network.all_outputs = True
    with torch.inference_mode():
        output = network(images)
    assert [maps.shape for maps in output.stages] == [(2, 5, 65, 97)] * 3
    assert [maps.shape for maps in output.borders] == [(2, 1, 65, 97)] * 4
    assert all(((gate > 0) & (gate < 1)).all() for gate in output.gates)


def test_the_defaults_are_the_authors():
    with torch.device("meta"):
        network = create("dfn", num_classes=21)
    assert network.backbone.name == "resnet101s"
    assert network.backbone.strides[-4:] == (4, 8, 16, 32)
    assert (network.border_weight, network.alpha, network.gamma) == (0.1, 0.25, 2.0)
    assert network.smooth.before[0].unify.weight.shape == (512, 2048, 1, 1)
    assert network.border.before[0].unify.weight.shape == (21, 256, 1, 1)


def test_the_narrow_form_has_as_many_channels_as_classes():
    network = build("dfn_narrow").train()
    images, target = draw()
    output = network(images)
    assert output.border.shape == output.logits.shape
    assert (network.scores(images).logits >= 0).all()  # a ReLU comes last
    assert list(network.loss(output, target)) == ["logits", "border"]


@pytest.mark.parametrize("void_borders", [False, True])
def test_a_class_of_the_narrow_form_has_its_own_side_of_a_border(void_borders):
    network = build("dfn_narrow", void_borders=void_borders)
    target = torch.zeros(1, 20, 20, dtype=torch.int64)
    target[:, :, 10:] = 1
    logits = torch.zeros(1, 5, 20, 20)
    border = torch.full((1, 5, 20, 20), -30.0)
    border[:, 0, :, 6:10] = 30.0  # four pixels are of the left class
    border[:, 1, :, 10:13] = 30.0  # and three of the right one
    output = network.train()(torch.randn(2, 3, 32, 32))._replace(logits=logits, border=border)
    assert network.loss(output, target)["border"] < 1e-6
    assert network.loss(output._replace(border=border.flip(1)), target)["border"] > 0.1
