import torch

import parity
from segue.convert import load_reference


def test_numbers_are_the_references():
    fixture = parity.load("segnet_vgg16")
    network = load_reference(fixture.weights(), fixture.spec["source"], fixture.spec["args"]).double()
    with torch.inference_mode():
        fixture.check("logits", network(fixture.expected("image")[0].double()).logits, 1e-6)


def test_tensors_are_enough_to_recognise_it():
    fixture = parity.load("segnet_vgg16")
    assert load_reference(fixture.weights()).num_classes == fixture.num_classes
