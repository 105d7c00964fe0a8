"""Batches for the device, read and decoded ahead of need by tf.data and a thread that reads."""

import contextlib
import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from l3core.ahead import map_ahead
from l3core.avc.codecs import IMAGE_SIDE, SAMPLES, decode_audio
from l3core.avc.corpus import Corpus, RecordFile
from l3core.avc.records import parse, read_records
from l3core.errors import DamagedError
from l3core.training.order import JUDGING, TRAINING, Order, Visit, drawn_labels

READERS = 4  # files of a group that are read at the same time
OWN_LABEL = -1  # the one that is in the record
_ADVICE = (
    "; l3flow avc sample makes the same pairs again, and the training goes on with them, from the same "
    "videos with the same settings in a fresh folder (if one run had made them all)"
)
_FEATURES = {
    "audio": tf.io.FixedLenFeature([], tf.string),
    "image": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.int64),
}


class Batch(NamedTuple):
    """Pairs as they go to the device.

    Attributes:
        images: uint8 `(batch, 224, 224, 3)`.
        audio: int16 `(batch, 48000)`.
        labels: int64 `(batch,)`, 1 where they belong together.
        weights: float32 `(batch,)`, 0 for what only fills a last batch up.
    """

    images: Any
    audio: Any
    labels: Any
    weights: Any


class RawBatch(NamedTuple):
    """The same as it is read: records, their labels (or `OWN_LABEL`), weights and files."""

    records: list[bytes]
    labels: np.ndarray
    weights: np.ndarray
    files: list[str]


class _Read(NamedTuple):
    """A record, its label (or `OWN_LABEL`) and its file."""

    record: bytes
    label: int
    file: str


class Source:
    """Where the batches of a split come from.

    Args:
        corpus: of the pairs.
        split: of the corpus.
        batch_size: pairs of a batch.
        seed: of their order.
        limit: pairs that are given, at most, each once; None: without end.
        shuffle_labels: give labels that are drawn.

    Attributes:
        pairs: of the split, or as many of them as `limit` lets through.
    """

    def __init__(
        self,
        corpus: Corpus,
        split: str,
        *,
        batch_size: int,
        seed: int,
        limit: int | None = None,
        shuffle_labels: bool = False,
    ) -> None:
        self._corpus = corpus
        self._seed = seed
        self._shuffle_labels = shuffle_labels
        self._batch_size = batch_size
        self._order = Order(
            corpus.of_split(split),
            digest=corpus.digest,
            seed=seed,
            purpose=TRAINING if limit is None else JUDGING,
        )
        self._ends = limit is not None
        self.pairs = self._order.pairs if limit is None else min(limit, self._order.pairs)

    def raw_batches(self, step: int = 0) -> Iterator[RawBatch]:
        """Batches as they are read, from the one of a step (from 0) on."""
        # while one group is in use, the next is read
        start, end = step * self._batch_size, self.pairs if self._ends else None
        visits = map_ahead(self._read, self._order.visits(start, end), threads=1)
        with contextlib.closing(visits):
            pairs = chain.from_iterable(visits)
            rest = pairs if end is None else islice(pairs, end - start)
            while batch := list(islice(rest, self._batch_size)):
                yield _filled(batch, self._batch_size)

    def batches(self, step: int = 0) -> "Feed":
        """Batches for the device, from the one of a step (from 0) on."""
        return Feed(self.raw_batches, step, self._batch_size)

    def _read(self, visit: Visit) -> list[_Read]:
        found = list(chain.from_iterable(map_ahead(self._read_file, visit.files, threads=READERS)))
        return [found[place] for place in visit.order]

    def _read_file(self, file: RecordFile) -> list[_Read]:
        uri = self._corpus.uri(file)
        try:
            records = read_records(uri)
        except DamagedError as error:
            raise DamagedError(f"{error}{_ADVICE}") from None
        if len(records) != file.pairs:
            counts = f"has {len(records)} pairs, and the corpus says {file.pairs}"
            raise DamagedError(f"{uri} {counts}: it was replaced{_ADVICE}")
        labels = [OWN_LABEL] * len(records)
        if self._shuffle_labels:
            labels = drawn_labels(file, digest=self._corpus.digest, seed=self._seed).tolist()
        return [_Read(record, label, uri) for record, label in zip(records, labels)]


def _filled(batch: list[_Read], size: int) -> RawBatch:
    """A batch of full size, whose last pair is repeated with weight 0."""
    weights = (np.arange(size) < len(batch)).astype(np.float32)
    records, labels, files = zip(*batch, *batch[-1:] * (size - len(batch)))
    return RawBatch(list(records), np.array(labels), weights, list(files))


class Feed(Iterator[Batch]):
    """Batches one after the other, some of them made ahead.

    Args:
        raw_batches: gives them as they are read, from one on.
        step: the first one, from 0.
        batch_size: pairs of each.
    """

    def __init__(
        self, raw_batches: Callable[[int], Iterator[RawBatch]], step: int, batch_size: int
    ) -> None:
        self._raw_batches = raw_batches
        self._next = step
        self._problem: Exception | None = None
        with tf.device("/CPU:0"):
            dataset = tf.data.Dataset.from_generator(
                self._generate,
                output_signature=(
                    tf.TensorSpec([batch_size], tf.string),
                    tf.TensorSpec([batch_size], tf.int64),
                    tf.TensorSpec([batch_size], tf.float32),
                ),
            )
            dataset = dataset.map(
                partial(self._decode, batch_size),
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            )
            self._batches = iter(dataset.prefetch(2))

    def __next__(self) -> Batch:
        try:
            batch = Batch(*next(self._batches))
        except tf.errors.OpError as error:
            if self._problem is not None:  # TensorFlow has made a traceback of it
                raise self._problem from None
            raise self._undecoded(error) from None
        self._next += 1
        return batch

    def _undecoded(self, error: tf.errors.OpError) -> DamagedError:
        """Which file has what could not be decoded: TensorFlow does not know."""
        batch = next(self._raw_batches(self._next))
        for record, file in zip(batch.records, batch.files):
            if reason := _flaw(record):
                return DamagedError(f"{file} is damaged: {reason}{_ADVICE}")
        return DamagedError(f"a pair of the corpus cannot be decoded: {_first_line(error)}")

    def _generate(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        try:
            for batch in self._raw_batches(self._next):
                yield np.array(batch.records, dtype=object), batch.labels, batch.weights
        except Exception as error:
            self._problem = error
            raise

    def _decode(self, size: int, records: Any, labels: Any, weights: Any) -> tuple[Any, ...]:
        found = tf.io.parse_example(records, _FEATURES)
        images = tf.map_fn(_decode_image, found["image"], fn_output_signature=tf.uint8)
        images = tf.ensure_shape(images, (size, IMAGE_SIDE, IMAGE_SIDE, 3))
        audio = tf.numpy_function(_decode_all_audio, [found["audio"]], tf.int16, stateful=False)
        audio = tf.ensure_shape(audio, (size, SAMPLES))
        return images, audio, tf.where(labels == OWN_LABEL, found["label"], labels), weights


def _decode_all_audio(contents: np.ndarray) -> np.ndarray:
    return np.stack([decode_audio(content) for content in contents])


def _flaw(record: bytes) -> str | None:
    """Why a record cannot be decoded; None if it can."""
    try:
        pair = parse(record)
        decode_audio(pair.audio)
        size = tuple(_decode_image(pair.image).shape)
    except DamagedError as error:
        return str(error)
    except tf.errors.OpError as error:
        return f"a picture cannot be decoded: {_first_line(error)}"
    return None if size == (IMAGE_SIDE, IMAGE_SIDE, 3) else f"a picture has the shape {size}"


def _first_line(error: tf.errors.OpError) -> str:
    return re.sub(r"\{\{.*?\}\} ", "", str(error.message).splitlines()[0])  # which operation it was


def _decode_image(content: Any) -> Any:
    # the same numbers as every other decoder that does what the standard says
    return tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE")
