"""Signals in memory: the numbers of each alone, full batches, and errors one by one."""

import numpy as np
import pytest

from l3core.embedding import Embedder
from l3core.signals import Signal, embed_signals
from tests.corpus import SPEC, noise

GOOD = [
    Signal(noise(1.0, seed=1), 8_000),
    (noise(2.3, rate=11_025, channels=2, seed=2), 11_025),
    Signal(np.zeros(4_000, np.float64), 4_000),
    [noise(0.01, seed=3)[:, 0], np.int64(44_100)],
    ([0.1, -0.1] * 500, 4_000.0),
]
BAD = {
    "no signal": (None, r"a signal is \(audio, sample rate\), got NoneType"),
    "an array without its rate": (np.zeros(3), r"sample rate\), got ndarray"),
    "no audio": ((None, 8_000), "audio must have shape"),
    "words": (("text", 8_000), "audio must have shape"),
    "ragged": (([[0.1], [0.2, 0.3]], 8_000), "inhomogeneous"),
    "whole numbers": ((np.arange(9), 8_000), "floating point in .*, got dtype int64"),
    "NaN": ((np.array([0.1, np.nan]), 8_000), "must be finite"),
    "infinite": ((np.array([0.1, np.inf], np.float32), 8_000), "must be finite"),
    "more than float32 holds": ((np.array([1e300]), 8_000), "must be finite"),
    "infinities that cancel": ((np.array([[np.inf, -np.inf]]), 8_000), "must be finite"),
    "empty": ((np.zeros(0), 8_000), "must have samples, got none"),
    "no channels": ((np.zeros((9, 0)), 8_000), "audio must have shape"),
    "a cube": ((np.zeros((2, 2, 2)), 8_000), "audio must have shape"),
    "no rate": ((np.zeros(9), None), "sample_rate must be a positive whole number"),
    "half a Hz": ((np.zeros(9), 0.5), "sample_rate must be a positive whole number"),
    "an endless rate": ((np.zeros(9), float("inf")), "sample_rate must be a positive whole number"),
}


@pytest.fixture(scope="module")
def embedder():
    return Embedder(SPEC)


def test_each_signal_as_alone(embedder):
    found = embed_signals(GOOD, embedder)
    for (audio, rate), one in zip(GOOD, found):
        alone = embedder.embed(np.asarray(audio), rate)
        np.testing.assert_array_equal(one.vectors, alone.vectors)
        np.testing.assert_array_equal(one.start_s, alone.start_s)
        np.testing.assert_array_equal(one.silent, alone.silent)
        assert one.error is None
    assert found[2].silent.all()


@pytest.mark.parametrize(("signal", "message"), BAD.values(), ids=BAD)
def test_a_bad_signal_is_an_error_of_its_own(embedder, signal, message):
    first, bad, last = embed_signals([GOOD[0], signal, GOOD[1]], embedder)
    assert bad.vectors.shape == (0, 8)
    assert len(bad.start_s) == len(bad.silent) == 0
    with pytest.raises(ValueError, match=message):
        raise ValueError(bad.error)
    assert (len(first.vectors), first.error) == (5, None)
    np.testing.assert_array_equal(last.vectors, embedder.embed(*GOOD[1]).vectors)


def test_no_signals(embedder):
    assert embed_signals([], embedder) == []


def test_windows_of_several_signals_share_calls(embedder, monkeypatch):
    """32 signals of 5 windows are 160: ten batches of 16."""
    sizes, engine = [], type(embedder.engine)
    call = engine.__call__
    monkeypatch.setattr(
        engine, "__call__", lambda self, s, starts: sizes.append(len(starts)) or call(self, s, starts)
    )
    embed_signals([GOOD[0]] * 32, embedder)
    assert sizes == [16] * 10
