"""What headers promise, and whether a file holds it."""

import re
from typing import BinaryIO

_OGG_PAGE_BYTES = 65_307
_OGG_LAST_PAGE = 4
# How libsndfile's log tells a header that promises more than the file holds.
_CLAIM_IN_BYTES = re.compile(
    r"^ *(?:data|SSND|riff|Data Size) *: (\d{1,20}) \(should be (\d{1,20})\)", re.MULTILINE
)
_CLAIM_IN_FRAMES = re.compile(r"from 'ds64' chunk of (\d{1,20})")
# Bytes by which a header may promise too much without being called cut: some writers count it in.
_HEADER_SLACK = 64
# Sizes that writers leave in a header when they do not know the length (pipes, recorders that crashed).
_UNKNOWN_SIZES = frozenset({0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE, 0x7FFFF000, 0xFFFFF000})


def claimed_frames(frames: int, log: str) -> int:
    """Frames that the header promises.

    Args:
        frames: how many there really are, as libsndfile says.
        log: what it says of the header.
    """
    if claim := _CLAIM_IN_FRAMES.search(log):
        return max(frames, int(claim[1]))
    claim = _CLAIM_IN_BYTES.search(log)
    if claim is None:
        return frames
    promised, there = int(claim[1]), int(claim[2])
    if promised in _UNKNOWN_SIZES or promised <= there + _HEADER_SLACK or there == 0:
        return frames
    return frames * promised // there


def has_last_ogg_page(file: BinaryIO) -> bool:
    """Whether the last page of an Ogg file says that it is the last (RFC 3533, header type flag)."""
    position = file.tell()
    end = file.seek(0, 2)
    file.seek(max(0, end - _OGG_PAGE_BYTES))
    tail = file.read()
    file.seek(position)
    page = tail.rfind(b"OggS")
    return page >= 0 and page + 5 < len(tail) and bool(tail[page + 5] & _OGG_LAST_PAGE)
