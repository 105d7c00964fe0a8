"""Independent oracles in plain NumPy: spectrograms in double precision, and the convolutional trunk."""

import librosa
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def spectrogram_db(
    windows, *, sample_rate_hz, n_fft, hop, n_mels, generation, frames, pad_before, pad_after
):
    """Maps in dB `(batch, frequencies, frames)` of windows `(batch, samples)`, all in float64."""
    levels = decibels(
        windows,
        sample_rate_hz=sample_rate_hz,
        n_fft=n_fft,
        hop=hop,
        n_mels=n_mels,
        generation=generation,
        frames=frames,
        pad_before=pad_before,
        pad_after=pad_after,
    )
    levels -= levels.max(axis=(1, 2), keepdims=True)
    return np.maximum(levels, -80.0)


def decibels(windows, *, sample_rate_hz, n_fft, hop, n_mels, generation, frames, pad_before, pad_after):
    """Levels in dB `(batch, frequencies, frames)`, as they are."""
    padded = np.pad(windows.astype(np.float64), ((0, 0), (pad_before, pad_after)))
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)  # periodic
    cut = np.stack([padded[:, i * hop : i * hop + n_fft] for i in range(frames)], axis=1)
    values = np.abs(np.fft.rfft(cut * hann))
    if n_mels is not None:
        bands = librosa.filters.mel(
            sr=sample_rate_hz,
            n_fft=n_fft,
            n_mels=n_mels,
            fmin=0.0,
            fmax=sample_rate_hz / 2,
            htk=generation == "as-trained",
            norm="slaney",
            dtype=np.float64,
        ).T
        values = np.sqrt(values**2 @ bands) if generation == "as-trained" else values @ bands
    return 10 * np.log10(np.maximum(values, 1e-10)).transpose(0, 2, 1)


def convolve(x, kernel, bias):
    """3x3 'same' convolution (cross-correlation) of `(batch, rows, columns, channels)`."""
    patches = sliding_window_view(np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), (3, 3), axis=(1, 2))
    return np.einsum("brcikl,klio->brco", patches, kernel, optimize=True) + bias


def normalise(x, gamma, beta, mean, variance):
    return (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta


def pool(x, rows, columns):
    """Maximum over blocks; what fills no block is dropped."""
    batch, height, width, channels = x.shape
    height, width = height // rows, width // columns
    x = x[:, : height * rows, : width * columns]
    return x.reshape(batch, height, rows, width, columns, channels).max(axis=(2, 4))


def edgel3_last_map(maps, tensors):
    """EdgeL3-SEA as published, layer by layer: maps `(batch, 64, frames, 1)` -> the last map."""
    rest = iter([tensor.astype(np.float64) for tensor in tensors])

    def take(count):
        return [next(rest) for _ in range(count)]

    x = normalise(maps.astype(np.float64), *take(4))
    for block in range(4):
        for _ in range(2):
            x = np.maximum(normalise(convolve(x, *take(2)), *take(4)), 0)
        x = pool(x, 2, 2) if block < 3 else x
    return x


def edgel3_embedding(maps, tensors):
    """Maps `(batch, 64, 50, 1)` -> `(batch, 64)`, float64."""
    x = pool(edgel3_last_map(maps, tensors), 8, 6)
    return x.reshape(len(x), -1)
