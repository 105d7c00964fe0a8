"""Rows in random order, in bounded memory."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from l3core.table.scan import Piece, Scan, Windows

# Row groups that are read side by side, so that the buffer holds more than neighbours.
SIDE_BY_SIDE = 4


def shuffled(
    scan: Scan, pieces: Sequence[Piece], random: np.random.Generator, *, buffer_rows: int
) -> Iterator[Windows]:
    """The rows of some pieces in random order.

    Args:
        scan: reads them.
        pieces: already in random order.
        random: decides; the same state gives the same order.
        buffer_rows: rows that wait at a time, at most; each new one sends a random one on.
    """
    pool = np.empty((buffer_rows, scan.size), np.float32)
    held, metadata = 0, pa.schema([]).empty_table()
    for part in _side_by_side(scan, pieces, random, rows=max(1, buffer_rows // SIDE_BY_SIDE)):
        free = min(buffer_rows - held, len(part.vectors))
        pool[held : held + free] = part.vectors[:free]
        rows = part.metadata.slice(0, free)
        metadata = pa.concat_tables([metadata, rows]) if held else rows
        held += free
        slots = random.choice(held, len(part.vectors) - free, replace=False)
        if len(slots):
            yield Windows(metadata.take(slots), pool[slots])
            pool[slots] = part.vectors[free:]
            place = np.arange(held)
            place[slots] = held + np.arange(len(slots))
            metadata = pa.concat_tables([metadata, part.metadata.slice(free)]).take(place)
    order = random.permutation(held)
    if held:
        yield Windows(metadata.take(order), pool[order])


def _side_by_side(
    scan: Scan, pieces: Sequence[Piece], random: np.random.Generator, *, rows: int
) -> Iterator[Windows]:
    """Rows of a few pieces at a time, in turns that `random` gives."""
    waiting = iter(pieces)
    readers: list[Iterator[Windows]] = []
    while True:
        for piece in waiting:
            readers.append(_in_parts(scan, piece, rows))
            if len(readers) == SIDE_BY_SIDE:
                break
        if not readers:
            return
        chosen = int(random.integers(len(readers)))
        part = next(readers[chosen], None)
        if part is None:
            readers.pop(chosen)
        else:
            yield part


def _in_parts(scan: Scan, piece: Piece, rows: int) -> Iterator[Windows]:
    for windows in scan.read([piece]):
        for start in range(0, len(windows.vectors), rows):
            stop = min(start + rows, len(windows.vectors))
            yield Windows(windows.metadata.slice(start, stop - start), windows.vectors[start:stop])
