"""`tensorflow_dataset`: specs, epochs, shares, and a network that fits."""

import numpy as np
import pytest
import tensorflow as tf

from l3core.feeds import tensorflow_dataset
from l3core.table.read import read_windows
from tests.corpus import PlainRun, upload
from tests.training import AWKWARD, make_table, rows_of

LABELS = {name: number for number, name in enumerate(AWKWARD)}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    table = make_table(tmp_path_factory.mktemp("tensorflow"))
    return table, rows_of(*read_windows(table))


def rows(dataset):
    names = ("clip_id", "window", "start_s", "silent")
    return [
        (row["clip_id"].decode(), *(row[name].item() for name in names[1:]), row["embedding"].tobytes())
        for row in dataset.as_numpy_iterator()
    ]


def test_rows_and_what_they_are(made):
    table, everything = made
    dataset = tensorflow_dataset(table, columns=["clip_id", "window", "start_s", "silent"])
    assert dataset.element_spec == {
        "clip_id": tf.TensorSpec([], tf.string),
        "window": tf.TensorSpec([], tf.int32),
        "start_s": tf.TensorSpec([], tf.float64),
        "silent": tf.TensorSpec([], tf.bool),
        "embedding": tf.TensorSpec([8], tf.float32),
    }
    assert sorted(rows(dataset)) == everything


def test_pairs_for_fit(made):
    dataset = tensorflow_dataset(made[0], labels=LABELS, batch_size=6)
    assert dataset.element_spec == (
        tf.TensorSpec([None, 8], tf.float32),
        tf.TensorSpec([None], tf.int64),
    )
    hot = tensorflow_dataset(made[0], labels=dict(zip(AWKWARD, np.eye(4))))
    assert hot.element_spec[1] == tf.TensorSpec([4], tf.float32)
    labelled = sum(row[0] in LABELS for row in made[1])
    assert (int(dataset.cardinality()), int(hot.cardinality())) == (-(-labelled // 6), labelled)
    network = tf.keras.Sequential([tf.keras.layers.Dense(4)])
    network.compile(loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = network.fit(dataset, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def test_each_epoch_has_its_order_and_the_seed_decides_it(made):
    table, everything = made
    columns = ["clip_id", "window", "start_s", "silent"]
    one, other = (tensorflow_dataset(table, columns=columns, seed=5, buffer_rows=20) for _ in range(2))
    epochs = [rows(one) for _ in range(3)]
    assert epochs == [rows(other) for _ in range(3)]
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert all(sorted(epoch) == everything for epoch in epochs)


def test_shares(made):
    table, everything = made
    columns = ["clip_id", "window", "start_s", "silent"]
    shares = [
        rows(tensorflow_dataset(table, columns=columns, seed=5, share=(number, 3)))
        for number in range(3)
    ]
    assert sorted(row for share in shares for row in share) == everything


def test_a_table_without_windows(tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/bad.wav").touch()
    PlainRun(tmp_path / "corpus", tmp_path / "table", "run-1").all()
    dataset = tensorflow_dataset(tmp_path / "table", seed=1)
    assert dataset.element_spec == {"embedding": tf.TensorSpec([8], tf.float32)}
    assert list(dataset) == []


def test_in_a_bucket(made, gcs):
    bucket = gcs.make_bucket("feeds")
    upload(made[0], f"{bucket}/table")
    columns = ["clip_id", "window", "start_s", "silent"]
    assert sorted(rows(tensorflow_dataset(f"{bucket}/table", columns=columns, seed=1))) == made[1]
