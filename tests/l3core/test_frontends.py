"""Front ends against an oracle in double precision and against kapre 0.1.4's own maps."""

from functools import cache

import numpy as np
import pytest

from l3core.models import MODELS
from l3core.spec import EmbeddingSpec
from tests.golden import golden_arrays
from tests.l3core.oracle import spectrogram_db

SPECTROGRAMS = {  # n_fft, mel bands, frames, zeros (before, after) of as-trained and of openl3
    "linear": (512, None, 197, (0, 0), (0, 0)),
    "mel128": (2048, 128, 199, (982, 982), (0, 1964)),
    "mel256": (2048, 256, 199, (982, 982), (0, 1964)),
}
COMBINATIONS = [(r, g) for r in SPECTROGRAMS for g in ("openl3", "as-trained")]


@cache
def frontend(input_repr, generation):
    spec = EmbeddingSpec(input_repr=input_repr, frontend=generation)
    return MODELS["l3"].build_frontend(spec)


def maps_of(input_repr, generation, windows):
    return frontend(input_repr, generation)(windows).numpy()


def some_signals():
    """(4, 48000): noise, a sweep in faint noise, quiet noise, and a click in faint noise."""
    rng = np.random.default_rng(0)
    time = np.arange(48_000) / 48_000
    noise = rng.standard_normal((4, 48_000))
    sweep = np.sin(2 * np.pi * (100 + 8_000 * time) * time)
    click = np.where(np.arange(48_000) == 30_000, 1.0, 0.0)
    signals = [0.1 * noise[0], 0.3 * sweep + 1e-3 * noise[1], 1e-4 * noise[2], click + 1e-3 * noise[3]]
    return np.array(signals, dtype=np.float32)


def assert_close_in_db(found, expected):
    """Float32 against float64: the FFT's rounding noise shows where a bin is far below the loudest."""
    difference = np.abs(found - expected)
    assert difference.max() < 0.2
    assert difference[expected > -50].max() < 0.02
    assert np.mean(difference) < 2e-4


@pytest.mark.parametrize(("input_repr", "generation"), COMBINATIONS)
def test_maps_equal_the_oracle(input_repr, generation):
    n_fft, n_mels, frames, trained_padding, openl3_padding = SPECTROGRAMS[input_repr]
    before, after = trained_padding if generation == "as-trained" else openl3_padding
    signals = some_signals()
    expected = spectrogram_db(
        signals,
        sample_rate_hz=48_000,
        n_fft=n_fft,
        hop=242,
        n_mels=n_mels,
        generation=generation,
        frames=frames,
        pad_before=before,
        pad_after=after,
    )
    found = maps_of(input_repr, generation, signals)
    assert found.dtype == np.float32
    assert found.shape == (4, n_mels or 257, frames, 1)
    assert_close_in_db(found[..., 0], expected)


def test_edgel3s_maps_equal_the_oracle():
    model = MODELS["edgel3-sea-64"]
    signals = some_signals()[:, :8_000]
    # 50 frames every 160 of 1024: (50 - 1) * 160 + 1024 - 8000 = 864 zeros, 432 on each side
    expected = spectrogram_db(
        signals,
        sample_rate_hz=8_000,
        n_fft=1024,
        hop=160,
        n_mels=64,
        generation="as-trained",
        frames=50,
        pad_before=432,
        pad_after=432,
    )
    found = model.build_frontend(EmbeddingSpec(model="edgel3-sea-64"))(signals).numpy()
    assert_close_in_db(found[..., 0], expected)


@pytest.mark.parametrize(("input_repr", "generation"), COMBINATIONS)
def test_a_window_of_zeros_is_loud_everywhere(input_repr, generation):
    """Every bin equals the maximum, so the map is 0 dB and not -80 (as upstream has it)."""
    signals = np.concatenate([np.zeros((1, 48_000), np.float32), some_signals()[:1]])
    maps = maps_of(input_repr, generation, signals)
    assert not maps[0].any()
    assert maps[1].min() < -5


def test_each_window_has_its_own_maximum():
    signals = some_signals()
    together = maps_of("mel128", "openl3", signals)
    alone = np.concatenate([maps_of("mel128", "openl3", signal[None]) for signal in signals])
    assert together.max(axis=(1, 2, 3)).tolist() == [0, 0, 0, 0]
    np.testing.assert_allclose(together, alone, atol=1e-3)


def centred_windows(clip):
    """Windows of a second every half second, half a second of zeros in front, zeros after the end."""
    padded = np.pad(clip, (24_000, 48_000))
    return np.array([padded[start : start + 48_000] for start in range(0, len(clip), 24_000)])


@pytest.mark.parametrize("clip", ["clip0", "clip4"])
@pytest.mark.parametrize("input_repr", SPECTROGRAMS)
def test_as_trained_maps_equal_kapres(input_repr, clip):
    expected = golden_arrays("golden.npz")[f"as-trained-db/{clip}/{input_repr}"]
    windows = centred_windows(golden_arrays("inputs.npz")[f"{clip}_48000"])[: len(expected)]
    difference = np.abs(maps_of(input_repr, "as-trained", windows) - expected)
    # both float32 transforms are noisy near the floor: several dB on single bins of the linear map
    assert difference.mean() < 0.04
    assert difference[expected > -50].max() < 0.02
    assert (expected > -50).mean() > 0.6  # which is most of the map
