"""Adopting what a dead run had finished: its shards, where all of their objects are still wanted."""

import json
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from l3core import storage
from l3core.table.layout import TRANSIENT, TablePaths

Key = tuple[str, int, str, int]


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
    for dead in dead_runs(paths, run_id, fingerprint):
        folder = storage.join(paths.staging(dead), "done")
        for name in storage.names_below(folder, suffix=".json"):
            manifest = json.loads(storage.read_bytes(storage.join(folder, name)))
            if not any(row["status"] in TRANSIENT for row in manifest["clips"]):
                keys = [tuple(key) for key in manifest["pieces"]]
                shards[dead, name.removesuffix(".json")] = keys
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
        adopted.append(AdoptedShard(name, shards[shard][0][0], len(shards[shard])))
    return Adopted(adopted, frozenset(key for shard in complete for key in shards[shard]))


def dead_runs(paths: TablePaths, run_id: str, fingerprint: str) -> list[str]:
    """Other runs of this spec that left a staging folder."""
    found = []
    for name in storage.names_below(paths.all_staging, suffix=""):
        plan = storage.join(paths.staging(name), "plan.json")
        if name == run_id or not storage.exists(plan):
            continue
        if json.loads(storage.read_bytes(plan))["fingerprint"] == fingerprint:
            found.append(name)
    return found
