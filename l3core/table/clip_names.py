"""Clips that somebody names: whether the ledger knows them, and which ones may have been meant."""

import difflib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from l3core.errors import TableError
from l3core.table.layout import TablePaths
from l3core.table.row_groups import groups_with, opened
from l3core.table.state import TableState

BATCH_ROWS = 50_000
# Names that are compared letter by letter, whatever the size of the ledger.
CANDIDATES = 200
NEAR = 3


def require_clips(paths: TablePaths, state: TableState, fingerprint: str, clips: pa.Array) -> None:
    """Check that a ledger has some clips, which are sorted, with windows or without.

    Raises:
        TableError: it does not have one of them; its message has the nearest names.
    """
    for path in state.ledger(fingerprint):
        if not len(clips):
            return
        with opened(paths, state, path) as (parquet, _):
            for group in groups_with(parquet, clips):
                here = parquet.read_row_group(group, ["clip_id"])["clip_id"]
                clips = clips.filter(pc.invert(pc.is_in(clips, here)))
    if len(clips):
        raise unknown_clip(paths, state, fingerprint, clips[0].as_py())


def unknown_clip(paths: TablePaths, state: TableState, fingerprint: str, clip: str) -> TableError:
    """The error for a clip that a ledger does not have."""
    near = near_names(paths, state, fingerprint, clip)
    hint = f", did you mean {' or '.join(near)}?" if near else ""
    return TableError(f"no clip {clip!r} in {paths.root}{hint}")


def near_names(paths: TablePaths, state: TableState, fingerprint: str, name: str) -> list[str]:
    """Clip ids that somebody may have meant, the nearest first.

    Those that share most groups of three letters with it are compared letter by letter: a ledger of a
    million rows is searched in seconds.
    """
    best: list[tuple[int, str]] = []
    triples = sorted({name[n : n + 3] for n in range(len(name) - 2)} or {name})
    chosen = [triples[n] for n in np.linspace(0, len(triples) - 1, min(24, len(triples))).astype(int)]
    for path in state.ledger(fingerprint):
        with opened(paths, state, path) as (parquet, _):
            for batch in parquet.iter_batches(BATCH_ROWS, columns=["clip_id"]):
                ids = batch["clip_id"]
                shared = np.zeros(len(ids), np.int32)
                for triple in chosen:
                    held = pc.match_substring(ids, triple, ignore_case=name.isascii())
                    shared += held.to_numpy(zero_copy_only=False)
                places = np.argsort(-shared, kind="stable")[:CANDIDATES]
                best += zip(shared[places].tolist(), ids.take(pa.array(places)).to_pylist())
                best = sorted(best, key=lambda item: -item[0])[:CANDIDATES]
    ids = [clip for count, clip in best if count]
    ends = [clip for clip in ids if clip.rpartition("/")[2] == name.rpartition("/")[2]]
    return list(dict.fromkeys([*ends, *difflib.get_close_matches(name, ids, NEAR, 0.5)]))[:NEAR]
