import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from segue.models.segnet import SegNet, SegNetBasic, pool, unpool
from tests.models.test_fcn import Classifier, write


def test_unpooling_returns_each_maximum_to_its_place():
    maps = torch.tensor([[[[1.0, 2.0, 0.0], [3.0, 0.0, 5.0], [4.0, 6.0, 7.0]]]])
    pooled, indices = pool(maps)
    assert pooled.tolist() == [[[[3.0, 5.0], [6.0, 7.0]]]]  # three rows become two
    restored = unpool(pooled, indices, (3, 3))
    assert restored.tolist() == [[[[0.0, 0.0, 0.0], [3.0, 0.0, 5.0], [0.0, 6.0, 7.0]]]]


def test_sizes_are_rounded_up_at_the_authors_resolution():
    with torch.device("meta"):
        encoded = SegNet.build(11).encode(torch.empty(1, 3, 360, 480))
    assert encoded.sizes == [(360, 480), (180, 240), (90, 120), (45, 60), (23, 30)]
    assert encoded.maps.shape[-2:] == (12, 15)


def test_segnet_has_26_convolutions_and_the_last_one_is_bare():
    with torch.device("meta"):
        network = SegNet.build(11)
    layers = [module for module in network.modules() if not list(module.children())]
    assert sum(isinstance(layer, nn.Conv2d) for layer in layers) == 26
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in layers) == 25
    assert all(layer.bias is not None for layer in layers if isinstance(layer, nn.Conv2d))
    assert [type(layer) for layer in network.decoder.stages["1"]][-1] is nn.Conv2d


def test_the_decoder_of_segnet_basic_has_no_relu():
    with torch.device("meta"):
        network = SegNetBasic(11)
    assert sum(isinstance(module, nn.ReLU) for module in network.modules()) == 4


def test_batch_norm_starts_at_one_and_a_thousandth():
    norms = [module for module in SegNet.build(5, width=1 / 16).modules() if isinstance(module, nn.BatchNorm2d)]
    assert all((norm.weight == 1).all() and (norm.bias == 0.001).all() for norm in norms)


@pytest.mark.parametrize("network", [SegNet, SegNetBasic])
def test_every_size_from_one_pixel_on_works(network):
    with torch.device("meta"):
        built = network.build(5, width=1 / 16).eval()
        for side in (1, 2, 3, 8, 9, 16, 17, 31, 32, 33, 34, 45, 60):
            assert built(torch.empty(1, 3, side, 71 - side)).logits.shape == (1, 5, side, 71 - side)


@pytest.mark.parametrize(("network", "side"), [(SegNet, 16), (SegNetBasic, 8)])
def test_a_picture_that_batch_norm_cannot_normalise_is_refused_in_training(network, side):
    built = network.build(5, width=1 / 16)
    with pytest.raises(ValueError, match="BatchNorm cannot normalise in training: use larger or more pictures"):
        built(torch.randn(1, 3, side, side))
    assert built(torch.randn(1, 3, side, side + 1)).logits.shape == (1, 5, side, side + 1)
    assert built(torch.randn(2, 3, side, side)).logits.shape == (2, 5, side, side)
    for module in built.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    assert built(torch.randn(1, 3, side, side)).logits.shape == (1, 5, side, side)


def test_dropout_is_after_the_deeper_stages():  # Bayesian SegNet
    network = SegNet.build(5, width=1 / 16, dropout=0.5)
    assert [dropout.p for dropout in network.backbone.dropouts] == [0, 0, 0.5, 0.5, 0.5]  # pool1 to pool5
    assert [dropout.p for dropout in network.decoder.dropouts] == [0.5, 0.5, 0.5, 0, 0]  # conv5_1_D to conv1_1_D


@pytest.mark.parametrize("norm", [True, False])
def test_the_encoder_starts_from_a_vgg16_with_or_without_batch_norm(norm, tmp_path):
    classifier = Classifier(norm).eval()
    for module in classifier.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean)
            nn.init.uniform_(module.weight)
    network = SegNet.build(5, width=1 / 16, weights=write(classifier.state_dict(), tmp_path / "vgg.safetensors")).eval()
    if not norm:  # fresh BatchNorm: almost the identity, but for its shift
        for module in network.backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.zeros_(module.bias)
                module.eps = 0.0
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network.encode(images).maps, classifier.features(images), rtol=1e-4, atol=1e-5)


def test_a_file_that_lacks_a_convolution_is_refused(tmp_path):
    state = Classifier().state_dict()
    del state["features.28.weight"]
    save_file(state, tmp_path / "vgg.safetensors")
    with pytest.raises(ValueError, match=r"vgg\.safetensors: has 12 convolutions, VGG-16 has 13"):
        SegNet.build(5, width=1 / 16, weights=tmp_path / "vgg.safetensors")
