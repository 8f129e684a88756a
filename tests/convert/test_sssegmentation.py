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
    with pytest.raises(ConversionError, match="LeakyReLU: only ReLU is known"):
        load_reference(load("mcibi_none_resnet50").weights(), args={"act_cfg": {"type": "LeakyReLU"}})


def test_the_first_block_may_be_dilated_in_full():
    args = {"backbone": {"contract_dilation": False}, "head": {}}
    network = load_reference(load("mcibi_none_resnet50").weights(), args=args)
    assert [block.conv2.dilation[0] for block in network.backbone.body.layer4] == [4, 4, 4]
