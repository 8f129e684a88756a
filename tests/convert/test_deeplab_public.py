import pytest
import torch
import torch.nn.functional as F

import parity
from segue.convert import load_reference
from segue.models.deeplabv1 import DeepLabV1


@pytest.mark.parametrize("name", ["deeplabv1_largefov_vgg16", "deeplabv1_largefov_vgg16_even"])
def test_coarse_scores_are_the_authors(name):
    fixture = parity.load(name)
    network = load_reference(fixture.weights(), fixture.spec["source"], fixture.spec["args"])
    assert type(network) is DeepLabV1
    images = fixture.image()
    with torch.inference_mode():
        output = network(images)
        fixture.check("logits", output.coarse, 1e-5)
        fixture.check("logits", network.scores(images).logits, 1e-5)
        coarse, shape, _ = fixture.expected("logits")
        size = tuple(8 * (side - 1) + 1 for side in shape[-2:])
        enlarged = F.interpolate(coarse, size=size, mode="bilinear", align_corners=True)
        height, width = images.shape[-2:]
        torch.testing.assert_close(output.logits, enlarged[..., :height, :width], rtol=1e-4, atol=1e-4)


def test_the_score_layer_may_be_named_after_another_data_set():
    state = parity.load("deeplabv1_largefov_vgg16").weights()
    for leaf in ("weight", "bias"):
        state[f"fc8_cityscapes.{leaf}"] = state.pop(f"fc8_voc12.{leaf}")
    assert load_reference(state).num_classes == 7
