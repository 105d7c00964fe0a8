"""TFRecord files of tf.train.Example, as TensorFlow defines them, without TensorFlow.

A worker that cuts videos needs none of it: it takes seconds and 500 MB to load. What is here is the part
of the format that is written by `l3core.avc.records`; any reader of TFRecord reads it.

A record is its length (uint64), a masked CRC32C of that, its bytes, and a masked CRC32C of these, all
little-endian (tensorflow/core/lib/io/record_writer.h). An Example is a message of Protocol Buffers, a
map of names to lists of bytes, floats or int64 (tensorflow/core/example/feature.proto).
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO

import google_crc32c

_MASK_DELTA = 0xA282EAD8  # tensorflow/core/lib/hash/crc32c.h
_HEADER, _CRC = struct.Struct("<QI"), struct.Struct("<I")
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3  # fields of a Feature

Values = bytes | int | float | tuple[int, ...]
Lists = list[bytes] | list[int] | list[float]


def frame(content: bytes) -> bytes:
    """A record of a TFRecord file."""
    length = struct.pack("<Q", len(content))
    return length + _CRC.pack(_masked(length)) + content + _CRC.pack(_masked(content))


def frames(file: BinaryIO) -> Iterator[bytes]:
    """The contents of a TFRecord file's records.

    Raises:
        ValueError: a record is cut off, or has another checksum than it says.
    """
    number = 0
    while header := file.read(_HEADER.size):
        if len(header) < _HEADER.size:
            raise ValueError(f"record {number} is cut off")
        length, crc = _HEADER.unpack(header)
        if crc != _masked(header[:8]):  # before so many bytes are asked for
            raise ValueError(f"the length of record {number} does not have its checksum")
        content, tail = file.read(length), file.read(_CRC.size)
        if len(content) < length or len(tail) < _CRC.size:
            raise ValueError(f"record {number} is cut off")
        if _CRC.unpack(tail)[0] != _masked(content):
            raise ValueError(f"record {number} does not have its checksum")
        yield content
        number += 1


def _masked(content: bytes) -> int:
    crc = google_crc32c.value(content)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def to_example(values: Mapping[str, Values]) -> bytes:
    """A serialized tf.train.Example; names in the order that they come in.

    Args:
        values: name -> bytes, a number, or several whole numbers.
    """
    entries = (_field(1, name.encode()) + _field(2, _feature(value)) for name, value in values.items())
    return _field(1, b"".join(_field(1, entry) for entry in entries))


def _feature(value: Values) -> bytes:
    if isinstance(value, bytes):
        return _field(_BYTES_LIST, _field(1, value))
    if isinstance(value, float):
        return _field(_FLOAT_LIST, _field(1, struct.pack("<f", value)))
    numbers = value if isinstance(value, tuple) else (value,)
    return _field(_INT64_LIST, _field(1, b"".join(map(_varint, numbers))))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    value &= 2**64 - 1  # negative ones are two's complements
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def from_example(serialized: bytes) -> dict[str, Lists]:
    """Name -> values of a serialized tf.train.Example.

    Raises:
        ValueError: it is none.
    """
    found: dict[str, Lists] = {}
    for features in _messages(serialized, 1):
        for entry in _messages(features, 1):
            parts = {number: value for number, _, value in _fields(entry)}
            name, feature = parts.get(1, b""), parts.get(2, b"")
            if not isinstance(name, bytes) or not isinstance(feature, bytes):
                raise ValueError("a feature is no message")
            found[name.decode()] = _values(feature)
    return found


def _values(feature: bytes) -> Lists:
    for kind, _, content in _fields(feature):
        if not isinstance(content, bytes):
            break
        if kind == _BYTES_LIST:
            return list(_messages(content, 1))
        if kind == _FLOAT_LIST:
            return [value for part in _parts(content) for value in _floats(part)]
        if kind == _INT64_LIST:
            return [value for part in _fields(content) for value in _integers(part[2])]
    raise ValueError("a feature has no list of values")


def _messages(content: bytes, wanted: int) -> Iterator[bytes]:
    for number, _, value in _fields(content):
        if number == wanted:
            if not isinstance(value, bytes):
                raise ValueError("a number is where a message should be")
            yield value


def _parts(content: bytes) -> Iterator[bytes]:
    """Floats as they lie, of a list that is packed or not."""
    for _, wire, value in _fields(content):
        yield (
            value if isinstance(value, bytes) else struct.pack("<I" if wire == _FIXED32 else "<Q", value)
        )


def _floats(part: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(part) // 4}f", part)


def _integers(value: bytes | int) -> Iterator[int]:
    place, stop = 0, 0
    if isinstance(value, int):
        yield _signed(value)
        return
    stop = len(value)
    while place < stop:
        number, place = _read_varint(value, place)
        yield _signed(number)


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _fields(content: bytes) -> Iterator[tuple[int, int, bytes | int]]:
    """(number, wire type, value) of the fields of a message."""
    place = 0
    while place < len(content):
        key, place = _read_varint(content, place)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, place = _read_varint(content, place)
            yield number, wire, value
            continue
        if wire == _BYTES:
            size, place = _read_varint(content, place)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"unknown wire type {wire}")
        part, place = content[place : place + size], place + size
        if place > len(content):
            raise ValueError("a message is cut off")
        yield number, wire, part if wire == _BYTES else int.from_bytes(part, "little")


def _read_varint(content: bytes, place: int) -> tuple[int, int]:
    """A number, and the place behind it."""
    value = shift = 0
    while shift < 70:
        if place >= len(content):
            raise ValueError("a message is cut off")
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), place
        shift += 7
    raise ValueError("a number has too many bytes")


def records_of(contents: Iterable[bytes]) -> Iterator[bytes]:
    """What a TFRecord file consists of, record by record."""
    return map(frame, contents)
