"""The file of a classifier: what Keras makes of it, what we read back, and what is refused."""

import io
import json
import zipfile

import keras
import numpy as np
import pytest

from l3core.classifier import Classifier, ClassifierError, from_keras, to_keras
from l3core.crossval.mlps import initial_tensors

LABELS = ("dog", "<script>", "straße")
FACTS = {"fingerprint": "s0", "dataset": "esc10"}


@pytest.fixture
def classifier():
    generator = np.random.default_rng(0)
    return Classifier(
        labels=LABELS,
        mean=generator.normal(3, 1, 20),
        scale=generator.uniform(0.1, 9, 20),
        tensors=initial_tensors(20, 3, generator),
        facts=FACTS,
    )


def vectors(rows=50):
    return np.random.default_rng(1).normal(3, 4, (rows, 20)).astype(np.float32)


def test_keras_reads_the_file_and_computes_the_same(classifier, tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(to_keras(classifier))
    theirs = keras.saving.load_model(path)
    assert [layer.name for layer in theirs.layers] == ["standardise", "hidden_1", "hidden_2", "output"]
    np.testing.assert_allclose(
        classifier.probabilities(vectors()), theirs.predict(vectors(), verbose=0), atol=1e-5
    )


def test_what_is_written_is_read_back(classifier):
    again = from_keras(to_keras(classifier), name="model.keras")
    assert again.labels == LABELS
    assert again.facts["dataset"] == "esc10"
    for mine, other in zip(again.tensors, classifier.tensors):
        np.testing.assert_array_equal(mine, other)
    np.testing.assert_allclose(
        again.probabilities(vectors()), classifier.probabilities(vectors()), atol=1e-6
    )


def test_probabilities_of_many_windows_are_those_of_each(classifier):
    many = np.tile(vectors(), (5000, 1))  # several chunks
    found = classifier.probabilities(many)
    assert found.shape == (250_000, 3)
    np.testing.assert_allclose(found[-50:], classifier.probabilities(vectors()), atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert classifier.probabilities(vectors(0)).shape == (0, 3)


def changed(content, **members):
    """The archive with other members; None leaves one out."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            text = members.get(name.partition(".")[0], old.read(name))
            if text is not None:
                new.writestr(name, text)
    return target.getvalue()


def test_files_of_others_are_refused(classifier):
    good = to_keras(classifier)
    says = [
        {"labels": ["a", "b"], "size": 20},  # two labels, three outputs
        {"labels": list(LABELS), "size": 21},
        {"labels": list(LABELS), "size": -1},
        {"labels": list(LABELS), "size": 1e400},
        {"labels": list(LABELS), "size": True},
        {"labels": [], "size": 20},
        {"labels": ["a", "a", "b"], "size": 20},
        {"labels": "abc", "size": 20},
        {},
        [],
    ]
    for content in (
        b"",
        b"no archive",
        good[:-100],
        changed(good, l3flow=None),
        *(changed(good, l3flow=json.dumps(each)) for each in says),
        changed(good, model=b"no HDF5"),
    ):
        with pytest.raises(ClassifierError, match=r"x\.keras") as caught:
            from_keras(content, name="x.keras")
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 120
