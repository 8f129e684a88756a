"""Windows, scales and mirror images against what an obvious loop over them says."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segue.crf import dense_crf
from segue.labels import Labels
from segue.model import Card, Model
from segue.models import create
from segue.options import CRFOptions, InferenceOptions
from segue.prediction import Averaged, Predictor, Preprocessing, Sharpened, TensorRows, crf_kernels
from segue.prediction import windows as windows_module
from segue.prediction.windows import windows_along

CLASSES = 3


class Toy:
    """A predictor whose probabilities depend on neighbours, on the side and on the window's rim."""

    device = torch.device("cpu")
    preprocessing = None

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.convolution = nn.Conv2d(3, CLASSES, 5, padding=2).double()
        self.batches: list[int] = []

    def probabilities(self, images: Tensor) -> Tensor:
        self.batches.append(len(images))
        with torch.no_grad():
            return self.convolution(images.double() / 64 - 2).softmax(dim=1)


def pictures(count: int, height: int, width: int) -> Tensor:
    return torch.randint(
        0, 256, (count, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


def obvious(toy: Toy, images: Tensor, options: InferenceOptions, swapped: tuple[int, ...] = ()) -> Tensor:
    """The same, said plainly: all of it in memory, sums divided by sums of weights."""
    height, width = images.shape[-2:]
    total = torch.zeros(len(images), CLASSES, height, width, dtype=torch.float64)
    for scale in options.scales:
        size = max(1, round(height * scale)), max(1, round(width * scale))
        scaled = F.interpolate(images.double(), size=size, mode="bilinear", antialias=True)
        window = options.window or (max(size),)
        h, w = min(window[0], size[0]), min(window[-1], size[1])
        weights = torch.ones(h, w, dtype=torch.float64)
        if options.blend == "gaussian":
            rows, columns = torch.meshgrid(torch.arange(h).double(), torch.arange(w).double(), indexing="ij")
            weights = torch.exp(-(((rows - (h - 1) / 2) / (h / 8)) ** 2 + ((columns - (w - 1) / 2) / (w / 8)) ** 2) / 2)
        sums, counts = torch.zeros(len(images), CLASSES, *size, dtype=torch.float64), torch.zeros(size).double()
        strides = [max(1, round(side * (1 - options.overlap))) for side in (h, w)]
        tops = sorted({min(top, size[0] - h) for top in range(0, size[0], strides[0])})
        lefts = sorted({min(left, size[1] - w) for left in range(0, size[1], strides[1])})
        for top, left in itertools.product(tops, lefts):
            place = (..., slice(top, top + h), slice(left, left + w))
            found = toy.probabilities(scaled[place])
            if options.mirror:
                mirrored = toy.probabilities(scaled[place].flip(-1)).flip(-1)
                found = (found + (mirrored[:, swapped] if swapped else mirrored)) / 2
            sums[place] += found * weights
            counts[place] += weights
        total += F.interpolate(sums / counts, size=(height, width), mode="bilinear", antialias=True)
    return total / len(options.scales)


CASES = [
    InferenceOptions(window=(16,)),
    InferenceOptions(window=(16,), overlap=0.0, blend="uniform"),
    InferenceOptions(window=(16,), overlap=0.9),
    InferenceOptions(window=(13, 21), overlap=0.37, batch=5),
    InferenceOptions(scales=(0.5, 1.0, 1.75)),
    InferenceOptions(mirror=True),
    InferenceOptions(window=(17,), scales=(0.73, 1.0, 1.31), mirror=True, blend="uniform", overlap=0.25),
    InferenceOptions(window=(500,), scales=(0.9,)),
]


@pytest.mark.parametrize("options", CASES, ids=InferenceOptions.described)
@pytest.mark.parametrize("size", [(37, 53), (16, 16), (9, 40), (1, 1)], ids=str)
def test_probabilities_are_those_of_an_obvious_loop(options, size):
    toy, images = Toy(), pictures(2, *size)
    found = Averaged(toy, options).probabilities(images)
    torch.testing.assert_close(found, obvious(toy, images, options), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(2, *size).double(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", CASES, ids=InferenceOptions.described)
def test_bands_of_rows_are_the_whole_to_the_last_bit(options):
    images = pictures(1, 61, 47)
    averaged = Averaged(Toy(), options)
    bands = [band.clone() for band in averaged.bands(TensorRows(images))]
    assert torch.equal(torch.cat(bands, dim=2), averaged.probabilities(images))


def test_bands_come_before_the_pictures_end_is_read():
    class Watched(TensorRows):
        lowest = 0

        def read(self, top: int, bottom: int) -> Tensor:
            self.lowest = max(self.lowest, bottom)
            return super().read(top, bottom)

    source = Watched(pictures(1, 200, 20))
    first = next(iter(Averaged(Toy(), InferenceOptions(window=(16,), scales=(0.5, 1.0, 2.0))).bands(source)))
    assert first.shape[2] <= 32
    assert source.lowest <= 60


@pytest.mark.parametrize("blend", ["gaussian", "uniform"])
@pytest.mark.parametrize("window", [(20, 31), (64,)])
def test_one_window_as_large_as_the_picture_is_the_whole_picture(blend, window):
    toy, images = Toy(), pictures(1, 20, 31)
    found = Averaged(toy, InferenceOptions(window=window, blend=blend)).probabilities(images)
    assert torch.equal(found, toy.probabilities(images))


def test_windows_go_through_the_network_together():
    toy = Toy()
    Averaged(toy, InferenceOptions(window=(16,), overlap=0, batch=3)).probabilities(pictures(2, 32, 32))
    assert toy.batches == [3, 1, 3, 1]  # two rows of windows, of two windows in each of two pictures


def test_windows_that_go_together_make_a_million_pixels_where_nothing_is_said(monkeypatch):
    monkeypatch.setattr(windows_module, "TOGETHER", 3 * 16 * 16 + 5)
    toy = Toy()
    Averaged(toy, InferenceOptions(window=(16,), overlap=0)).probabilities(pictures(1, 16, 64))
    Averaged(toy, InferenceOptions(window=(64,))).probabilities(pictures(2, 64, 64))
    assert toy.batches == [3, 1, 1, 1]


def test_classes_with_sides_are_swapped_back_in_the_mirror():
    toy, images, swapped = Toy(), pictures(1, 24, 24), (0, 2, 1)
    options = InferenceOptions(mirror=True)
    found = Averaged(toy, options, swapped).probabilities(images)
    torch.testing.assert_close(found, obvious(toy, images, options, swapped))
    back = Averaged(toy, options, swapped).probabilities(images.flip(-1)).flip(-1)[:, swapped]
    torch.testing.assert_close(found, back)  # the mirror image of the picture gets the mirror image of the result
    assert not torch.allclose(found, Averaged(toy, options).probabilities(images))


def test_the_class_is_chosen_after_sizes_are_restored():
    averaged = Averaged(Toy(), InferenceOptions(scales=(0.5, 1.5)))
    images = pictures(1, 30, 44)
    labels = averaged.labels(images)
    assert labels.shape == (1, 30, 44)
    assert torch.equal(labels, averaged.probabilities(images).argmax(dim=1))


@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5, 0.9, 0.999])
@pytest.mark.parametrize(("side", "length"), [(1, 1), (1, 8), (7, 3), (100, 16), (101, 100), (20, 20)])
@pytest.mark.parametrize("blend", ["gaussian", "uniform"])
def test_windows_cover_every_pixel_and_their_shares_add_up_to_one(side, length, overlap, blend):
    windows = windows_along(side, length, overlap, blend)
    total = torch.zeros(side)
    for start, share in zip(windows.starts, windows.shares, strict=True):
        total[start : start + windows.length] += share
    torch.testing.assert_close(total, torch.ones(side))
    assert windows.starts[0] == 0
    assert windows.starts[-1] + windows.length == side
    assert len(set(windows.starts)) == len(windows.starts)
    assert windows.shares.min() > 0


def test_scores_too_large_for_half_precision_stay_probabilities():
    class Certain(Toy):
        def probabilities(self, images: Tensor) -> Tensor:
            return (super().probabilities(images).log() * 1e30).float().softmax(dim=1)

    found = Averaged(Certain(), InferenceOptions(window=(8,), scales=(1.0, 0.5), mirror=True)).probabilities(
        pictures(1, 20, 20)
    )
    assert found.isfinite().all()
    torch.testing.assert_close(found.sum(dim=1), torch.ones(1, 20, 20))


def test_the_crf_sharpens_what_was_averaged():
    predictor = Predictor(create("unet", 3, channels=(4, 8)), Preprocessing(), precision="float32")
    averaged = Averaged(predictor, InferenceOptions(window=(16,), mirror=True))
    images, options = pictures(1, 24, 31), CRFOptions(gaussian_compat=0, iterations=2)
    found = Sharpened(averaged, options).probabilities(images)
    wanted = dense_crf(averaged.probabilities(images), images, *crf_kernels(options), 2)
    torch.testing.assert_close(found, wanted)


def test_a_model_knows_which_classes_have_sides():
    labels = Labels(("ground", "left arm", "right arm"), mirror=(0, 2, 1))
    model = Model(create("unet", 3, channels=(4, 8)), Card("unet", {}, labels, Preprocessing()))
    assert model.predictor(InferenceOptions(mirror=True)).mirror == (0, 2, 1)
    plain, mirrored = pictures(1, 20, 20), pictures(1, 20, 20).flip(-1)
    predictor = model.predictor(InferenceOptions(mirror=True))
    torch.testing.assert_close(
        predictor.probabilities(mirrored), predictor.probabilities(plain).flip(-1)[:, (0, 2, 1)], rtol=1e-2, atol=1e-2
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"window": (0,)}, "window 0"),
        ({"window": (4, 4, 4)}, "window 4 4 4"),
        ({"overlap": 1.0}, "below 1"),
        ({"overlap": -0.1}, "overlap -0.1"),
        ({"overlap": float("nan")}, "overlap nan"),
        ({"scales": ()}, "scales"),
        ({"scales": (1.0, 0.0)}, "above 0"),
        ({"scales": (float("nan"),)}, "above 0"),
        ({"blend": "linear"}, "gaussian or uniform"),
        ({"batch": -1}, "batch -1"),
    ],
)
def test_options_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        InferenceOptions(**wrong)
