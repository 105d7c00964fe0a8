"""Records of pairs: what TensorFlow reads and writes, and files that are not what was written."""

import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from l3core.avc.codecs import decode_audio, decode_image, encode_audio, encode_image
from l3core.avc.examples import from_example, to_example
from l3core.avc.records import Pair, parse, read_records, serialize, write_records
from l3core.errors import DamagedError

PAIR = Pair(
    audio=b"sound\0",
    image=b"picture\xff",
    label=1,
    audio_video="a/\u00e4\u20ac.mp4",
    image_video="b.webm",
    audio_start_us=-5,
    image_us=3_600_000_000,
    gain=1.25,
    saturation=0.5,
    brightness=-0.125,
    box=(3, 300),
    flipped=1,
)
OTHER = PAIR._replace(label=0, audio_video="", box=(0, 0), flipped=0, image_us=2**40)


@pytest.fixture
def file(tmp_path):
    write_records(str(tmp_path / "a.tfrecord"), [PAIR, OTHER])
    return tmp_path / "a.tfrecord"


def test_pairs_come_back_as_they_were(file):
    assert [parse(record) for record in read_records(str(file))] == [PAIR, OTHER]


def test_what_was_written_is_told(tmp_path):
    import hashlib

    written = write_records(str(tmp_path / "a.tfrecord"), iter([PAIR, OTHER]))
    content = (tmp_path / "a.tfrecord").read_bytes()
    assert written == (2, len(content), hashlib.sha256(content).hexdigest())


def test_tensorflow_reads_the_same(file):
    import tensorflow as tf

    raw = [record.numpy() for record in tf.data.TFRecordDataset(str(file))]
    assert raw == read_records(str(file))
    example = tf.train.Example.FromString(raw[0]).features.feature
    assert set(example) == set(Pair._fields)
    assert list(example["audio"].bytes_list.value) == [PAIR.audio]
    assert list(example["audio_video"].bytes_list.value) == [PAIR.audio_video.encode()]
    assert list(example["audio_start_us"].int64_list.value) == [-5]
    assert list(example["image_us"].int64_list.value) == [3_600_000_000]
    assert list(example["box"].int64_list.value) == [3, 300]
    assert list(example["brightness"].float_list.value) == [-0.125]
    features = {
        "label": tf.io.FixedLenFeature([], tf.int64),
        "gain": tf.io.FixedLenFeature([], tf.float32),
        "box": tf.io.FixedLenFeature([2], tf.int64),
        "image": tf.io.FixedLenFeature([], tf.string),
    }
    parsed = tf.io.parse_example(raw, features)
    assert parsed["label"].numpy().tolist() == [1, 0]
    assert parsed["box"].numpy().tolist() == [[3, 300], [0, 0]]
    assert parsed["gain"].numpy().tolist() == [1.25, 1.25]
    assert parsed["image"].numpy().tolist() == [PAIR.image] * 2


def test_what_tensorflow_writes_is_read(tmp_path):
    import tensorflow as tf

    kinds = {bytes: ("bytes_list", tf.train.BytesList), float: ("float_list", tf.train.FloatList)}
    features = {}
    for name, value in PAIR._asdict().items():
        values = value if isinstance(value, tuple) else (value,)
        values = [each.encode() if isinstance(each, str) else each for each in values]
        field, kind = kinds.get(type(values[0]), ("int64_list", tf.train.Int64List))
        features[name] = tf.train.Feature(**{field: kind(value=values)})
    example = tf.train.Example(features=tf.train.Features(feature=features))
    path = str(tmp_path / "theirs.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        writer.write(example.SerializeToString())
    (record,) = read_records(path)
    assert parse(record) == PAIR


@given(
    numbers=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=3).map(tuple),
    content=st.binary(max_size=300),
    value=st.floats(width=32, allow_nan=False),
    name=st.text(min_size=1),
)
@settings(max_examples=50, deadline=None)
def test_any_values_come_back(numbers, content, value, name):
    found = from_example(to_example({name: content, name + "2": numbers, name + "3": value}))
    assert found == {name: [content], name + "2": list(numbers), name + "3": [value]}


def test_each_damage_is_an_error_that_names_the_file(file):
    whole = file.read_bytes()
    for place in range(0, len(whole), 7):
        broken = bytearray(whole)
        broken[place] ^= 4
        file.write_bytes(broken)
        with pytest.raises(DamagedError, match=r"a\.tfrecord is damaged: "):
            read_records(str(file))
    for size in (1, 11, 20, len(whole) - 1):
        file.write_bytes(whole[:size])
        with pytest.raises(DamagedError, match=r"a\.tfrecord is damaged: .* is cut off"):
            read_records(str(file))


def test_a_length_is_believed_with_its_checksum_only(file):
    file.write_bytes(struct.pack("<QI", 2**62, 0) + file.read_bytes())
    with pytest.raises(DamagedError, match="length of record 0"):
        read_records(str(file))


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(DamagedError, match=r"gone\.tfrecord is missing"):
        read_records(str(tmp_path / "gone.tfrecord"))


@pytest.mark.parametrize(
    "record",
    [
        b"\xff" * 20,
        b"",
        b"\x0a\x05",
        to_example({"label": 1}),
        serialize(PAIR).replace(b"box", b"cox"),
        to_example({**PAIR._asdict(), "audio_video": b"", "image_video": b"", "box": (1, 2, 3)}),
        to_example({**PAIR._asdict(), "audio_video": b"", "image_video": b"", "gain": 1}),
    ],
)
def test_what_is_no_pair_is_an_error(record):
    with pytest.raises(DamagedError, match="no pair"):
        parse(record)


def test_sound_comes_back_exactly():
    noise = np.random.default_rng(0).integers(-(2**15), 2**15, 48000).astype(np.int16)
    for audio in (noise, np.zeros(48000, np.int16), np.full(48000, -(2**15), np.int16)):
        found = decode_audio(encode_audio(audio))
        assert found.dtype == np.int16
        assert np.array_equal(found, audio)


def test_a_picture_comes_back_nearly():
    rows, columns = np.mgrid[0:224, 0:224]
    image = np.stack([rows, columns, 223 - rows], axis=2).astype(np.uint8)
    found = decode_image(encode_image(image))
    assert (found.dtype, found.shape) == (np.uint8, (224, 224, 3))
    assert np.abs(found.astype(int) - image).mean() < 1.5


def test_what_is_no_second_or_no_picture_is_refused():
    with pytest.raises(ValueError, match=r"needs int16 \(48000,\), got int16 \(5,\)"):
        encode_audio(np.zeros(5, np.int16))
    with pytest.raises(ValueError, match=r"needs uint8 \(224, 224, 3\), got float32"):
        encode_image(np.zeros((224, 224, 3), np.float32))
    with pytest.raises(DamagedError, match="sound of a pair cannot"):
        decode_audio(b"fLaC nothing")


@pytest.mark.parametrize("samples", [2**35, 48_001, 47_999])
def test_no_memory_is_taken_for_what_a_header_says(samples, monkeypatch):
    content = bytearray(encode_audio(np.zeros(48_000, np.int16)))
    head = int.from_bytes(content[18:26], "big")  # rate, channels, bits; 36 bits of samples
    assert head & (2**36 - 1) == 48_000
    content[18:26] = (head - 48_000 + samples).to_bytes(8, "big")
    monkeypatch.setattr(soundfile.SoundFile, "read", None)  # it would take it
    with pytest.raises(DamagedError, match=rf"needs 48000 samples .* has {samples} of 1 channels"):
        decode_audio(bytes(content))
    with pytest.raises(DamagedError, match="picture of a pair cannot"):
        decode_image(b"\xff\xd8 nothing")


def test_other_formats_are_no_picture_of_a_pair():
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (224, 224)).save(file, "PNG")
    with pytest.raises(DamagedError):
        decode_image(file.getvalue())
    file = io.BytesIO()
    Image.new("RGB", (10, 224)).save(file, "JPEG")
    with pytest.raises(DamagedError, match="needs 224 x 224"):
        decode_image(file.getvalue())
