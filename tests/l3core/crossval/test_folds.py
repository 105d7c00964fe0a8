"""One fold: what is tested on has no part in what is trained."""

import numpy as np
import pytest

from l3core.crossval.folds import train_fold
from l3core.crossval.plan import CrossvalPlan, Fold
from l3core.datasets import LabelledClip
from l3core.table.read import ClipVectors

WINDOWS = 3


def plan_of(protocol, labels):
    clips = tuple(
        LabelledClip(
            f"/x/{number}.wav", f"class {label}", number % 4 + 1, f"source {number // 8}-{label}"
        )
        for number, label in enumerate(labels)
    )
    return CrossvalPlan(
        dataset="esc50",
        classes=("class 0", "class 1", "class 2"),
        clips=clips,
        clip_ids=tuple(clip.uri for clip in clips),
        table="/table",
        fingerprint="s0",
        embedding={},
        content="",
        protocol=protocol,
        seed=0,
        batch_size=32,
        epochs=3,
    )


@pytest.fixture
def corpus():
    generator = np.random.default_rng(0)
    labels = np.arange(96) // 4 % 3
    vectors = generator.standard_normal((96 * WINDOWS, 6)).astype(np.float32)
    return labels, ClipVectors(vectors, np.repeat(np.arange(96), WINDOWS))


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other))


def scaling(result):
    return result.classifier.mean, result.classifier.scale


@pytest.mark.parametrize("protocol", ["clean", "paper"])
def test_neither_sounds_nor_labels_of_the_tested_fold_are_learnt(corpus, protocol):
    labels, features = corpus
    tested = np.arange(96) % 4 + 1 == 2
    result = train_fold(plan_of(protocol, labels), features, Fold(2, 1))
    assert result.clips.tolist() == np.flatnonzero(tested).tolist()
    other_vectors = features.vectors.copy()
    other_vectors[tested[features.clips]] *= -100
    other_labels = np.where(tested, (labels + 1) % 3, labels)
    other = train_fold(
        plan_of(protocol, other_labels), ClipVectors(other_vectors, features.clips), Fold(2, 1)
    )
    assert same(result.classifier.tensors, other.classifier.tensors)
    assert same(
        (result.classifier.mean, result.classifier.scale),
        (other.classifier.mean, other.classifier.scale),
    )
    assert [trial.epochs for trial in result.trials] == [trial.epochs for trial in other.trials]
    assert not np.array_equal(result.probabilities, other.probabilities)


def test_clean_neither_learns_nor_measures_what_validates(corpus):
    """But it chooses by it."""
    labels, features = corpus
    plan = plan_of("clean", labels)
    result = train_fold(plan, features, Fold(2, 1))
    vectors = features.vectors.copy()
    vectors[result.parts.validation] *= -100
    other = train_fold(plan, ClipVectors(vectors, features.clips), Fold(2, 1))
    assert same(
        (result.classifier.mean, result.classifier.scale),
        (other.classifier.mean, other.classifier.scale),
    )
    for one, two in zip(result.trials, other.trials):
        assert [each[:2] for each in one.epochs] == [each[:2] for each in two.epochs]  # of the training
        assert [each[2] for each in one.epochs] != [each[2] for each in two.epochs]


def test_paper_measures_what_validates(corpus):
    labels, features = corpus
    plan = plan_of("paper", labels)
    result = train_fold(plan, features, Fold(2, 1))
    rows = np.concatenate([result.parts.train, result.parts.validation])
    np.testing.assert_allclose(result.classifier.mean, features.vectors[rows].mean(axis=0), atol=1e-6)


def test_repeats_begin_with_other_weights(corpus):
    labels, features = corpus
    plan = plan_of("clean", labels)
    first, second = (train_fold(plan, features, Fold(2, repeat)) for repeat in (1, 2))
    assert not same(first.trials[0].tensors, second.trials[0].tensors)
    assert len({trial.tensors[0].tobytes() for trial in first.trials}) == 9


def test_the_final_model_learns_from_all(corpus):
    labels, features = corpus
    result = train_fold(plan_of("clean", labels), features, Fold(None, 1))
    assert len(result.clips) == len(result.probabilities) == 0
    learnt = np.concatenate([result.parts.train, result.parts.validation])
    np.testing.assert_array_equal(np.sort(learnt), np.arange(96 * WINDOWS))
