"""Whatever bytes a file holds, it is embedded or refused with a status; nothing else happens."""

import io
from itertools import islice

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from l3core.audio import Recording
from l3core.embedding import Embedder
from l3core.errors import AudioError
from l3core.spec import EmbeddingSpec
from l3core.table.layout import STATUSES

SOUND = np.random.default_rng(0).uniform(-0.5, 0.5, (6_000, 2)).astype(np.float32)
KINDS = {
    "wav": ("WAV", "PCM_16"),
    "adpcm": ("WAV", "IMA_ADPCM"),
    "flac": ("FLAC", "PCM_16"),
    "vorbis": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff": ("AIFF", "PCM_24"),
    "caf": ("CAF", "PCM_16"),
    "au": ("AU", "ULAW"),
    "w64": ("W64", "PCM_16"),
}
MANY = settings(max_examples=60, deadline=5_000, suppress_health_check=[HealthCheck.too_slow])


def good(kind):
    buffer = io.BytesIO()
    format_, subtype = KINDS[kind]
    soundfile.write(buffer, SOUND, 48_000 if kind == "opus" else 16_000, format=format_, subtype=subtype)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def embedder():
    return Embedder(EmbeddingSpec(model="fake", engine="fake", weights="random:0"))


def attempt(embedder, content):
    """Embed a file as a shard does; returns the windows, and the status."""
    windows, status = 0, "ok"
    try:
        with Recording(io.BytesIO(content)) as recording:
            # a header may promise days that a FLAC of silence really holds
            for segment in islice(embedder.segments(recording), 20):
                assert np.isfinite(segment.signal).all()
                assert len(segment.starts) == len(segment.silent)
                windows += len(segment.starts)
    except AudioError as error:
        status = error.status
    assert status in STATUSES
    return windows, status


@MANY
@given(content=st.binary(max_size=2_000))
def test_random_bytes(embedder, content):
    assert attempt(embedder, content)[1] in {"empty", "unreadable"}


@pytest.mark.parametrize("kind", KINDS)
def test_random_cuts(embedder, kind):
    content = good(kind)
    whole, status = attempt(embedder, content)
    assert status == "ok"

    @MANY
    @given(cut=st.integers(0, len(content) - 1))
    def cut_anywhere(cut):
        windows, _ = attempt(embedder, content[:cut])
        assert windows <= whole

    cut_anywhere()


@pytest.mark.parametrize("kind", KINDS)
def test_random_flips(embedder, kind):
    content = good(kind)
    flips = st.lists(
        st.tuples(st.integers(0, len(content) - 1), st.integers(1, 255)), min_size=1, max_size=8
    )
    # most of what can be wrong is in the first bytes
    head = st.lists(st.tuples(st.integers(0, 99), st.integers(1, 255)), min_size=1, max_size=4)

    @MANY
    @given(changes=st.one_of(flips, head))
    def flip_anywhere(changes):
        damaged = bytearray(content)
        for place, bits in changes:
            damaged[place] ^= bits
        attempt(embedder, bytes(damaged))

    flip_anywhere()
