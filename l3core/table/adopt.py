"""Adopting what a dead run had finished: its shards, where all of their objects are still wanted."""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from l3core import storage
from l3core.table.layout import TRANSIENT, TablePaths

Key = tuple[str, int, str, int, int | None]


class AdoptedShard(NamedTuple):
    """A finished shard that now belongs to another run."""

    name: str
    first_clip: str
    pieces: int


class Adopted(NamedTuple):
    """What was adopted: the shards, and the keys of the pieces in them."""

    shards: list[AdoptedShard]
    keys: frozenset[Key]


def adopt(paths: TablePaths, run_id: str, fingerprint: str, wanted: Iterable[Key]) -> Adopted:
    """Move the usable finished shards of dead runs into this run's staging folder.

    The caller holds the partition's lock, so whoever else has a staging folder for it is dead.

    Args:
        paths: of the table.
        run_id: of this run.
        fingerprint: shards of another spec are left alone.
        wanted: keys of all pieces that have to be done.
    """
    shards: dict[tuple[str, str], list[Key]] = {}
    first_clips: dict[tuple[str, str], str] = {}
    for dead in dead_runs(paths, run_id, fingerprint):
        folder = storage.join(paths.staging(dead), "done")
        for name in storage.names_below(folder, suffix=".json"):
            finished = name.removesuffix(".json")
            manifest = json.loads(storage.read_bytes(storage.join(folder, name)))
            if _usable(manifest, storage.join(folder, f"{finished}.parquet")):
                shards[dead, finished] = [tuple(key) for key in manifest["pieces"]]
                first_clips[dead, finished] = manifest["clips"][0]["clip_id"]
    owners: dict[Key, tuple[str, str]] = {}
    for shard, keys in shards.items():
        for key in keys:
            owners.setdefault(key, shard)  # two dead runs may have done the same work
    found = Counter(owners[key] for key in wanted if key in owners)
    complete = [shard for shard, keys in shards.items() if found[shard] == len(keys)]
    adopted = []
    for number, shard in enumerate(complete):
        name = f"adopted-{number:06d}"
        for suffix in (".parquet", ".json"):  # the manifest last: it says that the shard is there
            source = storage.join(paths.staging(shard[0]), "done", shard[1] + suffix)
            target = storage.join(paths.staging(run_id), "done", name + suffix)
            if suffix == ".json" or storage.exists(source):
                storage.move(source, target)
        adopted.append(AdoptedShard(name, first_clips[shard], len(shards[shard])))
    return Adopted(adopted, frozenset(key for shard in complete for key in shards[shard]))


def _usable(manifest: dict[str, Any], file: str) -> bool:
    """Whether a shard needs no second try and has its file, which a later run may have taken."""
    if any(row["status"] in TRANSIENT for row in manifest["clips"]):
        return False
    return manifest["file"] is None or storage.exists(file)


def claim_staging(paths: TablePaths, run_id: str, fingerprint: str) -> None:
    """Say whose a run's staging folder is, before anything else is put there."""
    owner = {"fingerprint": fingerprint}
    storage.write_bytes(_owner(paths, run_id), json.dumps(owner).encode())


def dead_runs(paths: TablePaths, run_id: str, fingerprint: str) -> list[str]:
    """Other runs of this spec that left a staging folder."""
    found = []
    for name in storage.names_below(paths.all_staging, suffix=""):
        if name == run_id or not storage.exists(_owner(paths, name)):
            continue
        if json.loads(storage.read_bytes(_owner(paths, name)))["fingerprint"] == fingerprint:
            found.append(name)
    return found


def _owner(paths: TablePaths, run_id: str) -> str:
    return storage.join(paths.staging(run_id), "owner.json")
