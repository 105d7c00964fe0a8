"""Labelled clips meet a feature table: which rows are whose, and their vectors in memory."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from l3core.datasets.base import DatasetError, LabelledClip
from l3core.datasets.tables import first_few
from l3core.storage import as_text
from l3core.table.layout import GONE, WITH_WINDOWS, LedgerRow
from l3core.table.read import ClipVectors, read_clip_vectors

CHUNK_BYTES = 16 * 2**20
CHUNK_ROWS = 4096


def join_clips(clips: Sequence[LabelledClip], rows: Iterable[LedgerRow]) -> list[str | None]:
    """The clip id of each labelled clip in a table; None for one without windows there.

    Where the table has any of the clips' URIs, it was made from this place, and URIs decide. Else the
    corpus has moved since, and a clip is the only row that shares the longest end of its path.

    Args:
        clips: with URIs.
        rows: the table's ledger.

    Raises:
        DatasetError: a clip that several rows could be, or a row that several clips could be.
    """
    by_uri: dict[str, str | None] = {}
    by_name: dict[str, list[tuple[list[str], str | None]]] = {}
    for row in rows:
        # a file that is gone is what it was: its windows are in the table until they are pruned
        usable = row.status in WITH_WINDOWS | {GONE} and row.windows_written
        embedded = row.clip_id if usable else None
        by_uri[row.uri] = embedded
        parts = row.uri.split("/")
        by_name.setdefault(parts[-1], []).append((parts, embedded))
    uris = [as_text(clip.uri) for clip in clips]
    if any(uri in by_uri for uri in uris):  # the table was made from this very place
        return [by_uri.get(uri) for uri in uris]
    found = [_by_ending(uri, by_name) for uri in uris]
    _refuse_shared(clips, found)
    return found


def _by_ending(
    uri: str, by_name: Mapping[str, Sequence[tuple[Sequence[str], str | None]]]
) -> str | None:
    """The row whose path has the longest end in common with a URI."""
    parts = uri.split("/")
    candidates = by_name.get(parts[-1], ())
    if not candidates:
        return None
    shared = [_shared_end(parts, other) for other, _ in candidates]
    best = [candidate for candidate, length in zip(candidates, shared) if length == max(shared)]
    if len(best) > 1:
        raise DatasetError(
            f"{uri} could be {first_few(['/'.join(other) for other, _ in best])} of the table: "
            "embed the dataset alone, or give the root that the table was made from"
        )
    return best[0][1]


def _shared_end(one: Sequence[str], other: Sequence[str]) -> int:
    length = 0
    for a, b in zip(reversed(one), reversed(other)):
        if a != b:
            break
        length += 1
    return length


def _refuse_shared(clips: Sequence[LabelledClip], found: Sequence[str | None]) -> None:
    owners: dict[str, LabelledClip] = {}
    for clip, clip_id in zip(clips, found):
        if clip_id is None:
            continue
        if clip_id in owners:
            raise DatasetError(
                f"{owners[clip_id].uri} and {clip.uri} could both be {clip_id} of the table: embed "
                "both, or give the root that the table was made from"
            )
        owners[clip_id] = clip


def refuse_missing(clips: Sequence[LabelledClip], found: Sequence[str | None]) -> None:
    """Refuse clips that a table has no windows of.

    Raises:
        DatasetError: with how many and the first few.
    """
    missing = [clip.uri for clip, clip_id in zip(clips, found) if clip_id is None]
    if missing:
        raise DatasetError(
            f"the table has no windows of {len(missing)} of {len(clips)} clips: {first_few(missing)}. "
            "Embed them, or give --allow-partial to do without"
        )


def load_features(table: str, spec: str | None, clip_ids: Sequence[str]) -> ClipVectors:
    """The windows of clips.

    Args:
        table: path or URI.
        spec: a fingerprint or the beginning of one; None if the table has only one.
        clip_ids: each once.

    Raises:
        TableError: no such table, or not one spec.
        DatasetError: vectors that hold NaN or infinity, or a clip without windows.
    """
    features = read_clip_vectors(table, spec, clip_ids)
    there = np.bincount(features.clips, minlength=len(clip_ids))
    if lacking := [name for name, windows in zip(clip_ids, there) if not windows]:
        raise DatasetError(f"the table has no windows of {first_few(lacking)}")
    bad: set[int] = set()
    for rows in chunks(len(features.vectors), features.vectors.shape[1]):
        finite = np.isfinite(features.vectors[rows]).all(axis=1)
        bad.update(features.clips[rows][~finite].tolist())
    if bad:
        names = [clip_ids[clip] for clip in sorted(bad)]
        raise DatasetError(f"vectors of {len(bad)} clips hold NaN or infinity: {first_few(names)}")
    return features


def chunks(rows: int, size: int) -> Iterator[slice]:
    """Slices of `rows` vectors of `size` numbers: of some 16 MB each, and of 4096 rows at most.

    Small vectors may become large ones in the hidden layers of many models.
    """
    step = max(1, min(CHUNK_ROWS, CHUNK_BYTES // (4 * size)))
    for start in range(0, rows, step):
        yield slice(start, start + step)
