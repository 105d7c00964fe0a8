"""Resampling in blocks: equal to one shot, and the same samples whoever asks."""

from functools import cache

import numpy as np
import pytest
import resampy
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from l3core.resampling import Resampling, resampler_major_version

RATES = [11_024, 44_100, 22_050, 8_000, 192_000, 44_101, 48_000]


@cache
def noise(samples, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, samples).astype(np.float32)


def reader(signal, asked=None):
    def read(start, stop):
        assert 0 <= start < stop <= len(signal)
        if asked is not None:
            asked.append((start, stop))
        return signal[start:stop]

    return read


def blocks(rates, signal):
    count = -(-rates.length(len(signal)) // rates.block_target)
    return [rates.block(index, reader(signal), len(signal)) for index in range(count)]


def same_length(reference, length):
    """soxr rounds a length where we cut off."""
    assert abs(len(reference) - length) <= 1
    return np.pad(reference, (0, 1))[:length]


@pytest.mark.parametrize("target", [48_000, 8_000])
@pytest.mark.parametrize("source", RATES)
def test_block_borders_coincide_in_both_rates(source, target):
    rates = Resampling(source, target)
    assert rates.block_source * target == rates.block_target * source
    assert rates.block_target >= 10 * target  # ten seconds at least


def test_block_borders_are_where_they_always_were():
    """Other borders give other last bits: raise every model's `algorithm_version` with them."""
    assert (Resampling(44_100, 48_000).block_source, Resampling(8_000, 8_000).block_source) == (
        441_000,
        80_000,
    )
    assert Resampling(11_024, 8_000).block_source == 110_240


# soxr itself approximates a ratio as odd as 44101:48000, differently for other lengths
@pytest.mark.parametrize(
    ("source", "target", "within"),
    [(rate, 48_000, 1e-4 if rate == 44_101 else 1e-6) for rate in RATES]
    + [(44_100, 8_000, 1e-6), (48_000, 8_000, 1e-6), (8_000, 8_000, 0.0)],
)
@pytest.mark.parametrize("seconds", [0.01, 23.7])
def test_blocks_together_are_the_one_shot_result(source, target, within, seconds):
    signal = noise(int(source * seconds))
    rates = Resampling(source, target)
    found = np.concatenate(blocks(rates, signal))
    assert found.dtype == np.float32
    expected = soxr.resample(signal, source, target, quality="HQ") if source != target else signal
    difference = found - same_length(expected, rates.length(len(signal)))
    # the last milliseconds see the end of the recording, where soxr's own length rule differs
    assert np.abs(difference).max() <= within


def test_one_hertz_is_a_rate_too():
    # ratio 48000:1, context 256 source samples, so a block is 256 s
    rates = Resampling(1, 48_000)
    assert rates.block_source == 256
    signal = noise(300)
    expected = soxr.resample(signal, 1, 48_000, quality="HQ")
    np.testing.assert_allclose(np.concatenate(blocks(rates, signal)), expected, atol=1e-5)


@pytest.mark.parametrize(("source", "seconds"), [(44_100, 12.3), (22_050, 0.5), (96_000, 10.0)])
def test_resampy_blocks_together_are_the_one_shot_result(source, seconds):
    signal = noise(int(source * seconds))
    found = np.concatenate(blocks(Resampling(source, 48_000, "resampy"), signal))
    expected = resampy.resample(signal, sr_orig=source, sr_new=48_000, filter="kaiser_best")
    np.testing.assert_allclose(found, expected, atol=1e-6)


# Rates so low that a block is a few thousand samples: ratios 10:7, 8:11 and 1:3.
@settings(deadline=None)
@given(
    st.sampled_from([(70, 100), (110, 80), (300, 100), (100, 100)]),
    st.integers(1, 12_000),
    st.data(),
)
def test_a_block_depends_on_nothing_but_itself_and_its_context(ratio, samples, data):
    rates = Resampling(*ratio)
    whole = noise(12_000)[:samples]
    index = data.draw(st.integers(0, (rates.length(samples) - 1) // rates.block_target))
    asked = []
    block = rates.block(index, reader(whole, asked), samples)
    (start, stop) = asked[0]

    core = (index * rates.block_source, min((index + 1) * rates.block_source, samples))
    assert len(asked) == 1
    assert start <= core[0]
    assert stop >= core[1]
    assert stop - start <= rates.block_source + 2 * 300 * max(1, -(-ratio[0] // ratio[1]))

    other = noise(12_000, seed=1)[:samples].copy()
    other[start:stop] = whole[start:stop]
    assert rates.block(index, reader(other), samples).tobytes() == block.tobytes()


@settings(deadline=None)
@given(st.sampled_from([(70, 100), (110, 80), (300, 100)]), st.integers(1, 12_000))
def test_lengths_add_up(ratio, samples):
    rates = Resampling(*ratio)
    parts = blocks(rates, noise(12_000)[:samples])
    assert [len(part) for part in parts[:-1]] == [rates.block_target] * (len(parts) - 1)
    assert sum(map(len, parts)) == rates.length(samples)


@pytest.mark.parametrize(
    ("source", "target", "samples", "length"),
    [
        (44_100, 48_000, 44_100, 48_000),
        (44_100, 48_000, 100_107, 108_960),  # 108,960.5 (the goldens' clips)
        (44_100, 48_000, 100, 108),  # 108.8
        (48_000, 8_000, 11, 1),  # 1.8
        (48_000, 8_000, 5, 1),  # 0.8, but never none
        (48_000, 48_000, 7, 7),
        (44_100, 48_000, 0, 0),
    ],
)
def test_length_is_cut_off(source, target, samples, length):
    assert Resampling(source, target).length(samples) == length


@pytest.mark.parametrize("method", ["soxr_hq", "resampy"])
def test_a_recording_of_one_sample_gives_one(method):
    (block,) = blocks(Resampling(48_000, 8_000, method), noise(1))
    assert block.shape == (1,)


@pytest.mark.parametrize(("source", "target"), [(44_100, 48_000), (22_050, 48_000), (48_000, 8_000)])
@pytest.mark.parametrize("seconds", [0.5, 0.77, 1.37])
def test_silence_after_a_loud_sound_is_exact(source, target, seconds):
    loud = np.sign(noise(int(source * seconds)))
    signal = np.pad(loud, (0, 2 * source))
    found = np.concatenate(blocks(Resampling(source, target), signal))
    # 256 samples of the lower rate, after which the filter has rung out
    after = int(target * seconds) + 256 * max(1, target // source + 1)
    assert np.flatnonzero(found[after:]).tolist() == []
    assert np.count_nonzero(found[: int(target * seconds)]) > 0.99 * target * seconds


def test_one_shot_silence_is_not_exact():
    """What the test above is about: rounding noise of soxr where the source holds zeros."""
    signal = np.pad(np.sign(noise(33_957)), (0, 88_200))  # 0.77 s at 44.1 kHz
    one_shot = soxr.resample(signal, 44_100, 48_000, quality="HQ")
    assert np.any(one_shot[36_960 + 512 :] != 0)


def test_quiet_sound_is_kept():
    signal = noise(44_100) * 2.0**-15  # the last bit of 16
    found = np.concatenate(blocks(Resampling(44_100, 48_000), signal))
    assert np.count_nonzero(found) > 47_000


def test_source_span_covers_the_samples_between():
    # 160 target samples lie on 147 source samples; sample 1 lies at 0.92, sample 3 at 2.76
    first, last = Resampling(44_100, 48_000).source_span(np.array([0, 1, 160]), np.array([160, 3, 161]))
    assert first.tolist() == [0, 0, 147]
    assert last.tolist() == [147, 3, 148]


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="positive whole Hz, got 0 and 8000"):
        Resampling(0, 8_000)
    with pytest.raises(ValueError, match="soxr_hq, resampy, got 'sinc'"):
        Resampling(8_000, 16_000, "sinc")


def test_major_versions():
    assert resampler_major_version("soxr_hq") == int(soxr.__version__.split(".")[0])
    assert resampler_major_version("resampy") == int(resampy.__version__.split(".")[0])
