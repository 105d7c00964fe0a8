"""Wilson's interval of an accuracy."""

import pytest

from l3core.training.chance import accuracy_interval, in_words


def test_it_is_wilsons():
    """Newcombe 1998, table I: 81 of 263 has the score interval 0.2553 to 0.3662."""
    assert accuracy_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_ends():
    """Newcombe 1998, table I: 0 of 20 and its mirror image."""
    assert accuracy_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert accuracy_interval(20, 20) == pytest.approx((0.8389, 1.0), abs=5e-5)
    with pytest.raises(ValueError, match="no pairs"):
        accuracy_interval(0, 0)


def test_words():
    assert in_words(81, 263) == "30.8 % (25.5 to 36.6)"
