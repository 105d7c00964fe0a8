"""The front ends' spectra outside of any graph, for engines whose own Fourier transform is slow."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import scipy.fft

from l3core.frontends import Frontend
from l3core.machine import usable_cores
from l3core.numba_cache import find_numba_a_cache

FRAMES_AT_ONCE = 200  # about those of a window


class PowerSpectra:
    """Squared magnitudes of windows and of frames, on all cores.

    Args:
        frontend: of the windows.
    """

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend
        self._taper = hann(frontend.n_fft)
        self._cores = usable_cores()
        self._threads = ThreadPoolExecutor(self._cores)

    def __call__(self, windows: np.ndarray) -> np.ndarray:
        """Windows float32 `(batch, window_samples)` -> float32 `(batch, frames, n_fft // 2 + 1)`."""
        frontend = self._frontend
        spectra = self._empty(len(windows), frontend.frames)

        def fill(index: int) -> None:
            padded = np.pad(windows[index], frontend.padding)
            frames = np.lib.stride_tricks.sliding_window_view(padded, frontend.n_fft)
            self._fill(frames[:: frontend.hop_samples][: frontend.frames], spectra[index])

        self._each(len(windows), fill)
        return spectra

    def of_frames(self, signal: np.ndarray, firsts: np.ndarray) -> np.ndarray:
        """Frames of a signal -> float32 `(1, frames, n_fft // 2 + 1)`.

        Args:
            signal: float32 `(samples,)`.
            firsts: first sample of each frame, `(frames,)`.
        """
        spectra = self._empty(1, len(firsts))
        frames = np.lib.stride_tricks.sliding_window_view(signal, self._frontend.n_fft)

        def fill(index: int) -> None:
            part = slice(index * FRAMES_AT_ONCE, (index + 1) * FRAMES_AT_ONCE)
            self._fill(frames[firsts[part]], spectra[0, part])

        self._each(-(-len(firsts) // FRAMES_AT_ONCE), fill)
        return spectra

    def _empty(self, batch: int, frames: int) -> np.ndarray:
        return np.empty((batch, frames, self._frontend.n_fft // 2 + 1), np.float32)

    def _each(self, count: int, fill: Callable[[int], None]) -> None:
        """Fill parts one by one in each thread, so that a part stays in a core's cache."""

        def fill_all(indices: np.ndarray) -> None:
            for index in indices:
                fill(index)

        list(self._threads.map(fill_all, np.array_split(np.arange(count), min(self._cores, count))))

    def _fill(self, frames: np.ndarray, spectra: np.ndarray) -> None:
        found = scipy.fft.rfft(frames * self._taper, axis=1, overwrite_x=True)
        np.square(found.real, out=spectra)
        spectra += np.square(found.imag)


def hann(length: int) -> np.ndarray:
    """TensorFlow's periodic Hann window, float32 `(length,)`, to the last bit.

    Most bins of a tone's spectrum are what the rounding of the window leaves there, and decibels make
    that audible: with a window of NumPy's embeddings of tones are 1e-3 away (measured on the goldens),
    with this one 1e-6. So it is kept as TensorFlow 2.20 computes it; SciPy's transform gives its bits.
    """
    with np.load(Path(__file__).parent / "models" / "data" / "hann.npz", allow_pickle=False) as windows:
        return windows[str(length)]


def mel_bands(frontend: Frontend) -> np.ndarray:
    """The bands of a mel front end, float32 `(n_mels, n_fft // 2 + 1)`, as kapre has them."""
    find_numba_a_cache()
    from librosa.filters import mel

    return mel(
        sr=frontend.sample_rate_hz,
        n_fft=frontend.n_fft,
        n_mels=frontend.n_mels,
        fmin=0.0,
        fmax=frontend.sample_rate_hz / 2,
        htk=frontend.generation == "as-trained",
        norm="slaney",
    ).astype(np.float32)
