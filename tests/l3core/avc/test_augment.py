"""What is done to frames and sounds, on arrays worked out by hand."""

import colorsys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l3core.avc import augment

COLOURS = st.tuples(*[st.integers(0, 255)] * 3)


def image(*colours):
    return np.array([colours], np.uint8)


@pytest.mark.parametrize(
    ("width", "height", "resized"),
    [
        (256, 256, (256, 256)),
        (1920, 1080, (456, 256)),  # 455.1
        (1080, 1920, (256, 456)),
        (100, 50, (512, 256)),
        (3, 2, (384, 256)),
    ],
)
def test_the_smaller_side_becomes_256_and_the_other_is_rounded_up(width, height, resized):
    assert augment.size_of_resized(width, height) == resized


def test_boxes_reach_every_place_and_no_further():
    generator = np.random.default_rng(0)
    boxes = [augment.draw_box(generator, 226, 224) for _ in range(200)]
    assert set(boxes) == {(0, 0), (1, 0), (2, 0)}


def test_a_crop_is_224_from_its_corner():
    picture = np.zeros((256, 300, 3), np.uint8)
    picture[5, 40] = 9
    cropped = augment.crop(picture, (40, 5))
    assert cropped.shape == (224, 224, 3)
    assert cropped[0, 0, 0] == 9
    assert cropped.sum() == 27


def test_a_flip_is_to_the_side():
    assert augment.flip(image((1, 1, 1), (2, 2, 2))).tolist() == [[[2, 2, 2], [1, 1, 1]]]


def test_saturation_by_hand():
    # HSV of (1, .5, .75): value 1, saturation .5; doubled it is 1: the least becomes 0
    colour = np.array([[[1.0, 0.5, 0.75]]])
    assert augment.saturate(colour, 2.0)[0, 0].tolist() == [1.0, 0.0, 0.5]
    assert augment.saturate(colour, 0.5)[0, 0].tolist() == [1.0, 0.75, 0.875]
    assert augment.saturate(colour, 9.0)[0, 0].tolist() == [1.0, 0.0, 0.5]  # no more than all
    grey = np.full((1, 1, 3), 0.3)
    assert augment.saturate(grey, 1.5).tolist() == grey.tolist()


@given(colour=COLOURS, factor=st.floats(0, 2))
def test_saturation_is_that_of_hsv(colour, factor):
    hue, saturation, value = colorsys.rgb_to_hsv(*(part / 255 for part in colour))
    expected = colorsys.hsv_to_rgb(hue, min(1.0, saturation * factor), value)
    found = augment.saturate(np.array([[colour]]) / 255, factor)[0, 0]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_brightness_stays_in_range():
    assert augment.brighten(np.array([0.0, 0.5, 0.95]), 0.1).tolist() == [0.1, 0.6, 1.0]
    assert augment.brighten(np.array([0.05, 0.5]), -0.1).tolist() == [0.0, 0.4]


@pytest.mark.parametrize(
    ("colour", "first", "changed"),
    [
        # saturated (20, 0, 0), and 10 less of each
        ((20, 10, 10), True, (10, 0, 0)),
        ((60, 40, 40), True, (50, 10, 10)),
        # 10 less (50, 30, 30), and twice the difference
        ((60, 40, 40), False, (50, 10, 10)),
        # saturation 5/6 becomes 1, no more: (30, 0, 12), and 10 less
        ((30, 5, 15), True, (20, 0, 2)),
        # 10 less (20, 0, 5), whose saturation is 1 already
        ((30, 5, 15), False, (20, 0, 5)),
    ],
)
def test_saturation_and_brightness_in_either_order(colour, first, changed):
    found = augment.recolour(image(colour), saturation=2, brightness=-10 / 255, saturation_first=first)
    assert tuple(found[0, 0].tolist()) == changed


def test_no_change_is_no_change():
    colours = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    same = augment.recolour(colours, saturation=1.0, brightness=0.0, saturation_first=True)
    assert same.tolist() == colours.tolist()


@pytest.mark.parametrize(
    ("samples", "peak"), [([0, 5, -7], 7), ([-32768, 3], 32768), ([0], 0), ([32767], 32767)]
)
def test_the_peak_is_the_largest_magnitude(samples, peak):
    assert augment.peak_of(np.array(samples, np.int16)) == peak


@pytest.mark.parametrize(
    ("peak", "most"),
    [(0, 1.1), (100, 1.1), (29_789, 1.1), (32_000, 1.024), (32_767, 32_768 / 32_767), (32_768, 1.0)],
)
def test_gain_is_up_to_a_tenth_and_full_scale(peak, most):
    generator = np.random.default_rng(0)
    gains = [augment.draw_gain(generator, peak) for _ in range(2000)]
    assert 0.9 <= min(gains) < 0.901
    assert most - 0.001 < max(gains) <= most + 1e-4
    assert np.mean(gains) == pytest.approx((0.9 + most) / 2, abs=0.005)


def test_gain_cuts_towards_zero_and_never_wraps():
    audio = np.array([9, -9, 32767, -32768], np.int16)
    assert augment.amplify(audio, 1.05).tolist() == [9, -9, 32767, -32768]
    assert augment.amplify(audio, 0.95).tolist() == [8, -8, 31128, -31129]
    assert augment.amplify(audio, 1.0).tolist() == audio.tolist()


def test_samples_are_rounded_to_int16_and_clipped():
    samples = np.array([0, 0.5, -1, 1, 7, -7, 0.6 / 32768])
    found = augment.as_int16(samples)
    assert found.dtype == np.int16
    assert found.tolist() == [0, 16384, -32768, 32767, 32767, -32768, 1]
