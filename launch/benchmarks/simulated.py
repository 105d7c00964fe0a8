"""A run of generated names for many workers: all of it is real but the audio and what workers do.

Planning, the planning of rewrites and the commit are the very code of a run. In between, what workers
would leave in the staging folder is made up: a shard's manifest as `embed_shard` writes it, beside a
file of one byte whose facts say that it holds all windows.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from l3core.audio import AudioInfo
from l3core.errors import RunError
from l3core.spec import EmbeddingSpec
from l3core.storage import StoredObject
from l3core.table.commit import commit_run
from l3core.table.json_objects import read_json
from l3core.table.layout import TablePaths, windows_folder
from l3core.table.pieces import key_of
from l3core.table.plan import make_plan
from l3core.table.planned import load_pieces, load_plan
from l3core.table.rewrite import plan_rewrites
from l3core.table.shard import Outcome
from l3core.table.state import load_state
from l3core.table.windows_file import Written, file_facts
from launch.benchmarks.alone import answer

# Of a run of so many objects, in a folder, for so many workers.
Step = Callable[[int, Path, int], dict[str, float] | None]

SPEC = EmbeddingSpec(weights="random:0")
DIGEST = "0" * 64
FINGERPRINT = SPEC.fingerprint(DIGEST)
RUN, NEXT_RUN = "first", "second"
WHEN = "2019-05-12T00:00:00+00:00"
OBJECTS_IN_FOLDER = 1_000
# 4 s of 48 kHz, 16 bit, mono, with what a planner takes a WAV to be: 40 windows of 0.1 s.
OBJECT_BYTES, CLIP_WINDOWS = 480_000, 40
INFO = AudioInfo(48_000, 1, 192_000, "WAV/PCM_16")
BUSY = {"read": 0.1, "decode": 0.2, "resample": 0.1, "model": 600.0, "write": 1.0}


def plan(objects: int, folder: Path, workers: int) -> dict[str, float]:
    """Plan a run of so many new objects for so many workers."""
    return {"shards": _plan(objects, folder, RUN, workers, "new")}


def plan_again(objects: int, folder: Path, workers: int) -> None:
    """Plan the same objects against the table that has been committed."""
    _plan(objects, folder, NEXT_RUN, workers, "unchanged")


def _plan(objects: int, folder: Path, run_id: str, workers: int, expected: str) -> int:
    paths = TablePaths(str(folder))
    listing = (
        StoredObject(f"/corpus/{n // OBJECTS_IN_FOLDER:06d}/{n:09d}.wav", OBJECT_BYTES, str(10**18 + n))
        for n in range(objects)
    )
    planned = make_plan(
        paths,
        load_state(paths),
        listing,
        spec=SPEC,
        weights_digest=DIGEST,
        root="/corpus",
        run_id=run_id,
        started_at=WHEN,
        workers=workers,
    )
    if planned.counts != {expected: objects}:
        raise RunError(f"planned {planned.counts} instead of {objects} {expected} objects")
    return len(planned.shards)


def work(objects: int, folder: Path, workers: int) -> None:
    """Make up what workers would leave of all shards."""
    paths = TablePaths(str(folder))
    done = Path(paths.staging(RUN, "done"))
    done.mkdir()
    for shard in load_plan(paths, RUN).shards:
        manifest = _manifest(paths, shard.name)
        (done / manifest["staged"]).write_bytes(b"-")
        (done / f"{shard.name}.json").write_text(json.dumps(manifest))


def _manifest(paths: TablePaths, shard: str) -> dict[str, Any]:
    final = f"{windows_folder(FINGERPRINT)}/{RUN}-{shard}.parquet"
    outcomes = [Outcome(piece) for piece in load_pieces(paths, RUN, shard)]
    for outcome in outcomes:
        outcome.info, outcome.windows, outcome.written = INFO, range(CLIP_WINDOWS), CLIP_WINDOWS
    clips = {outcome.piece.clip_id: outcome.written for outcome in outcomes}
    windows = sum(clips.values())
    return {
        "shard": shard,
        "staged": f"{RUN}-{shard}.parquet",
        "file": file_facts(Written(1, "0" * 64, clips, SPEC.size), final),
        "pieces": [key_of(outcome.piece) for outcome in outcomes],
        "clips": [outcome.row(RUN, final).to_json() for outcome in outcomes],
        "busy_s": BUSY,
        "bytes_read": OBJECT_BYTES * len(outcomes),
        "inferences": {"windows": windows, "batches": windows, "seconds": BUSY["model"]},
        "load": None,
        "gpu_memory_bytes": None,
        "host": "worker",
        "device": "CPU",
        "deviation": None,
        "reference": None,
    }


def plan_merges(objects: int, folder: Path, workers: int) -> dict[str, float]:
    """Plan the rewrites: merging files where shards are small."""
    return {"rewrites": len(plan_rewrites(TablePaths(str(folder)), RUN))}


def merge(objects: int, folder: Path, workers: int) -> None:
    """Make up what workers would leave of all rewrites."""
    paths = TablePaths(str(folder))
    tasks, done = (Path(paths.staging(RUN, name)) for name in ("rewrites", "rewritten"))
    if not tasks.exists():
        return
    done.mkdir()
    facts = dict(_facts(paths))
    for task in sorted(tasks.iterdir()):
        sources = [path for path, _ in read_json(str(task))["sources"]]
        final = f"{windows_folder(FINGERPRINT)}/{RUN}-rewritten-{task.stem}-000.parquet"
        staged = done / f"{task.stem}-000.parquet"
        staged.write_bytes(b"-")
        merged = [facts[path] for path in sources]
        file = merged[0] | {
            "path": final,
            "rows": sum(each["rows"] for each in merged),
            "last_clip": merged[-1]["last_clip"],
        }
        manifest = {
            "sources": sources,
            "files": [file],
            "staged": {final: os.path.relpath(staged, paths.root)},
        }
        (done / task.name).write_text(json.dumps(manifest))


def _facts(paths: TablePaths) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the manifests say of the shards' files."""
    for shard in load_plan(paths, RUN).shards:
        file = read_json(paths.staging(RUN, "done", f"{shard.name}.json"))["file"]
        yield file["path"], file


def commit(objects: int, folder: Path, workers: int) -> None:
    """Commit the run."""
    record = commit_run(TablePaths(str(folder)), RUN, info={})
    if record["clips"] != {"ok": objects}:
        raise RunError(f"committed {record['clips']} instead of {objects} clips")


def serial_steps(objects: int, folder: Path, workers: int) -> dict[str, float]:
    """All of a run; what each serial step takes, and how many shards there are."""
    found: dict[str, float] = {}
    for step in (plan, work, plan_merges, merge, commit):
        start = time.perf_counter()
        said = step(objects, folder, workers) or {}
        found |= said | {step.__name__: time.perf_counter() - start}
    return found


VERBS: tuple[Step, ...] = (plan, work, plan_merges, merge, commit, plan_again)

if __name__ == "__main__":
    answer({step.__name__: step for step in VERBS}, *sys.argv[1:])
