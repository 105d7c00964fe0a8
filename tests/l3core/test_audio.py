"""Recordings: any part of a file, and what files that are no good are called."""

import io
import struct

import numpy as np
import pytest
import soundfile

from l3core.audio import DECODE_FRAMES, ArraySource, AudioInfo, Recording
from l3core.errors import AudioError, CredentialsError

RATE = 8_000
FORMATS = [
    ("WAV", "PCM_16"),
    ("WAV", "FLOAT"),
    ("FLAC", "PCM_16"),
    ("FLAC", "PCM_24"),
    ("OGG", "VORBIS"),
]


def sound(frames, channels=1):
    """A rising tone and noise, (frames, channels)."""
    time = np.arange(frames)[:, None] / RATE
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, (frames, channels))
    return (0.5 * np.sin(2 * np.pi * (200 + 50 * time) * time) + noise).astype(np.float32)


def encoded(samples, format_, subtype, rate=RATE):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=format_, subtype=subtype)
    return buffer.getvalue()


def opened(content):
    return Recording(io.BytesIO(content))


@pytest.mark.parametrize(("format_", "subtype"), FORMATS)
def test_what_a_file_says_of_itself(format_, subtype):
    with opened(encoded(sound(20_000, 2), format_, subtype)) as recording:
        assert recording.info == AudioInfo(RATE, 2, 20_000, f"{format_}/{subtype}")
        assert recording.info.duration_s == 2.5


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize(("format_", "subtype"), FORMATS)
def test_any_part_is_a_slice_of_the_whole(format_, subtype, channels):
    content = encoded(sound(30_000, channels), format_, subtype)
    decoded, _ = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    whole = decoded.mean(axis=1, dtype=np.float32)
    rng = np.random.default_rng(channels)
    spans = [sorted(rng.integers(0, 30_001, 2).tolist()) for _ in range(12)]
    spans += [[0, 10_000], [10_000, 20_000], [19_000, 30_000], [0, 30_000], [29_999, 30_000], [5, 5]]
    with opened(content) as recording:
        for start, stop in spans:
            part = recording.read(start, stop)
            assert part.dtype == np.float32
            assert part.tobytes() == whole[start:stop].tobytes(), (start, stop)


def test_channels_are_averaged():
    # exact in 16 bits: 8192, -16384 and 4096 of 32768
    frames = np.tile(np.array([[0.25, -0.5, 0.125]], np.float32), (10, 1))
    with opened(encoded(frames, "WAV", "PCM_16")) as recording:
        assert recording.read(0, 10) == pytest.approx(-0.125 / 3)
    assert ArraySource(frames, RATE).read(2, 5) == pytest.approx([-0.125 / 3] * 3)


def test_opposite_channels_cancel_to_exact_silence():
    mono = sound(1_000)
    with opened(encoded(np.hstack([mono, -mono]), "WAV", "FLOAT")) as recording:
        assert not recording.read(0, 1_000).any()


def status_of(content):
    with pytest.raises(AudioError) as caught:
        opened(content)
    return caught.value.status, str(caught.value)


def test_an_empty_file():
    assert status_of(b"") == ("empty", "the file has no bytes")


@pytest.mark.parametrize("format_", ["WAV", "AIFF"])
def test_a_header_without_samples(format_):
    content = encoded(np.zeros((0, 1), np.float32), format_, "PCM_16")
    status, message = status_of(content)
    assert status == "empty"
    assert "header" in message


@pytest.mark.parametrize(
    "content",
    [
        b"This is no audio at all.\n" * 50,
        b"\0" * 5_000,
        b"RIFF",
        encoded(sound(1_000), "WAV", "PCM_16")[:30],  # breaks inside the header
        b"fLaC" + b"\xff" * 2_000,
        b"OggS" + b"\x01" * 2_000,
    ],
    ids=["text", "zeros", "RIFF", "half a header", "FLAC garbage", "Ogg garbage"],
)
def test_what_is_no_audio(content, tmp_path):
    (tmp_path / "a.wav").write_bytes(content)
    with open(tmp_path / "a.wav", "rb") as file, pytest.raises(AudioError) as caught:
        Recording(file)
    assert caught.value.status == "unreadable"


def test_a_raw_file_has_no_header_to_tell_its_rate(tmp_path):
    (tmp_path / "a.raw").write_bytes(b"\x01\x02" * 1_000)
    with open(tmp_path / "a.raw", "rb") as file, pytest.raises(AudioError) as caught:
        Recording(file)
    assert caught.value.status == "unreadable"


@pytest.mark.parametrize("claim", [5_000_000, 2**31 - 1])
def test_a_rate_that_cannot_be(claim):
    content = bytearray(encoded(sound(1_000), "WAV", "PCM_16"))
    content[24:28] = struct.pack("<I", claim)  # of the fmt chunk
    status, message = status_of(bytes(content))
    assert status == "unreadable"
    assert f"claims {claim} Hz" in message


def test_a_flac_cut_short_is_read_up_to_the_cut():
    whole = sound(80_000)
    content = encoded(whole, "FLAC", "PCM_16")
    with opened(content[: len(content) // 2]) as recording:
        assert recording.info.frames == 80_000  # what the header promises
        np.testing.assert_allclose(recording.read(0, 20_000), whole[:20_000, 0], atol=1 / 32_768)
        rest = recording.read(20_000, 80_000)
        # half of the bytes are about half of the frames; a call of the decoder may lose its last ones
        assert 40_000 - DECODE_FRAMES <= 20_000 + len(rest) <= 41_000
        np.testing.assert_allclose(rest, whole[20_000 : 20_000 + len(rest), 0], atol=1 / 32_768)
        assert "decoding broke after frame" in recording.damage
        # and what came before can still be read after the error
        np.testing.assert_allclose(recording.read(5, 2_000), whole[5:2_000, 0], atol=1 / 32_768)


def test_a_flac_cut_short_is_read_in_its_middle_all_the_same():
    """Its decoder cannot seek any more."""
    whole = sound(800_000)
    content = encoded(whole, "FLAC", "PCM_16")
    with opened(content[: len(content) // 2]) as recording:
        np.testing.assert_allclose(
            recording.read(100_000, 100_500), whole[100_000:100_500, 0], atol=1e-4
        )
        np.testing.assert_allclose(recording.read(50, 90), whole[50:90, 0], atol=1e-4)
        assert len(recording.read(790_000, 800_000)) == 0
        assert "decoding broke" in recording.damage
        np.testing.assert_allclose(recording.read(7, 9), whole[7:9, 0], atol=1e-4)


def test_reading_behind_the_end():
    with opened(encoded(sound(1_000), "WAV", "PCM_16")) as recording:
        assert len(recording.read(900, 1_100)) == 100
        assert recording.damage is None


@pytest.mark.parametrize(
    ("format_", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("WAV", "PCM_24"),
        ("WAV", "ULAW"),
        ("WAVEX", "FLOAT"),
        ("AIFF", "PCM_16"),
        ("AU", "PCM_16"),
        ("RF64", "PCM_16"),
        ("W64", "PCM_16"),
        ("MP3", "MPEG_LAYER_III"),
    ],
)
def test_a_file_cut_in_the_middle_is_told_from_its_header(format_, subtype):
    content = encoded(sound(40_000), format_, subtype, rate=44_100)
    with opened(content) as recording:
        whole = recording.read(0, 40_000)
        assert len(whole) == 40_000
        assert recording.damage is None
    with opened(content[: len(content) // 2]) as recording:
        assert recording.info.frames == pytest.approx(40_000, rel=0.01)
        part = recording.read(0, recording.info.frames)
        assert len(part) == pytest.approx(20_000, rel=0.15)  # MP3's first frames are larger
        assert "ends after" in recording.damage
        # MP3 hides losses in the frame that was cut
        np.testing.assert_array_equal(part[:17_000], whole[:17_000])


def test_an_ogg_without_its_last_page_is_cut():
    content = encoded(sound(200_000), "OGG", "VORBIS")
    for data, damaged in ((content, False), (content[: len(content) // 2], True)):
        with opened(data) as recording:
            assert len(recording.read(0, recording.info.frames)) == recording.info.frames > 50_000
            assert (recording.damage is not None) is damaged


@pytest.mark.parametrize("size", [0x7FFFFFFF, 0xFFFFFFFF, 2_000 + 36])
def test_a_wav_of_unknown_length_is_not_cut(size):
    content = bytearray(encoded(sound(1_000), "WAV", "PCM_16"))
    content[40:44] = struct.pack("<I", size)  # of the data chunk, which has 2000 bytes
    with opened(bytes(content)) as recording:
        frames = recording.info.frames
        assert len(recording.read(0, frames)) == frames
        assert recording.damage is None
        assert frames == 1_000


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers(bad):
    samples = sound(3_000, 2)
    samples[2_000, 1] = bad
    with opened(encoded(samples, "WAV", "FLOAT")) as recording:
        assert recording.read(0, 2_000).shape == (2_000,)
        with pytest.raises(AudioError, match="NaN or infinite samples after frame 2000") as caught:
            recording.read(1_500, 3_000)
        assert caught.value.status == "unreadable"


class CountingFile(io.RawIOBase):
    """A file that counts what is read of it."""

    def __init__(self, content):
        self.count = 0
        self._file = io.BytesIO(content)

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=0):
        return self._file.seek(offset, whence)

    def readinto(self, buffer):
        size = self._file.readinto(buffer)
        self.count += size
        return size


@pytest.mark.parametrize(
    ("format_", "subtype", "rate"),
    [
        ("WAV", "PCM_16", 8_000),
        ("FLAC", "PCM_16", 8_000),
        ("AIFF", "PCM_24", 8_000),
        ("W64", "FLOAT", 8_000),
        ("OGG", "OPUS", 48_000),
    ],
)
def test_a_part_of_a_recording_reads_about_that_part_of_the_file(format_, subtype, rate):
    content = encoded(sound(120 * rate), format_, subtype, rate)
    counting = CountingFile(content)
    # as a shard reads it: through a buffer of 64 kB
    with Recording(io.BufferedReader(counting, 65_536)) as recording:
        found = recording.read(100 * rate, 106 * rate)
    assert len(found) == 6 * rate
    # 6 of 120 s; beside them the header, the places that a seek tries, and what a buffer reads too much
    assert counting.count < len(content) * 6 / 120 + 8 * 65_536
    assert counting.count < len(content) / 2


class FailingFile(io.BytesIO):
    """A store that breaks down after some bytes."""

    def __init__(self, content, error):
        super().__init__(content)
        self._error = error

    def read(self, size=-1):
        if self.tell() > 20_000:
            raise self._error
        return super().read(size)


@pytest.mark.parametrize(
    "error",
    [
        OSError("connection reset"),
        AudioError("changed", "replaced meanwhile"),
        CredentialsError("credentials were refused"),
    ],
)
def test_an_error_of_the_store_is_not_taken_for_the_end_of_the_file(error):
    with Recording(FailingFile(encoded(sound(40_000), "WAV", "PCM_16"), error)) as recording:
        assert len(recording.read(0, 5_000)) == 5_000
        with pytest.raises(type(error), match=str(error)):
            recording.read(5_000, 40_000)


def test_the_file_object_stays_open():
    file = io.BytesIO(encoded(sound(100), "WAV", "PCM_16"))
    with Recording(file):
        pass
    assert not file.closed


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_an_array_as_a_source(dtype):
    source = ArraySource(sound(100, 2).astype(dtype), 44_100)
    assert source.info[:3] == (44_100, 2, 100)
    assert source.read(10, 60).dtype == np.float32
    assert ArraySource(np.zeros(0, dtype), 8_000).info.frames == 0


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.zeros((2, 3, 4), np.float32), r"\(samples, channels\), got \(2, 3, 4\)"),
        (np.float32(1.0), r"got \(\)"),
        (np.zeros(5, np.int16), "floating point .* got dtype int16"),
    ],
)
def test_arrays_that_are_no_audio(audio, message):
    with pytest.raises(ValueError, match=message):
        ArraySource(np.asarray(audio), 8_000)


@pytest.mark.parametrize("format_", ["WAV", "FLAC"])
def test_the_first_channel_may_be_taken_instead_of_the_mean(format_):
    samples = sound(30_000, channels=3)
    content = encoded(samples, format_, "PCM_16")
    decoded, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    for mix, expected in {"first": decoded[:, 0], "mean": decoded.mean(axis=1)}.items():
        with opened(content) as recording:
            recording.mix = mix
            parts = [recording.read(start, start + 7_000) for start in (0, 7_000, 20_000)]
        for start, part in zip((0, 7_000, 20_000), parts):
            np.testing.assert_array_equal(part, expected[start : start + 7_000])
        source = ArraySource(decoded, RATE)
        source.mix = mix
        np.testing.assert_array_equal(source.read(5, 900), expected[5:900])
        assert source.info == AudioInfo(RATE, 3, 30_000, "array")
