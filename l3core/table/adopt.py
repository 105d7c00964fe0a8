"""Adopting what a dead run had finished: its shards, where all of their objects are still wanted."""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from l3core import storage
from l3core.table.layout import TRANSIENT, TablePaths
from l3core.table.lock import owners

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


def adopt(
    paths: TablePaths, run_id: str, root: str, dead: Iterable[str], wanted: Iterable[Key]
) -> Adopted:
    """Move the usable finished shards of dead runs into this run's staging folder.

    They are fenced (`l3core.table.state.fence`): should one be alive after all, it cannot commit.

    Args:
        paths: of the table.
        run_id: of this run.
        root: clip ids are paths below it; what was done below another has other ids.
        dead: the runs that left them.
        wanted: keys of all pieces that have to be done.
    """
    shards: dict[tuple[str, str], list[Key]] = {}
    facts: dict[tuple[str, str], tuple[str, str]] = {}
    for run in dead:
        folder = storage.join(paths.staging(run), "done")
        if (owner_of(paths, run) or {}).get("root") != root:
            continue
        for name in storage.names_below(folder, suffix=".json"):
            manifest = json.loads(storage.read_bytes(storage.join(folder, name)))
            if _usable(manifest, storage.join(folder, manifest["staged"])):
                shards[run, name] = [tuple(key) for key in manifest["pieces"]]
                facts[run, name] = manifest["staged"], manifest["clips"][0]["clip_id"]
    owners: dict[Key, tuple[str, str]] = {}
    for shard, keys in shards.items():
        for key in keys:
            owners.setdefault(key, shard)  # two dead runs may have done the same work
    found = Counter(owners[key] for key in wanted if key in owners)
    complete = [shard for shard, keys in shards.items() if found[shard] == len(keys)]
    adopted = []
    for number, shard in enumerate(complete):
        source = storage.join(paths.staging(shard[0]), "done")
        target = storage.join(paths.staging(run_id), "done")
        staged, first_clip = facts[shard]
        name = f"adopted-{number:06d}"
        if storage.exists(storage.join(source, staged)):  # the shard may have no windows
            storage.move(storage.join(source, staged), storage.join(target, staged))
        # the manifest last: it says that the shard is there
        storage.move(storage.join(source, shard[1]), storage.join(target, f"{name}.json"))
        adopted.append(AdoptedShard(name, first_clip, len(shards[shard])))
    return Adopted(adopted, frozenset(key for shard in complete for key in shards[shard]))


def _usable(manifest: dict[str, Any], file: str) -> bool:
    """Whether a shard needs no second try and has its file, which a later run may have taken."""
    if any(row["status"] in TRANSIENT for row in manifest["clips"]):
        return False
    return manifest["file"] is None or storage.exists(file)


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


def owner_of(paths: TablePaths, run_id: str) -> dict[str, str] | None:
    """What a staging folder says of itself: `fingerprint` and `root`; None if nothing."""
    try:
        return json.loads(storage.read_bytes(_owner(paths, run_id)))
    except FileNotFoundError:
        return None


def remove_staging(paths: TablePaths, run_ids: Iterable[str]) -> None:
    """Remove staging folders."""
    for run_id in run_ids:
        storage.remove(paths.staging(run_id), recursive=True)


def _owner(paths: TablePaths, run_id: str) -> str:
    return storage.join(paths.staging(run_id), "owner.json")
