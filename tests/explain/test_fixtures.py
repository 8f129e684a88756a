"""What is drawn of DANet and DFN is what the authors' code computes."""

import numpy as np
import pytest
import torch

from parity import load
from segue.convert import load_reference
from segue.explain import Point, Subject, attention_rows
from segue.explain.danet import cell_of, channel_maps
from segue.explain.taps import parts, watched
from segue.labels import Labels
from segue.models.danet import CAM, PAM
from segue.models.dfn import CAB


def subject_of(fixture):
    network = load_reference(fixture.weights(), fixture.spec["source"], fixture.spec["args"]).double()
    network.all_outputs = False
    images = fixture.image().double()  # the order of additions moves float32 by 1e-4
    height, width = images.shape[-2:]
    labels = Labels(tuple(f"class {index}" for index in range(fixture.num_classes)))
    return Subject(network, images[:1], np.zeros((height, width, 3), np.uint8), labels, (height, width))


@pytest.mark.slow
def test_attention_of_a_point_is_the_authors_row():
    fixture = load("danet_resnet50")  # 97 x 129 pixels, 13 x 17 cells; row 221 // 2 = 110 is cell (6, 8)
    subject = subject_of(fixture)
    point = Point(64, 48, "64,48")
    assert cell_of(point, (97, 129), (13, 17)) == 110
    subject.__dict__["points"] = [point]
    (_, block), *_ = parts(subject.network, PAM)
    fixture.check("pam_attention_row", attention_rows(subject, block)[0].flatten())


@pytest.mark.slow
def test_a_channels_row_and_maps_are_the_authors():
    fixture = load("danet_resnet50")
    subject = subject_of(fixture)
    (_, block), *_ = parts(subject.network, CAM)
    with torch.inference_mode(), watched(block) as calls:
        subject.network(subject.inputs)
        (features,) = calls[block][0].inputs
        fixture.check("cam_attention_row", block.attention(features, [5])[0, 0])
        gathered, attended = channel_maps(block, features)
        fixture.check("cam_features", attended[None])
        torch.testing.assert_close(block.beta * gathered + features[0], attended)


@pytest.mark.slow
def test_the_attention_vectors_are_the_authors_gates():
    fixture = load("dfn_resnet101")
    network = load_reference(fixture.weights(), fixture.spec["source"], fixture.spec["args"])
    blocks = [block for _, block in parts(network, CAB)]
    with torch.inference_mode(), watched(*blocks) as calls:
        network(fixture.image())
    for index, block in enumerate(blocks):
        fixture.check(f"gate{index}", calls[block][0].output[1])


def test_rows_of_the_authors_position_attention():
    fixture = load("danet_pam")
    state = fixture.weights()
    block = PAM(64, 8)
    block.load_state_dict(
        {name.replace("_conv", ""): tensor for name, tensor in state.items() if name != "gamma"}
        | {"alpha": state["gamma"].squeeze()}
    )

    class Around(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.pam = block

        def forward(self, images):
            return (self.pam(images),)

    features = fixture.image()[:1]
    labels = Labels(("a", "b"))
    subject = Subject(Around(), features, np.zeros((12, 15, 3), np.uint8), labels, (12, 15))
    subject.__dict__["points"] = [Point(place % 15, place // 15, "") for place in range(0, 180, 7)]
    fixture.check("attention", attention_rows(subject, block)[None].flatten(2))
