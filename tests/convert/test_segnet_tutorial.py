import torch

import parity
from segue.convert import load_reference
from segue.models.segnet import SegNet, SegNetBasic, unpool


def test_segnets_numbers_are_the_authors_at_odd_sizes():
    fixture = parity.load("segnet_vgg16_odd")
    network = load_reference(fixture.weights(), fixture.spec["source"], fixture.spec["args"]).double()
    assert type(network) is SegNet
    images = fixture.expected("image")[0].double()
    with torch.inference_mode():
        fixture.check("logits", network(images).logits, 1e-6)
        encoded = network.encode(images)
        fixture.check("pool5", encoded.maps[:, :32], 1e-6)
        first = unpool(encoded.maps, encoded.indices[-1], encoded.sizes[-1])
        fixture.check("pool5_D", first[:, :32], 1e-6)


def test_segnet_basics_numbers_are_the_authors():
    fixture = parity.load("segnet_basic")
    network = load_reference(fixture.weights(), fixture.spec["source"], fixture.spec["args"]).double()
    assert type(network) is SegNetBasic
    with torch.inference_mode():
        fixture.check("logits", network(fixture.expected("image")[0].double()).logits, 1e-6)


def test_tensors_are_enough_to_tell_the_two():
    assert type(load_reference(parity.load("segnet_basic").weights())) is SegNetBasic
    assert type(load_reference(parity.load("segnet_vgg16_odd").weights())) is SegNet
