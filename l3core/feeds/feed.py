"""What all libraries that train on a table have in common: its rows, shuffled, labelled, shared out.

Row groups are put in a random order and a few of them read side by side; their rows pass through a
buffer in which each takes the place of a random one that goes on. With one seed and epoch the order is
always the same, and the shares of several readers are of one order: together they have each row once.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from l3core.errors import UsageError
from l3core.feeds.shuffling import shuffled
from l3core.table.scan import Piece, Scan, Windows, rebatched, scan_windows

BUFFER_ROWS = 4096
EMBEDDING, LABEL = "embedding", "label"


class Labels(NamedTuple):
    """Numbers that belong to clips.

    Attributes:
        clips: ids.
        values: int64 or float32 `(clips, ...)`.
    """

    clips: pa.Array
    values: np.ndarray


class Share(NamedTuple):
    """One of several readers that share a table.

    Attributes:
        number: which, from 0.
        of: how many there are.
    """

    number: int = 0
    of: int = 1


EVERYTHING = Share()


@dataclass(frozen=True)
class Feed:
    """Rows of a table as arrays by name: the columns asked for, `embedding`, and `label` if there are.

    Attributes:
        scan: what is read.
        pieces: of it, all of them.
        columns: of the metadata, those that rows have.
        labels: None if there are none.
        seed: of the shuffling; None for the table's own order.
        buffer_rows: rows among which rows are shuffled.
    """

    scan: Scan
    pieces: tuple[Piece, ...]
    columns: tuple[str, ...]
    labels: Labels | None
    seed: int | None
    buffer_rows: int

    def arrays(
        self, epoch: int = 0, share: Share = EVERYTHING, batch_size: int | None = None
    ) -> Iterator[dict[str, np.ndarray]]:
        """A share's rows of an epoch, some at a time, or in batches of one size, the last one excepted.

        Raises:
            TableError: files of the commit are no longer there, or damaged.
        """
        if self.seed is None:
            parts = self.scan.read(share_out(self.pieces, share))
        else:
            random = np.random.default_rng([self.seed, epoch])
            pieces = [self.pieces[place] for place in random.permutation(len(self.pieces))]
            # the order of pieces is one for all; what follows is each reader's own
            random = np.random.default_rng([self.seed, epoch, *share])
            mine = share_out(pieces, share)
            parts = shuffled(self.scan, mine, random, buffer_rows=self.buffer_rows)
        for windows in parts if batch_size is None else rebatched(parts, batch_size):
            yield self.arrays_of(windows)

    def count(self, share: Share = EVERYTHING) -> int | None:
        """Rows of a share, the same in each epoch; None where that depends on the epoch."""
        if share.of > 1 and self.seed is not None and not self.scan.selection.everything:
            return None
        return self.scan.count(share_out(self.pieces, share))

    def arrays_of(self, windows: Windows) -> dict[str, np.ndarray]:
        """The same rows; memory that may be written to, strings as objects."""
        metadata, vectors = windows
        found = {name: metadata[name].to_numpy() for name in self.columns}
        found[EMBEDDING] = vectors if vectors.flags.writeable else vectors.copy()
        if self.labels is not None:
            found[LABEL] = self.labels_of(windows)
        return {name: np.require(array, requirements="W") for name, array in found.items()}

    def labels_of(self, windows: Windows) -> np.ndarray:
        """The label of each row's clip."""
        assert self.labels is not None
        place = pc.index_in(windows.metadata["clip_id"], self.labels.clips)
        return self.labels.values[place.to_numpy()]


def make_feed(
    table: str | os.PathLike[str],
    spec: str | None,
    *,
    columns: str | Sequence[str] = (),
    clips: str | Sequence[str] | None,
    where: pc.Expression | Sequence[Any] | None,
    labels: Mapping[str, Any] | None,
    seed: int | None,
    buffer_rows: int,
    batch_size: int | None = None,
    share: tuple[int, int] | None = None,
) -> Feed:
    """A table's last commit to train on.

    Args:
        table: path or URI.
        spec: as of `l3core.table.read.read_windows`.
        clips: as there.
        where: as there.
        columns: of the metadata that rows have beside their vector.
        labels: clip id -> number, or several; windows of other clips are left out.
        seed: shuffles rows; None leaves them in the table's order.
        buffer_rows: rows among which rows are shuffled.
        batch_size: rows in a batch that will be asked for; like the share it is only checked.
        share: (number, of how many).

    Raises:
        UsageError: labels that are no numbers, or of no clip of the table, no room to shuffle, or no
            such batch, share or seed.
        TableError: as `read_windows`.
    """
    for name, value, least in (
        ("buffer_rows", buffer_rows, 1),
        ("batch_size", batch_size, 1),
        ("seed", seed, 0),
    ):
        if value is not None and value < least:
            raise UsageError(f"{name} must be at least {least}, got {value}")
    if share is not None and not 0 <= share[0] < share[1]:
        raise UsageError(f"share must be (number, of how many), numbers from 0, got {share}")
    shown = (columns,) if isinstance(columns, str) else tuple(columns)
    needed, known = shown, None
    if labels is not None:
        known = _checked(labels)
        clips = [*labels] if clips is None else [*({*labels} & {*_listed(clips)})]
        needed = tuple(dict.fromkeys([*shown, "clip_id"]))
    scan = scan_windows(table, spec, needed, clips, where, missing_ok=labels is not None)
    pieces = tuple(scan.pieces())
    if known is not None:
        _refuse_strangers(scan, known)
    return Feed(scan, pieces, shown, known, seed, buffer_rows)


def _listed(names: str | Sequence[str]) -> Sequence[str]:
    return [names] if isinstance(names, str) else names


def _checked(labels: Mapping[str, Any]) -> Labels:
    try:
        values = np.array(list(labels.values()))
    except ValueError:
        values = np.array(None)  # not of one shape
    if not labels or values.dtype.kind not in "biuf":
        raise UsageError(
            "labels must be clip id -> number, or as many numbers for each clip, got "
            f"{dict(list(labels.items())[:1])}"
        )
    kind = np.float32 if values.dtype.kind == "f" else np.int64
    return Labels(pa.array(list(labels), pa.string()), values.astype(kind))


def _refuse_strangers(scan: Scan, labels: Labels) -> None:
    """Labels none of which is of a clip of the table are keyed by something else."""
    there = scan.clip_ids()
    if len(there) and not pc.any(pc.is_in(labels.clips, there)).as_py():
        raise UsageError(
            f"no label is of a clip of {scan.paths.root}: labels have {labels.clips[0].as_py()!r}, "
            f"its clip ids are as {there[0].as_py()!r}"
        )


def share_out(pieces: Sequence[Piece], share: Share) -> list[Piece]:
    """A share of rows that follow one another; shares differ by one row at most."""
    rows = sum(piece.stop - piece.start for piece in pieces)
    first, last = (rows * bound // share.of for bound in (share.number, share.number + 1))
    mine, end = [], 0
    for piece in pieces:
        begin, end = end, end + piece.stop - piece.start
        start, stop = max(first, begin), min(last, end)
        if start < stop:
            offset = piece.start - begin
            mine.append(piece._replace(start=start + offset, stop=stop + offset))
    return mine
