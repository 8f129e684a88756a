import pytest
import torch
import torch.nn.functional as F

from segue.labels import IGNORE
from segue.layers import AlignedAreas, AlignedCorners
from segue.models.deeplabv1 import DeepLabV1, decimate
from tests.models.test_fcn import Classifier, write


def build(**options):
    torch.manual_seed(0)
    return DeepLabV1.build(5, width=1 / 16, **options).eval()


@pytest.mark.parametrize(("side", "cells"), [(97, 13), (96, 13), (98, 14), (321, 41), (513, 65), (1, 1), (2, 2)])
def test_three_poolings_round_up(side, cells):
    with torch.device("meta"):
        network = DeepLabV1.build(5, width=1 / 16)
        assert network(torch.empty(1, 3, side, side)).coarse.shape == (1, 5, cells, cells)


@pytest.mark.parametrize("size", [(97, 65), (96, 61), (1, 1), (7, 100)])
def test_a_cells_score_is_that_of_every_eighth_pixel(size):
    network = build()
    with torch.no_grad():
        output = network(torch.randn(1, 3, *size))
    assert output.logits.shape[-2:] == size
    every_eighth = output.logits[..., ::8, ::8]
    height, width = every_eighth.shape[-2:]
    torch.testing.assert_close(every_eighth, output.coarse[..., :height, :width])


def test_the_loss_reads_every_eighth_label():
    network = build()
    images = torch.randn(2, 3, 33, 42)
    target = torch.randint(0, 5, (2, 33, 42))
    target[:, 8, 16] = IGNORE
    with torch.no_grad():
        output = network(images)
        labels = F.pad(target[:, ::8, ::8], (0, 1), value=IGNORE)  # column 48 is past the border of 42
        assert output.coarse.shape[-2:] == labels.shape[-2:] == (5, 7)
        expected = F.cross_entropy(output.coarse, labels, ignore_index=IGNORE)
        torch.testing.assert_close(network.loss(output, target)["logits"], expected)


def test_average_pooling_divides_by_nine_at_the_border_too():
    network = build()
    expected = torch.tensor([[[[4.0, 6, 4], [6, 9, 6], [4, 6, 4]]]]) / 9
    torch.testing.assert_close(network.backbone.pool5a(torch.ones(1, 1, 3, 3)), expected)


def test_decimation_keeps_every_fourth_filter_and_taps_0_3_6():
    fc6 = torch.arange(8 * 2 * 49.0).reshape(8, 2, 7, 7)
    fc7 = torch.arange(64.0).reshape(8, 8, 1, 1)
    bias = torch.arange(8.0)
    tensors = {"fc6.weight": fc6, "fc6.bias": bias, "fc7.weight": fc7, "fc7.bias": bias}
    thinned = decimate(tensors, (2, 2, 3, 3), (2, 2, 1, 1))
    rows = torch.tensor([0, 3, 6])
    assert torch.equal(thinned["fc6.weight"], fc6[[0, 4]][:, :, rows][..., rows])
    assert thinned["fc6.bias"].tolist() == [0, 4]
    assert thinned["fc7.weight"].flatten().tolist() == [0, 4, 32, 36]


def test_a_classifiers_weights_are_thinned_out(tmp_path):
    classifier = Classifier()  # fc6 and fc7 of 256 channels; the network's have 64
    path = write(classifier.state_dict(), tmp_path / "vgg16.safetensors")
    trunk = build(weights=path).backbone
    fc6 = classifier.classifier[0].weight.reshape(256, 32, 7, 7)
    assert torch.equal(trunk.fc6.weight, fc6[::4, :, ::3, ::3])
    assert torch.equal(trunk.fc7.weight[..., 0, 0], classifier.classifier[3].weight[::4, ::4])
    assert torch.equal(trunk.fc7.bias, classifier.classifier[3].bias[::4])
    assert torch.equal(trunk.body.stages["5"].conv5_3.weight, classifier.features[28].weight)


def test_weights_already_thinned_out_are_taken_as_they_are(tmp_path):
    trunk = build().backbone
    state = {".".join(name.split(".")[-2:]): tensor for name, tensor in trunk.state_dict().items()}
    again = build(weights=write(state, tmp_path / "vgg16_largefov.safetensors")).backbone
    for name, tensor in trunk.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)


def test_weights_with_too_few_filters_are_refused(tmp_path):
    path = write(Classifier(fc=32).state_dict(), tmp_path / "small.safetensors")
    with pytest.raises(ValueError, match="does not fit this backbone"):
        build(weights=path)


def test_areas_give_a_cell_the_label_under_its_centre():
    target = torch.arange(10).reshape(1, 1, 10).expand(1, 3, 10)
    labels = AlignedAreas().labels(target, torch.empty(1, 5, 1, 4), stride=8)
    assert labels.tolist() == [[[1, 3, 6, 8]]]  # centres at 1.25, 3.75, 6.25, 8.75
    larger = torch.randint(0, 5, (2, 33, 71))
    for size in ((5, 9), (33, 71), (40, 80), (1, 1)):
        expected = F.interpolate(larger[:, None].float(), size=size, mode="nearest-exact")[:, 0].long()
        assert torch.equal(AlignedAreas().labels(larger, torch.empty(2, 5, *size), stride=8), expected)


def test_corners_keep_what_lies_past_the_last_cell():
    scores = torch.tensor([[[[0.0, 8.0]]]])
    enlarged = AlignedCorners().enlarge(scores, torch.empty(1, 1, 1, 11), stride=8)
    assert enlarged.flatten().tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8]
