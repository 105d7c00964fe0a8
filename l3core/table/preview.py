"""A look at a run before it is made: how many files, hours, windows and bytes."""

import math
import random
from collections.abc import Iterable
from typing import NamedTuple

from l3core.errors import UsageError
from l3core.spec import EmbeddingSpec
from l3core.storage import StoredObject
from l3core.table.delta import Rules, Tally, Work, find_work
from l3core.table.layout import TablePaths
from l3core.table.ledger import read_known
from l3core.table.limits import Limits, bytes_to_rewrite
from l3core.table.pieces import probe, shard_windows, window_count
from l3core.table.plan import shards_wanted
from l3core.table.state import TableState

EXACT_FILES = 1_000  # up to so many are all opened
SAMPLE_FILES = 200
Z_95 = 1.96
ROW_BYTES = 24  # of a window besides its vector: start, index, flag, and its share of the clip's name


class Preview(NamedTuple):
    """What a run would do.

    Attributes:
        counts: matched objects by what is known of them.
        gone: clips of the ledger that are not there any more.
        pruned: of those, whose windows would be dropped.
        rewrite_bytes: of windows files that hold replaced or pruned clips.
        refused: why the run would not do it unasked; None if it would.
        files: to embed.
        unreadable: of those that were opened, how many cannot be read.
        audio_s: seconds of audio.
        windows: to embed.
        windows_error: half of the 95 % interval of `windows`; 0 where every file was opened.
        output_bytes: of the table's new files, before compression.
        shards: pieces of work.
    """

    counts: dict[str, int]
    gone: int
    pruned: int
    rewrite_bytes: int
    refused: str | None
    files: int
    unreadable: int
    audio_s: float
    windows: int
    windows_error: int
    output_bytes: int
    shards: int


class _Probed(NamedTuple):
    size_bytes: int
    seconds: float
    windows: int


def preview_run(
    paths: TablePaths,
    state: TableState,
    listing: Iterable[StoredObject],
    *,
    spec: EmbeddingSpec,
    fingerprint: str,
    root: str,
    rules: Rules,
    limits: Limits,
) -> Preview:
    """Preview a run; writes nothing.

    Up to 1,000 files are all opened; of more a random 200 are, and windows and hours are taken to grow
    with bytes as they do in these (a ratio estimate).

    Args:
        paths: of the table.
        state: its last commit.
        listing: the input, sorted by URI.
        spec: what to embed.
        fingerprint: of the spec.
        root: clip ids are paths below it.
        rules: how to decide what has to be done.
        limits: what may be pruned and rewritten.
    """
    tally = Tally()
    ledger = read_known(paths, state.ledger(fingerprint))
    items = find_work(ledger, listing, root=root, rules=rules, tally=tally)
    files, total_bytes, chosen = _choose(item.listed for item in items if isinstance(item, Work))
    rewrite_bytes, refused = _check(state, fingerprint, tally, limits)
    probed = [_probe(listed, spec) for listed in chosen]
    exact = len(chosen) == files
    seconds, windows, error = _extrapolate(probed, total_bytes, files, exact=exact)
    step = shard_windows(spec)
    cuts = sum(max(1, -(-each.windows // step)) for each in probed)
    pieces = -(-files * cuts // max(1, len(probed)))
    target = min(step, max(1, -(-windows // shards_wanted(paths))))
    return Preview(
        counts=dict(tally.counts),
        gone=tally.gone,
        pruned=tally.pruned_clips,
        rewrite_bytes=rewrite_bytes,
        refused=refused,
        files=files,
        unreadable=sum(each.windows == 0 for each in probed),
        audio_s=seconds,
        windows=windows,
        windows_error=error,
        output_bytes=windows * (4 * spec.size + ROW_BYTES),
        shards=min(pieces, -(-windows // target)) if windows else 0,
    )


def _check(state: TableState, fingerprint: str, tally: Tally, limits: Limits) -> tuple[int, str | None]:
    try:
        return limits.check(state, fingerprint, tally), None
    except UsageError as error:
        return bytes_to_rewrite(state, fingerprint, tally), str(error)


def _choose(listing: Iterable[StoredObject]) -> tuple[int, int, list[StoredObject]]:
    """(number, bytes, all or a random sample): one pass, memory for 1,000 objects."""
    first: list[StoredObject] = []
    sample: list[StoredObject] = []
    generator = random.Random(0)  # the same answer to the same question
    number = total = 0
    for listed in listing:
        number += 1
        total += listed.size_bytes
        if number <= EXACT_FILES:
            first.append(listed)
        if len(sample) < SAMPLE_FILES:
            sample.append(listed)
        elif (place := generator.randrange(number)) < SAMPLE_FILES:
            sample[place] = listed
    return number, total, first if number <= EXACT_FILES else sample


def _probe(listed: StoredObject, spec: EmbeddingSpec) -> _Probed:
    info = probe(listed)
    if info is None:
        return _Probed(listed.size_bytes, 0.0, 0)
    return _Probed(listed.size_bytes, info.duration_s, window_count(info, spec))


def _extrapolate(
    probed: list[_Probed], total_bytes: int, files: int, *, exact: bool
) -> tuple[float, int, int]:
    """(seconds, windows, half of the 95 % interval of windows) of all files."""
    seconds = sum(each.seconds for each in probed)
    windows = sum(each.windows for each in probed)
    sample_bytes = sum(each.size_bytes for each in probed)
    if exact or sample_bytes == 0:
        return seconds, windows, 0
    rate = windows / sample_bytes
    # Cochran, Sampling Techniques, 6.4: variance of a ratio estimate of a total
    residuals = sum((each.windows - rate * each.size_bytes) ** 2 for each in probed)
    error = Z_95 * files * math.sqrt(residuals / (len(probed) - 1) / len(probed))
    scale = total_bytes / sample_bytes
    return seconds * scale, round(windows * scale), math.ceil(error)
