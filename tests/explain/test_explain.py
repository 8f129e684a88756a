"""Looking inside, by hand where numbers are small, and on a small one of every network."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from segue.explain import EXPLAINERS, doubt, explain, explainers_of, grad_cam, occlusion, principal_colours, similarity
from segue.explain.changes import CHANGED, MENDED, change_legend, changed
from segue.explain.colouring import Scale, coloured, signed_scale, stretched
from segue.explain.deeplab import _rates
from segue.explain.drawing import CannotDraw
from segue.explain.mcibi import sample_places, tsne
from segue.explain.memory import factor_to_fit, peak_bytes
from segue.explain.segnet import places_in_windows
from segue.explain.sheet import Cell, Mark, Sheet, draw, number
from segue.explain.subject import Wishes, prepare
from segue.explain.taps import parts, scoring, watched
from segue.labels import IGNORE, Labels
from segue.model import Card, Model
from segue.models import create
from segue.models.deeplabv2 import SummedASPP
from segue.models.segnet import SegNetOutput, pool
from segue.pictures import MISS
from segue.prediction import Preprocessing

LABELS = Labels(("sky", "road", "tree"))
SMALL = {"backbone": "resnet18", "width": 0.25}
OWN = {
    "danet": (SMALL, {"position_attention", "channel_attention", "branches"}),
    "deeplabv1": ({"width": 1 / 16}, {"crf"}),
    "deeplabv2": (SMALL, {"aspp", "crf"}),
    "deeplabv3": ({**SMALL, "channels": 16}, {"aspp"}),
    "dfn": ({**SMALL, "channels": 16, "border_channels": 4}, {"gates", "borders", "stages"}),
    "dfn_narrow": (SMALL, {"gates", "borders", "stages"}),
    "fcn8s": ({"width": 1 / 16}, {"skips"}),
    "mcibi": (
        {"backbone": "resnet18c", "width": 0.25, "channels": 16, "transform_channels": 8, "context": "none"},
        {"memory", "class_weights", "memory_adds", "tsne"},
    ),
    "refinenet": ({**SMALL, "channels": 16}, {"cascade"}),
    "segnet_basic": ({"width": 1 / 8}, {"unpooling"}),
    "unet": ({"width": 1 / 16}, set()),
}
"""network -> (options of a small one, what can be seen of it besides what can be seen of any)."""
ANY = {one.name for one in EXPLAINERS if one.parts == (nn.Module,)}


def model_of(name, **options):
    torch.manual_seed(0)
    network = create(name, LABELS.num_classes, **options)
    for parameter in network.parameters():
        if (parameter == 0).all():
            nn.init.uniform_(parameter.data, 0.25, 0.5)
    for _, module in network.named_buffers():
        if module.ndim == 2 and not module.any():
            nn.init.uniform_(module)
    return Model(network, Card(name, options, LABELS, Preprocessing()))


def picture(height=48, width=64):
    draw = np.random.default_rng(0)
    image = draw.integers(0, 256, (height, width, 3), dtype=np.uint8)
    target = np.repeat(np.arange(3, dtype=np.uint8), width // 3 + 1)[None, :width].repeat(height, axis=0)
    target[:4] = IGNORE
    return image, target


@pytest.mark.parametrize("name", OWN)
def test_a_network_shows_what_it_has(name):
    options, own = OWN[name]
    assert {one.name for one in explainers_of(model_of(name, **options).network)} == ANY | own


@pytest.mark.parametrize("name", OWN)
def test_its_own_pictures_and_the_page_are_drawn(name, tmp_path):
    options, own = OWN[name]
    image, target = picture()
    only = sorted(own) or ["prediction"]
    made = explain(model_of(name, **options), image, label=target, points=[(10, 20), (50, 40)], only=only, out=tmp_path)
    assert set(made.pictures) == set(only)
    assert made.left_out == {}
    for path in made.pictures.values():
        with Image.open(path) as file:
            assert min(file.size) > 200
    assert made.page.read_text(encoding="utf-8").count("<img") == len(only)


def test_pictures_of_any_network(tmp_path):
    image, target = picture()
    made = explain(model_of("unet", width=1 / 16), image, label=target, only=sorted(ANY), out=tmp_path)
    assert set(made.pictures) == ANY


def test_a_picture_without_a_label_and_with_one_pixel_wide_points(tmp_path):
    image, _ = picture()
    made = explain(model_of("dfn", **OWN["dfn"][0]), image, points=[(0, 0), (63, 47)], only=["borders"], out=tmp_path)
    assert list(made.pictures) == ["borders"]


@pytest.mark.parametrize(
    ("wishes", "complaint"),
    [
        ({"only": ["gates"]}, "--only gates: this network has prediction"),
        ({"points": [(64, 0)]}, "--point 64,0: it is not in the picture, which is 64x48"),
        ({"classes": ["rode"]}, "there is no class 'rode'; the classes are sky, road, tree"),
        ({"layers": ["up.9"]}, "the network has no layer 'up.9'"),
        ({"label": np.zeros((5, 5), np.uint8)}, "the label is 5x5, the picture 64x48"),
    ],
)
def test_what_is_not_there_is_refused_and_nothing_is_left(wishes, complaint, tmp_path):
    with pytest.raises(ValueError, match=complaint):
        explain(model_of("unet", width=1 / 16), picture()[0], **{"out": tmp_path / "out", **wishes})
    assert not (tmp_path / "out").exists()


# Numbers


def test_doubt_by_hand():
    logits = torch.tensor([[[0.0]], [[0.0]], [[math.log(2.0)]]])  # probabilities 1/4, 1/4, 1/2
    found = {name: float(values[0, 0]) for name, values in doubt(logits).items()}
    entropy = (2 * 0.25 * math.log(4) + 0.5 * math.log(2)) / math.log(3)
    assert found == pytest.approx(
        {"softmax": math.log(2), "max_logit": -math.log(2), "entropy": entropy, "energy": -math.log(4)}
    )


def test_doubt_of_a_sure_pixel_has_no_ties():
    found = doubt(torch.tensor([[[40.0, 41.0]], [[0.0, 0.0]]]))["softmax"]
    assert found[0, 0] > found[0, 1] or np.allclose(found, 0)
    assert (found >= 0).all()


class Weighted(nn.Module):
    """Scores that are a 1x1 convolution of two channels, each a channel of the picture."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 2, 1, bias=False)
        self.classify = nn.Conv2d(2, 2, 1, bias=False)
        self.backbone = None
        self.num_classes = 2
        with torch.no_grad():
            self.features.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])[..., None, None])
            self.classify.weight.copy_(torch.tensor([[1.0, 0.0], [-1.0, 2.0]])[..., None, None])

    def forward(self, images):
        return SegNetOutput(self.classify(self.features(images)))


def test_grad_cam_by_hand():
    images = torch.tensor([[1.0, 2.0], [4.0, 1.0], [9.0, 9.0]])[None, :, None]  # red 1 2, green 4 1
    network = Weighted()
    every = torch.ones(1, 2, dtype=torch.bool)
    (activation,) = grad_cam(network, images, 1, every, ["features"])
    assert activation.flatten().tolist() == pytest.approx([1.0, 0.0])  # -1 + 8 = 7 and -2 + 2 = 0, over 7
    (taken,) = grad_cam(network, images, 1, every, [">classify"])
    assert torch.equal(taken, activation)
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_grad_cam_of_a_layer_that_does_not_matter_is_nothing():
    class Aside(Weighted):
        def __init__(self):
            super().__init__()
            self.aside = nn.Conv2d(3, 2, 1)

        def forward(self, images):
            self.aside(images)
            return super().forward(images)

    every = torch.ones(1, 2, dtype=torch.bool)
    assert grad_cam(Aside(), torch.rand(1, 3, 1, 2), 0, every, ["aside"]) == [None]


def test_grad_cam_of_several_layers_at_once_is_that_of_each():
    model = model_of("deeplabv3", **OWN["deeplabv3"][0])
    network = model.network.eval()
    images, mask = torch.rand(1, 3, 48, 64), torch.rand(48, 64) > 0.5
    layers = ["backbone", ">classify", "aspp.project"]
    together = grad_cam(network, images, 1, mask, layers)
    alone = [grad_cam(network, images, 1, mask, [layer])[0] for layer in layers]
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other)


def test_occlusion_finds_the_place_that_matters():
    class Corner(nn.Module):
        """A class everywhere on the right if the upper left pixels are bright."""

        def forward(self, images):
            evidence = images[:, :1, :4, :4].mean()
            scores = torch.zeros(1, 2, *images.shape[-2:])
            scores[:, 1] = evidence
            return SegNetOutput(scores)

    images = torch.zeros(1, 3, 16, 16)
    images[..., :4, :4] = 4
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[:, 12:] = True
    (drop,) = occlusion(Corner(), images, [mask], [1], step=4)
    full = 1 / (1 + math.exp(-4)) - 0.5
    assert drop.shape == (4, 4)
    assert drop[0, 0] == pytest.approx(full)  # all four patches on it cover the evidence
    assert drop[1, 1] == pytest.approx(full / 4)
    assert drop[3, 0] == 0


def test_principal_colours_of_two_halves_are_two_colours():
    maps = torch.zeros(5, 4, 6)
    maps[:, :, 3:] = torch.arange(5.0)[:, None, None]
    colours, held = principal_colours(maps)
    assert held == pytest.approx(1)
    assert len(np.unique(colours.reshape(-1, 3), axis=0)) == 2
    assert (colours[:, 3:, 0] == 255).all()  # the largest weight is positive


def test_principal_colours_of_a_single_channel_are_shades_of_red():
    colours, _ = principal_colours(torch.rand(1, 5, 7))
    assert colours.shape == (5, 7, 3)
    assert colours[..., 0].max() == 255
    assert not colours[..., 1:].any()


def test_similarity_of_rows_and_of_a_class_never_seen():
    found = similarity(torch.tensor([[3.0, 4.0], [4.0, 3.0], [0.0, 0.0]]))
    assert found[0, 1] == pytest.approx(24 / 25)
    assert found[0, 0] == pytest.approx(1)
    assert found[2].isnan().all()
    assert found[:, 2].isnan().all()


def test_places_in_windows():
    maps = torch.tensor([[9.0, 0, 0, 9], [0, 0, 0, 0], [0, 0, 0, 0], [9, 0, 0, 9]])[None, None]
    _, indices = pool(maps)
    assert places_in_windows(indices[0, 0], (4, 4)).tolist() == [[0, 1], [2, 3]]


def test_samples_are_even_over_classes_and_the_same_each_time():
    truth = np.zeros((40, 40), np.uint8)
    truth[:, 20:] = 1
    truth[:4] = IGNORE
    places, classes = sample_places(truth, (20, 20))
    assert (places, classes) == sample_places(truth, (20, 20))
    assert [classes.count(label) for label in (0, 1)] == [80, 80]
    assert all(
        truth[place // 20 * 2 + 1, place % 20 * 2 + 1] == label for place, label in zip(places, classes, strict=True)
    )


def test_tsne_is_the_same_each_time_and_refuses_a_handful():
    pytest.importorskip("sklearn")
    vectors = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    assert np.array_equal(tsne(vectors), tsne(vectors))
    with pytest.raises(CannotDraw, match="t-SNE of 3 places"):
        tsne(vectors[:3])


def test_the_rates_of_the_branches_are_read_from_them():
    network = create("deeplabv2", 3, **SMALL, rates=(2, 5))
    ((_, head),) = parts(network, SummedASPP)
    assert _rates(network, list(head.branches)) == [2, 5]
    vgg = create("deeplabv2", 3, width=1 / 16, backbone="vgg16", rates=(3, 7))
    assert _rates(vgg, [nn.Conv2d(4, 3, 1)]) == [3, 7]


def test_what_scores_the_classes_is_found():
    images = torch.empty(1, 3, 64, 64)
    fcn, unet = create("fcn8s", 3, width=1 / 16).eval(), create("unet", 7, width=1 / 16).eval()
    assert scoring(fcn, images) == ["score_fr", "score_pool4", "score_pool3"]
    assert scoring(unet, images) == ["classify"]  # out of four channels, fewer than there are classes


def test_the_first_blocks_of_the_cascade_are_the_networks_own_when_they_are_all():
    from segue.explain.refinenet import with_first_blocks

    model = model_of("refinenet", **OWN["refinenet"][0])
    subject = prepare(model, picture()[0])
    cascade = model.network.cascade
    every = with_first_blocks(subject, cascade, 4)
    assert np.array_equal(every.numpy(), subject.predicted)
    assert not torch.equal(with_first_blocks(subject, cascade, 1), every)


def test_memory_is_known_before_the_work_is_done():
    network = nn.Conv2d(3, 8, 1, bias=False)
    work = lambda net, images: net(images)  # noqa: E731
    assert peak_bytes(network, (3, 100, 200), work) == 8 * 100 * 200 * 4
    assert factor_to_fit(network, (3, 100, 200), work, room=8 * 100 * 200 * 4) == 1
    assert factor_to_fit(network, (3, 100, 200), work, room=8 * 50 * 100 * 4) == pytest.approx(0.49)


def test_memory_that_is_freed_counts_no_more():
    network = nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(6)))
    once = 3 * 64 * 64 * 4
    freed = peak_bytes(network, (3, 64, 64), torch.inference_mode()(lambda net, images: net(images).sum()))
    assert freed == pytest.approx(2 * once, abs=64)
    assert peak_bytes(network, (3, 64, 64), lambda net, images: net(images).sum()) == pytest.approx(6 * once, abs=64)


def test_a_picture_that_is_too_large_is_shrunk_and_it_is_said(monkeypatch):
    monkeypatch.setattr("segue.explain.subject.room_beside", lambda network, kept=0.0: 2**21)
    image, target = picture(192, 256)
    subject = prepare(model_of("unet", width=1 / 16), image, target, wishes=Wishes(points=[(255, 191)]))
    height, width = subject.pixels.shape[:2]
    assert (height, width) < (192, 256)
    assert subject.seen_at == f"The network sees the picture of 256x192 shrunk to {width}x{height}."
    assert subject.target.shape == subject.predicted.shape == (height, width)
    (point,) = subject.points
    assert point.x == 255 * width // 256


def test_watching_leaves_no_hooks():
    network = nn.Conv2d(3, 3, 1)
    with watched(network) as calls:
        network(torch.rand(1, 3, 2, 2))
    assert len(calls[network]) == 1
    assert not network._forward_hooks


# Drawing


def test_changes_for_the_better_and_for_the_worse_have_colours_of_their_own():
    subject = prepare(model_of("unet", width=1 / 16), picture()[0], np.zeros((48, 64), np.uint8))
    before, after = np.zeros((2, 48, 64), np.uint8)
    before[0, :2] = (1, 1)  # the label is 0 everywhere: one becomes right, one another wrong one
    after[0, :3] = (0, 2, 1)  # and the third becomes wrong
    cell = changed(subject, before, after, "")
    assert [tuple(colour) for colour in cell.picture[0, :3].tolist()] == [MENDED, CHANGED, MISS]
    assert {tuple(colour) for colour in cell.picture[1:].reshape(-1, 3).tolist()}.isdisjoint({MENDED, CHANGED, MISS})
    assert [colour for _, colour in change_legend(subject)] == [MENDED, MISS, CHANGED]


def test_changes_without_a_label_are_changes():
    subject = prepare(model_of("unet", width=1 / 16), picture()[0])
    before, after = np.zeros((2, 48, 64), np.uint8)
    after[0, 0] = 1
    assert tuple(changed(subject, before, after, "").picture[0, 0]) == CHANGED
    assert change_legend(subject) == (("changed", CHANGED),)


def test_cells_are_stretched_over_the_whole_picture():
    assert stretched(np.array([[1, 2], [3, 4]]), (4, 3)).tolist() == [[1, 2, 2], [1, 2, 2], [3, 4, 4], [3, 4, 4]]


def test_numbers_are_short():
    values = (0, 1, 0.25, -4, 0.0031, 0.00031, 12345, 427)
    assert [number(value) for value in values] == ["0", "1", "0.25", "-4", "0.0031", "0.00031", "1.2e4", "427"]


def test_a_long_note_is_wrapped_and_not_cut():
    plain = Cell(np.full((30, 40, 3), 7, np.uint8), "title", "note")
    long = Cell(np.full((30, 40, 3), 7, np.uint8), "title", "note " * 40)
    assert draw(Sheet("title", "text", [[long, plain]])).height > draw(Sheet("title", "text", [[plain, plain]])).height


def test_colours_of_a_scale_are_its_ends_and_zero_is_white_between_signs():
    ends = coloured(np.array([[-5.0, 0.0, 1.0, 7.0]]), Scale(0, 1, "gray"))
    assert ends[0].tolist() == [[0, 0, 0], [0, 0, 0], [255, 255, 255], [255, 255, 255]]
    scale = signed_scale(np.array([-1.0, 3.0]))
    assert (scale.low, scale.high) == (-3, 3)
    assert coloured(np.zeros((1, 1)), scale).min() > 240


def test_a_sheet_holds_its_cells_its_legend_and_long_names():
    cell = Cell(
        np.full((30, 40, 3), 7, np.uint8), "a title " * 20, "a note", Scale(0, 1), marks=[Mark(0.5, 0.5, "here")]
    )
    plain = draw(Sheet("title", "text " * 200, [[cell, cell], [cell]], ["one", "another " * 9]))
    legend = draw(
        Sheet("title", "text " * 200, [[cell, cell], [cell]], ["one", "another " * 9], labels=LABELS, classes=[0, 2])
    )
    assert legend.height == plain.height + 34
    assert legend.width == plain.width


def test_a_crf_that_is_too_large_is_computed_smaller_and_it_is_said(monkeypatch):
    from segue.explain.deeplab import crf

    image, target = picture(48, 64)
    subject = prepare(model_of("deeplabv1", width=1 / 16), image, target)
    assert "Computed at" not in crf(subject).sheet.text
    monkeypatch.setattr("segue.explain.deeplab.room_beside", lambda network, kept: 48 * 64 * 848 / 4)
    assert "Computed at 32x24, to fit into memory." in crf(subject).sheet.text
