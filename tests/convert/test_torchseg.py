"""Checkpoints of DFN's first author: every map, the gates and the losses number by number."""

import pytest
import torch

from parity import load
from segue.convert import ConversionError, load_reference
from segue.models.borders import border_labels
from segue.models.dfn import DFN

UNUSED = "border_aft_rrbs.0."


def authors_focal(logits, labels, *, alpha=0.25, gamma=2.0):
    """The repository's border loss: a sigmoid where the logit belongs, and the sign turned. Not in the package."""
    s, kept = logits.double().sigmoid(), labels != 255
    positive = (1 - s) ** gamma * (s - s * (labels == 1))
    negative = s**gamma * torch.log1p(torch.exp(-s))
    return (-(alpha * positive + (1 - alpha) * negative)).where(kept, 0).mean()


def test_network_and_losses_match_the_authors():
    fixture = load("dfn_resnet101")
    # The recorded numbers were made in float32, where a ResNet-101 whose residual branches are not damped magnifies
    # rounding: they are up to 2.1e-4 from what float64 gives on any machine. In float32, the number of threads decides.
    network = load_reference(fixture.weights(), fixture.spec["source"], fixture.spec["args"]).double()
    target = fixture.target()
    source = fixture.expected("border_source")[0].long()
    labels = border_labels(source, network.num_classes, void_borders=network.void_borders)
    assert torch.equal(labels.float(), fixture.expected("border_label")[0])
    with torch.no_grad():
        output = network(fixture.image().double())
        terms = network.loss(output, target)
        border = network.border_loss(output.borders, labels)
    for index, maps in enumerate((*output.stages, output.logits)):
        fixture.check(f"smooth{index}", maps, tolerance=2.5e-4)
    for index, (maps, gate) in enumerate(zip(output.borders, output.gates, strict=True)):
        fixture.check(f"border{index}", maps)
        fixture.check(f"gate{index}", gate)
    fixture.check("log_prob", output.logits.log_softmax(dim=1))
    assert list(terms) == ["logits", "stage5", "stage4", "stage3", "border"]
    smooth = sum(terms[name] for name in ("logits", "stage5", "stage4", "stage3"))
    fixture.check("loss_smooth", smooth, tolerance=5e-5)
    fixture.check("loss_border_focal", border / 0.1, tolerance=5e-5)
    fixture.check("loss_total_focal", smooth + border, tolerance=5e-5)
    # What the repository adds up instead teaches "border everywhere"; here it only shows that the maps are the same.
    official = sum(authors_focal(maps[:, 0], labels) for maps in output.borders)
    fixture.check("loss_border_official", official, tolerance=5e-5)
    fixture.check("loss_total_official", smooth + 0.1 * official, tolerance=5e-5)


@pytest.mark.parametrize(("key", "alpha", "gamma"), [("a0.25_g2", 0.25, 2.0), ("a0.5_g1", 0.5, 1.0)])
def test_the_authors_border_loss_is_the_faulty_one(key, alpha, gamma):
    fixture = load("losses_border")
    logits, labels = fixture.image()[:, 0], fixture.expected("border_label")[0]
    value = authors_focal(logits, labels, alpha=alpha, gamma=gamma)
    fixture.check(f"focal_torchseg_{key}", value, tolerance=1e-5)
    everywhere = authors_focal(torch.full_like(logits, 9.0), labels, alpha=alpha, gamma=gamma)
    assert everywhere < value < 0  # a loss that is least where all is border


def test_a_checkpoint_is_recognised_and_its_unused_tensors_listed():
    state = load("dfn_resnet101").weights() | {"backbone.fc.weight": torch.zeros(1000, 2048)}
    network = load_reference(state)
    assert isinstance(network, DFN)
    assert network.void_borders
    assert network.border_weight == 0.1
    listed = [name for name in state if name.startswith((UNUSED, "backbone.fc."))]
    assert list(network.unused_tensors) == listed


def with_classes(state, classes):
    """The same checkpoint for another number of classes: its heads' first channels."""
    state = dict(state)
    for name, tensor in state.items():
        if name.startswith("smooth_heads.") and tensor.ndim:
            width = classes if ".conv.weight" in name or ".conv.bias" in name else 9 * classes
            if ".rrb." in name:
                width = 9 * classes
            cut = tensor[:width]
            inner = tensor.ndim == 4 and not name.endswith("rrb.conv_1x1.weight")
            state[name] = cut[:, : 9 * classes].clone() if inner else cut.clone()
    return state


def test_classes_and_lambda_are_the_checkpoints_and_the_arguments():
    state = with_classes(load("dfn_resnet101").weights(), 4)
    network = load_reference(state, "ycszen/TorchSeg", {"lambda": 0.5})
    assert (network.num_classes, network.border_weight) == (4, 0.5)
    with torch.inference_mode():
        assert network(torch.randn(1, 3, 33, 45)).logits.shape == (1, 4, 33, 45)


def test_a_tensor_without_a_place_is_named():
    state = load("dfn_resnet101").weights() | {"smooth_heads.9.conv.bias": torch.zeros(7)}
    with pytest.raises(ConversionError, match=r"1 tensors without a place: smooth_heads\.9\.conv\.bias"):
        load_reference(state)
