"""TensorFlow checkpoints of one file: those that TensorFlow writes, and all that is none."""

import struct

import google_crc32c
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from l3core.checkpoints import is_checkpoint, read_checkpoint
from l3core.errors import WeightsError

RNG = np.random.default_rng(0)
TENSORS = {
    "net/conv/weights": RNG.normal(size=(3, 3, 1, 5)).astype(np.float32),
    "net/conv/biases": np.zeros(5, np.float32),
    "net/fc/weights": RNG.normal(size=(700, 90)).astype(np.float32),  # longer than a block
    "step": np.float32([7]),
}
WANTED = {name: tensor.shape for name, tensor in TENSORS.items() if name != "step"}


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "v1.ckpt"
    names, values = zip(*TENSORS.items())
    tf.raw_ops.Save(filename=str(path), tensor_names=list(names), data=list(values))
    return path.read_bytes()


def varint(value):
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])


def field(number, value):
    """A field of a message: a number, or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def described(name, shape, dtype=1):
    sizes = b"".join(field(2, field(1, size)) for size in shape)
    return field(1, field(1, field(1, name.encode()) + field(2, sizes) + field(3, dtype)))


def held(name, values):
    return field(2, field(1, name.encode()) + field(3, field(5, values)))


def written(entries, snappy=False):
    """A table of these values, a block for each, as TensorFlow and LevelDB write them."""
    blocks, index = b"", b""

    def add(value, key, packed):
        nonlocal blocks
        block = (
            varint(0) + varint(len(key)) + varint(len(value)) + key + value + struct.pack("<II", 0, 1)
        )
        block = pa.Codec("snappy").compress(block, asbytes=True) if packed else block
        body = block + bytes([packed])
        crc = google_crc32c.value(body)
        masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
        handle = varint(len(blocks)) + varint(len(block))
        blocks += body + struct.pack("<I", masked)
        return handle

    for number, value in enumerate(entries):
        key = b"%04d" % number
        index += varint(0) + varint(len(key)) + varint(len(handle := add(value, key, snappy))) + key
        index += handle
    index += struct.pack("<II", 0, 1)
    body = index + b"\0"
    crc = google_crc32c.value(body)
    where = varint(0) + varint(0) + varint(len(blocks)) + varint(len(index))
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    footer = where.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    return blocks + body + struct.pack("<I", masked) + footer


ONES = np.ones(4, "<f4").tobytes()
ONE = {"a": (4,)}


def read(content, wanted=WANTED):
    return read_checkpoint(content, wanted, name="x.ckpt")


def test_what_tensorflow_writes_is_read(content):
    assert is_checkpoint(content)
    found = read(content)
    assert found.keys() == WANTED.keys()  # what is not wanted is left alone
    for name, tensor in found.items():
        assert tensor.dtype == np.float32
        np.testing.assert_array_equal(tensor, TENSORS[name])


@pytest.mark.parametrize("snappy", [False, True])
def test_blocks_may_be_compressed(snappy):
    table = written([described("a", (2, 2)), held("a", ONES)], snappy=snappy)
    np.testing.assert_array_equal(read(table, {"a": (2, 2)})["a"], np.ones((2, 2)))


def test_a_number_may_lie_in_two_parts_of_a_piece():
    parts = field(3, field(5, ONES[:3]) + field(5, ONES[3:]))
    table = written([described("a", (4,)), field(2, field(1, b"a") + parts)])
    np.testing.assert_array_equal(read(table, ONE)["a"], np.ones(4))


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ([], "describes no tensors"),
        ([described("b", (4,)), held("b", ONES)], "it has no tensor a"),
        ([described("a", (2, 2)), held("a", ONES)], r"a should be float32 \(4,\), is \(2, 2\)"),
        ([described("a", (4,), dtype=2), held("a", ONES)], "of type 2"),
        ([described("a", (4,))], "describes a and does not hold it"),
        ([described("a", (4,)), held("a", ONES[:8])], "4 numbers in one piece"),
        ([described("a", (4,)), held("a", ONES * 2)], "4 numbers in one piece"),
        ([described("a", (4,)), held("a", ONES), held("a", ONES)], "twice, or in pieces"),
        ([described("a", (4,)), held("a", ONES)[:-3]], "longer than its message"),
        ([described("a", (4,)), b"\x0b"], "a field of kind 3"),
        ([described("a", (4,)), b"\xff" * 12], "a number has no end"),
        ([b"\x0a\x06\x0a\x04\x0a\x02\xff\xff"], "decode"),
        ([described("a", (4,)), field(2, field(1, b"a") + field(3, field(5, 4)))], "in one piece"),
    ],
)
def test_messages_that_do_not_fit(entries, problem):
    with pytest.raises(WeightsError, match=f"x.ckpt is no TensorFlow checkpoint.*{problem}"):
        read(written(entries), ONE)


def test_a_bomb_is_not_unpacked():
    """Snappy says first how much it becomes."""
    table = bytearray(written([described("a", (4,)), held("a", ONES)], snappy=True))
    size = varint(2**40)
    block = size + bytes(table[1:40])
    body = block + b"\x01"
    crc = google_crc32c.value(body)
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    index = varint(0) + varint(1) + varint(2) + b"k" + varint(0) + varint(len(block))
    index += struct.pack("<II", 0, 1)
    place = len(body) + 4
    index_crc = google_crc32c.value(index + b"\0")
    index_masked = ((index_crc >> 15 | index_crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    footer = (varint(0) * 2 + varint(place) + varint(len(index))).ljust(40, b"\0")
    bomb = body + struct.pack("<I", masked) + index + b"\0" + struct.pack("<I", index_masked)
    with pytest.raises(WeightsError, match="unpacks to more than 1024 MiB"):
        read(bomb + footer + struct.pack("<Q", 0xDB4775248B80FB57), ONE)


def test_a_block_that_was_altered():
    table = bytearray(written([described("a", (4,)), held("a", ONES)]))
    table[5] ^= 1
    with pytest.raises(WeightsError, match="the block at byte 0 has another checksum"):
        read(bytes(table), ONE)


def test_every_byte_counts(content):
    """A flipped bit is found by the checksums, or is in what nobody reads; nothing else is raised."""
    small = written([described("a", (4,)), held("a", ONES)])
    found = 0
    for place in range(len(small)):
        broken = bytearray(small)
        broken[place] ^= 0x10
        try:
            assert read(bytes(broken), ONE)["a"].tolist() == [1, 1, 1, 1]
        except WeightsError:
            found += 1
    assert found > 0.7 * len(small)
    for length in range(0, len(content), 1_999):
        with pytest.raises(WeightsError, match="its end is another's, or cut off"):
            read(content[:length])


@pytest.mark.parametrize("text", [b"", b"404: Not Found", b"\x89HDF\r\n\x1a\n" + bytes(200)])
def test_other_files(text):
    assert not is_checkpoint(text)
    with pytest.raises(WeightsError, match=r"x.ckpt is no TensorFlow checkpoint of one file"):
        read(text)
