import pytest
import torch

from segue.initialise import class_dimensions, initialise
from segue.models import create


def build(count: int):
    return create("unet", count, channels=(4, 8))


def test_dimensions_that_count_classes_are_found():
    assert class_dimensions(build, 4) == {"classify.weight": (0,), "classify.bias": (0,)}


def test_a_layer_as_wide_as_there_are_classes_is_not_taken_for_a_classifier():
    old, new = build(8), build(8)  # the second level has 8 channels, as many as there are classes
    names = [f"class {i}" for i in range(8)]
    outcome = initialise(
        new, old.state_dict(), dimensions=class_dimensions(build, 8), old_classes=names, new_classes=names[::-1]
    )
    assert outcome.by_class == ("classify.weight", "classify.bias")
    torch.testing.assert_close(new.classify.weight, old.classify.weight.flip(0))
    torch.testing.assert_close(new.down[1][0][0].weight, old.down[1][0][0].weight)


def test_rows_go_by_name_and_new_classes_start_anew():
    old, new = build(3), build(4)
    before = new.classify.weight.detach().clone()
    outcome = initialise(
        new,
        old.state_dict(),
        dimensions=class_dimensions(build, 4),
        old_classes=("sky", "Road", "car"),
        new_classes=("road", "tree", "sky", "bus"),
    )
    assert outcome.anew == ()
    torch.testing.assert_close(new.classify.weight[0], old.classify.weight[1])
    torch.testing.assert_close(new.classify.weight[2], old.classify.weight[0])
    torch.testing.assert_close(new.classify.weight[[1, 3]], before[[1, 3]])


def test_without_names_a_classifier_of_another_size_starts_anew():
    outcome = initialise(build(4), build(3).state_dict(), dimensions=class_dimensions(build, 4))
    assert outcome.anew == ("classify.weight", "classify.bias")
    assert "starting anew: classify.weight, classify.bias" in str(outcome)


def test_what_the_file_has_beyond_the_network_is_listed():
    state = {**build(3).state_dict(), "extra": torch.zeros(1)}
    assert initialise(build(3), state, dimensions={}).unused == ("extra",)


def test_weights_of_something_else_are_refused():
    with pytest.raises(ValueError, match="no tensor fits"):
        initialise(build(3), {"foreign": torch.zeros(1)}, dimensions={})
