"""Whether one thing is better than another: Wilcoxon's signed-rank test on pairs that belong together.

Conventions: scores are accuracies, 0 to 1, by key; a key says all that two scores of a pair share (fold,
repeat, and whatever else is held equal). Differences are the first thing's score less the other's.

Zero differences are left out, as Wilcoxon did (1945), and counted; differences of equal size share their
mean rank. The distribution is exact for up to 50 pairs that differ without such ties, and, over all
signs, for up to 13 with ties; else it is the normal approximation with the correction for ties and none
for continuity. These are the rules of `scipy.stats.wilcoxon`'s `method="auto"` once zeros are gone.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from l3core.metrics import CONFIDENCE, RESAMPLES, Interval

ALPHA = 0.05
EXACT, EXACT_TIES, APPROXIMATE = "exact", "exact, all signs", "normal approximation"
MOST_EXACT, MOST_EXACT_TIES = 50, 13
# Accuracies are fractions of fewer clips than that; 0.8 - 0.7 and 0.7 - 0.6 are to be the same.
DECIMALS = 9

Key = Hashable


class Pairs(NamedTuple):
    """Scores of two things that belong together.

    Attributes:
        keys: of the pairs, sorted by their text.
        first, second: the scores, float64 `(pairs,)`.
        unpaired: keys that only one of the two has.
    """

    keys: tuple[Key, ...]
    first: np.ndarray
    second: np.ndarray
    unpaired: tuple[Key, ...]

    @property
    def differences(self) -> np.ndarray:
        """First less second, `(pairs,)`, rounded to `DECIMALS`."""
        return np.round(self.first - self.second, DECIMALS)


class SignedRank(NamedTuple):
    """What the test says of some pairs.

    Attributes:
        pairs: all of them.
        zeros: of those, how many are equal, and left out.
        ties: whether differences of equal size share a rank.
        plus, minus: sums of the ranks of positive and negative differences (R's V is `plus`).
        method: `EXACT`, `EXACT_TIES` or `APPROXIMATE`; None: refused.
        p: two-sided; None: refused.
        refused: why there is no p, in words.
        effect: matched-pairs rank-biserial correlation, -1 to 1 (Kerby 2014); None: all are equal.
        mean, median: of the differences; None: there are no pairs.
        interval: of the mean difference, 95 %; None: fewer than two pairs.
    """

    pairs: int
    zeros: int
    ties: bool
    plus: float
    minus: float
    method: str | None
    p: float | None
    refused: str | None
    effect: float | None
    mean: float | None
    median: float | None
    interval: Interval | None


# Of two things that share no key.
NO_PAIRS = SignedRank(
    pairs=0,
    zeros=0,
    ties=False,
    plus=0.0,
    minus=0.0,
    method=None,
    p=None,
    refused="no two trainings share fold, repeat and all other choices",
    effect=None,
    mean=None,
    median=None,
    interval=None,
)


def pair_scores(first: Mapping[Key, float], second: Mapping[Key, float]) -> Pairs:
    """Put the scores of two things side by side, by their keys and never by their order.

    Raises:
        ValueError: they have no key in common.
    """
    keys = tuple(sorted(first.keys() & second.keys(), key=str))
    if not keys:
        raise ValueError("needs scores of the same fold and repeat, got none")
    return Pairs(
        keys,
        np.array([first[key] for key in keys], np.float64),
        np.array([second[key] for key in keys], np.float64),
        tuple(sorted(first.keys() ^ second.keys(), key=str)),
    )


def least_p(pairs: int) -> float:
    """The least two-sided p that so many pairs can give: all of them on one side."""
    return min(1.0, 2.0 / 2**pairs)


def signed_rank(pairs: Pairs, *, seed: int = 0) -> SignedRank:
    """Wilcoxon's signed-rank test, two-sided, with how large the difference is.

    A test whose pairs could not give p < 0.05 whatever they were is refused: with fewer than six that
    differ its p says nothing.

    Args:
        pairs: see `pair_scores`.
        seed: of the bootstrap.
    """
    differences = pairs.differences
    unequal = differences[differences != 0]
    sizes, ranks, counts = _ranks(unequal)
    plus = float(ranks[unequal > 0].sum())
    minus = float(ranks[unequal < 0].sum())
    ties = bool((counts > 1).any())
    refused = _refusal(len(differences), len(unequal))
    method = None if refused else _method(len(sizes), ties)
    return SignedRank(
        pairs=len(differences),
        zeros=len(differences) - len(unequal),
        ties=ties,
        plus=plus,
        minus=minus,
        method=method,
        p=None if method is None else _p(unequal, method),
        refused=refused,
        effect=(plus - minus) / (plus + minus) if len(unequal) else None,
        mean=float(differences.mean()),
        median=float(np.median(differences)),
        interval=_interval(differences, seed) if len(differences) > 1 else None,
    )


def holm(values: Sequence[float | None]) -> list[float | None]:
    """P-values of a family corrected for their number (Holm 1979); None stays, and does not count.

    The k-th smallest of m is multiplied by m - k + 1, and none comes out smaller than one before it.
    """
    given = sorted((value, place) for place, value in enumerate(values) if value is not None)
    corrected: list[float | None] = [None] * len(values)
    largest = 0.0
    for number, (value, place) in enumerate(given):
        largest = max(largest, min(1.0, value * (len(given) - number)))
        corrected[place] = largest
    return corrected


def _refusal(pairs: int, unequal: int) -> str | None:
    if least_p(unequal) < ALPHA:
        return None
    if not unequal:
        return f"all {pairs} pairs are equal" if pairs > 1 else "the one pair is equal"
    some = f"{unequal} of {pairs} pairs differ" if unequal < pairs else f"{pairs} pairs"
    some = "one pair" if pairs == 1 else some
    return f"{some}: p could not be less than {least_p(unequal):.3g}, whatever they were"


def _method(unequal: int, ties: bool) -> str:
    if not ties and unequal <= MOST_EXACT:
        return EXACT
    return EXACT_TIES if ties and unequal <= MOST_EXACT_TIES else APPROXIMATE


def _p(unequal: np.ndarray, method: str) -> float:
    from scipy.stats import PermutationMethod, wilcoxon

    # with 2 ** 13 resamples at most the permutations are all signs, each once
    how = PermutationMethod() if method == EXACT_TIES else "auto"
    return float(wilcoxon(unequal, method=how).pvalue)


def _ranks(unequal: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(sizes, mean rank of each, how often each size is there)."""
    sizes = np.abs(unequal)
    _, place, counts = np.unique(sizes, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return sizes, (last - (counts - 1) / 2)[place], counts


def _interval(differences: np.ndarray, seed: int) -> Interval:
    """Percentile interval of the mean difference, by resampling pairs (Efron)."""
    from scipy.stats import bootstrap

    if (differences == differences[0]).all():
        return Interval(float(differences[0]), float(differences[0]))
    found = bootstrap(
        (differences,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(found.low), float(found.high))
