"""TensorFlow checkpoints of a single file ("V1"), read without TensorFlow.

The file is a table of TensorFlow (`tensorflow/core/lib/io/format.cc`, LevelDB's format): blocks of keys
and values, an index of them, and a footer that says where it lies. Each value is a message
`SavedTensorSlices` (`tensorflow/core/protobuf/saved_tensor_slice.proto`): the first one describes all
tensors, each further one holds a piece of one. TensorFlow's own reader needs TensorFlow to be loaded,
and was none for files of strangers (CVE-2021-41203); here nothing is believed, and what does not fit is
a `WeightsError`.
"""

import math
import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import google_crc32c
import numpy as np

from l3core.errors import WeightsError
from l3core.hdf5 import MAX_BYTES

_FOOTER = 48
_MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
_TRAILER = 5  # of a block: how it is compressed, and its CRC32C
_PLAIN, _SNAPPY = 0, 1
_FLOAT32 = 1  # tensorflow/core/framework/types.proto
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types of protocol buffers


class _DamagedError(ValueError):
    """What is wrong with a file."""


class _Described(NamedTuple):
    """What the first message says of a tensor."""

    shape: tuple[int, ...]
    dtype: int


def is_checkpoint(content: bytes) -> bool:
    """Whether a file seems to be a checkpoint of a single file."""
    return content.endswith(_MAGIC)


def read_checkpoint(
    content: bytes, wanted: Mapping[str, tuple[int, ...]], *, name: str
) -> dict[str, np.ndarray]:
    """Tensors of a checkpoint, float32, by their names.

    Args:
        content: of the file.
        wanted: name and shape of each tensor that is read; others are left alone.
        name: of the file, for people.

    Raises:
        WeightsError: it is no such file, is damaged, or has not all that is wanted.
    """
    try:
        return _tensors(content, wanted)
    except (_DamagedError, IndexError, struct.error, UnicodeDecodeError, OSError) as error:
        raise WeightsError(f"{name} is no TensorFlow checkpoint of one file: {error}") from None


def _tensors(content: bytes, wanted: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    entries = _entries(memoryview(content))
    described = _describe(next(entries, memoryview(b"")))
    for tensor, shape in wanted.items():
        found = described.get(tensor)
        if found is None:
            raise _DamagedError(f"it has no tensor {tensor}")
        if found.dtype != _FLOAT32 or found.shape != shape:
            raise _DamagedError(
                f"{tensor} should be float32 {shape}, is {found.shape} of type {found.dtype}"
            )
    tensors: dict[str, np.ndarray] = {}
    for entry in entries:
        for piece in _messages(entry, 2):
            tensor = _text(piece, 1)
            if tensor in wanted:
                if tensor in tensors:
                    raise _DamagedError(f"{tensor} is there twice, or in pieces")
                tensors[tensor] = _values(piece, wanted[tensor], tensor)
    lacking = next((tensor for tensor in wanted if tensor not in tensors), None)
    if lacking:
        raise _DamagedError(f"it describes {lacking} and does not hold it")
    return tensors


def _describe(entry: memoryview) -> dict[str, _Described]:
    described = {}
    for meta in _messages(entry, 1):
        for tensor in _messages(meta, 1):
            shapes = list(_messages(tensor, 2))
            sizes = [_number(size, 1) for shape in shapes for size in _messages(shape, 2)]
            described[_text(tensor, 1)] = _Described(tuple(sizes), _number(tensor, 3))
    if not described:
        raise _DamagedError("it describes no tensors")
    return described


def _values(piece: memoryview, shape: tuple[int, ...], tensor: str) -> np.ndarray:
    """The numbers of a tensor that is one piece."""
    parts = [part for data in _messages(piece, 3) for part in _messages(data, 5)]
    numbers = math.prod(shape)
    if sum(map(len, parts)) != 4 * numbers:
        raise _DamagedError(f"{tensor} should have {numbers} numbers in one piece")
    content = parts[0] if len(parts) == 1 else b"".join(parts)  # a number may lie in two of them
    return np.frombuffer(content, "<f4").reshape(shape)


def _entries(content: memoryview) -> Iterator[memoryview]:
    """The values of a table, in the order of their keys."""
    if len(content) < _FOOTER or content[-len(_MAGIC) :] != _MAGIC:
        raise _DamagedError("its end is another's, or cut off")
    footer = content[-_FOOTER:]
    _, place = _handle(footer, 0)  # of an index of indices, which is empty
    index, _ = _handle(footer, place)
    unpacked = 0
    for value in _in_block(_block(content, index, MAX_BYTES)):
        handle, _ = _handle(value, 0)
        block = _block(content, handle, MAX_BYTES - unpacked)
        unpacked += len(block)
        yield from _in_block(block)


class _Handle(NamedTuple):
    """Where a block lies."""

    offset: int
    size: int


def _handle(data: memoryview, place: int) -> tuple[_Handle, int]:
    offset, place = _varint(data, place)
    size, place = _varint(data, place)
    return _Handle(offset, size), place


def _block(content: memoryview, handle: _Handle, room: int) -> memoryview:
    """The content of a block, checked and unpacked."""
    stop = handle.offset + handle.size
    if stop + _TRAILER > len(content):
        raise _DamagedError("a block lies outside of it")
    (kept,) = struct.unpack("<I", content[stop + 1 : stop + _TRAILER])
    checksum = google_crc32c.value(bytes(content[handle.offset : stop + 1]))
    if ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF != kept:
        raise _DamagedError(f"the block at byte {handle.offset} has another checksum")
    block = content[handle.offset : stop]
    if content[stop] == _PLAIN:
        if len(block) > room:
            raise _DamagedError(f"it holds more than {MAX_BYTES >> 20} MiB")
        return block
    if content[stop] != _SNAPPY:
        raise _DamagedError(f"a block is compressed by method {content[stop]}, which is unknown")
    size, _ = _varint(block, 0)
    if size > room:
        raise _DamagedError(f"it unpacks to more than {MAX_BYTES >> 20} MiB")
    import pyarrow as pa

    try:
        return memoryview(pa.Codec("snappy").decompress(block, decompressed_size=size))
    except pa.ArrowException as error:
        raise _DamagedError(f"a block does not unpack: {error}") from None


def _in_block(block: memoryview) -> Iterator[memoryview]:
    """The values of a block; keys are only walked over."""
    (restarts,) = struct.unpack("<I", block[-4:])
    end, place = len(block) - 4 * (restarts + 1), 0
    if end < 0:
        raise _DamagedError("a block has more restarts than room")
    while place < end:
        _, place = _varint(block, place)
        key, place = _varint(block, place)
        value, place = _varint(block, place)
        place += key + value
        if place > end:
            raise _DamagedError("a value is longer than its block")
        yield block[place - value : place]


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise _DamagedError("a number has no end")


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(number, value) of each field of a message: a number, or bytes."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        kind = tag & 7
        if kind == _VARINT:
            value, place = _varint(message, place)
            yield tag >> 3, value
            continue
        if kind == _BYTES:
            size, place = _varint(message, place)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise _DamagedError(f"a field of kind {kind}, which there is not")
        place += size
        if place > len(message):
            raise _DamagedError("a field is longer than its message")
        yield tag >> 3, message[place - size : place]


def _messages(message: memoryview, number: int) -> Iterator[memoryview]:
    """The fields of a number that hold bytes."""
    for found, value in _fields(message):
        if found == number and isinstance(value, memoryview):
            yield value


def _number(message: memoryview, number: int) -> int:
    values = [value for found, value in _fields(message) if found == number]
    return values[-1] if values and isinstance(values[-1], int) else 0


def _text(message: memoryview, number: int) -> str:
    return bytes(next(_messages(message, number), memoryview(b""))).decode()
