import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segue.models.unet import EncoderUNet, PaddedUNet, PaperUNet, UNet, mirror_border

NARROW = (4, 4, 8, 8, 8)


def paper_unet(channels=NARROW, **options):
    torch.manual_seed(0)
    return PaperUNet(3, channels=channels, **options).eval()


@pytest.mark.parametrize(("side", "logits"), [(572, 388), (188, 4), (204, 20), (252, 68)])
def test_valid_convolutions_lose_184_pixels(side, logits):
    network = paper_unet()
    with torch.device("meta"):
        network = PaperUNet(3, channels=NARROW)
        assert network.valid_logits(torch.empty(1, 3, side, 188)).shape == (1, 3, logits, 4)


def test_every_map_has_the_side_of_figure_1():
    with torch.device("meta"):
        maps = PaperUNet(2, in_channels=1).contract(torch.empty(1, 1, 572, 572))
    assert [(m.shape[1], m.shape[2]) for m in maps] == [(64, 568), (128, 280), (256, 136), (512, 64), (1024, 28)]


@pytest.mark.parametrize("side", [187, 189, 196, 172, 60, 1])
def test_other_sides_are_refused_with_the_valid_ones(side):
    with pytest.raises(ValueError, match=f"a side of {side}: valid sides are 188, 204, 220, ..."):
        paper_unet().valid_logits(torch.empty(1, 3, 188, side))


def test_a_padded_form_has_no_valid_logits():
    with pytest.raises(ValueError, match="its logits have the image's size already"):
        paper_unet(padding=1).valid_logits(torch.empty(1, 3, 188, 188))


@pytest.mark.parametrize(("levels", "smallest", "margin"), [(2, 20, 8), (3, 44, 20), (4, 92, 44), (5, 188, 92)])
def test_fewer_levels_lose_fewer_pixels(levels, smallest, margin):
    network = paper_unet(NARROW[:levels])
    assert network.margin == margin
    assert network.valid_logits(torch.randn(1, 3, smallest, smallest)).shape[-2:] == (4, 4)
    with pytest.raises(ValueError, match=f"valid sides are {smallest}, {smallest + 2 ** (levels - 1)}"):
        network.valid_logits(torch.empty(1, 3, smallest, smallest - 1))
    assert network(torch.randn(1, 3, 21, 30)).logits.shape == (1, 3, 21, 30)


@pytest.mark.parametrize("size", [(36, 68), (4, 20), (100, 52)])
def test_forward_is_the_overlap_tile_strategy(size):
    """A tile that gives the wanted pixels is cut from the picture mirrored by 92 (Fig. 2)."""
    network = paper_unet()
    images = torch.randn(1, 3, *size)
    tile = torch.from_numpy(np.pad(images.numpy(), ((0, 0), (0, 0), (92, 92), (92, 92)), mode="reflect"))
    with torch.no_grad():
        torch.testing.assert_close(network(images).logits, network.valid_logits(tile))


@pytest.mark.parametrize("size", [(37, 61), (1, 5), (150, 3)])
def test_at_other_sizes_the_tile_is_larger_at_the_bottom_and_right(size):
    network = paper_unet()
    images = torch.randn(1, 3, *size)
    excess = [max(0, 4 - side) if side < 4 else (4 - side) % 16 for side in size]
    margins = [(0, 0), (0, 0)] + [(92, 92 + more) for more in excess]
    tile = torch.from_numpy(np.pad(images.numpy(), margins, mode="reflect"))
    with torch.no_grad():
        expected = network.valid_logits(tile)[..., : size[0], : size[1]]
        torch.testing.assert_close(network(images).logits, expected)


def test_a_tile_gives_the_same_logits_as_the_whole_picture():
    network = paper_unet()
    images = torch.randn(1, 3, 100, 100)
    mirrored = mirror_border(images, left=92, right=92, top=92, bottom=92)
    with torch.no_grad():
        whole = network(images).logits
        top, left = 16, 48  # on the grid of the coarsest cells, or poolings would see other windows
        tile = network.valid_logits(mirrored[..., top : top + 204, left : left + 220])
        torch.testing.assert_close(tile, whole[..., top : top + 20, left : left + 36], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (30, 200)])
def test_a_border_is_mirrored_as_often_as_it_takes(size):
    images = torch.randn(1, 2, *size)
    mirrored = mirror_border(images, left=92, right=100, top=50, bottom=7)
    expected = np.pad(images.numpy(), ((0, 0), (0, 0), (50, 7), (92, 100)), mode="reflect")
    assert np.array_equal(mirrored.numpy(), expected)


def test_weights_start_with_variance_two_over_incoming_connections():  # Sec. 3: 3x3 on 64 channels make 576
    torch.manual_seed(0)
    network = PaperUNet(2)
    assert network.down[1][0].weight.std().item() == pytest.approx((2 / 576) ** 0.5, rel=0.02)
    assert all((p == 0).all() for name, p in network.named_parameters() if name.endswith("bias"))


def test_an_up_convolution_may_have_a_relu_as_the_release_has():
    network = paper_unet(up_relu=True)
    with torch.no_grad():
        assert (network.upsample[0](torch.randn(1, 8, 3, 3)) >= 0).all()


@pytest.mark.parametrize("options", [{}, {"bilinear": True}, {"norm": True}])
@pytest.mark.parametrize("size", [(16, 16), (97, 33), (1, 1)])
def test_the_padded_form_of_the_paper_fills_up_and_cuts_back(options, size):
    network = paper_unet(padding=1, **options)
    assert network(torch.randn(1, 3, *size)).logits.shape == (1, 3, *size)


@pytest.mark.parametrize("bilinear", [False, True])
@pytest.mark.parametrize("size", [(16, 16), (31, 47), (97, 129), (1, 1), (3, 50), (40, 15)])
def test_the_padded_form_keeps_any_size(bilinear, size):
    network = PaddedUNet(3, channels=NARROW, bilinear=bilinear).eval()
    images = torch.randn(1, 3, *size)
    logits = network(images).logits
    assert logits.shape == (1, 3, *size)
    filled = F.pad(images, (0, max(0, 16 - size[1]), 0, max(0, 16 - size[0])))
    torch.testing.assert_close(network(filled).logits[..., : size[0], : size[1]], logits)


def test_the_padded_form_refuses_what_batch_norm_cannot_normalise():
    network = PaddedUNet(3, channels=NARROW)
    with pytest.raises(ValueError, match="which BatchNorm cannot normalise in a batch of 1"):
        network(torch.randn(1, 3, 31, 16))
    assert network(torch.randn(2, 3, 31, 16)).logits.shape == (2, 3, 31, 16)


def test_build_gives_the_form_that_its_arguments_describe(tmp_path):
    assert isinstance(UNet.build(2, width=1 / 16), PaddedUNet)
    assert isinstance(UNet.build(2, width=1 / 16, valid=True), PaperUNet)
    bilinear = UNet.build(2, width=1 / 16, valid=True, bilinear=True)
    assert not any(isinstance(layer, nn.ConvTranspose2d) for layer in bilinear.modules())
    assert isinstance(UNet.build(2, backbone="resnet18", width=0.25), EncoderUNet)
    with pytest.raises(ValueError, match="drop them, or the backbone"):
        UNet.build(2, backbone="resnet18", valid=True)
    with pytest.raises(ValueError, match="has no pretrained part"):
        UNet.build(2, weights=tmp_path / "weights.safetensors")


def test_behind_the_last_skip_sides_are_the_images_halved():
    network = UNet.build(2, backbone="convnext_atto", channels=(4, 4, 4, 4, 4)).eval()  # its finest map is at stride 4
    sizes = []
    for level in network.up[-2:]:
        level.register_forward_pre_hook(lambda _, maps: sizes.append(tuple(maps[0].shape[-2:])))
    with torch.no_grad():
        assert network(torch.randn(1, 3, 65, 99)).logits.shape[-2:] == (65, 99)
    assert sizes == [(32, 49), (65, 99)]


@pytest.mark.parametrize(("levels", "sizes"), [(4, []), (5, [(65, 97)]), (6, [(33, 49), (65, 97)])])
def test_an_expanding_path_may_be_shorter_or_longer_than_its_encoder(levels, sizes):
    network = UNet.build(2, backbone="resnet18", width=0.125, channels=(8,) * levels).eval()
    found = []
    for level in network.up[4:]:  # four have a skip
        level.register_forward_pre_hook(lambda _, maps: found.append(tuple(maps[0].shape[-2:])))
    with torch.no_grad():
        assert network(torch.randn(1, 3, 65, 97)).logits.shape[-2:] == (65, 97)
    assert found == sizes
