"""Adopting what a dead run had finished: its shards, where all of their objects are still wanted."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

from l3core import storage
from l3core.table.json_objects import read_json
from l3core.table.layout import TRANSIENT, TablePaths
from l3core.table.lock import owners

T = TypeVar("T")
TRIED_AGAIN = TRANSIENT | {"forbidden"}

Key = tuple[str, int, str, int, int | None]


class FinishedShard(NamedTuple):
    """A finished shard of a dead run.

    Attributes:
        run_id: whose it is.
        manifest: its name in that run's `done` folder.
        staged: name of its Parquet file there.
        first_clip: id of its first clip.
        first: uri and first window of its first piece; sorts shards as pieces are sorted.
        pieces: how many it is made of.
    """

    run_id: str
    manifest: str
    staged: str
    first_clip: str
    first: tuple[str, int]
    pieces: int


def finished_shards(
    paths: TablePaths,
    root: str,
    dead: Iterable[str],
    again: Collection[str] = TRIED_AGAIN,
    reference: str | None = None,
) -> list[FinishedShard]:
    """The usable finished shards of dead runs, in the order of their first pieces.

    Args:
        paths: of the table.
        root: clip ids are paths below it; what was done below another has other ids.
        again: statuses that shall be tried again, not taken over.
        dead: runs that are fenced (`l3core.table.state.fence`): should one be alive, it cannot commit.
        reference: of the spec; what a worker has done that was held against another one is not taken.
    """
    found = []
    for run in dead:
        folder = paths.staging(run, "done")
        committed = storage.is_object(paths.record(run))  # and only not cleared away
        if committed or (owner_of(paths, run) or {}).get("root") != root:
            continue
        for name in storage.names_below(folder, suffix=".json"):
            manifest = read_json(storage.join(folder, name))
            conforms = manifest.get("reference") in (None, reference)
            if conforms and _usable(manifest, paths.staging(run, "done", manifest["staged"]), again):
                keys, clip = manifest["pieces"], manifest["clips"][0]["clip_id"]
                first = keys[0][0], keys[0][3]
                found.append(FinishedShard(run, name, manifest["staged"], clip, first, len(keys)))
    return sorted(found, key=lambda shard: (shard.first, shard.run_id, shard.manifest))


def with_shards(
    paths: TablePaths, shards: Sequence[FinishedShard], wanted: Iterable[T], key: Callable[[T], Key]
) -> Iterator[tuple[T, FinishedShard | None]]:
    """Each wanted piece with the shard that has done it; only shards that overlap are in memory.

    Args:
        paths: of the table.
        shards: sorted, from `finished_shards`.
        wanted: pieces, sorted.
        key: what makes two pieces the same work.
    """
    waiting = list(reversed(shards))
    active: list[tuple[FinishedShard, list[Key]]] = []
    for piece in wanted:
        if not (waiting or active):
            yield piece, None
            continue
        own = key(piece)
        place = own[0], own[3]
        while waiting and waiting[-1].first <= place:
            shard = waiting.pop()
            manifest = read_json(paths.staging(shard.run_id, "done", shard.manifest))
            keys = [tuple(found) for found in manifest["pieces"]]
            active.append((shard, keys[::-1]))
        for _, keys in active:
            while keys and (keys[-1][0], keys[-1][3]) < place:
                keys.pop()
        active = [(shard, keys) for shard, keys in active if keys]
        # two dead runs may have done the same work: the first one's counts
        yield piece, next((shard for shard, keys in active if keys[-1] == own), None)


def whole_shards(
    paths: TablePaths, shards: Sequence[FinishedShard], wanted: Iterable[T], key: Callable[[T], Key]
) -> list[FinishedShard]:
    """Those of which every piece is wanted."""
    if not shards:
        return []
    found = Counter(shard for _, shard in with_shards(paths, shards, wanted, key))
    return [shard for shard in shards if found[shard] == shard.pieces]


def adopt(paths: TablePaths, run_id: str, shards: Sequence[FinishedShard]) -> list[str]:
    """Move finished shards into a run's staging folder; returns the names that they have there."""
    names = []
    for number, shard in enumerate(shards):
        source = partial(paths.staging, shard.run_id, "done")
        target = partial(paths.staging, run_id, "done")
        if storage.is_object(source(shard.staged)):  # it may have no windows
            storage.move(source(shard.staged), target(shard.staged))
        names.append(f"adopted-{number:06d}")
        # the manifest last: it says that the shard is there
        storage.move(source(shard.manifest), target(f"{names[-1]}.json"))
    return names


def _usable(manifest: dict[str, Any], file: str, again: Collection[str]) -> bool:
    """Whether a shard needs no second try and has its file, which a later run may have taken."""
    if any(row["status"] in again for row in manifest["clips"]):
        return False
    return manifest["file"] is None or storage.is_object(file)


def claim_staging(paths: TablePaths, run_id: str, fingerprint: str, root: str) -> None:
    """Say whose a run's staging folder is, before anything else is put there.

    Args:
        paths: of the table.
        run_id: of the run.
        fingerprint: whose next run may take it over; empty for what is about the whole table.
        root: clip ids in it are paths below this.
    """
    owner = {"fingerprint": fingerprint, "root": root}
    storage.write_bytes(_owner(paths, run_id), json.dumps(owner).encode())


def dead_runs(paths: TablePaths, run_id: str, fingerprint: str) -> list[str]:
    """Other runs that left a staging folder, for the run that holds the partition's lock.

    Those of this spec; and folders that nobody can adopt, since they are of no spec or no longer say of
    which. Whoever removes or adopts them puts a fence first.
    """
    found = []
    for name in storage.names_below(paths.all_staging, suffix=""):
        if name == run_id:
            continue
        owner = (owner_of(paths, name) or {}).get("fingerprint")
        if (owner and owner == fingerprint) or (not owner and name not in owners(paths).values()):
            found.append(name)
    return found


def emptied(paths: TablePaths, dead: Iterable[str]) -> list[str]:
    """Dead runs whose folders can go before anything is committed: nights that fail must not pile up.

    All but the newest that still has finished shards. Those were not wanted now, and may be by a run
    with other options.
    """
    runs = sorted(dead)
    folders = {run: paths.staging(run, "done") for run in runs}
    left = [run for run in runs if storage.names_below(folders[run], suffix=".json")]
    return [run for run in runs if run not in left[-1:]]


def owner_of(paths: TablePaths, run_id: str) -> dict[str, str] | None:
    """What a staging folder says of itself: `fingerprint` and `root`; None if nothing."""
    try:
        return read_json(_owner(paths, run_id))
    except FileNotFoundError:
        return None


def remove_staging(paths: TablePaths, run_ids: Iterable[str]) -> None:
    """Remove staging folders."""
    for run_id in run_ids:
        storage.remove_folder(paths.staging(run_id))


def _owner(paths: TablePaths, run_id: str) -> str:
    return paths.staging(run_id, "owner.json")
