import numpy as np
import pytest
from PIL import Image
from torchvision.transforms.v2 import functional as F

from segue.data.transforms import Augmentation, augment, crop_image, crop_target, distort_colours, distort_levels, pad
from segue.labels import IGNORE, Labels


def picture(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    small = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def mask(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(4)
    cells = rng.integers(0, 19, (height // 8 + 1, width // 8 + 1), dtype=np.uint8)
    return cells.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]


@pytest.mark.parametrize("scale", [0.5, 0.61, 1.0, 1.37, 1.4, 1.73, 2.0])
@pytest.mark.parametrize("size", [(256, 512), (233, 311)])
def test_cropping_first_equals_resizing_first(scale, size):
    image, classes = picture(*size), mask(*size)
    scaled = (round(size[0] * scale), round(size[1] * scale))
    crop = (100, 120)
    rng = np.random.default_rng(0)
    for _ in range(5):
        top, left = int(rng.integers(0, scaled[0] - crop[0] + 1)), int(rng.integers(0, scaled[1] - crop[1] + 1))
        whole = F.crop(F.resize(Image.fromarray(image), list(scaled)), top, left, *crop)
        difference = np.asarray(whole).astype(int) - crop_image(image, scaled, top, left, crop)
        assert np.abs(difference).max() <= 2
        nearest = F.resize(Image.fromarray(classes), list(scaled), interpolation=F.InterpolationMode.NEAREST)
        assert np.array_equal(F.crop(nearest, top, left, *crop), crop_target(classes, scaled, top, left, crop))


def test_nearest_neighbours_are_pillows_at_any_pair_of_sizes():
    rng = np.random.default_rng(0)
    for _ in range(300):
        length, new = int(rng.integers(1, 400)), int(rng.integers(1, 700))
        values = (np.arange(length) % 256).astype(np.uint8)[None].repeat(2, axis=0)
        expected = np.asarray(Image.fromarray(values).resize((new, 2), Image.Resampling.NEAREST))
        assert np.array_equal(crop_target(values, (2, new), 0, 0, (2, new)), expected)


def test_a_picture_smaller_than_the_crop_is_padded_with_ignored_pixels():
    how = Augmentation((64, 64), scale=(0.5, 0.5), mirror=False, photometric=0.0)
    pixels, classes = augment(picture(64, 96), np.ones((64, 96), dtype=np.uint8), np.random.default_rng(0), how)
    assert pixels.shape == (64, 64, 3)
    assert (classes[:32, :48] == 1).all()
    assert (classes[32:] == IGNORE).all()
    assert (classes[:, 48:] == IGNORE).all()
    assert (pixels[32:] == 128).all()


def test_a_crop_of_one_class_is_drawn_again():
    target = np.zeros((100, 400), dtype=np.uint8)
    target[:, 200:] = 1
    how = Augmentation((50, 100), scale=(1.0, 1.0), max_share=0.75)
    rng = np.random.default_rng(0)
    image = picture(100, 400)
    mixed = sum(len(np.unique(augment(image, target, rng, how)[1])) == 2 for _ in range(50))
    anyhow = Augmentation((50, 100), scale=(1.0, 1.0), max_share=1.0)
    plain = sum(len(np.unique(augment(image, target, rng, anyhow)[1])) == 2 for _ in range(50))
    assert mixed >= 45
    assert plain <= 35


def test_picture_and_mask_stay_together():
    target = mask(120, 160)
    grey = np.repeat(target[..., None] * 10, 3, axis=2)
    how = Augmentation((60, 80), scale=(1.0, 1.0), photometric=0.0)
    pixels, classes = augment(grey, target, np.random.default_rng(7), how)
    assert np.array_equal(pixels[..., 0], classes * 10)


def test_equal_random_numbers_give_equal_crops():
    how = Augmentation((60, 80))
    one, other = (augment(picture(120, 160), mask(120, 160), np.random.default_rng(5), how) for _ in range(2))
    assert np.array_equal(one[0], other[0])
    assert np.array_equal(one[1], other[1])


def test_colours_without_strength_stay_and_grey_keeps_its_hue():
    pixels = picture(20, 30)
    assert np.abs(distort_colours(pixels, np.random.default_rng(0), 0.0).astype(int) - pixels).max() <= 1
    grey = np.full((4, 4, 3), 100, dtype=np.uint8)
    for seed in range(20):
        changed = distort_colours(grey, np.random.default_rng(seed)).astype(int)
        assert np.ptp(changed, axis=2).max() <= 1  # saturation and hue leave grey alone


def test_padding_is_at_the_bottom_and_on_the_right():
    assert pad(np.ones((1, 2), dtype=np.uint8), (2, 3), 9).tolist() == [[1, 1, 9], [9, 9, 9]]


def test_a_mirrored_crop_exchanges_the_classes_that_have_sides():
    labels = Labels(classes=("left", "right"), mirror=(1, 0))
    target = np.array([[0, 0, 1]], dtype=np.uint8)
    image = np.repeat(target[:, :, None] * 100, 3, axis=2)
    how = Augmentation(crop=(1, 3), scale=(1.0, 1.0), photometric=0)
    seen = {tuple(map(bytes, augment(image, target, np.random.default_rng(seed), how, labels))) for seed in range(20)}
    plain = (bytes([0] * 6 + [100] * 3), bytes([0, 0, 1]))
    mirrored = (bytes([100] * 3 + [0] * 6), bytes([0, 1, 1]))
    assert seen == {plain, mirrored}


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 4, 7])
def test_pictures_of_any_depth_and_number_of_channels_are_augmented(kind, channels):
    rng = np.random.default_rng(0)
    deep = rng.integers(0, 255 if kind is np.uint8 else 4000, (60, 80, channels)).astype(kind)
    for seed in range(8):
        how = Augmentation((64, 64), photometric=1.0)
        pixels, classes = augment(deep, mask(60, 80), np.random.default_rng(seed), how)
        assert pixels.shape == (64, 64, channels)
        assert pixels.dtype == kind
        assert classes.shape == (64, 64)
        assert pixels.max() <= deep.max() * 1.9


def test_each_channel_is_scaled_as_pillow_scales_it_alone():
    deep = np.random.default_rng(0).integers(0, 60_000, (90, 70, 5)).astype(np.uint16)
    scaled = crop_image(deep, (45, 50), 0, 0, (45, 50))
    for channel in range(5):
        alone = Image.fromarray(deep[..., channel].astype(np.float32)).resize((50, 45), Image.Resampling.BILINEAR)
        assert np.abs(scaled[..., channel] - np.asarray(alone)).max() <= 0.51


def test_levels_change_by_factors_alone():
    deep = np.random.default_rng(0).integers(1000, 3000, (20, 20, 2)).astype(np.uint16)
    changed = [distort_levels(deep, np.random.default_rng(seed)) for seed in range(40)]
    gains = [one.mean() / deep.mean() for one in changed]
    assert min(gains) < 0.9
    assert max(gains) > 1.1
    assert any(np.array_equal(one, deep) for one in changed)  # a quarter of all stay as they are
    assert all(0.74 < gain < 1.26 for gain in gains)
