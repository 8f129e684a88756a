"""Receptive fields: the recurrence against the published numbers, the tracing against gradients."""

from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from segue.field import Layer, effective_field, parse_layer, recurrence, trace
from segue.models import create

CONVOLUTION, POOL = Layer(3, padding=1), Layer(2, stride=2)


def sizes_and_jumps(layers):
    return [(int(field.size), int(field.jump)) for field in recurrence(layers)]


def vgg16(padding=1):
    """Up to pool5, as (layer, its name in the sheet or nothing)."""
    layers = []
    for stage, depth in enumerate((2, 2, 3, 3, 3), start=1):
        layers += [(CONVOLUTION, f"conv{stage}_{index}") for index in range(1, depth + 1)] + [(POOL, f"pool{stage}")]
    return [(Layer(3, padding=padding), "conv1_1"), *layers[1:]]


def named(pairs):
    layers, names = zip(*pairs, strict=True)
    return dict(zip(names, recurrence(layers), strict=True))


def test_the_recurrence_by_hand():
    first, second = recurrence([Layer(3, 2, 1), Layer(3, 2, 1)])
    assert (first.size, second.size) == (3, 7)
    assert (first.jump, second.jump) == (2, 4)


def test_an_even_kernel_is_centred_between_pixels():
    (field,) = recurrence([POOL])
    assert field.start == Fraction(1, 2)


def test_vgg16():
    fields = named([*vgg16(padding=100), (Layer(7), "fc6")])
    sizes = {
        name: (int(fields[name].size), int(fields[name].jump))
        for name in ("conv1_2", "pool1", "conv2_2", "pool2", "conv3_3", "pool3", "conv4_3", "pool4", "conv5_3", "pool5")
    }
    assert sizes == {
        "conv1_2": (5, 1), "pool1": (6, 2), "conv2_2": (14, 2), "pool2": (16, 4), "conv3_3": (40, 4),
        "pool3": (44, 8), "conv4_3": (92, 8), "pool4": (100, 16), "conv5_3": (196, 16), "pool5": (212, 32),
    }  # fmt: skip
    assert (fields["fc6"].size, fields["fc6"].jump) == (404, 32)  # FCN, Table 1
    assert [float(fields[name].start) for name in ("pool3", "pool4", "pool5", "fc6")] == [-95.5, -91.5, -83.5, 12.5]


def test_alexnet():
    pool = Layer(3, 2)
    layers = [Layer(11, 4, 100), pool, Layer(5, 1, 2), pool, CONVOLUTION, CONVOLUTION, CONVOLUTION, pool, Layer(6)]
    found = sizes_and_jumps(layers)
    assert found == [(11, 4), (19, 8), (51, 8), (67, 16), (99, 16), (131, 16), (163, 16), (195, 32), (355, 32)]
    assert recurrence(layers)[-1].start == 13


def test_googlenet():
    pool, inception = Layer(3, 2), Layer(5, padding=2)  # the branch that sees most
    layers = [
        Layer(7, 2, 3), pool, CONVOLUTION, pool, *[inception] * 2, pool, *[inception] * 5, pool, *[inception] * 2,
        Layer(7),
    ]  # fmt: skip
    found = sizes_and_jumps(layers)
    at = {"conv1": 0, "pool1": 1, "conv2": 2, "pool2": 3, "3b": 5, "pool3": 6, "4e": 11, "pool4": 12, "5b": 14}
    assert [found[place] for place in at.values()] == [
        (7, 2), (11, 4), (19, 4), (27, 8), (91, 8), (107, 16), (427, 16), (459, 32), (715, 32),
    ]  # fmt: skip
    assert found[-1] == (907, 32)  # FCN, Table 1


def test_large_field_of_view():
    overlapping, flat, dilated = Layer(3, 2, 1), Layer(3, 1, 1), Layer(3, 1, 2, 2)
    layers = []
    for depth, pool in zip((2, 2, 3), [overlapping] * 3, strict=True):
        layers += [CONVOLUTION] * depth + [pool]
    layers += [CONVOLUTION] * 3 + [flat] + [dilated] * 3 + [flat]
    v1 = sizes_and_jumps([*layers, flat, Layer(3, 1, 12, 12)])
    assert [v1[place] for place in (2, 5, 9, 13, 16, 17, 18, 19)] == [
        (7, 2), (19, 4), (51, 8), (115, 8), (211, 8), (227, 8), (243, 8), (435, 8),
    ]  # fmt: skip
    v2 = [sizes_and_jumps([*layers, Layer(3, 1, rate, rate)])[-1] for rate in (6, 12, 18, 24)]
    assert v2 == [(323, 8), (419, 8), (515, 8), (611, 8)]


@pytest.mark.parametrize(
    ("name", "options", "module", "size", "jump"),
    [
        ("fcn32s", {}, "backbone", 404, 32),
        ("fcn32s", {"backbone": "alexnet"}, "backbone", 355, 32),
        ("fcn32s", {"backbone": "googlenet"}, "backbone.body", 715, 32),
        ("deeplabv1", {}, "backbone.fc6", 435, 8),
        ("deeplabv2", {"backbone": "vgg16"}, "head", 611, 8),
        ("fcn", {"output_stride": 8}, "backbone", 427, 8),
        ("segnet", {}, "backbone", 212, 32),
        ("unet", {"valid": True}, "down.4", 140, 16),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("deeplabv2", {"backbone": "vgg16", "rates": (6,)}, "backbone", 323, 8),
                ("deeplabv2", {"rates": (6,)}, "head", 1123, 8),
                ("deeplabv2", {"rates": (12,)}, "head", 1219, 8),
                ("deeplabv2", {"rates": (18,)}, "head", 1315, 8),
                ("deeplabv2", {}, "head", 1411, 8),
                ("deeplabv2", {}, "backbone", 1027, 8),
                ("refinenet", {"caffe": True}, "backbone", 1027, 32),
                ("refinenet", {"caffe": True, "backbone": "resnet50"}, "backbone", 483, 32),
                ("refinenet", {}, "backbone", 971, 32),
                ("fcn", {"output_stride": 32}, "backbone", 427, 32),
                ("fcn", {"output_stride": 16}, "backbone", 427, 16),
                ("deeplabv3", {}, "backbone", 1259, 16),
                ("deeplabv3", {"backbone": "resnet50"}, "backbone", 715, 16),
            )
        ),
    ],
)
def test_networks_see_what_the_sheet_says(name, options, module, size, jump):
    with FakeTensorMode():
        network = create(name, 5, **options)
    step = trace(network, module=module)
    assert (step.rows.size, step.columns.size) == (size, size)
    assert (step.rows.jump, step.columns.jump) == (jump, jump)


def test_segnet_basic_sees_106_pixels_at_its_last_pooling():
    encoder = [layer for _ in range(4) for layer in (Layer(7, padding=3), POOL)]
    assert sizes_and_jumps(encoder)[-1] == (106, 16)
    with FakeTensorMode():
        network = create("segnet_basic", 5)
    last = next(step for step in trace(network).path() if step.name == "decoder.0.0")
    assert last.before.rows.size == 106


def test_fcns_crops_put_the_scores_back_on_their_pixels():
    for name in ("fcn32s", "fcn16s", "fcn8s"):
        with FakeTensorMode():
            network = create(name, 5)
        step = trace(network)
        assert (step.rows.jump, step.rows.start, step.columns.start) == (1, 0, 0)


def test_the_mirrored_border_of_the_valid_unet_is_cut_off_again():
    with FakeTensorMode():
        network = create("unet", 5, valid=True)
    assert (trace(network).rows.start, trace(network).rows.jump) == (0, 1)


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("danet", {}, "the map"),
        ("dfn", {}, "mean over the map"),
        ("deeplabv3", {}, "mean over the map"),
        ("pspnet", {}, "pooling to"),
        ("upernet", {}, "pooling to"),
        ("ocrnet", {}, "the map"),
        ("mcibi", {"context": "none"}, "attention over the map"),
    ],
)
def test_what_mixes_all_places_sees_the_whole_picture(name, options, why):
    with FakeTensorMode():
        network = create(name, 5, backbone="resnet18", **options)
    path = trace(network).path()
    assert not path[-1].bounded
    first = next(step for step in path if not step.bounded)
    assert why in first.what
    assert first.followed


def test_what_has_no_rule_is_said_to_be_a_guess():
    class Sorted(nn.Module):
        def forward(self, images):
            return (images.cumsum(dim=-1),)

    step = trace(Sorted())
    assert not step.bounded
    assert not step.followed


def test_a_window_on_channels_last_maps_is_followed():
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix, self.look = nn.Linear(3, 3), nn.Conv2d(3, 3, 5)

        def forward(self, images):
            return (self.look(self.mix(images.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)),)

    rows = trace(Turned()).rows
    assert (rows.size, rows.jump, rows.start) == (5, 1, 2)


def test_places_in_one_row_become_a_map_again():
    class Row(nn.Module):
        def forward(self, images):
            row = images.flatten(2)
            return ((torch.ones(2, 3) @ row).unflatten(2, images.shape[-2:]),)

    step = trace(Row())
    assert (step.rows.size, step.bounded) == (1, True)


def test_a_module_that_is_not_there_is_named():
    with FakeTensorMode():
        network = create("segnet_basic", 5)
    with pytest.raises(ValueError, match=r"no module 'decoder\.9'"):
        trace(network, module="decoder.9")


def test_tracing_leaves_the_network_as_it_was():
    network = create("segnet_basic", 5, width=0.125).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    trace(network)
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def positive(network):
    """A copy in which every place that can be seen is seen: positive weights, means instead of maxima, no ReLU."""
    network = network.double().eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            inputs = module.weight[0].numel()
            nn.init.constant_(module.weight, 1 / inputs)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)  # some start at zero
    for module in list(network.modules()):
        for child, layer in list(module.named_children()):
            if isinstance(layer, nn.MaxPool2d):
                mean = nn.AvgPool2d(layer.kernel_size, layer.stride, layer.padding, ceil_mode=layer.ceil_mode)
                setattr(module, child, mean)
    return network


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("deeplabv1", {"width": 1 / 32}),
        ("deeplabv2", {"width": 1 / 32, "backbone": "vgg16", "rates": (6, 12)}),
        ("fcn", {"backbone": "resnet18", "width": 1 / 8}),
        pytest.param("fcn32s", {"width": 1 / 32}, marks=pytest.mark.slow),
        pytest.param("fcn8s", {"width": 1 / 32}, marks=pytest.mark.slow),
    ],
)
def test_the_traced_field_is_the_one_that_gradients_show(name, options):
    torch.manual_seed(0)
    network = positive(create(name, 2, **options))
    side = 768
    images = torch.ones(1, 3, 16, side, dtype=torch.float64, requires_grad=True)
    scores = network(images).logits[0, :, 8].sum(dim=0)
    field = trace(network, side=side).columns
    reached = []
    for at in range(368, 400, 2):  # enlarged maps: pixels in a row see different numbers of cells
        (gradient,) = torch.autograd.grad(scores[at], images, retain_graph=True)
        columns = gradient.abs().sum(dim=(0, 1, 2)).nonzero()[:, 0]
        reached.append(int(columns.max() - columns.min()) + 1)
    assert max(reached) == field.size


def test_gradients_see_exactly_the_field_of_a_plain_path():
    path = nn.Sequential(nn.Conv2d(3, 2, 3, stride=2, padding=1), nn.Conv2d(2, 2, 3, padding=2, dilation=2)).double()
    for module in path:
        nn.init.ones_(module.weight)
    images = torch.ones(1, 3, 64, 64, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(path(images)[0, 0, 16, 16], images)
    rows = gradient.abs().sum(dim=(0, 1, 3)).nonzero()[:, 0].tolist()
    field = trace(path).rows
    assert (field.size, field.jump, field.start) == (11, 2, 0)
    assert (rows[0], rows[-1]) == (32 - 5, 32 + 5)


def test_the_effective_field_of_a_mean_is_even():
    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.pool = nn.AvgPool2d(5, stride=1, padding=2)

        def forward(self, images):
            from segue.models.segnet import SegNetOutput

            return SegNetOutput(self.pool(images))

    measured = effective_field(Mean(), torch.rand(1, 3, 21, 31), label=1)
    assert (measured.row, measured.column, measured.label) == (10, 15, 1)
    assert measured.share.sum() == pytest.approx(1)
    assert measured.share[10, 15] == pytest.approx(1 / 25)
    assert measured.side(1.0) == 5
    assert measured.side(9 / 25) == 3


def test_a_pixel_outside_is_refused():
    with pytest.raises(ValueError, match=r"\(40, 3\) is not in a picture of 31x21"):
        effective_field(create("segnet_basic", 2, width=0.125), torch.rand(1, 3, 21, 31), row=3, column=40)


@pytest.mark.parametrize("text", ["3", "3s2p1", "3p12d12", "t4s2", "7s2p3"])
def test_a_layer_is_written_as_it_is_read(text):
    assert str(parse_layer(text)) == text


@pytest.mark.parametrize("text", ["", "conv", "3x3", "s2", "0", "3s0"])
def test_what_is_no_layer_is_refused(text):
    with pytest.raises(ValueError, match=r"layer|1 or more"):
        parse_layer(text)


def test_units_after_two_enlargements_are_not_alike():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.once, self.again = (nn.ConvTranspose2d(3, 3, 4, stride=2) for _ in range(2))

        def forward(self, images):
            return (self.again(self.once(images)),)

    axis = trace(Twice(), side=32).rows
    widths = axis.last - axis.first + 1
    assert axis.size == 3  # where the recurrence would say 1 + 1 + 1/2
    assert set(widths[8:-8]) == {2.0, 3.0}


def test_a_transposed_convolution_undoes_the_centres_of_its_convolution():
    down, up = recurrence([Layer(4, 2, 1), Layer(4, 2, 1, transposed=True)])
    assert (up.jump, up.start) == (1, 0)
    assert up.size == down.size + down.jump


def test_fields_of_a_sequence_only_grow():
    fields = recurrence([Layer(3, 1, 1), POOL, Layer(5, 1, 2), Layer(2, 2, transposed=True)])
    assert all(before.size <= after.size for before, after in pairwise(fields))
