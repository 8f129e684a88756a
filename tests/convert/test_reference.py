"""What every converter shares: names, and complaints in the names of the caller's own file."""

import pytest
import torch

from segue.convert import SOURCES, ConversionError, load_reference, rename
from segue.convert.reference import Conversion, Source
from segue.models.segnet import SegNetBasic

RULES = [(r"block(\d)\.conv\.", r"encoder.\1.0."), (r"fc\.", None)]


def test_the_first_rule_that_matches_a_names_beginning_counts():
    tensors = {"block0.conv.weight": torch.ones(1), "a.block0.conv.bias": torch.ones(2), "fc.bias": torch.ones(3)}
    renamed, unused = rename(tensors, RULES)
    assert list(renamed) == ["encoder.0.0.weight", "a.block0.conv.bias"]
    assert renamed["encoder.0.0.weight"] is tensors["block0.conv.weight"]
    assert unused == ["fc.bias"]


def test_two_tensors_for_one_place_are_an_error_that_names_both():
    tensors = {"encoder.0.0.weight": torch.ones(1), "block0.conv.weight": torch.zeros(1)}
    with pytest.raises(ConversionError, match=r"encoder\.0\.0\.weight and block0\.conv\.weight are the same tensor"):
        rename(tensors, RULES)


def basic(state, args):
    renamed, unused = rename(state, [(r"their\.", "encoder."), (r"last\.", "classify.")])
    return Conversion(SegNetBasic(3, channels=4), renamed, unused)


def checkpoint():
    own = SegNetBasic(3, channels=4).state_dict()
    return {name.replace("encoder.", "their.").replace("classify.", "last."): tensor for name, tensor in own.items()}


SOURCE = Source(("someone/something",), "segnet_basic", lambda state: True, basic)


def test_what_fits_is_loaded_and_ready_to_compare():
    network = SOURCE.load(checkpoint(), {})
    assert network.all_outputs
    assert not network.training


def test_complaints_use_the_names_of_the_callers_file():
    state = checkpoint()
    state["their.9.0.weight"] = torch.zeros(1)
    state["last.weight"] = torch.zeros(2, 4, 1, 1)
    del state["their.0.0.bias"]
    with pytest.raises(ConversionError) as error:
        SOURCE.load(state, {})
    message = str(error.value)
    assert "1 tensors without a place: their.9.0.weight" in message
    assert "1 places without a tensor: encoder.0.0.bias" in message  # which has no name there
    assert "1 tensors of another shape: last.weight (2, 4, 1, 1) for (3, 4, 1, 1)" in message
    assert "\n" not in message


def test_the_rest_stays_as_it_was_unless_everything_has_to_fit():
    state = checkpoint()
    state["last.weight"] = torch.zeros(2, 4, 1, 1)
    state["their.0.0.bias"] = torch.full((4,), 7.0)
    network = SOURCE.load(state, {}, strict=False)
    assert (network.encoder[0][0].bias == 7).all()
    assert network.classify.weight.any()


def test_tensors_of_fewer_dimensions_are_an_error_in_a_line():
    state = {"down_path.0.block.0.weight": torch.zeros(3), "last.weight": torch.zeros(2, 3, 1, 1)}
    with pytest.raises(ConversionError, match=r"not a checkpoint of jvanvugt/pytorch-unet: .* fewer dimensions"):
        load_reference(state | {"last.bias": torch.zeros(2)})


ENCODER = {f"conv{index}.weight": (4, 3 if index == 1 else 4, 7, 7) for index in range(1, 5)}
DECODER = {f"conv_decode{index}.weight": (4, 4, 7, 7) for index in range(1, 5)}
BASIC = {**ENCODER, **DECODER, "conv_classifier.weight": (3, 4, 1, 1)}


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "model_state"])
@pytest.mark.parametrize("before", ["", "module.", "_orig_mod.module.", "model.", "module.model."])
def test_what_training_programs_wrap_around_the_tensors_is_left_out(key, before):
    state = {name: torch.randn(shape) for name, shape in BASIC.items()}
    wrapped = {key: {f"{before}{name}": tensor for name, tensor in state.items()}, "epoch": 3}
    network = load_reference(wrapped, "alexgkendall/SegNet-Tutorial", strict=False)
    assert torch.equal(network.classify.weight, state["conv_classifier.weight"])


def test_tensors_alone_under_another_name_are_found():
    state = {name: torch.randn(shape) for name, shape in BASIC.items()}
    wrapped = {"segmenter": state, "epoch": 3, "best": torch.ones(()).item(), "optimiser": {"state": {}, "groups": []}}
    network = load_reference(wrapped, strict=False)
    assert torch.equal(network.classify.weight, state["conv_classifier.weight"])
    with pytest.raises(ConversionError, match="no known source has tensors of these names"):
        load_reference({"segmenter": state, "discriminator": state})  # which of the two?


def test_an_argument_that_the_converter_trips_over_is_an_error_in_a_line():
    def trip(state, args):
        return basic(state, args["width"] + 1)

    source = Source(("someone/something",), "segnet_basic", lambda state: True, trip)
    with pytest.raises(ConversionError, match=r"something: cannot use the arguments width: .*str") as error:
        source.load(checkpoint(), {"width": "a"})
    assert "\n" not in str(error.value)


def test_an_unknown_source_lists_the_known_ones():
    with pytest.raises(ConversionError, match=r"no converter for 'nobody/nothing'; known: .*junfu1115/DANet"):
        load_reference(checkpoint(), "nobody/nothing")


def test_tensors_that_nobody_has_are_an_error_that_names_some():
    with pytest.raises(ConversionError, match=r"no known source has tensors of these names \(a\.b, \.\.\.\)"):
        load_reference({"a.b": torch.zeros(1)})


@pytest.mark.parametrize("name", sorted({name for source in SOURCES for name in source.names}))
def test_a_file_that_is_not_of_the_named_source_is_refused_in_a_line(name):
    assert not any(source.recognise({}) for source in SOURCES)
    with pytest.raises(
        ConversionError, match=r"none of its networks known here \(.*\) has tensors of these names"
    ) as error:
        load_reference({"a.b": torch.zeros(1)}, f"{name} something")
    assert "\n" not in str(error.value)
