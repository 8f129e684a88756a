"""Checkpoints of torchvision.models.segmentation: its networks number by number, the installed ones too."""

import pytest
import torch
from torchvision.models import segmentation

from parity import load
from segue.convert import ConversionError, load_reference


def load_fixture(name):
    fixture = load(name)
    return fixture, load_reference(fixture.weights(), fixture.spec["source"], fixture.spec["args"])


@pytest.mark.parametrize(
    "name",
    [
        "fcn_torchvision_resnet50",
        "deeplabv3_resnet50_torchvision",
        pytest.param("deeplabv3_resnet101_torchvision", marks=pytest.mark.slow),
    ],
)
def test_the_whole_network_matches_torchvision(name):
    fixture, network = load_fixture(name)
    with torch.no_grad():
        output = network(fixture.image())
    fixture.check("out", output.logits)
    fixture.check("aux", output.auxiliary)


def test_the_head_alone_matches_torchvision():
    fixture, network = load_fixture("deeplabv3_head_torchvision")
    with torch.no_grad():
        fixture.check("logits", network(fixture.image()).logits)


def test_the_rates_of_a_head_come_from_its_arguments():
    fixture = load("deeplabv3_head_torchvision")
    network = load_reference(fixture.weights(), fixture.spec["source"], {"atrous_rates": [6, 12, 18]})
    assert [branch[0].dilation[0] for branch in network.aspp.branches] == [1, 6, 12, 18]


@pytest.mark.parametrize("auxiliary", [True, False])
@pytest.mark.parametrize("build", [segmentation.fcn_resnet50, segmentation.deeplabv3_resnet50])
def test_the_installed_networks_are_matched_at_any_size(build, auxiliary):
    torch.manual_seed(0)
    reference = build(weights=None, weights_backbone=None, num_classes=4, aux_loss=auxiliary).eval()
    network = load_reference(reference.state_dict(), args={"num_classes": 4, "aux_loss": auxiliary})
    images = torch.randn(1, 3, 65, 50)
    with torch.no_grad():
        expected, output = reference(images), network(images)
    torch.testing.assert_close(output.logits, expected["out"], rtol=1e-4, atol=1e-5)
    assert (output.auxiliary is not None) == auxiliary
    if auxiliary:
        torch.testing.assert_close(output.auxiliary, expected["aux"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("build", [segmentation.fcn_resnet50, segmentation.deeplabv3_resnet50])
def test_a_network_of_one_score_becomes_one_of_two_classes_with_the_same_probabilities(build):
    torch.manual_seed(0)
    reference = build(weights=None, weights_backbone=None, num_classes=1, aux_loss=True).eval()
    network = load_reference(reference.state_dict())
    assert network.num_classes == 2
    images = torch.randn(1, 3, 65, 50)
    with torch.no_grad():
        expected, output = reference(images), network(images)
    for name, logits in (("out", output.logits), ("aux", output.auxiliary)):
        torch.testing.assert_close(logits.softmax(1)[:, 1:], expected[name].sigmoid(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("build", "count"),
    [
        (segmentation.fcn_resnet50, 35_322_218),
        (segmentation.fcn_resnet101, 54_314_346),
        (segmentation.deeplabv3_resnet50, 42_004_074),
        (segmentation.deeplabv3_resnet101, 60_996_202),
    ],
)
def test_it_has_the_parameters_that_torchvision_publishes(build, count):  # with 21 classes and the auxiliary head
    with torch.device("meta"):
        state = build(weights=None, weights_backbone=None, num_classes=21, aux_loss=True).state_dict()
    network = load_reference({name: torch.empty_like(tensor, device="cpu") for name, tensor in state.items()})
    assert sum(parameter.numel() for parameter in network.parameters()) == count


def test_other_encoders_are_refused_in_a_line():
    reference = segmentation.deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=2)
    with pytest.raises(ConversionError, match=r"no ResNet: it has no tensor backbone\.layer1\.0\.conv1\.weight"):
        load_reference(reference.state_dict())
