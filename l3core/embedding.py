"""`Embedder`: from signals to vectors, start times and silent flags."""

import copy
from collections.abc import Callable, Iterable, Iterator
from numbers import Real
from typing import NamedTuple, TypeVar

import numpy as np

from l3core.audio import ArraySource, AudioInfo, Source
from l3core.computing import compute_batches
from l3core.engines import Engine, load_engine
from l3core.packing import Batch, pack
from l3core.resampling import Resampling
from l3core.segments import Segment, cut_segments
from l3core.spec import EmbeddingSpec
from l3core.weights import Weights, load_weights
from l3core.windows import WindowGrid

K = TypeVar("K")


class Embedding(NamedTuple):
    """The embedding of one recording.

    Attributes:
        vectors: float32 `(windows, d)`.
        start_s: float64 `(windows,)`, time of each window's first sample in the recording, seconds;
            negative where a window begins in the zeros in front.
        silent: bool `(windows,)`, true where every source sample of the window is zero.
    """

    vectors: np.ndarray
    start_s: np.ndarray
    silent: np.ndarray


def array_source(audio: np.ndarray, sample_rate: float) -> ArraySource:
    """Samples in memory as a source; arguments and errors as of `Embedder.embed`."""
    if not isinstance(sample_rate, Real) or not sample_rate >= 1 or sample_rate % 1 != 0:
        raise ValueError(f"sample_rate must be a positive whole number of Hz, got {sample_rate!r}")
    with np.errstate(invalid="ignore", over="ignore"):  # what no float32 can be is infinite then
        source = ArraySource(np.asarray(audio), int(sample_rate))
    if not np.isfinite(source.read(0, source.info.frames)).all():
        raise ValueError("audio must be finite, got NaN or infinite samples")
    return source


class Embedder:
    """A spec with its weights loaded and its network compiled.

    Args:
        spec: what to compute; the default spec is openl3's default.
        weights: already loaded ones; else those that the spec names.
        batch_size: windows in one call of the network, at most; None: the engine's own.
        device: of several, see `l3core.engines.devices_of`.

    Attributes:
        spec, weights: as given or loaded.
        fingerprint: the name of this spec with these weights.
        grid: where windows start.
        engine: the compiled network.

    Raises:
        WeightsError: the weights could not be had or do not fit.
    """

    def __init__(
        self,
        spec: EmbeddingSpec | None = None,
        *,
        weights: Weights | None = None,
        batch_size: int | None = None,
        device: str | None = None,
    ) -> None:
        self.spec = spec or EmbeddingSpec()
        self.weights = weights or load_weights(self.spec)
        self.fingerprint = self.spec.fingerprint(self.weights.digest)
        self.grid = self.spec.window_grid
        self.engine: Engine = load_engine(self.spec, self.weights, batch_size=batch_size, device=device)

    def embed(self, audio: np.ndarray, sample_rate: float) -> Embedding:
        """Embed one recording.

        Args:
            audio: `(samples,)` or `(samples, channels)`, floating point in [-1, 1].
            sample_rate: Hz, a whole number.

        Raises:
            ValueError: audio of another shape or type, not finite, or a rate that is not whole.
        """
        return self.embed_source(array_source(audio, sample_rate))

    def embed_source(self, source: Source) -> Embedding:
        """Embed one recording of any kind, an open `l3core.audio.Recording` for example.

        Raises:
            AudioError: from the source.
        """
        parts = list(self.embed_segments((None, segment) for segment in self.segments(source)))
        vectors = [vectors for _, vectors, _ in parts] or [np.empty((0, self.spec.size), np.float32)]
        silent = [silent for _, _, silent in parts] or [np.empty(0, bool)]
        windows = range(sum(map(len, silent)))
        start_s = self.start_s(source.info, windows)
        return Embedding(np.concatenate(vectors), start_s, np.concatenate(silent))

    def regrid(self, grid: WindowGrid) -> "Embedder":
        """The same compiled network on another grid; `spec` and `fingerprint` stay those of this one."""
        other = copy.copy(self)
        other.grid = grid
        return other

    def resampling(self, info: AudioInfo) -> Resampling:
        """From a recording's rate to the model's."""
        return Resampling(info.sample_rate_hz, self.spec.sample_rate_hz, self.spec.resampler)

    def window_count(self, info: AudioInfo) -> int:
        """Windows of a recording."""
        return self.grid.count(self.resampling(info).length(info.frames))

    def start_s(self, info: AudioInfo, windows: range) -> np.ndarray:
        """Start times of windows of a recording, float64 `(windows,)`, seconds."""
        samples = self.resampling(info).length(info.frames)
        return self.grid.starts(samples, windows) / self.spec.sample_rate_hz

    def segments(self, source: Source, windows: range | None = None) -> Iterator[Segment]:
        """The recording cut in segments, all of it or the windows asked for.

        Raises:
            AudioError: from the source, after the segments before it.
        """
        source.mix = self.spec.network.mix
        if windows is None:
            windows = range(self.window_count(source.info))
        return cut_segments(
            source, grid=self.grid, resampling=self.resampling(source.info), windows=windows
        )

    def embed_segments(
        self,
        segments: Iterable[tuple[K, Segment]],
        *,
        computed: Callable[[int, float], None] = lambda windows, seconds: None,
        halved: Callable[[int], None] = lambda batch_size: None,
        seen: Callable[[Batch[K], np.ndarray], None] | None = None,
    ) -> Iterator[tuple[K, np.ndarray, np.ndarray]]:
        """Embed segments of many recordings in full batches.

        Args:
            segments: with a key each, that says whose it is.
            computed: is told windows and seconds of each batch.
            halved: is told the new size when the device had no memory for a batch.
            seen: is shown each batch with its vectors.

        Yields:
            (key, vectors float32 `(windows, d)`, silent bool `(windows,)`), in the order of the input;
            the windows of a segment may come in several parts.
        """
        batches = pack(
            segments,
            batch_size=self.engine.batch_size,
            window_samples=self.grid.window_samples,
            context=self.grid.context,
        )
        for batch, vectors in compute_batches(self.engine, batches, computed=computed, halved=halved):
            if seen:
                seen(batch, vectors)
            done = 0
            for key, silent in batch.parts:
                yield key, vectors[done : done + len(silent)], silent
                done += len(silent)
