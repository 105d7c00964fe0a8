"""Spectrogram front ends, computed by kapre inside the graph.

Two generations exist for the same published weights, with visibly different maps:

    openl3       what openl3 0.4.x computes (kapre 0.3): Slaney mel bands of the magnitude, frames that
                 begin at their first sample, zeros after the end.
    as-trained   what the weights were trained with (kapre 0.1.4): HTK mel bands of the power and the
                 square root of the result, frames centred in zeros on both sides.

Both end in decibels below the loudest value of the window's own map, never less than -80: ten times
the logarithm of a magnitude, as upstream has it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from l3core.numba_cache import find_numba_a_cache

if TYPE_CHECKING:
    import keras

FRONTENDS = ("openl3", "as-trained")
AMPLITUDE_FLOOR = 1e-10
DYNAMIC_RANGE_DB = 80.0
SILENCE_DB = -99.99  # what is not above it is `AMPLITUDE_FLOOR`, whatever its logarithm rounds to


@dataclass(frozen=True, kw_only=True)
class Frontend:
    """One spectrogram.

    Attributes:
        sample_rate_hz: of the signal.
        window_samples: samples of a window.
        n_fft: length of the (periodic Hann) analysis window and of its FFT.
        hop_samples: between two frames.
        n_mels: mel bands from 0 Hz to half the rate, or None for the linear spectrogram.
        generation: one of `FRONTENDS`; the linear spectrogram is the same in both.
    """

    sample_rate_hz: int
    window_samples: int
    n_fft: int
    hop_samples: int
    n_mels: int | None
    generation: str

    @property
    def frames(self) -> int:
        """Frames of a window."""
        if self.n_mels is None:
            return 1 + (self.window_samples - self.n_fft) // self.hop_samples
        return -(-self.window_samples // self.hop_samples)

    @property
    def frequencies(self) -> int:
        """Rows of a map."""
        return self.n_mels or self.n_fft // 2 + 1

    @property
    def padding(self) -> tuple[int, int]:
        """Zeros before and after a window that give it its `frames`."""
        total = (self.frames - 1) * self.hop_samples + self.n_fft - self.window_samples
        if self.n_mels is None or total <= 0:
            return 0, 0
        before = total // 2 if self.generation == "as-trained" else 0
        return before, total - before

    def build(self) -> "keras.Model":
        """Windows `(batch, window_samples)` float32 -> maps in dB `(batch, frequencies, frames, 1)`."""
        import keras
        from keras import layers, ops

        signal = layers.Input((self.window_samples,), dtype="float32")
        padded = layers.ZeroPadding1D(self.padding)(layers.Reshape((-1, 1))(signal))
        decibel = self._decibel(padded)
        decibel = decibel - ops.max(decibel, axis=(1, 2, 3), keepdims=True)
        decibel = ops.maximum(decibel, -DYNAMIC_RANGE_DB)
        return keras.Model(signal, layers.Permute((2, 1, 3))(decibel))

    def build_dense(self, reference_frames: int) -> "keras.Model":
        """Frames (see `l3core.dense`) -> one map in dB below the loudest value nearby.

        Args:
            reference_frames: before and after a frame; the loudest value of all these is its 0 dB. Where
                they are digital silence, the frame is as far below 0 dB as can be: it shares windows
                with sound.

        Returns:
            A model of frames float32 `(frames, n_fft)` that follow one another, and int32 `(kept,)`,
            those that become the map `(1, frequencies, kept, 1)`.
        """
        import keras
        from keras import layers, ops

        frames = layers.Input((self.n_fft,), dtype="float32")
        kept = keras.Input(batch_shape=(None,), dtype="int32")
        decibel = self._decibel(layers.Reshape((-1, 1))(frames))
        decibel = ops.reshape(decibel, (-1, self.frequencies))
        loudest = ops.reshape(ops.max(decibel, axis=1), (1, -1, 1))
        near = 2 * reference_frames + 1
        reference = ops.max_pool(loudest, near, strides=1, padding="same", data_format="channels_last")
        reference = ops.reshape(reference, (-1, 1))
        decibel = ops.maximum(decibel - reference, -DYNAMIC_RANGE_DB)
        decibel = ops.where(reference > SILENCE_DB, decibel, -DYNAMIC_RANGE_DB)
        decibel = ops.transpose(ops.take(decibel, kept, axis=0))
        return keras.Model([frames, kept], ops.reshape(decibel, (1, self.frequencies, -1, 1)))

    def _decibel(self, signal: "keras.KerasTensor") -> "keras.KerasTensor":
        """Signals `(batch, samples, 1)` -> levels `(batch, frames, frequencies, 1)`, dB."""
        find_numba_a_cache()
        import kapre
        from keras import ops

        spectrum = kapre.STFT(
            n_fft=self.n_fft,
            hop_length=self.hop_samples,
            input_data_format="channels_last",
            output_data_format="channels_last",
        )(signal)
        values = kapre.Magnitude()(spectrum)
        if self.n_mels is not None:
            trained = self.generation == "as-trained"
            bands = kapre.ApplyFilterbank(
                type="mel",
                filterbank_kwargs={
                    "sample_rate": self.sample_rate_hz,
                    "n_freq": self.n_fft // 2 + 1,
                    "n_mels": self.n_mels,
                    "f_min": 0.0,
                    "f_max": self.sample_rate_hz / 2,
                    "htk": trained,
                    "norm": "slaney",
                },
                data_format="channels_last",
            )
            values = ops.sqrt(bands(ops.square(values))) if trained else bands(values)
        return 10.0 * ops.log10(ops.maximum(values, AMPLITUDE_FLOOR))
