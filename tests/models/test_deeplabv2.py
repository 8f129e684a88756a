import pytest
import torch
import torch.nn.functional as F

from segue.labels import IGNORE
from segue.layers import AlignedCorners
from segue.models import create
from segue.models.deeplabv2 import DeepLabV2
from segue.models.msc import AreaRule, CornerRule, MultiScale
from tests.models.test_fcn import Classifier, write

SMALL = {"backbone": "resnet26", "width": 0.25}


def build(**options):
    torch.manual_seed(0)
    return DeepLabV2.build(5, **{**SMALL, **options}).eval()


def test_every_block_of_a_dilated_stage_is_dilated_and_strides_are_caffes():
    with torch.device("meta"):
        body = DeepLabV2.build(21).backbone.body
    dilations = [[block.conv2.dilation[0] for block in stage] for stage in (body.layer3, body.layer4)]
    assert dilations == [[2] * 23, [4] * 3]
    assert [
        (stage[0].conv1.stride[0], stage[0].conv2.stride[0]) for stage in (body.layer1, body.layer2, body.layer3)
    ] == [
        (1, 1),
        (2, 1),
        (1, 1),
    ]
    assert body.maxpool.ceil_mode


def test_branches_are_summed():
    network = build(rates=(6, 12))
    features = [torch.randn(1, network.backbone.channels[-1], 9, 11)]
    with torch.no_grad():
        one, other = (branch(features[0]) for branch in network.head.branches)
        torch.testing.assert_close(network.head(features), one + other)
    assert [branch.dilation[0] for branch in network.head.branches] == [6, 12]
    assert [branch.padding[0] for branch in network.head.branches] == [6, 12]


def test_on_vgg16_each_rate_has_its_own_fully_connected_layers(tmp_path):
    classifier = Classifier()
    path = write(classifier.state_dict(), tmp_path / "vgg16.safetensors")
    network = DeepLabV2.build(5, backbone="vgg16", width=1 / 16, rates=(2, 4, 8), weights=path)
    fc6 = classifier.classifier[0].weight.reshape(256, 32, 7, 7)[::4, :, ::3, ::3]
    assert [field.fc6.dilation[0] for field in network.backbone.fields] == [2, 4, 8]
    assert all(torch.equal(field.fc6.weight, fc6) for field in network.backbone.fields)
    assert network(torch.randn(1, 3, 33, 41)).coarse.shape == (1, 5, 5, 6)


def test_areas_are_aligned_by_default_and_corners_when_told():
    images = torch.randn(1, 3, 65, 48)
    with torch.no_grad():
        output = build()(images)
        expected = F.interpolate(output.coarse, size=(65, 48), mode="bilinear", align_corners=False)
        torch.testing.assert_close(output.logits, expected)
        output = build(corners=True)(images)
        expected = F.interpolate(output.coarse, size=(65, 49), mode="bilinear", align_corners=True)[..., :48]
        torch.testing.assert_close(output.logits, expected)


def test_the_loss_reads_the_labels_that_its_alignment_gives():
    target = torch.randint(0, 5, (2, 65, 49))
    target[:, :9] = IGNORE
    network = build(corners=True)
    with torch.no_grad():
        output = network(torch.randn(2, 3, 65, 49))
        expected = F.cross_entropy(output.coarse, target[:, ::8, ::8], ignore_index=IGNORE)
        torch.testing.assert_close(network.loss(output, target)["logits"], expected)
        network = build()
        output = network(torch.randn(2, 3, 65, 49))
        nearest = F.interpolate(target[:, None].float(), size=(9, 7), mode="nearest-exact")[:, 0].long()
        expected = F.cross_entropy(output.coarse, nearest, ignore_index=IGNORE)
        torch.testing.assert_close(network.loss(output, target)["logits"], expected)


def test_the_backbone_is_the_network_insides_and_held_once():
    network = MultiScale.build(5, **SMALL)
    assert network.backbone is network.network.backbone
    assert all(name.startswith("network.") for name in network.state_dict())
    assert len(list(network.parameters())) == len(list(network.network.parameters()))


@pytest.mark.parametrize(("name", "options"), [("unet", {"width": 1 / 16}), ("deeplabv1", {"width": 1 / 16})])
def test_any_network_can_be_fused_over_scales(name, options):
    torch.manual_seed(0)
    inside = create(name, 5, **options)
    images = torch.randn(1, 3, 65, 70)
    network = MultiScale(inside, scales=(0.5,)).eval()
    with torch.no_grad():
        full = inside.scores(images).logits
        half = inside.scores(F.interpolate(images, scale_factor=0.5, mode="bilinear")).logits
        fused = torch.maximum(full, F.interpolate(half, size=full.shape[-2:], mode="bilinear"))
        output = network(images)
        torch.testing.assert_close(output.fused, fused)
        torch.testing.assert_close(output.logits, F.interpolate(fused, size=(65, 70), mode="bilinear"))
    assert (output.fused >= output.full).all()


@pytest.mark.parametrize("rule", [AreaRule(), CornerRule()])
@pytest.mark.parametrize("size", [(1, 1), (2, 65), (97, 129), (96, 50)])
def test_every_size_works_under_either_rule(rule, size):
    network = MultiScale(build(corners=isinstance(rule, CornerRule)), rule=rule).eval()
    target = torch.randint(0, 5, (1, *size))
    with torch.no_grad():
        output = network(torch.randn(1, 3, *size))
        terms = network.loss(output, target)
    assert output.logits.shape == (1, 5, *size)
    assert set(terms) == {"logits", "full", "scale_0.5", "scale_0.75"}
    assert all(term.isfinite() for term in terms.values())


def test_the_authors_sizes_match_at_32k_plus_1():
    rule = CornerRule()
    images = torch.empty(1, 3, 97, 129)
    assert rule.fill_up((97, 129)) == (97, 129)
    assert rule.fill_up((98, 1)) == (129, 33)
    assert rule.shrink(images, 0.5).shape[-2:] == (49, 65)
    assert rule.shrink(images, 0.75).shape[-2:] == (73, 97)
    full = torch.empty(1, 5, 13, 17)
    assert rule.restore(torch.empty(1, 5, 7, 9), 0.5, full).shape == full.shape
    assert rule.restore(torch.empty(1, 5, 10, 13), 0.75, full).shape == full.shape


def test_the_authors_labels_are_every_eighth_and_for_the_half_every_sixteenth():
    network = MultiScale(build(corners=True), rule=CornerRule()).eval()
    target = torch.randint(0, 5, (2, 65, 97))
    with torch.no_grad():
        output = network(torch.randn(2, 3, 65, 97))
        terms = network.loss(output, target)
        eighth, sixteenth = target[:, ::8, ::8], target[:, ::16, ::16]
        three_quarters = F.interpolate(output.scaled[1], size=(9, 13), mode="bilinear", align_corners=True)
        expected = {
            "logits": F.cross_entropy(output.fused, eighth),
            "full": F.cross_entropy(output.full, eighth),
            "scale_0.5": F.cross_entropy(output.scaled[0], sixteenth),
            "scale_0.75": F.cross_entropy(three_quarters, eighth),
        }
        torch.testing.assert_close(terms, expected)


def test_the_rendering_by_areas_trains_each_map_at_its_own_size():
    network = MultiScale(build()).eval()
    target = torch.randint(0, 5, (2, 64, 97))
    with torch.no_grad():
        output = network(torch.randn(2, 3, 64, 97))
        terms = network.loss(output, target)
        maps = {
            "logits": output.fused,
            "full": output.full,
            "scale_0.5": output.scaled[0],
            "scale_0.75": output.scaled[1],
        }
        for name, scores in maps.items():
            labels = F.interpolate(target[:, None].float(), size=scores.shape[-2:], mode="nearest-exact")[:, 0].long()
            torch.testing.assert_close(terms[name], F.cross_entropy(scores, labels))


def test_build_joins_the_rule_to_the_alignment():
    network = MultiScale.build(5, **SMALL, corners=True)
    assert isinstance(network.rule, CornerRule)
    assert isinstance(network.network.alignment, AlignedCorners)
    assert isinstance(MultiScale.build(5, **SMALL).rule, AreaRule)
