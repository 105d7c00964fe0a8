"""Labelling new audio: recordings in, the labels of their windows out, or what is wrong with them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from typing import NamedTuple

import numpy as np

from l3core import storage
from l3core.ahead import IO_CONCURRENCY
from l3core.audio import AudioInfo, Recording
from l3core.classifier import Classifier, ClassifierError
from l3core.embedding import Embedder
from l3core.errors import AudioError, UsageError, WeightsError
from l3core.pinned import open_pinned
from l3core.prefetch import prefetch
from l3core.segments import Segment
from l3core.spec import EmbeddingSpec
from l3core.storage import StoredObject
from l3core.stores import is_remote
from l3core.turns import Turns
from l3core.urls import is_web
from l3core.weights import load_weights

RECORDINGS_AHEAD = 8
SEGMENTS_AHEAD = 4


class LabelledRecording(NamedTuple):
    """What a classifier says of a recording.

    Attributes:
        uri: of the object.
        status: as in a table's ledger; windows before a cut are labelled.
        error: for people, if the status is not `ok`.
        start_s: of each window, float64 `(windows,)`.
        probabilities: of the labels, float32 `(windows, labels)`.
    """

    uri: str
    status: str
    error: str | None
    start_s: np.ndarray
    probabilities: np.ndarray


def embedder_of(classifier: Classifier, *, name: str) -> Embedder:
    """The embedder whose embeddings a classifier was trained on.

    Its weights are those that the spec names or, if they are others now, the copy in the table.

    Args:
        classifier: from a file.
        name: of the file, for errors.

    Raises:
        ClassifierError: there is no such embedding any more.
    """
    facts = classifier.facts
    try:
        embedding, fingerprint = facts["embedding"], facts["fingerprint"]
        spec, copy = EmbeddingSpec(**embedding["spec"]), embedding["weights"]
    except (KeyError, TypeError, UsageError) as error:
        raise ClassifierError(f"{name} does not say what it was trained on: {error}") from None
    for candidate in (spec, replace(spec, weights=copy)):
        if is_web(candidate.weights):  # somebody's file shall not make this machine ask a server
            continue
        try:
            weights = load_weights(candidate)
        except WeightsError:
            continue
        if spec.fingerprint(weights.digest) == fingerprint and spec.size == len(classifier.mean):
            return Embedder(spec, weights=weights)
    raise ClassifierError(
        f"{name} was trained on embeddings {fingerprint}, and their weights are neither {spec.weights} "
        f"nor {copy}"
    )


class _Work:
    """A recording on its way through the model."""

    def __init__(self, listed: StoredObject) -> None:
        self.listed = listed
        self.info: AudioInfo | None = None
        self.error: AudioError | None = None
        self.probabilities: list[np.ndarray] = []


def label_recordings(
    found: Iterable[StoredObject],
    embedder: Embedder,
    classifier: Classifier,
) -> Iterator[LabelledRecording]:
    """Label recordings, in order; one that cannot be read has its status and no windows.

    Args:
        found: objects as listed.
        embedder: see `embedder_of`.
        classifier: to apply.
    """
    waiting: list[_Work] = []
    turns = Turns(1)
    found = iter(found)
    first = list(islice(found, 1))
    readers = IO_CONCURRENCY if first and is_remote(first[0].uri) else 1

    def sources() -> Iterator[Callable[[], Iterator[tuple[_Work, Segment]]]]:
        for listed in chain(first, found):
            waiting.append(_Work(listed))
            yield partial(_segments, waiting[-1], embedder, turns)

    ahead = prefetch(
        sources(),
        threads=readers,
        sources_ahead=max(RECORDINGS_AHEAD, readers),
        items_ahead=SEGMENTS_AHEAD,
    )
    with closing(ahead) as segments:
        for work, vectors, _ in embedder.embed_segments(segments):
            while waiting[0] is not work:  # all before it have been through
                yield _labelled(waiting.pop(0), embedder, classifier)
            work.probabilities.append(classifier.probabilities(vectors))
    for work in waiting:
        yield _labelled(work, embedder, classifier)


def _segments(work: _Work, embedder: Embedder, turns: Turns) -> Iterator[tuple[_Work, Segment]]:
    segments = _read_segments(work, embedder, turns)
    while True:
        try:
            with turns.turn():
                segment = next(segments, None)
        except AudioError as error:
            work.error = error
            return
        if segment is None:
            return
        yield work, segment


def _read_segments(work: _Work, embedder: Embedder, turns: Turns) -> Iterator[Segment]:
    with ExitStack() as stack:
        file = stack.enter_context(open_pinned(work.listed, turns.lend))
        recording = stack.enter_context(Recording(file))
        work.info = recording.info
        yield from embedder.segments(recording)


def _labelled(work: _Work, embedder: Embedder, classifier: Classifier) -> LabelledRecording:
    none = np.empty((0, len(classifier.labels)), np.float32)
    kept = work.error is None or work.error.status == "truncated"
    probabilities = np.concatenate([none, *(work.probabilities if kept else ())])
    start_s = np.empty(0)
    if work.info is not None:
        start_s = embedder.start_s(work.info, range(len(probabilities)))
    return LabelledRecording(
        storage.as_text(work.listed.uri),
        work.error.status if work.error else "ok",
        str(work.error) if work.error else None,
        start_s,
        probabilities,
    )
