"""Signed-rank tests against what R publishes, what paper and pencil give, and every sign tried."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wilcoxon

from l3core.study.significance import (
    APPROXIMATE,
    EXACT,
    EXACT_TIES,
    Pairs,
    holm,
    least_p,
    pair_scores,
    signed_rank,
)

# R's help page of wilcox.test: depression scale factors at two visits, Hollander & Wolfe (1973), 29 f.
# https://stat.ethz.ch/R-manual/R-devel/library/stats/html/wilcox.test.html
FIRST_VISIT = (1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30)
SECOND_VISIT = (0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29)


def of(first, second):
    return pair_scores(dict(enumerate(first)), dict(enumerate(second)))


def differing(*differences):
    return of(differences, [0.0] * len(differences))


def every_sign(differences):
    """p of a two-sided test by trying all signs, and V."""
    sizes = np.abs(differences)
    ranks = np.array([np.mean(np.flatnonzero(np.sort(sizes) == size)) + 1 for size in sizes])
    seen = ranks[np.asarray(differences) > 0].sum()
    sums = np.array([ranks @ signs for signs in product((0, 1), repeat=len(ranks))])
    return min(1.0, 2 * min((sums <= seen + 1e-9).mean(), (sums >= seen - 1e-9).mean())), seen


def test_the_example_of_r():
    found = signed_rank(of(FIRST_VISIT, SECOND_VISIT))
    assert found.plus == 40  # V = 40
    assert found.p == pytest.approx(2 * 0.01953, abs=1e-5)  # one-sided p-value = 0.01953
    assert found.method == EXACT
    assert (found.pairs, found.zeros, found.ties) == (9, 0, False)
    # 9 * 10 / 2 = 45 ranks, of which 5 are negative: (40 - 5) / 45
    assert found.effect == pytest.approx(35 / 45)


def test_wilcoxons_own_plants():
    """Heights of Darwin's plants, as R's and SciPy's pages have them: W- = 24, p = 0.041."""
    # https://docs.scipy.org/doc/scipy/reference/generated/scipy.stats.wilcoxon.html
    found = signed_rank(differing(6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75))
    assert found.minus == 24
    assert found.p == pytest.approx(0.041259765625)


def test_ties_and_zeros_by_hand():
    # |d| without the zero: 1 1 2 3 3 3 4; ranks 1.5 1.5 3 5 5 5 7; the negative one has 1.5 of 28
    found = signed_rank(differing(1, -1, 2, 3, 0, 3, 3, 4))
    assert (found.pairs, found.zeros, found.ties) == (8, 1, True)
    assert (found.plus, found.minus) == (26.5, 1.5)
    assert found.method == EXACT_TIES
    # of 2^7 signs these have at most 1.5 on the negative side: none, and either of the two 1s
    assert found.p == pytest.approx(2 * 3 / 128)
    assert found.effect == pytest.approx(25 / 28)
    assert found.mean == pytest.approx(15 / 8)
    assert found.median == 2.5


def test_the_approximation_by_hand():
    # fourteen ones, one of them negative: rank 7.5 each, sums 97.5 and 7.5, mean 52.5
    # variance: 14 * 15 * 29 / 24 - (14^3 - 14) / 48 = 253.75 - 56.875 = 196.875
    found = signed_rank(differing(*[1] * 13, -1))
    assert found.method == APPROXIMATE
    # z = 45 / 14.0312 = 3.2071; twice the tail of the normal distribution
    assert found.p == pytest.approx(0.00134, abs=2e-5)
    assert (found.plus, found.minus) == (97.5, 7.5)


def test_more_than_fifty_are_approximated():
    many = np.random.default_rng(0).normal(0.3, 1, 51)
    assert signed_rank(differing(*many[:50])).method == EXACT
    assert signed_rank(differing(*many)).method == APPROXIMATE
    assert signed_rank(differing(*many)).p == wilcoxon(np.round(many, 9), method="asymptotic").pvalue


@settings(deadline=None, max_examples=20)  # a bootstrap each
@given(st.lists(st.integers(-5, 5).filter(bool), min_size=6, max_size=8))
def test_small_ones_are_exact(differences):
    found = signed_rank(differing(*differences))
    p, plus = every_sign(differences)
    assert found.p == pytest.approx(p)
    assert found.plus == pytest.approx(plus)
    assert found.plus + found.minus == len(differences) * (len(differences) + 1) / 2


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(-20, 20), min_size=2, max_size=30))
def test_the_other_way_round_is_the_same_with_other_signs(differences):
    here, there = (signed_rank(differing(*(sign * each for each in differences))) for sign in (1, -1))
    assert here.p == there.p
    assert here.refused == there.refused
    assert here.mean == -there.mean
    assert (here.plus, here.minus) == (there.minus, there.plus)
    if here.effect is not None:
        assert here.effect == -there.effect


def test_what_differs_by_a_rounding_error_only_is_equal():
    """0.8 - 0.7 is not 0.7 - 0.6 in binary, but both are 0.1."""
    found = signed_rank(
        of([0.8, 0.7, 0.3, 0.3, 0.2, 0.5, 0.1 + 0.2], [0.7, 0.6, 0.2, 0.4, 0.1, 0.4, 0.3])
    )
    assert (found.zeros, found.ties) == (1, True)
    assert (found.plus, found.minus) == (5 * 3.5, 3.5)


@pytest.mark.parametrize(
    ("differences", "words"),
    [
        ((3,), "one pair: p could not be less than 1, whatever they were"),  # DCASE, one training
        ((1, 2, 3, 4, 5), "5 pairs: p could not be less than 0.0625, whatever they were"),
        ((1, 2, 3, 4, 5, 0, 0), "5 of 7 pairs differ: p could not be less than 0.0625"),
        ((0, 0, 0), "all 3 pairs are equal"),
        ((0,), "the one pair is equal"),
    ],
)
def test_a_test_that_can_find_nothing_is_refused(differences, words):
    found = signed_rank(differing(*differences))
    assert found.refused.startswith(words)
    assert found.p is None
    assert found.method is None


def test_six_pairs_are_the_fewest():
    assert [least_p(pairs) for pairs in (1, 5, 6)] == [1, 0.0625, 0.03125]
    found = signed_rank(differing(1, 2, 3, 4, 5, 6))
    assert found.refused is None
    assert found.p == 0.03125
    assert found.effect == 1


def test_holm_by_hand():
    # sorted: 0.01 * 4 = 0.04, 0.02 * 3 = 0.06, 0.03 * 2 = 0.06, 0.04 * 1 = 0.04, but not below 0.06
    assert holm([0.04, None, 0.01, 0.03, 0.02]) == pytest.approx([0.06, None, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([None, 0.5]) == [None, 0.5]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_makes_nothing_smaller(values):
    found = holm(values)
    assert all(raw <= corrected <= min(1, raw * len(values)) for raw, corrected in zip(values, found))
    order = np.argsort(values, kind="stable")
    assert (np.diff(np.array(found)[order]) >= 0).all()


def test_the_interval_is_that_of_the_mean():
    generator = np.random.default_rng(1)
    differences = generator.normal(0.02, 0.01, 400)
    found = signed_rank(differing(*differences))
    # far from the ends of a normal sample the bootstrap gives mean +- 1.96 deviations of the mean
    half = 1.96 * differences.std() / np.sqrt(400)
    assert found.interval == pytest.approx((found.mean - half, found.mean + half), abs=1e-4)
    assert signed_rank(differing(*differences)).interval == found.interval
    assert signed_rank(differing(*differences), seed=2).interval != found.interval
    assert signed_rank(differing(1, 1, 1)).interval == (1, 1)
    assert signed_rank(differing(1)).interval is None


def test_what_one_lacks_is_told_and_not_paired():
    found = pair_scores({(1, 1): 0.5, (1, 2): 0.6}, {(1, 2): 0.4, (2, 1): 0.9})
    assert isinstance(found, Pairs)
    assert found.keys == ((1, 2),)
    assert found.differences == pytest.approx([0.2])
    assert found.unpaired == ((1, 1), (2, 1))
    with pytest.raises(ValueError, match="same fold and repeat, got none"):
        pair_scores({(1, 1): 0.5}, {(2, 1): 0.5})


# Made-up accuracies of two spectrograms, each trained on music and on environmental sound: five folds,
# one training each. Mel is better by one point in every fold and on either training. Folds differ by ten
# points, and training by twenty.
FOLDS = {1: 0.50, 2: 0.61, 3: 0.72, 4: 0.83, 5: 0.94}
CONTENT = {"music": 0.0, "env": -0.2}


def score(fold, content, *, mel):
    return FOLDS[fold] + CONTENT[content] + (0.01 + 0.001 * fold if mel else 0)


def test_pairing_by_row_mixes_music_with_env_and_by_key_does_not():
    """What the paper's script does: rows as they come from a spreadsheet, one list beside the other."""
    rows = [(fold, content) for fold in FOLDS for content in CONTENT]
    linear = {(fold, 1, content): score(fold, content, mel=False) for fold, content in rows}
    # the other list was filled by another dictionary: env comes first
    mel = {
        (fold, 1, content): score(fold, content, mel=True)
        for fold in FOLDS
        for content in reversed(CONTENT)
    }
    by_row = np.array(list(mel.values())) - np.array(list(linear.values()))
    assert wilcoxon(by_row).pvalue > 0.2  # no difference, between 0.19 worse and 0.21 better
    assert by_row.min() < -0.18
    assert by_row.max() > 0.2
    found = signed_rank(pair_scores(mel, linear))
    assert found.pairs == 10
    assert found.p == pytest.approx(2 / 2**10)  # all ten are better
    assert found.effect == 1
    assert 0.01 < found.interval.low < found.interval.high < 0.016


def test_pairing_by_row_can_find_what_is_not_there():
    """Two things that are the same, and a list that begins with another fold."""
    same = {(fold, repeat): 0.5 + 0.1 * fold + 0.002 * repeat for fold in range(4) for repeat in (1, 2)}
    rotated = dict(list(same.items())[2:] + list(same.items())[:2])
    rotated |= {key: value for key, value in same.items() if key not in rotated}
    by_row = np.array(list(same.values()))[:6] - np.array(list(rotated.values()))[:6]
    assert wilcoxon(by_row[:6]).pvalue < 0.05
    found = signed_rank(pair_scores(same, rotated))
    assert found.refused == "all 8 pairs are equal"
    assert found.mean == 0
