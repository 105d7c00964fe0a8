"""Who trains, who validates, who is tested: splits of a labelled corpus without leaks.

A fold of the dataset is tested on, the others train. Of these a part is set aside to choose
hyper-parameters with, whole source recordings at a time: two clips that were cut from one recording are
nearly the same sound, and one of them in training would tell the answer for the other.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from l3core.datasets.base import DatasetError, LabelledClip

# Of the training clips of each class (Cramer et al. 2019, section 4.2).
VALIDATION_SHARE = 0.1


class Split(NamedTuple):
    """Clips by their part, as places in the sequence that was split, ascending.

    Attributes:
        train, validation, test: int64 arrays.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def split_clips(
    clips: Sequence[LabelledClip], *, test_fold: int | None, seed: int, share: float = VALIDATION_SHARE
) -> Split:
    """Split by fold and source, stratified by class.

    Of each class about `share` of the clips validate, at least one source, and at least one source
    trains. The same clips in any order, fold and seed give the same split.

    Args:
        clips: with labels, folds and sources.
        test_fold: the fold to test on; None: all clips train or validate.
        seed: of the whole cross-validation; each fold draws its own numbers from it.
        share: of a class's training clips that validate.

    Raises:
        DatasetError: no clips in the fold or outside of it, a class that has no clip to train with, or
            only one source outside of the fold.
    """
    test = [place for place, clip in enumerate(clips) if clip.fold == test_fold]
    rest = [place for place, clip in enumerate(clips) if clip.fold != test_fold]
    if (test_fold is not None and not test) or not rest:
        raise DatasetError(f"fold {test_fold} has {len(test)} of {len(clips)} clips: nothing to compare")
    _check_classes(clips, rest, test_fold)
    generator = np.random.default_rng([seed, test_fold or 0])
    chosen = _validation_sources([clips[place] for place in rest], generator, share)
    train = [place for place in rest if clips[place].source not in chosen]
    validation = [place for place in rest if clips[place].source in chosen]
    split = Split(*(np.asarray(part, np.int64) for part in (train, validation, test)))
    check_split(clips, split)
    return split


def check_split(clips: Sequence[LabelledClip], split: Split) -> None:
    """Refuse a split with a clip in two parts, or a source in training and in validation.

    Sources that the dataset's own folds share are no fault of a split; `shared_sources` reports them.

    Raises:
        DatasetError: with a clip or source.
    """
    counts = Counter(np.concatenate(split).tolist())
    if twice := [place for place, count in counts.items() if count > 1]:
        raise DatasetError(f"{clips[twice[0]].uri} is in two parts of a split")
    train = {clips[place].source for place in split.train}
    leaked = sorted(train & {clips[place].source for place in split.validation})
    if leaked:
        raise DatasetError(
            f"{len(leaked)} sources are in training and in validation, {leaked[0]} for example: "
            "the validation would know the answers"
        )


def _check_classes(clips: Sequence[LabelledClip], rest: Iterable[int], test_fold: int | None) -> None:
    sources: dict[str, set[str]] = {clip.label: set() for clip in clips}
    for place in rest:
        sources[clips[place].label].add(clips[place].source)
    if len(sources) < 2:
        raise DatasetError(f"all clips are of the class {next(iter(sources))}: there is nothing to tell")
    for label, found in sorted(sources.items()):
        if len(found) < 2:
            where = "" if test_fold is None else f" outside of fold {test_fold}"
            raise DatasetError(
                f"class {label} has {len(found)} sources{where}; "
                "one to train and one to validate with are needed"
            )


def _validation_sources(
    clips: Sequence[LabelledClip], generator: np.random.Generator, share: float
) -> set[str]:
    """Sources that validate: class by class, in random order, as near to the share as they come."""
    sizes: dict[str, Counter[str]] = {}
    for clip in clips:
        sizes.setdefault(clip.label, Counter())[clip.source] += 1
    chosen: set[str] = set()
    for label in sorted(sizes):
        wanted = share * sizes[label].total()
        # a source may be of several classes, and be chosen already
        taken = sum(size for source, size in sizes[label].items() if source in chosen)
        free = sorted(sizes[label].keys() - chosen)
        kept = _must_train(sizes, chosen)
        for source in (free[place] for place in generator.permutation(len(free))):
            size = sizes[label][source]
            if source in kept or abs(taken + size - wanted) >= abs(taken - wanted):
                continue
            chosen.add(source)
            taken += size
            kept = _must_train(sizes, chosen)
        if not taken:  # even the smallest source is far more than the share
            spare = [source for source in free if source not in kept]
            if not spare:
                raise DatasetError(
                    f"class {label} has no source to validate with that no other class needs to train"
                )
            chosen.add(min(spare, key=lambda source: sizes[label][source]))
    return chosen


def _must_train(sizes: dict[str, "Counter[str]"], chosen: set[str]) -> set[str]:
    """Sources that are the last of any class that is left to train with."""
    kept = set()
    for found in sizes.values():
        left = found.keys() - chosen
        if len(left) == 1:
            kept |= left
    return kept
