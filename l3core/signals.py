"""Signals in memory, many at once: their windows share full batches, and a bad one spoils no other."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from l3core.audio import ArraySource
from l3core.embedding import Embedder, Embedding, array_source
from l3core.segments import Segment


class Signal(NamedTuple):
    """A recording in memory; a plain tuple of the same two does as well.

    Attributes:
        audio: `(samples,)` or `(samples, channels)`, floating point in [-1, 1].
        sample_rate: Hz, a whole number.
    """

    audio: np.ndarray
    sample_rate: float


class SignalEmbedding(NamedTuple):
    """What became of a signal.

    Attributes:
        vectors, start_s, silent: as of `Embedding`; of no windows if there is an error.
        error: why the signal could not be embedded; None if it was.
    """

    vectors: np.ndarray
    start_s: np.ndarray
    silent: np.ndarray
    error: str | None = None


def open_signal(signal: Any) -> ArraySource:
    """A signal that somebody hands over, checked.

    Raises:
        ValueError: it is none, or has no samples, or samples that are no numbers; with what is needed.
    """
    try:
        audio, sample_rate = signal
    except (TypeError, ValueError):
        raise ValueError(f"a signal is (audio, sample rate), got {type(signal).__name__}") from None
    try:
        source = array_source(audio, sample_rate)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"audio must be an array of samples: {error}") from None
    if not source.info.frames:
        raise ValueError("audio must have samples, got none")
    return source


def embed_signals(signals: Sequence[Any], embedder: Embedder) -> list[SignalEmbedding]:
    """Embed signals; those that cannot be have an error.

    Args:
        signals: `Signal`s or tuples of an array and a rate; each may have a rate of its own.
        embedder: of the spec.

    Returns:
        One for each signal, in order.
    """
    opened: list[ArraySource | str] = []
    for signal in signals:
        try:
            opened.append(open_signal(signal))
        except ValueError as error:
            opened.append(str(error))
    embeddings = iter(embed_sources([one for one in opened if not isinstance(one, str)], embedder))
    nothing = np.empty((0, embedder.spec.size), np.float32), np.empty(0), np.empty(0, bool)
    return [
        SignalEmbedding(*nothing, one) if isinstance(one, str) else SignalEmbedding(*next(embeddings))
        for one in opened
    ]


def embed_sources(sources: Sequence[ArraySource], embedder: Embedder) -> list[Embedding]:
    """Embed what `open_signal` has checked, the windows of all in full batches."""
    vectors: list[list[np.ndarray]] = [[np.empty((0, embedder.spec.size), np.float32)] for _ in sources]
    silent: list[list[np.ndarray]] = [[np.empty(0, bool)] for _ in sources]

    def segments() -> Iterator[tuple[int, Segment]]:
        for place, source in enumerate(sources):
            for segment in embedder.segments(source):
                yield place, segment

    for place, some, flags in embedder.embed_segments(segments()):
        vectors[place].append(some)
        silent[place].append(flags)
    starts = [
        embedder.start_s(source.info, range(embedder.window_count(source.info))) for source in sources
    ]
    return [
        Embedding(np.concatenate(some), start_s, np.concatenate(flags))
        for some, start_s, flags in zip(vectors, starts, silent)
    ]
