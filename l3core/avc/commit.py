"""Committing a run of `avc sample`: pairs are put in place, then one record says that they are there.

Until `runs/<n>.json` is created the corpus is as it was, whatever lies in its folders; from then on the
run has happened. What it has replaced is removed by the run after it: until then a training that has
begun with the corpus as it was can go on reading.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

from l3core import storage
from l3core.ahead import map_ahead
from l3core.avc.corpus import LAYOUT_VERSION, load_corpus
from l3core.avc.layout import CorpusPaths, VideoRow, records_path
from l3core.avc.ledger import read_ledger, write_ledger
from l3core.avc.leftovers import clear_staging, clear_unnamed
from l3core.avc.plan import Plan, Shard, completed, read_plan
from l3core.errors import RunError, UsageError
from l3core.table.failures import STORAGE_ERROR, Most, check_storage_errors
from l3core.table.json_objects import create_json, read_json, write_json


def commit_run(
    paths: CorpusPaths, run_id: str, *, info: dict[str, Any], most_storage_errors: Most
) -> dict[str, Any]:
    """Commit a run whose shards are all sampled; done already is fine.

    Args:
        paths: of the corpus.
        run_id: of the run.
        info: what else its record shall say.
        most_storage_errors: videos that the store may fail to give.

    Returns:
        The run's record.

    Raises:
        RunError: a shard is missing, the store did not give many videos, or another run has committed.
    """
    corpus = load_corpus(paths.root)
    if corpus is not None:
        last = read_json(paths.record(corpus.runs))
        if last["run_id"] == run_id:  # a runner may try the last step again
            return last
    plan = read_plan(paths)
    if plan.run_id != run_id or plan.number != (corpus.runs + 1 if corpus else 1):
        raise RunError("another run has committed to the corpus: start this one again")
    plan = completed(paths, plan)
    found = map_ahead(lambda shard: _manifest(paths, shard), plan.shards)
    manifests = list(zip(plan.shards, found))
    sampled = [row for shard, manifest in manifests for row in _rows(plan, shard, manifest)]
    statuses = Counter(row.status for row in [*sampled, *plan.rows])
    check_storage_errors(statuses[STORAGE_ERROR], most_storage_errors.of(len(sampled)))
    full = [each for each in manifests if each[1]["file"]]
    added = list(map_ahead(lambda each: _put_in_place(paths, plan, *each), full))
    ledger = f"videos/{plan.number:08d}-{run_id}.parquet"
    rows = read_ledger(corpus)
    for video_id in plan.dropped:
        rows.pop(video_id, None)
    rows |= {row.video_id: row for row in [*plan.rows, *sampled]}
    write_ledger(paths.at(ledger), rows.values())
    record = _record(plan, info, added, ledger, statuses)
    record |= {
        "ledger_counts": _counts(rows.values()),
        "busy_s": sum(m["seconds"] for _, m in manifests),
    }
    write_json(paths.settings, {name: record[name] for name in ("layout", "root", "settings")})
    if create_json(paths.record(plan.number), record)["run_id"] != run_id:
        raise RunError("another run has committed to the corpus: start this one again")
    with suppress(OSError, UsageError):  # the next run clears away what this one cannot
        clear_away(paths)
    return record


def clear_away(paths: CorpusPaths) -> None:
    """Remove whatever the last two commits do not name."""
    corpus = load_corpus(paths.root)
    clear_staging(paths)
    if corpus is not None:
        clear_unnamed(paths, corpus)


def _manifest(paths: CorpusPaths, shard: Shard) -> dict[str, Any]:
    try:
        found = read_json(paths.manifest(shard.name))
    except FileNotFoundError:
        raise RunError(f"shard {shard.name} was not sampled") from None
    if len(found["videos"]) != shard.videos:
        raise RunError(f"shard {shard.name} has {len(found['videos'])} of its {shard.videos} videos")
    return found


def _rows(plan: Plan, shard: Shard, manifest: dict[str, Any]) -> Iterator[VideoRow]:
    path = records_path(shard.split, plan.number, shard.name)
    for row in (VideoRow(**row) for row in manifest["videos"]):
        yield row._replace(file=path) if row.pairs else row


def _put_in_place(
    paths: CorpusPaths, plan: Plan, shard: Shard, manifest: dict[str, Any]
) -> dict[str, Any]:
    path = records_path(shard.split, plan.number, shard.name)
    storage.move(paths.staged(shard.name), paths.at(path))
    size = storage.describe(paths.at(path)).size_bytes
    if size != manifest["file"]["size_bytes"]:
        raise RunError(
            f"the pairs of shard {shard.name} have {size} bytes, its manifest says "
            f"{manifest['file']['size_bytes']}"
        )
    return {"path": path, "split": shard.split, **manifest["file"]}


def _record(
    plan: Plan,
    info: dict[str, Any],
    added: list[dict[str, Any]],
    ledger: str,
    statuses: Counter[str],
) -> dict[str, Any]:
    now = datetime.now(timezone.utc)
    return info | {
        "layout": LAYOUT_VERSION,
        "run": plan.number,
        "run_id": plan.run_id,
        "root": plan.root,
        "settings": plan.settings,
        "started_at": plan.started_at,
        "committed_at": now.isoformat(),
        "wall_s": (now - datetime.fromisoformat(plan.started_at)).total_seconds(),
        "matched": plan.counts,
        "videos": dict(statuses),
        "videos_dropped": len(plan.dropped),
        "shards": len(plan.shards),
        "shards_taken_over": sum(shard.finished for shard in plan.shards),
        "pairs": sum(file["pairs"] for file in added),
        "positives": sum(file["positives"] for file in added),
        "bytes": sum(file["size_bytes"] for file in added),
        "files_added": added,
        "files_removed": list(plan.files_removed),
        "ledger": ledger,
    }


def _counts(rows: Iterable[VideoRow]) -> dict[str, dict[str, int]]:
    """Split -> status -> videos."""
    found: dict[str, Counter[str]] = {}
    for row in rows:
        found.setdefault(row.split or "", Counter())[row.status] += 1
    return {split: dict(found[split]) for split in sorted(found)}
