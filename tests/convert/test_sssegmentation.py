"""Checkpoints of MCIBI's authors: networks, losses and the memory number by number, and what their arguments mean."""

import pytest
import torch

from parity import load
from segue.backbones import TimmBackbone
from segue.convert import ConversionError, load_reference
from segue.convert.sssegmentation import build_backbone, convert_memory
from segue.models import Progress
from segue.models.mcibi_plus import MomentMemory

CONTEXTS = ["none", "ppm", "aspp", "ocr", "upernet"]


def load_fixture(name):
    fixture = load(name)
    return fixture, load_reference(fixture.weights(), fixture.spec["source"], fixture.spec["args"])


@pytest.mark.parametrize("context", CONTEXTS)
def test_network_losses_and_memory_match_the_authors(context):
    fixture, network = load_fixture(f"mcibi_{context}_resnet50")
    # Attention behind an undamped ResNet magnifies rounding: the numbers themselves, made in float32, are 8e-5 to 1e-4
    # away from what float64 gives on any machine, and float32 is as far from them unless it adds up in their order.
    network = network.double()
    images, target, args = fixture.image().double(), fixture.target(), fixture.spec["args"]
    with torch.no_grad():
        scores, output = network.scores(images), network(images)
        first_epoch, second_epoch = (
            Progress(step=0, total_steps=100, epoch=epoch, lr=args["learning_rate"], base_lr=args["base_lr"])
            for epoch in (0, 1)
        )
        before = network.memory.rows.clone()
        network.observe(output, target, first_epoch)
        first_terms = network.loss(output, target)
        network.memory.rows.copy_(before)
        network.observe(output, target, second_epoch)
        terms = network.loss(output, target)
    fixture.check("logits", scores.logits, tolerance=2e-4)
    fixture.check("stage1_logits", scores.first)
    fixture.check("aux_logits", scores.auxiliary)
    fixture.check("feats", scores.features[:, ::4])
    fixture.check("memory_after", network.memory.rows[:, None], tolerance=1e-5)
    names = {"loss_cls_stage2": "logits", "loss_cls_stage1": "first", "loss_aux": "auxiliary", "loss_memory": "memory"}
    for key, name in names.items():
        fixture.check(key, terms[name], tolerance=5e-5)
    assert "memory" not in first_terms
    fixture.check("loss_total_epoch1", sum(first_terms.values()), tolerance=5e-5)
    fixture.check("loss_total", sum(terms.values()), tolerance=5e-5)


@pytest.mark.parametrize(("key", "hard"), [("aggregated", False), ("aggregated_hard", True)])
def test_the_memory_is_read_as_the_authors_read_it(key, hard):
    fixture = load("mcibi_memory")
    memory, beyond = convert_memory(fixture.weights(), {"use_hard_aggregate": hard})
    features = fixture.image()
    with torch.no_grad():
        fixture.check(key, beyond.eval()(features, features[:, : fixture.num_classes], memory.rows))


def test_the_memory_learns_as_the_authors_memory_learns():
    fixture = load("mcibi_memory")
    features, target = fixture.image().relu(), fixture.target()
    mirrored = fixture.image().flip(-1).relu()

    def check(key, memory):
        fixture.check(key, memory.rows[:, None], tolerance=1e-6)

    def drawn(**args):
        return convert_memory(fixture.weights(), args)[0]

    for key, momentum in (("lr0.01", 0.9), ("lr0.0001", 0.009), ("fixed", 0.9)):
        memory = drawn()
        memory.update(features, target, momentum)
        check(f"drawn_then_f1_{key}", memory)
    memory = drawn(strategy="mean")
    memory.update(features, target, 0.9)
    check("drawn_then_f1_mean", memory)

    memory = drawn()
    memory.rows.zero_()
    memory.update(features, target.masked_fill(target == 2, 255), 0.9)
    check("zero_then_f1", memory)
    assert not memory.rows[2].any()
    memory.update(mirrored, target, 0.9 / 0.01 * 0.006)
    check("zero_then_f1_then_f2_lr0.006", memory)


def test_the_momentum_follows_the_learning_rate():
    fixture = load("lr_policies")
    rates = fixture.expected("ssseg_poly")[0]
    network = load_fixture("mcibi_none_resnet50")[1]
    momenta = [
        network.momentum_at(Progress(step, len(rates), 0, lr=lr, base_lr=0.01))
        for step, lr in enumerate(rates.tolist())
    ]
    fixture.check("mcibi_momentum", torch.tensor(momenta), tolerance=1e-6)


def test_arguments_are_read_from_a_whole_configuration_too():
    fixture = load("mcibi_aspp_resnet50")
    head = {
        "context_within_image": {"is_on": True, "type": "aspp", "cfg": {"dilations": [1, 6, 12, 18]}},
        "use_loss": False,
        "use_hard_aggregate": True,
        "update_cfg": {
            "strategy": "mean",
            "ignore_index": 255,
            "momentum_cfg": {"base_momentum": 0.8, "base_lr": 0.009, "adjust_by_learning_rate": True},
        },
    }
    args = {"backbone": {"type": "ResNet", "depth": 50, "outstride": 16}, "head": head}
    network = load_reference(fixture.weights(), args=args)
    assert network.backbone.strides[-1] == 16
    assert [branch[0].dilation[0] for branch in network.within.aspp.branches] == [1, 6, 12, 18]
    assert (network.beta, network.momentum, network.momentum_lr) == (0.0, 0.8, 0.009)
    assert network.beyond.hard
    assert not network.memory.cosine


@pytest.mark.parametrize("depth", [18, 50])
def test_the_first_block_of_a_dilated_stage_has_half_the_dilation(depth):
    with torch.device("meta"):
        state = TimmBackbone(f"resnet{depth}c").state_dict()
    backbone = build_backbone({f"backbone.{name}": tensor for name, tensor in state.items()})
    convolution = "conv2" if depth == 50 else "conv1"
    last = [getattr(block, convolution).dilation[0] for block in backbone.body.layer4]
    assert last == [2, *[4] * (len(last) - 1)]
    if depth == 18:
        assert all(block.conv2.dilation == (1, 1) for block in backbone.body.layer4)


def test_a_dilation_of_1_makes_a_branch_of_1x1_wherever_it_stands():
    state = load("mcibi_aspp_resnet50").weights()
    branch = "context_within_image_module.parallel_branches."
    for name in [name for name in state if name.startswith(f"{branch}0.")]:
        other = name.replace(f"{branch}0.", f"{branch}2.")
        state[name], state[other] = state[other], state[name]
    branches = load_reference(state, args={"context_args": {"dilations": [6, 12, 1, 24]}}).within.aspp.branches
    assert [tuple(part[0].kernel_size) for part in branches] == [(3, 3), (3, 3), (1, 1), (3, 3)]
    assert (
        [part[0].dilation[0] for part in branches] == [part[0].padding[0] or 1 for part in branches] == [6, 12, 1, 24]
    )


def test_several_rows_per_class_are_refused():
    state = load("mcibi_none_resnet50").weights()
    state["memory_module.memory"] = torch.zeros(7, 2, 512)
    with pytest.raises(ConversionError, match="2 rows per class"):
        load_reference(state)


@pytest.mark.parametrize("context", ["none", "upernet"])
def test_plus_plus_its_losses_and_its_memory_match_the_authors(context):
    fixture, network = load_fixture(f"mcibipp_{context}_resnet50")
    network = network.double()  # see the first test
    images, target = fixture.image().double(), fixture.target()
    with torch.no_grad():
        scores, output = network.scores(images), network(images)
        network.observe(output, target, Progress(step=0, total_steps=100, epoch=0, lr=0.01, base_lr=0.01))
        terms = network.loss(output, target)
    fixture.check("logits", scores.logits, tolerance=2e-4)
    fixture.check("pr_logits", scores.first)
    names = {"loss_cls": "logits", "loss_pr": "first", "loss_aux": "auxiliary"}
    if context == "upernet":
        fixture.check("cwi_logits", scores.within)
        names["loss_cwi"] = "within"
    assert terms.keys() == set(names.values())
    for key, name in names.items():
        fixture.check(key, terms[name], tolerance=5e-5)
    fixture.check("loss_total", sum(terms.values()), tolerance=5e-5)
    fixture.check("memory_after", network.memory.moments, tolerance=1e-5)


def test_the_vectors_of_plus_plus_are_drawn_with_the_classes_numbers_for_seeds():
    memory = MomentMemory(3, 512)
    memory.moments.copy_(torch.tensor([[0.0, 1.0], [0.5, 0.2], [-1.0, 2.0]]))
    before = torch.get_rng_state()
    rows = memory.rows()
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        expected = torch.normal(torch.full((1, 512), 0.5), torch.full((1, 512), 0.2))
    torch.testing.assert_close(rows[1:2], expected)


def test_another_activation_than_relu_is_refused():
    with pytest.raises(ConversionError, match="GELU: only ReLU and LeakyReLU are known"):
        load_reference(load("mcibi_none_resnet50").weights(), args={"act_cfg": {"type": "GELU"}})


def test_the_first_block_may_be_dilated_in_full():
    args = {"backbone": {"contract_dilation": False}, "head": {}}
    network = load_reference(load("mcibi_none_resnet50").weights(), args=args)
    assert [block.conv2.dilation[0] for block in network.backbone.body.layer4] == [4, 4, 4]


def configuration(**parts):
    """One of its configurations, with some parts of its own: head, backbone, losses, ..."""
    momentum = {"base_momentum": 0.9, "base_lr": 0.01, "adjust_by_learning_rate": True}
    head = {"use_loss": True, "update_cfg": {"strategy": "cosine_similarity", "momentum_cfg": momentum}}
    return {"align_corners": False, "act_cfg": {"type": "ReLU"}, "backbone": {"outstride": 8}, "head": head} | parts


def at(lr):
    return Progress(step=0, total_steps=100, epoch=0, lr=lr, base_lr=0.01)


def test_a_momentum_that_is_not_adjusted_stays_as_it_is():
    momentum = {"base_momentum": 0.3, "base_lr": 0.01, "adjust_by_learning_rate": False}
    args = configuration(head={"update_cfg": {"momentum_cfg": momentum}})
    network = load_reference(load("mcibi_none_resnet50").weights(), args=args)
    assert [network.momentum_at(at(lr)) for lr in (0.01, 0.001)] == [0.3, 0.3]


def test_corners_are_aligned_where_the_configuration_says_so():
    fixture = load("mcibi_ppm_resnet50")
    head = {"update_cfg": {"strategy": "mean", "momentum_cfg": {"base_momentum": 1.0, "base_lr": 0.01}}}
    network = load_reference(fixture.weights(), args=configuration(align_corners=True, head=head))
    assert network.within.ppm.align_corners
    images, target = torch.randn(1, 3, 33, 41), torch.zeros(1, 33, 41, dtype=torch.int64)
    target[:, :9] = 3
    with torch.no_grad():
        scores, output = network.scores(images), network(images)
        network.observe(output, target, at(0.01))

    def enlarge(maps):
        return torch.nn.functional.interpolate(maps, size=(33, 41), mode="bilinear", align_corners=True)

    for maps, small in zip(output[:3], scores[:3], strict=True):
        torch.testing.assert_close(maps, enlarge(small))
    upper = enlarge(scores.features)[0, :, :9].mean(dim=(1, 2))
    torch.testing.assert_close(network.memory.rows[3], upper)


def slopes(module):
    """(ReLUs, the slopes of leaky ones) in it."""
    leaky = [part.negative_slope for part in module.modules() if isinstance(part, torch.nn.LeakyReLU)]
    return sum(isinstance(part, torch.nn.ReLU) for part in module.modules()), leaky


def test_lips_activation_is_the_heads_unless_the_backbone_has_it_too():
    leaky = {"type": "LeakyReLU", "negative_slope": 0.02, "inplace": True}
    state = load("mcibi_none_resnet50").weights()
    plain, _ = slopes(load_reference(state))
    network = load_reference(state, args=configuration(act_cfg=leaky))
    backbone, head = slopes(network.backbone), slopes(network)
    assert backbone[1] == []
    assert head == (backbone[0], [0.02] * (plain - backbone[0]))
    both = load_reference(state, args=configuration(act_cfg=leaky, backbone={"act_cfg": leaky}))
    assert slopes(both) == (0, [0.02] * plain)


def test_the_losses_have_the_configurations_weights():
    def weighing(factor):
        return {"type": "CrossEntropyLoss", "scale_factor": factor, "ignore_index": 255}

    losses = {
        "loss_aux": {"CrossEntropyLoss": weighing(0.7)},  # as older configurations have it
        "loss_cls_stage1": weighing(0.2),
        "loss_cls_stage2": weighing(1.0),
    }
    args = configuration(losses=losses, head={"loss_cfg": weighing(0.5)})
    network = load_reference(load("mcibi_none_resnet50").weights(), args=args)
    assert (network.alpha, network.auxiliary_weight, network.beta) == (0.2, 0.7, 0.5)


def test_a_configuration_may_be_a_part_of_one():
    momentum = {"base_momentum": 0.3, "adjust_by_learning_rate": False}
    args = {"backbone": {"outstride": 16}, "update_cfg": {"strategy": "mean", "momentum_cfg": momentum}}
    network = load_reference(load("mcibi_none_resnet50").weights(), args=args)
    assert network.backbone.strides[-1] == 16
    assert (network.momentum, network.fixed_momentum, network.memory.cosine) == (0.3, True, False)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"outstride": 4}, "outstride = 4: it has to be 8, 16 or 32"),
        ({"outstride": "8"}, "outstride = '8': it has to be 8, 16 or 32"),
        ({"strategy": "median"}, "strategy = 'median': it has to be cosine_similarity or mean"),
        ({"context_args": {"dilations": []}}, "dilations of ASPP: there has to be at least one"),
        (
            {"context_args": {"dilations": [6, 12, 18, 24]}},
            r"parallel_branches\.0\.0\.weight .* for \(512, 2048, 3, 3\)",
        ),
        ({"head": 3}, "cannot use the arguments head: 'int' object"),
    ],
)
def test_an_argument_that_cannot_be_is_refused(args, message):
    with pytest.raises(ConversionError, match=message):
        load_reference(load("mcibi_aspp_resnet50").weights(), args=args)


def test_several_rows_per_class_are_known_by_their_memory():
    state = {
        name.replace("self_attention.", "self_attentions.0."): tensor
        for name, tensor in load("mcibi_none_resnet50").weights().items()
    }
    state["memory_module.memory"] = torch.zeros(7, 2, 512)
    with pytest.raises(ConversionError, match="2 rows per class"):
        load_reference(state)


def test_plus_plus_follows_the_learning_rate_where_it_is_told_to():
    fixture = load("mcibipp_none_resnet50")
    momentum = {"base_momentum": 0.2, "base_lr": 0.02}
    features, target = torch.rand(1, 512, 4, 4), torch.zeros(1, 8, 8, dtype=torch.int64)
    moved = {}
    for adjust in (False, True):
        head = {"update_cfg": {"momentum_cfg": momentum | {"adjust_by_learning_rate": adjust}}}
        network = load_reference(fixture.weights(), args=configuration(head=head))
        output = network(torch.zeros(1, 3, 33, 33))._replace(features=features)
        before = network.memory.moments.clone()
        network.observe(output, target, at(0.01))
        moved[adjust] = (network.memory.moments - before)[0]
        assert torch.equal(network.memory.moments[1:], before[1:])
    torch.testing.assert_close(moved[False], 2 * moved[True])  # half the rate, half the momentum


def last_input(network, images):
    """What the last classifier sees, and what the memory gave."""
    seen = []
    network.beyond.register_forward_hook(lambda module, inputs, output: seen.append(output))
    network.classify.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network(images)
    return seen[1], seen[0]


def test_the_memory_of_plus_plus_may_join_behind_the_pyramid():
    state = load("mcibipp_upernet_resnet50").weights()
    for name, tensor in state.items():  # laterals as wide as the context alone
        if name.startswith("lateral_convs.") and tensor.ndim:
            state[name] = tensor[:512]
        if name.startswith("fpn_convs.") and tensor.ndim == 4:
            state[name] = tensor[:, :512]
    network = load_reference(state, args=configuration(head={"fuse_memory_cwi_before_fpn": False}))
    images = torch.randn(1, 3, 65, 33)
    seen, given = last_input(network, images)
    assert seen.shape[1] == 3 * 512 + 512 + 512
    with torch.no_grad():
        context = network.within(network.backbone(images), None)
    for part, expected in zip(seen.split(512, dim=1)[3:], (context, given), strict=True):
        enlarged = torch.nn.functional.interpolate(expected, size=seen.shape[-2:], mode="bilinear")
        torch.testing.assert_close(part, enlarged)


def test_the_first_classifier_of_plus_plus_may_choose_from_the_memory():
    state = load("mcibipp_upernet_resnet50").weights()
    images = torch.randn(1, 3, 33, 33)
    chosen = []
    for forced in (False, True):
        network = load_reference(state, args=configuration(head={"force_use_preds_pr": forced}))
        network.beyond.register_forward_pre_hook(lambda module, inputs: chosen.append(inputs[1]))
        with torch.no_grad():
            scores = network.scores(images)
        assert torch.equal(chosen[-1], scores.first if forced else scores.within)


def test_a_pyramid_without_a_context_is_never_called():
    state = load("mcibipp_none_resnet50").weights()
    pyramid = {"lateral_convs.0.0.weight": torch.zeros(64, 256, 1, 1), "fpn_convs.0.0.weight": torch.zeros(8, 64, 3, 3)}
    network = load_reference(state | pyramid)
    assert network.unused_tensors == tuple(pyramid)
    assert not network.lateral


def test_the_attention_over_the_memory_of_plus_plus_may_be_at_half_the_size():
    state = load("mcibipp_none_resnet50").weights()
    shrink = "memory_module.downsample_before_sa."
    state[f"{shrink}0.weight"] = torch.randn(512, 512, 3, 3) / 70
    state |= {f"{shrink}1.{name}": torch.ones(512) for name in ("weight", "bias", "running_var")}
    state[f"{shrink}1.running_mean"] = torch.zeros(512)
    refine = load_reference(state).beyond.refine
    queries, keys = torch.randn(2, 1, 512, 9, 7)
    with torch.no_grad():
        whole, half = (load_reference(load("mcibipp_none_resnet50").weights()).beyond.refine, refine.shrink)
        expected = whole(half(queries), half(keys))
        found = refine(queries, keys)
    assert expected.shape == (1, 512, 5, 4)
    torch.testing.assert_close(found, torch.nn.functional.interpolate(expected, size=(9, 7), mode="bilinear"))
