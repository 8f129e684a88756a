"""OCRNet: its attention and its regions by hand, and what the network promises beside the contract."""

import pytest
import torch

from segue.layers import ContextAttention, ObjectContext
from segue.models import create


def test_attention_is_a_softmax_of_scaled_products_over_the_keys():
    torch.manual_seed(0)
    block = ContextAttention(6, 4).eval()
    queries, keys = torch.randn(2, 6, 3, 5), torch.randn(2, 6, 7, 1)
    query, key, value = (
        maps.flatten(2) for maps in (block.query(queries), block.key(keys), block.value(keys))
    )  # (2, 4, N)
    weights = torch.softmax(query.transpose(1, 2) @ key / 2, dim=-1)  # sqrt(4) = 2
    expected = block.out((value @ weights.transpose(1, 2)).view(2, 4, 3, 5))
    torch.testing.assert_close(block(queries, keys), expected)


def test_a_regions_vector_is_the_mean_of_the_features_where_it_is_likely():
    context = ObjectContext(2, 2)
    seen = []
    context.attention.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[1][0, :, :, 0].T.tolist()))
    features = torch.tensor([[[[1.0, 5.0]], [[2.0, 4.0]]]])  # (1, 2) and (5, 4)
    regions = torch.tensor([[[[0.0, -100.0]], [[7.0, 7.0]]]])  # at the first position alone; at both alike
    context.eval()(features, regions)
    assert seen == [[[1.0, 2.0], [3.0, 3.0]]]


def test_the_first_segmentation_is_always_made_but_enlarged_for_the_loss_alone():
    torch.manual_seed(0)
    network = create(
        "ocrnet", num_classes=5, backbone="resnet18", width=0.25, channels=16, transform_channels=8, auxiliary=0.3
    )
    images, target = torch.randn(2, 3, 49, 33), torch.randint(0, 5, (2, 49, 33))
    output = network(images)
    terms = network.loss(output, target)
    assert terms["regions"].item() == pytest.approx(0.3 * network.criterion(output.regions, target).item())
    with torch.inference_mode():
        assert network.eval()(images).regions is None
        assert network.scores(images).regions.shape == (2, 5, 7, 5)
