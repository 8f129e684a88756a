"""UPerNet: its pyramid by hand, and what the network promises beside the contract."""

import torch
from torch import nn

from segue.layers import FusedPyramid
from segue.models import create
from segue.models.upernet import ChannelNorm


def test_the_coarse_map_is_added_to_the_finer_ones_on_the_way_down():
    pyramid = FusedPyramid([1, 1, 1], 1).eval()
    pyramid.ppm = nn.Identity()
    pyramid.lateral = pyramid.smooth = nn.ModuleList([nn.Identity(), nn.Identity()])
    joined = []
    pyramid.fuse.register_forward_pre_hook(lambda module, inputs: joined.append(inputs[0][0]))
    maps = [torch.full((1, 1, 9, 7), 1.0), torch.full((1, 1, 5, 4), 10.0), torch.full((1, 1, 3, 2), 100.0)]
    pyramid(maps)
    assert joined[0].shape == (3, 9, 7)
    expected = torch.tensor([111.0, 110.0, 100.0])[:, None, None].expand(3, 9, 7)
    torch.testing.assert_close(joined[0], expected)


def test_channel_norm_has_mean_zero_and_deviation_one_at_each_position():
    norm = ChannelNorm(8)
    out = norm(torch.randn(2, 8, 3, 4) * 5 + 2)
    torch.testing.assert_close(out.mean(dim=1), torch.zeros(2, 3, 4), rtol=0, atol=1e-5)
    torch.testing.assert_close(out.var(dim=1, unbiased=False), torch.ones(2, 3, 4), rtol=1e-3, atol=0)


def test_the_scores_have_the_stride_of_the_finest_map_used():
    network = create("upernet", num_classes=5, backbone="resnet18", width=0.25, channels=16).eval()
    with torch.inference_mode():
        assert network.scores(torch.randn(1, 3, 97, 65)).logits.shape == (1, 5, 25, 17)
