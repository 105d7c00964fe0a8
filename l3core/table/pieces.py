"""Pieces: recordings cut at fixed places, so that long ones can be shared out and taken over."""

import posixpath
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from l3core.ahead import map_ahead
from l3core.audio import AudioInfo, Recording, seeks_exactly
from l3core.errors import AudioError
from l3core.pinned import open_pinned
from l3core.resampling import Resampling
from l3core.spec import EmbeddingSpec
from l3core.storage import StoredObject
from l3core.table.adopt import Key
from l3core.table.delta import Work
from l3core.urls import is_web

SHARD_BYTES = 256 * 2**20
SHARD_SECONDS = 600  # of work on a machine like `EmbeddingSpec.windows_per_second` speaks of
PROBE_BYTES = 32 * 2**20  # larger objects are opened, to cut long recordings
PROBED_TOGETHER = 256
# Bytes of a second of audio where an object is not opened: only for cutting even shards.
BYTES_PER_SECOND = {".flac": 60_000, ".ogg": 16_000, ".oga": 16_000, ".opus": 12_000, ".mp3": 20_000}
BYTES_PER_SECOND_ELSE = 120_000


class Piece(NamedTuple):
    """Some windows of one recording; what a shard is made of.

    Attributes:
        clip_id, uri, size_bytes, version, checksum: the object as it was listed.
        first_window: of the recording.
        last_window: behind the last one; None for all that there are.
        estimate: about how many windows that is.
        within: folder that it is read below only.
    """

    clip_id: str
    uri: str
    size_bytes: int
    version: str
    checksum: str | None
    first_window: int
    last_window: int | None
    estimate: int
    within: str | None = None

    @property
    def listed(self) -> StoredObject:
        """The object to read."""
        return StoredObject(self.uri, self.size_bytes, self.version, self.checksum, self.within)


def key_of(piece: Piece) -> Key:
    """What makes two pieces the same work."""
    return piece.uri, piece.size_bytes, piece.version, piece.first_window, piece.last_window


def shard_windows(spec: EmbeddingSpec) -> int:
    """Windows in a shard of a large run: ten minutes of work or 256 MB, whichever is less."""
    by_bytes = SHARD_BYTES // (4 * spec.size)
    by_time = int(SHARD_SECONDS * spec.windows_per_second)
    return max(1, min(by_bytes, by_time))


def cut_pieces(todo: Iterable[Work], spec: EmbeddingSpec) -> Iterator[Piece]:
    """Recordings as pieces; a long one is cut every `shard_windows`, wherever shards will end."""
    step = shard_windows(spec)
    for (clip_id, listed), windows in _probed(todo, spec):
        if windows is None:
            yield Piece(clip_id, *listed[:4], 0, None, _estimate(listed, spec), listed.within)
            continue
        cuts = list(range(0, max(windows, 1), step))
        for first in cuts:
            last = None if first == cuts[-1] else first + step
            yield Piece(clip_id, *listed[:4], first, last, min(step, windows - first), listed.within)


def _probed(todo: Iterable[Work], spec: EmbeddingSpec) -> Iterator[tuple[Work, int | None]]:
    """Recordings with their windows; those of large objects, which are opened side by side."""
    works = iter(todo)
    while some := list(islice(works, PROBED_TOGETHER)):
        # of an object on the web each piece would fetch all
        large = [w for w in some if w.listed.size_bytes > PROBE_BYTES and not is_web(w.listed.uri)]
        probed = dict(zip(large, map_ahead(lambda work: _windows_of(work.listed, spec), large)))
        yield from ((work, probed.get(work)) for work in some)


def _windows_of(listed: StoredObject, spec: EmbeddingSpec) -> int | None:
    """Windows of a recording that can be cut; None for one that is read in one go, or not at all."""
    info = probe(listed)
    if info is None or not seeks_exactly(info):  # every piece would decode all before it
        return None
    return window_count(info, spec)


def probe(listed: StoredObject) -> AudioInfo | None:
    """What a recording's header says; None if it cannot be read (the worker that reads it says why)."""
    try:
        with open_pinned(listed) as file, Recording(file) as recording:
            return recording.info
    except AudioError:
        return None


def window_count(info: AudioInfo, spec: EmbeddingSpec) -> int:
    """Windows of a recording."""
    rates = Resampling(info.sample_rate_hz, spec.sample_rate_hz, spec.resampler)
    return spec.window_grid.count(rates.length(info.frames))


def _estimate(listed: StoredObject, spec: EmbeddingSpec) -> int:
    extension = posixpath.splitext(listed.uri)[1].lower()
    seconds = listed.size_bytes / BYTES_PER_SECOND.get(extension, BYTES_PER_SECOND_ELSE)
    assert spec.hop_s is not None
    return max(1, round(seconds / spec.hop_s))
