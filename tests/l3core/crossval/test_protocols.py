"""What each protocol trains on, validates with, and chooses by."""

import numpy as np
import pytest

from l3core.crossval.protocols import PROTOCOLS, Verdict, split_of
from l3core.datasets import DatasetError, LabelledClip
from l3core.splits import Split, check_split

CLEAN, PAPER = PROTOCOLS["clean"], PROTOCOLS["paper"]


def corpus(folds=3, classes=2, sources=4, takes=2, windows=5):
    """Clips, two of each source, and their windows."""
    clips = [
        LabelledClip(f"{fold}/{label}/{source}{take}", f"c{label}", fold, f"{fold}-{label}-{source}")
        for fold in range(1, folds + 1)
        for label in range(classes)
        for source in range(sources)
        for take in range(takes)
    ]
    labels = np.array([int(clip.label[1:]) for clip in clips])
    return clips, np.repeat(np.arange(len(clips)), windows), labels


def parts_of(protocol, test_fold=2, seed=0, repeat=1):
    clips, window_clips, labels = corpus()
    parts = protocol.parts(clips, window_clips, labels, test_fold=test_fold, seed=seed, repeat=repeat)
    return parts, clips, window_clips, labels


def test_clean_validates_with_other_sources():
    parts, clips, window_clips, _ = parts_of(CLEAN)
    train, validation, test = (
        {clips[clip].source for clip in part} for part in split_of(parts, window_clips)
    )
    assert not train & validation
    assert len(validation) == 2  # the least there can be of two classes
    assert {clips[clip].fold for clip in np.unique(window_clips[parts.test])} == {2}
    assert len(test) == 8
    np.testing.assert_array_equal(parts.scaled, parts.train)  # and nothing else is looked at
    everything = np.sort(np.concatenate(parts[:3]))
    np.testing.assert_array_equal(everything, np.arange(len(window_clips)))


def test_paper_validates_with_windows_of_the_training_clips():
    parts, clips, window_clips, labels = parts_of(PAPER)
    assert len(parts.validation) == round(0.15 * 160)  # of 32 clips of five windows
    train, validation, _ = split_of(parts, window_clips)
    assert set(train) & set(validation)  # the leak
    with pytest.raises(DatasetError, match="two parts"):
        check_split(clips, Split(train, validation, np.array([], int)))
    counts = np.bincount(labels[window_clips[parts.validation]])
    assert counts.tolist() == [12, 12]  # stratified
    np.testing.assert_array_equal(parts.scaled, np.sort(np.concatenate(parts[:2])))
    assert not set(parts.test) & set(parts.scaled)


def test_paper_draws_anew_for_each_repeat_and_clean_does_not():
    for protocol, same in ((PAPER, False), (CLEAN, True)):
        first, again, other = (parts_of(protocol, repeat=repeat)[0].validation for repeat in (1, 1, 2))
        np.testing.assert_array_equal(first, again)
        assert np.array_equal(first, other) == same
        assert not np.array_equal(first, parts_of(protocol, seed=1)[0].validation)


@pytest.mark.parametrize("protocol", [CLEAN, PAPER])
def test_a_class_that_is_only_in_the_tested_fold_is_refused(protocol):
    clips, window_clips, labels = corpus()
    alone = LabelledClip("x", "c2", 2, "x")
    clips, labels = [*clips, alone], np.append(labels, 2)
    window_clips = np.append(window_clips, len(clips) - 1)
    with pytest.raises(DatasetError, match="class c2 has"):
        protocol.parts(clips, window_clips, labels, test_fold=2, seed=0, repeat=1)


def test_batches_leave_an_epoch_its_steps():
    sizes = [CLEAN.batch_size(windows) for windows in (0, 400, 1095, 4396, 60_000, 240_000)]
    assert sizes == [32, 32, 64, 256, 256, 256]
    assert PAPER.batch_size(240_000) == 32


def test_repeats_are_the_papers():
    assert [PAPER.repeats(name) for name in ("urbansound8k", "esc50", "dcase2013")] == [2, 5, 1]
    assert CLEAN.repeats("esc50") == 1


@pytest.mark.parametrize("protocol", [CLEAN, PAPER])
def test_without_a_fold_to_test_everything_trains_or_validates(protocol):
    parts, _, window_clips, _ = parts_of(protocol, test_fold=None)
    assert len(parts.test) == 0
    assert len(parts.train) + len(parts.validation) == len(window_clips)


@pytest.mark.parametrize("protocol", [CLEAN, PAPER])
def test_a_fold_without_clips_is_refused(protocol):
    with pytest.raises(DatasetError, match="fold 9"):
        parts_of(protocol, test_fold=9)


# Two clips of two and one windows, two models; labels 0 and 1.
PROBABILITIES = np.array([[[0.9, 0.1], [0.3, 0.7], [0.2, 0.8]], [[0.2, 0.8], [0.4, 0.6], [0.6, 0.4]]])
OWNERS, LABELS = np.array([4, 4, 9]), np.array([0, 0, 1])


def test_clean_judges_clips():
    verdict = CLEAN.judge(PROBABILITIES, clips=OWNERS, labels=LABELS, penalties=np.array([1.0, 2.0]))
    # clip 4 has the mean 0.6 and 0.3 for class 0, clip 9 has 0.8 and 0.4 for class 1
    np.testing.assert_allclose(verdict.loss, [-np.log([0.6, 0.8]).mean(), -np.log([0.3, 0.4]).mean()])
    np.testing.assert_allclose(verdict.accuracy, [1.0, 0.0])


def test_paper_judges_windows_and_adds_the_penalty():
    verdict = PAPER.judge(PROBABILITIES, clips=OWNERS, labels=LABELS, penalties=np.array([1.0, 2.0]))
    np.testing.assert_allclose(
        verdict.loss,
        [-np.log([0.9, 0.3, 0.8]).mean() + 1, -np.log([0.2, 0.4, 0.4]).mean() + 2],
    )
    np.testing.assert_allclose(verdict.accuracy, [2 / 3, 0.0])


def test_ties_of_clean_go_to_the_lower_loss_then_to_the_first():
    accuracy = np.array([0.5, 0.7, 0.7, 0.7])
    assert CLEAN.best(Verdict(np.array([0.1, 0.9, 0.4, 0.4]), accuracy)) == 2


def test_ties_of_paper_go_to_the_first():
    accuracy = np.array([0.5, 0.7, 0.7, 0.7])
    assert PAPER.best(Verdict(np.array([0.1, 0.9, 0.4, 0.4]), accuracy)) == 1
