"""Border labels: the authors' own, OpenCV's on any picture, and what becomes of pixels without a label."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from parity import load
from segue.labels import IGNORE
from segue.models.borders import border_labels, canny, dilate, frame


def opencv(ids):
    """The authors' rule, with OpenCV: (B, H, W) uint8 -> the same, 1 on borders."""
    cv2 = pytest.importorskip("cv2", reason="OpenCV is a dependency of the tests alone")
    square = np.ones((7, 7), np.uint8)
    edges = [cv2.Canny(one, 5, 5, apertureSize=7) for one in ids.numpy()]
    return torch.from_numpy(np.stack([(cv2.dilate(one, square) > 0).astype(np.uint8) for one in edges]))


def blocks(shape, cell, classes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    batch, height, width = shape
    coarse = torch.randint(0, classes, (batch, -(-height // cell), -(-width // cell)), generator=generator)
    return coarse.repeat_interleave(cell, 1).repeat_interleave(cell, 2)[:, :height, :width]


def discs(shape, classes, seed=0):
    """Round classes on top of each other: edges in every direction."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: shape[1], : shape[2]]
    maps = np.zeros(shape, np.int64)
    for picture in maps:
        for _ in range(12):
            centre, radius = rng.uniform(0, shape[1:]), rng.uniform(2, 30)
            picture[np.hypot(rows - centre[0], columns - centre[1]) < radius] = rng.integers(classes)
    return torch.from_numpy(maps)


@pytest.mark.parametrize("name", ["dfn_border_label", "dfn_resnet101"])
def test_labels_are_exactly_the_authors(name):
    fixture = load(name)
    source, expected = (fixture.expected(key)[0] for key in ("border_source", "border_label"))
    assert (source == IGNORE).any()
    assert torch.equal(border_labels(source.long(), 7, void_borders=True).float(), expected)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 40), (1, 40, 1), (1, 3, 5), (2, 65, 47), (1, 300, 500)])
@pytest.mark.parametrize("classes", [2, 21, 52, 150, 255])
def test_labels_are_exactly_opencvs(shape, classes):
    noise = torch.randint(0, classes, shape, generator=torch.Generator().manual_seed(1))
    for target in (noise, blocks(shape, 16, classes), blocks(shape, 3, classes), discs(shape, classes)):
        assert torch.equal(border_labels(target, classes, void_borders=True), opencv(target.to(torch.uint8)))


def test_void_is_class_0_to_the_authors_rule():
    target = discs((3, 90, 121), 7)
    target[:, 20:50, 30:60] = IGNORE
    as_zero = target.masked_fill(target == IGNORE, 0)
    assert torch.equal(border_labels(target, 7, void_borders=True), opencv(as_zero.to(torch.uint8)))


def test_pieces_leave_no_seam():
    target = discs((1, 1100, 1200), 9)  # more than one piece of pixels
    assert torch.equal(border_labels(target, 9, void_borders=True), opencv(target.to(torch.uint8)))


def test_what_earlier_calls_left_in_memory_changes_nothing():
    large, wide, small = discs((2, 90, 121), 7), discs((1, 40, 300), 7, seed=1), discs((1, 31, 33), 7, seed=2)
    with torch.inference_mode():
        border_labels(discs((3, 100, 130), 150), 150)
    for target in (large, small, wide, small, large):
        for classes in (7, 150):
            assert torch.equal(border_labels(target, classes, void_borders=True), opencv(target.to(torch.uint8)))
    kept = border_labels(large, 7)
    before = kept.clone()
    border_labels(discs((2, 90, 121), 7, seed=3), 7)
    assert torch.equal(kept, before)


def test_threads_do_not_disturb_each_other():
    targets = [discs((1, 200, 220), 7, seed=seed) for seed in range(4)]
    expected = [border_labels(target, 7) for target in targets]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for labels, one in zip(pool.map(lambda target: border_labels(target, 7), targets), expected, strict=True):
                assert torch.equal(labels, one)


def test_a_compiled_loss_may_call_it():
    target = discs((2, 60, 70), 7)
    compiled = torch.compile(lambda target: border_labels(target, 7).float().mean(), backend="aot_eager")
    assert compiled(target) == border_labels(target, 7).float().mean()


def test_a_straight_border_is_seven_pixels_wide():
    target = torch.zeros(1, 20, 20, dtype=torch.int64)
    target[:, :, 10:] = 1
    columns = border_labels(target)[0].all(dim=0).nonzero().flatten().tolist()
    assert columns == [6, 7, 8, 9, 10, 11, 12]  # the last pixel before the change is column 9
    assert torch.equal(border_labels(target.mT)[0], border_labels(target)[0].mT)


def test_a_single_class_has_no_border():
    assert not border_labels(torch.full((2, 30, 40), 5)).any()


@pytest.mark.parametrize("classes", [2, 21, 150])
def test_padding_draws_no_border(classes):
    target = torch.full((1, 40, 60), classes - 1)
    target[:, 30:], target[:, :, 45:] = IGNORE, IGNORE
    labels = border_labels(target, classes)
    assert (labels[target == IGNORE] == IGNORE).all()
    assert not (labels == 1).any()
    assert (labels[:, :20, :35] == 0).all()  # far from the padding, nothing is left out
    assert (border_labels(target, classes, void_borders=True) == 1).any()


def test_a_border_far_from_void_is_the_same_with_and_without_it():
    target = torch.zeros(1, 60, 90, dtype=torch.int64)
    target[:, :, 20:] = 1
    target[:, 10:30, 60:80] = IGNORE
    labels = border_labels(target, 2)
    assert torch.equal(labels[..., :40], border_labels(target, 2, void_borders=True)[..., :40])
    assert not (labels[..., :40] == IGNORE).any()
    beside = labels[:, 5:35, 55:85]
    assert not (beside == 1).any()


def test_a_border_goes_on_up_to_void_and_not_along_it():
    target = torch.zeros(1, 60, 60, dtype=torch.int64)
    target[:, :, 30:] = 1
    target[:, :20] = IGNORE
    labels = border_labels(target, 2)[0]
    assert (labels[:20] == IGNORE).all()
    rows, columns = (labels == 1).nonzero(as_tuple=True)
    assert rows.min() == 20
    assert columns.unique().tolist() == [26, 27, 28, 29, 30, 31, 32]
    # To the authors, void is class 0, which class 1 borders on: a band to the right, where now nothing is said.
    assert (labels[20:23, 36:] == IGNORE).all()
    assert (border_labels(target, 2, void_borders=True)[0, 20:23, 36:] == 1).all()


def test_all_void_leaves_everything_out():
    assert (border_labels(torch.full((1, 12, 15), IGNORE), 7) == IGNORE).all()


def test_the_target_is_left_as_it_was():
    target = discs((1, 40, 50), 5)
    target[:, :5] = IGNORE
    for dtype in (torch.int64, torch.int32, torch.uint8):
        given = target.to(dtype)
        border_labels(given, 5)
        assert torch.equal(given, target.to(dtype))


def test_small_and_large_numbers_give_the_same_edges():
    ids = discs((1, 64, 80), 52).to(torch.uint8)
    framed = frame(ids, repeat=True)
    small = canny(framed, torch.int16).clone()
    assert torch.equal(small, canny(framed, torch.float32))


def test_a_mark_grows_to_a_square_of_seven_cut_at_the_rim():
    marks = torch.zeros(1, 12, 12, dtype=torch.uint8)
    marks[0, 5, 6], marks[0, 0, 0] = 1, 2
    grown = dilate(frame(marks))[0]
    assert ((grown & 1).nonzero() == (marks.new_ones(7, 7).nonzero() + torch.tensor([2, 3]))).all()
    assert ((grown & 2) > 0).nonzero().tolist() == [[y, x] for y in range(4) for x in range(4)]
