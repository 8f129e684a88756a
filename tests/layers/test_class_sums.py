"""Sums over classes without enlarging: by hand, and against the enlarged map."""

import pytest
import torch
import torch.nn.functional as F

from segue.labels import IGNORE
from segue.layers.class_sums import class_sums, neighbours


def enlarged_sums(features, target, num_classes, rows=None, align_corners=False):
    """The same in float64 by enlarging first, class by class."""
    enlarged = F.interpolate(features.double(), size=target.shape[-2:], mode="bilinear", align_corners=align_corners)
    sums = torch.zeros(num_classes, features.shape[1], dtype=torch.float64)
    weights, counts = sums[:, 0].clone(), sums[:, 0].clone()
    for label in range(num_classes):
        pixels = enlarged.permute(0, 2, 3, 1)[target == label]
        weight = torch.ones(len(pixels), dtype=torch.float64)
        if rows is not None and rows[label].any():
            weight -= F.cosine_similarity(pixels, rows[label].double().expand_as(pixels), dim=1)
        sums[label] = (weight[:, None] * pixels).sum(0)
        weights[label], counts[label] = weight.sum(), len(pixels)
    return sums, weights, counts


def test_two_cells_over_four_pixels():
    features = torch.tensor([[[[0.0, 1.0]]]])  # enlarged: 0, 1/4, 3/4, 1
    target = torch.tensor([[[0, 0, 1, IGNORE]]])
    found = class_sums(features, target, 3)
    assert found.sums.tolist() == [[0.25], [0.75], [0.0]]
    assert found.weights.tolist() == found.counts.tolist() == [2.0, 1.0, 0.0]


def test_a_pixel_weighs_what_it_is_unlike_its_classs_row():
    features = torch.tensor([[[[2.0, 0.0]], [[0.0, 3.0]]]])  # (2, 0) and (0, 3)
    rows = torch.tensor([[5.0, 0.0]])
    found = class_sums(features, torch.zeros(1, 1, 2, dtype=torch.int64), 1, rows)
    assert found.weights.tolist() == [1.0]  # 0 for the first pixel, 1 for the second
    assert found.sums.tolist() == [[0.0, 3.0]]


def test_pixels_outside_of_the_outer_centres_repeat_them():
    before, towards = neighbours(2, 8, torch.device("cpu"))
    assert before.tolist() == [0] * 8
    assert towards.tolist() == [0, 0, 1 / 8, 3 / 8, 5 / 8, 7 / 8, 1, 1]


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("cells", "pixels"),
    [((13, 17), (97, 129)), ((8, 8), (64, 64)), ((9, 7), (9, 7)), ((1, 1), (5, 3)), ((1, 4), (6, 3)), ((6, 5), (4, 2))],
)
def test_the_sums_are_those_of_the_enlarged_map(cells, pixels, weighted, align_corners):
    torch.manual_seed(0)
    features = torch.randn(2, 16, *cells).relu()
    target = torch.randint(0, 5, (2, *pixels))
    target[torch.rand(target.shape) < 0.1] = IGNORE
    rows = None
    if weighted:
        rows = torch.rand(5, 16)
        rows[1] = 0.0
    for found, expected in zip(
        class_sums(features, target, 5, rows, align_corners=align_corners),
        enlarged_sums(features, target, 5, rows, align_corners),
        strict=True,
    ):
        assert found.dtype == torch.float32
        error = torch.linalg.vector_norm(found - expected) / torch.linalg.vector_norm(expected)
        assert error < 5e-7


def test_aligned_corners_lie_on_the_outer_cells():
    before, towards = neighbours(3, 5, torch.device("cpu"), align_corners=True)
    assert before.tolist() == [0, 0, 1, 1, 1]
    assert towards.tolist() == [0, 1 / 2, 0, 1 / 2, 1]
    features = torch.tensor([[[[0.0, 3.0]]]])  # enlarged: 0, 1, 2, 3
    target = torch.tensor([[[0, 0, 1, IGNORE]]])
    assert class_sums(features, target, 2, align_corners=True).sums.flatten().tolist() == pytest.approx([1.0, 2.0])
