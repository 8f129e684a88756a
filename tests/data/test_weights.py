import numpy as np
import pytest

from segue.data.class_index import ClassIndex
from segue.data.weights import inverse_log_frequency, median_frequency


def test_median_frequency_weighs_by_the_pictures_that_hold_the_class():
    # 100 pixels of class 0 in pictures of 200 pixels, 50 of class 1 in 100, 10 of class 2 in 100: 0.5, 0.5, 0.1.
    index = ClassIndex(np.array([[50, 50, 0, 0], [50, 0, 10, 0], [0, 0, 0, 0]]))
    index.pixels[1, 0] += 40  # the second picture: 90 of class 0, 10 of class 2
    frequency = [140 / 200, 50 / 100, 10 / 100]
    assert median_frequency(index) == pytest.approx((0.5 / frequency[0], 1.0, 5.0, 0.0))


def test_inverse_log_frequency_is_enets():
    index = ClassIndex(np.array([[75, 0], [0, 25]]))
    common, rare = 1 / np.log(1.77), 1 / np.log(1.27)
    mean = (common + rare) / 2
    assert inverse_log_frequency(index) == pytest.approx((common / mean, rare / mean))
