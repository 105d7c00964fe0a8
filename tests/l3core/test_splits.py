"""Splits: no source on both sides, every class on both, the same for everybody."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from l3core.datasets import DATASETS, DatasetError, LabelledClip, read_dataset
from l3core.splits import Split, check_split, split_clips
from tests.dataset_trees import urbansound8k_rows
from tests.golden import shared_file

KNOT = [("c", "2"), ("b", "5"), ("d", "2"), ("d", "4"), ("c", "5"), ("b", "4"), ("d", "2")]
KNOT += [("a", "3"), ("a", "6")]


def clip(number, label, fold, source):
    return LabelledClip(f"/corpus/{number}.wav", label, fold, source)


def urbansound():
    return [clip(number, row[7], row[5], str(row[1])) for number, row in enumerate(urbansound8k_rows())]


def sources(clips, places):
    return {clips[place].source for place in places}


@pytest.mark.parametrize("test_fold", range(1, 6))
@pytest.mark.parametrize("seed", [0, 7])
def test_the_real_corpus(test_fold, seed):
    root = shared_file("data/esc10/meta/esc50.csv").parents[1]
    clips = read_dataset(DATASETS["esc10"], str(root)).clips
    split = split_clips(clips, test_fold=test_fold, seed=seed)
    assert sorted(np.concatenate(split)) == list(range(400))
    assert {clips[place].fold for place in split.test} == {test_fold}
    assert not sources(clips, split.train) & sources(clips, split.validation)
    per_class = Counter(clips[place].label for place in split.validation)
    # a tenth of 32; a source has up to eight clips
    assert len(per_class) == 10
    assert 25 <= len(split.validation) <= 45
    assert all(1 <= count <= 8 for count in per_class.values())


def test_urbansound_comes_near_a_tenth_of_each_class():
    clips = urbansound()
    split = split_clips(clips, test_fold=10, seed=0)
    rest = Counter(each.label for each in clips if each.fold != 10)
    validation = Counter(clips[place].label for place in split.validation)
    for label, count in rest.items():
        assert validation[label] / count == pytest.approx(0.1, abs=0.01)


def test_the_order_of_the_clips_does_not_matter_and_the_seed_does():
    clips = urbansound()[::7]
    split = split_clips(clips, test_fold=3, seed=1)
    backwards = clips[::-1]
    other = split_clips(backwards, test_fold=3, seed=1)
    for part, same in zip(split, other):
        assert {clips[place] for place in part} == {backwards[place] for place in same}
    again = split_clips(clips, test_fold=3, seed=2)
    assert again.validation.tolist() != split.validation.tolist()


def test_folds_draw_numbers_of_their_own():
    """The same clips are left to train and to validate with: only the test fold's number differs."""
    rest = [clip(i, "ab"[i % 2], 3, str(i)) for i in range(60)]
    first, second = (
        split_clips([*rest, clip(99, "a", fold, "test")], test_fold=fold, seed=0) for fold in (1, 2)
    )
    assert first.validation.tolist() != second.validation.tolist()


@st.composite
def corpora(draw):
    """Clips of up to four classes; sources may be of several classes and in several folds."""
    parts = st.tuples(st.sampled_from("abcd"), st.integers(1, 3), st.integers(0, 12))
    drawn = draw(st.lists(parts, min_size=4, max_size=60))
    return [clip(i, label, fold, str(source)) for i, (label, fold, source) in enumerate(drawn)]


@given(corpora(), st.integers(0, 3))
def test_any_corpus_is_split_without_a_leak_or_refused(clips, seed):
    try:
        split = split_clips(clips, test_fold=1, seed=seed)
    except DatasetError:
        return
    assert sorted(np.concatenate(split)) == list(range(len(clips)))
    assert not sources(clips, split.train) & sources(clips, split.validation)
    labels = {each.label for each in clips}
    assert {clips[place].label for place in split.train} == labels
    assert len(split.validation)


@given(st.integers(2, 9), st.integers(1, 5))
def test_a_class_of_few_large_sources_has_one_that_validates(count, size):
    assume(count * size > 2)
    clips = [clip(i, "few", 2, str(i // size)) for i in range(count * size)]
    clips += [clip(100 + i, "many", 1 + i % 2, f"m{i}") for i in range(40)]
    split = split_clips(clips, test_fold=1, seed=0)
    validating = {clips[place].source for place in split.validation if clips[place].label == "few"}
    assert len(validating) == 1


@pytest.mark.parametrize(
    ("clips", "said"),
    [
        ([clip(0, "a", 2, "s"), clip(1, "b", 2, "t")], "fold 1 has 0 of 2 clips"),
        ([clip(0, "a", 1, "s"), clip(1, "b", 1, "t")], "fold 1 has 2 of 2 clips"),
        ([clip(i, "a", 1 + i % 2, str(i)) for i in range(9)], "all clips are of the class a"),
        (
            [clip(i, "ab"[i % 2], 2, str(i)) for i in range(8)]
            + [clip(8, "c", 2, "only"), clip(9, "c", 2, "only"), clip(10, "a", 1, "test")],
            "class c has 1 sources outside of fold 1",
        ),
        (
            [clip(i, "ab"[i % 2], 2, str(i)) for i in range(8)] + [clip(8, "c", 1, "test")],
            "class c has 0 sources outside of fold 1",
        ),
        (  # sources of two classes, each the last that one of them has to train with
            [clip(i, label, 2, source) for i, (label, source) in enumerate(KNOT)]
            + [clip(9, "a", 1, "test")],
            "no source to validate with",
        ),
    ],
)
def test_what_cannot_be_split_is_refused(clips, said):
    with pytest.raises(DatasetError, match=said):
        split_clips(clips, test_fold=1, seed=0)


def test_a_planted_leak_is_refused():
    clips = [clip(i, "ab"[i % 2], 1 + i // 30, str(i // 2)) for i in range(60)]
    split = split_clips(clips, test_fold=1, seed=0)
    leaking = next(
        place for place in split.train if clips[place].source not in sources(clips, split.validation)
    )
    clips[leaking] = clips[leaking]._replace(source=clips[split.validation[0]].source)
    with pytest.raises(DatasetError, match="1 sources are in training and in validation"):
        check_split(clips, split)


def test_a_clip_in_two_parts_is_refused():
    clips = [clip(i, "ab"[i % 2], 1 + i // 30, str(i)) for i in range(60)]
    split = split_clips(clips, test_fold=1, seed=0)
    with pytest.raises(DatasetError, match="in two parts"):
        check_split(clips, Split(split.train, split.validation, np.append(split.test, split.train[0])))
