"""The specs of a table: what each partition holds, and how much of it the others hold, too."""

import heapq
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from typing import Any, NamedTuple

from l3core.table.layout import TablePaths
from l3core.table.ledger import read_facts
from l3core.table.state import TableState, read_spec


class SpecFacts(NamedTuple):
    """What a partition holds.

    Attributes:
        fingerprint: of the spec.
        spec: all of its fields.
        clips: that it has windows of.
        audio_s: seconds of those clips, as their headers say.
        windows: rows.
        bytes: of its windows files.
        files: how many windows files.
        statuses: ledger rows by status.
        shared: other spec -> clips that both have windows of.
    """

    fingerprint: str
    spec: dict[str, Any]
    clips: int
    audio_s: float
    windows: int
    bytes: int
    files: int
    statuses: dict[str, int]
    shared: dict[str, int]


def list_specs(paths: TablePaths, state: TableState) -> list[SpecFacts]:
    """Facts of every spec; the ledgers are read as streams, side by side."""
    statuses: dict[str, Counter[str]] = {name: Counter() for name in state.fingerprints}
    clips: Counter[str] = Counter()
    audio_s = dict.fromkeys(state.fingerprints, 0.0)
    pairs: Counter[tuple[str, str]] = Counter()
    merged = heapq.merge(*(_rows(paths, state, name, statuses[name]) for name in state.fingerprints))
    for _, group in groupby(merged, key=lambda item: item[0]):
        held = list(group)
        holders = [fingerprint for _, fingerprint, _ in held]
        for _, fingerprint, seconds in held:
            audio_s[fingerprint] += seconds
        clips.update(holders)
        pairs.update((one, other) for one in holders for other in holders if one != other)
    return [
        SpecFacts(
            fingerprint=name,
            spec=read_spec(paths, name)["spec"],
            clips=clips[name],
            audio_s=audio_s[name],
            windows=sum(state.files[path]["rows"] for path in state.windows(name)),
            bytes=sum(state.files[path]["bytes"] for path in state.windows(name)),
            files=len(state.windows(name)),
            statuses=dict(statuses[name]),
            shared={other: pairs[name, other] for other in state.fingerprints if other != name},
        )
        for name in state.fingerprints
    ]


def _rows(
    paths: TablePaths, state: TableState, fingerprint: str, statuses: Counter[str]
) -> Iterator[tuple[str, str, float]]:
    """(clip id, fingerprint, seconds) of the clips that a partition has windows of; counts statuses."""
    for clip_id, status, windows, seconds in read_facts(paths, state.ledger(fingerprint)):
        statuses[status] += 1
        if windows:
            yield clip_id, fingerprint, seconds or 0.0
