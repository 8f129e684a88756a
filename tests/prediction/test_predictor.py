import pytest
import torch
from torch import nn

from segue.crf import Bilateral, Gaussian, dense_crf
from segue.layers import ConvBNReLU
from segue.models import create
from segue.options import CRFOptions
from segue.prediction import Predictor, Preprocessing, Sharpened, crf_kernels, fold_batchnorm


def lived(network: nn.Module) -> nn.Module:
    """Give BatchNorm statistics and scales that are not those of a new network."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("unet", {"channels": (4, 8, 8)}),
        ("unet", {"backbone": "resnet18", "width": 0.25}),
        ("unet", {"backbone": "mobilenetv3_small_050"}),
        ("deeplabv3", {"backbone": "resnet18", "width": 0.25, "channels": 16}),
        ("deeplabv3", {"backbone": "resnet26d", "width": 0.25, "channels": 16, "output_stride": 8}),
    ],
)
def test_folding_batchnorm_changes_no_score(name, options):
    network = lived(create(name, 5, **options)).double()
    images = torch.randn(2, 3, 65, 49, dtype=torch.float64)
    with torch.no_grad():
        before = network(images).logits
        folded = fold_batchnorm(network)
        after = network(images).logits
    assert folded > 0
    torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-9)


def test_folding_finds_every_pair_of_a_resnet():
    network = create("deeplabv3", 5, backbone="resnet18", width=0.25, channels=16).eval()
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert fold_batchnorm(network) == norms


def test_a_norm_of_a_batch_that_has_no_statistics_is_left_alone():
    block = ConvBNReLU(3, 4)
    block[1] = nn.BatchNorm2d(4, track_running_stats=False)
    assert fold_batchnorm(block.eval()) == 0


def test_a_predictor_leaves_the_network_as_it_was():
    network = create("unet", 3, channels=(4, 8)).train()
    names = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    Predictor(network, Preprocessing()).labels(torch.zeros(1, 3, 20, 20, dtype=torch.uint8))
    assert network.training
    assert all(torch.equal(tensor, names[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("shrink", [1.0, 0.5, 0.33])
def test_scores_have_the_pictures_size_whatever_the_network_saw(shrink):
    network = create("unet", 3, channels=(4, 8))
    predictor = Predictor(network, Preprocessing(shrink=shrink))
    images = torch.randint(0, 256, (2, 3, 47, 61), dtype=torch.uint8)
    probabilities = predictor.probabilities(images)
    assert probabilities.shape == (2, 3, 47, 61)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(2, 47, 61))


def test_layout_precision_and_folding_can_each_be_switched_off():
    network = lived(create("unet", 3, channels=(4, 8)))
    images = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    plain = Predictor(network, Preprocessing(), precision="float32", channels_last=False, fold=False).logits(images)
    fast = Predictor(network, Preprocessing(), precision="float32").logits(images)
    torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-4)
    halved = Predictor(network, Preprocessing(), precision="bfloat16").logits(images)
    assert (halved - plain).abs().max() < 0.1 * plain.abs().max()


def test_a_picture_is_normalised_in_grey_levels():
    how = Preprocessing(mean=(10.0, 20.0), std=(2.0, 4.0))
    images = torch.tensor([12, 28], dtype=torch.uint8).view(1, 2, 1, 1)
    assert how.normalise(images).flatten().tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    "wrong", [{"mean": (1.0,), "std": (1.0, 2.0)}, {"mean": (1.0,), "std": (0.0,)}, {"shrink": 0.0}, {"shrink": 1.5}]
)
def test_preprocessing_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        Preprocessing(**wrong)


def test_a_sharpened_predictor_runs_the_crf_on_its_probabilities_picture_by_picture():
    predictor = Predictor(lived(create("unet", 3, channels=(4, 8))), Preprocessing(), precision="float32")
    images = torch.randint(0, 256, (2, 3, 21, 18), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    sharpened = Sharpened(predictor, CRFOptions(gaussian_compat=0, bilateral_sxy=12, bilateral_srgb=40, iterations=3))
    found = sharpened.probabilities(images)
    wanted = dense_crf(predictor.probabilities(images), images, None, Bilateral(12, 40, 4), 3)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(sharpened.probabilities(images[1:]), found[1:], rtol=1e-4, atol=1e-5)
    assert torch.equal(sharpened.labels(images), found.argmax(dim=1))


def test_a_weight_of_zero_leaves_a_kernel_out():
    assert crf_kernels(CRFOptions(gaussian_compat=0)) == (None, Bilateral())
    assert crf_kernels(CRFOptions(bilateral_compat=0)) == (Gaussian(), None)
