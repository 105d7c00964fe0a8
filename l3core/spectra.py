"""The front ends' spectra outside of any graph, for engines whose own Fourier transform is slow."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import scipy.fft

from l3core.frontends import Frontend
from l3core.machine import usable_cores
from l3core.numba_cache import find_numba_a_cache


class PowerSpectra:
    """Windows `(batch, window_samples)` -> squared magnitudes, see `__call__`.

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
        shape = (len(windows), frontend.frames, frontend.n_fft // 2 + 1)
        spectra = np.empty(shape, np.float32)
        parts = np.array_split(np.arange(len(windows)), min(self._cores, len(windows)))
        list(self._threads.map(lambda part: self._fill(windows, spectra, part), parts))
        return spectra

    def _fill(self, windows: np.ndarray, spectra: np.ndarray, part: np.ndarray) -> None:
        frontend = self._frontend
        for index in part:  # one by one, so that it stays in a core's cache
            padded = np.pad(windows[index], frontend.padding)
            frames = np.lib.stride_tricks.sliding_window_view(padded, frontend.n_fft)
            frames = frames[:: frontend.hop_samples][: frontend.frames] * self._taper
            found = scipy.fft.rfft(frames, axis=1, overwrite_x=True)
            np.square(found.real, out=spectra[index])
            spectra[index] += np.square(found.imag)


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
