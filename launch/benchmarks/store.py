"""The whole command from bucket to bucket, beside the same on a disk."""

import uuid
from collections.abc import Iterator
from pathlib import Path

from l3core import storage
from l3core.spec import EmbeddingSpec
from launch.benchmarks.figures import Figure
from launch.benchmarks.whole import Whole, run_whole, spec_flags


def store_runs(
    spec: EmbeddingSpec, corpora: tuple[Path, Path], folder: Path, bucket: str
) -> Iterator[Figure]:
    """A recording and clips: the run in a store between two on the disk, each into a new table.

    Args:
        spec: what to embed.
        corpora: the recording's folder, and the clips'.
        folder: for the tables on the disk.
        bucket: URI of a place in a store; what is written there is removed again.
    """
    place = storage.join(bucket, f"l3flow-bench-{uuid.uuid4().hex}")
    flags = spec_flags(spec)
    try:
        for name, corpus in zip(("recording", "clips"), corpora):
            for file in corpus.iterdir():
                storage.write_bytes(storage.join(place, name, file.name), file.read_bytes())
            before = run_whole(flags, corpus, folder / f"disk-{name}-1")
            there = run_whole(flags, storage.join(place, name), storage.join(place, f"table-{name}"))
            after = run_whole(flags, corpus, folder / f"disk-{name}-2")
            note = f"{name}, hop {spec.hop_s} s: {there.windows} windows"
            yield Figure("store", there.windows / there.run_s, "windows/s", note)
            disk = (_speed(before) + _speed(after)) / 2
            yield Figure("store / disk", _speed(there) / disk, "", f"{name}, plan to commit")
            whole = (before.wall_s + after.wall_s) / 2 / there.wall_s
            yield Figure("store / disk", whole, "", f"{name}, start-up included")
    finally:
        storage.remove_folder(place)


def _speed(run: Whole) -> float:
    return run.windows / run.run_s
