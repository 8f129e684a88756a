import pytest
import torch
import torch.nn.functional as F

import parity
from segue.convert import ConversionError, load_reference


def test_coarse_scores_are_the_authors():
    fixture = parity.load("deeplabv2_aspp_vgg16")
    network = load_reference(fixture.weights(), fixture.spec["source"], fixture.spec["args"])
    images = fixture.image()
    with torch.inference_mode():
        output = network(images)
        fixture.check("logits", output.coarse, 1e-5)
        coarse, _, _ = fixture.expected("logits")
        enlarged = F.interpolate(coarse, size=images.shape[-2:], mode="bilinear", align_corners=True)
        torch.testing.assert_close(output.logits, enlarged, rtol=1e-4, atol=1e-4)


def test_rates_must_be_as_many_as_branches():
    state = parity.load("deeplabv2_aspp_vgg16").weights()
    with pytest.raises(ConversionError, match="4 branches of ASPP, but 2 rates"):
        load_reference(state, "talent518/deeplab-public-ver2", {"rates": [6, 12]})
    rates = load_reference(state, "talent518/deeplab-public-ver2", {"rates": [2, 4, 8, 12]}).backbone.fields
    assert [field.fc6.dilation[0] for field in rates] == [2, 4, 8, 12]
