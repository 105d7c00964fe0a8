"""Rewriting windows files: without the clips that a run replaces or prunes, and many small ones as one.

What has to be rewritten is known when all shards are done (`plan_rewrites`); each rewrite is then a
piece of work for any worker (`rewrite_files`), as a shard is.
"""

import json
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice, pairwise
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from l3core import storage
from l3core.errors import RunError
from l3core.table.changes import drops, run_changes
from l3core.table.journal import check_unchanged, repair
from l3core.table.json_objects import create_json, read_json
from l3core.table.layout import TablePaths
from l3core.table.ledger import find_rows
from l3core.table.merge import merge_windows
from l3core.table.pieces import SHARD_BYTES
from l3core.table.planned import load_plan
from l3core.table.state import TableState
from l3core.table.windows_file import clip_rows, file_facts

# A file below half of the target is small, one below a sixteenth tiny. When a partition has more of one
# kind than this they are merged: a night's few rows are written again with other tiny files only, and
# with small ones when they have become many.
SMALL_BYTES = SHARD_BYTES // 2
TINY_BYTES = SHARD_BYTES // 16
MOST_SMALL = 24
# Files that one merge has open; each costs a few MB.
MOST_MERGED = 64

DROPS_SCHEMA = pa.schema([("clip_id", pa.string()), ("file", pa.string()), ("end", pa.int32())])
DROPS_BATCH = 10_000


class Source(NamedTuple):
    """A windows file as it is now.

    Attributes:
        path: in the table, below it.
        at: where it lies, below the table: there, or still in staging.
        size_bytes: of its vectors, uncompressed: what files are cut by. However well they are packed, a
            file that is large enough is not taken for a small one again and again.
        first_clip: id of its first clip.
    """

    path: str
    at: str
    size_bytes: int
    first_clip: str


def plan_rewrites(paths: TablePaths, run_id: str) -> list[str]:
    """Find out what has to be rewritten, when all shards of a run are done.

    Returns:
        Names for `rewrite_files`; none for a run that has committed.

    Raises:
        RunError: shards are missing or wrong, or another run changed the table.
    """
    if storage.is_object(paths.record(run_id)):  # a runner may try a step again
        return []
    state = repair(paths)
    if storage.is_object(paths.record(run_id)):  # journalled, and published just now
        return []
    plan = load_plan(paths, run_id)
    check_unchanged(state, fingerprints=[plan.fingerprint], base=plan.base, root=plan.root)
    sources = current_sources(state, plan.fingerprint)

    def look(manifest: dict[str, Any]) -> None:
        if facts := manifest["file"]:
            at = f"_l3flow/staging/{run_id}/done/{manifest['staged']}"
            sources.append(Source(facts["path"], at, facts["vector_bytes"], facts["first_clip"]))

    changes = ((change.clip_id, change) for change in run_changes(paths, plan, look))
    pairs = find_rows(paths, state.ledger(plan.fingerprint), changes)
    dropped = ((change.clip_id, file, end) for change, old in pairs for file, end in drops(change, old))
    affected = _write_drops(_drops_uri(paths, run_id), dropped)
    return write_rewrites(paths, run_id, choose_groups(sources, affected))


def current_sources(state: TableState, fingerprint: str) -> list[Source]:
    """The windows files of a partition."""
    files = (state.files[path] for path in state.windows(fingerprint))
    return [
        Source(f["path"], f["path"], f.get("vector_bytes", f["bytes"]), f.get("first_clip", ""))
        for f in files
    ]


def choose_groups(
    sources: Iterable[Source], affected: Collection[str], *, all_small: bool = False
) -> list[list[Source]]:
    """Which files are rewritten, and which of them together.

    Args:
        sources: all files that the partition will have.
        affected: paths of those that hold clips to leave out.
        all_small: merge all small files, however few.
    """
    rest = sorted(sources, key=lambda source: (source.first_clip, source.path))
    edges = (0, SMALL_BYTES) if all_small else (0, TINY_BYTES, SMALL_BYTES)
    kinds = [[s for s in rest if low <= s.size_bytes < high] for low, high in pairwise(edges)]
    many = [kind for kind in kinds if all_small or len(kind) > MOST_SMALL]
    groups = [group for kind in many for group in _by_size(kind) if len(group) > 1]
    grouped = {source.path for group in groups for source in group}
    alone = [source for source in rest if source.path in affected and source.path not in grouped]
    return [*groups, *([source] for source in alone)]


def _by_size(small: Iterable[Source]) -> Iterator[list[Source]]:
    """Neighbours that make about one file."""
    group: list[Source] = []
    filled = 0
    for source in small:
        if group and (filled + source.size_bytes > SHARD_BYTES or len(group) == MOST_MERGED):
            yield group
            group, filled = [], 0
        group.append(source)
        filled += source.size_bytes
    if group:
        yield group


def write_rewrites(
    paths: TablePaths, run_id: str, groups: Sequence[Sequence[Source]], rename: Sequence[str] = ("", "")
) -> list[str]:
    """Write down each group's rewrite; returns their names.

    Args:
        paths: of the table.
        run_id: of the run.
        groups: files to rewrite together.
        rename: (beginning of every clip id, what it becomes).
    """
    names = []
    for number, group in enumerate(groups):
        name = f"{number:06d}"
        task = {"sources": [(source.path, source.at) for source in group], "rename": list(rename)}
        uri = paths.staging(run_id, "rewrites", f"{name}.json")
        storage.write_bytes(uri, json.dumps(task).encode())
        names.append(name)
    return names


def rewrite_files(paths: TablePaths, run_id: str, name: str) -> dict[str, Any]:
    """Do one rewrite; one that is done already is left as it is.

    Returns:
        Its manifest: the files that it replaces, and the new ones.

    Raises:
        RunError: the new files do not hold what they should.
    """
    done = paths.staging(run_id, "rewritten")
    manifest_uri = storage.join(done, f"{name}.json")
    if storage.is_object(manifest_uri):
        return read_json(manifest_uri)
    if storage.is_object(paths.record(run_id)):
        return {"sources": [], "files": [], "staged": {}}
    task = read_json(paths.staging(run_id, "rewrites", f"{name}.json"))
    ends = _read_drops(_drops_uri(paths, run_id), [path for path, _ in task["sources"]])
    before, after = task["rename"]
    attempt = uuid.uuid4().hex[:8]
    written = merge_windows(
        [paths.at(at) for _, at in task["sources"]],
        lambda number: storage.join(done, f"{name}-{number:03d}-{attempt}.parquet"),
        end_of=lambda place, clip_id: ends[task["sources"][place][0]].get(clip_id),
        rename=lambda clip_id: after + clip_id.removeprefix(before),
        most_bytes=SHARD_BYTES,
    )
    folder = task["sources"][0][0].rpartition("/")[0]
    manifest: dict[str, Any] = {
        "sources": [path for path, _ in task["sources"]],
        "files": [],
        "staged": {},
    }
    for number, file in enumerate(written):
        final = f"{folder}/{run_id}-rewritten-{name}-{number:03d}.parquet"
        manifest["files"].append(file_facts(file.written, final))
        manifest["staged"][final] = file.uri.removeprefix(paths.at(""))
    _check(paths, task["sources"], ends, manifest)
    there = create_json(manifest_uri, manifest)
    if there["staged"] != manifest["staged"]:  # another try was faster
        for file in written:
            storage.remove(file.uri)
    return there


def _check(
    paths: TablePaths,
    sources: Sequence[Sequence[str]],
    ends: dict[str, dict[str, int]],
    manifest: dict[str, Any],
) -> None:
    """That as many rows came out as had to."""
    expected = 0
    for path, at in sources:
        expected += sum(clip_rows(paths.at(at), ends[path]).values())
    found = sum(file["rows"] for file in manifest["files"])
    if found != expected:
        listed = ", ".join(path for path, _ in sources)
        raise RunError(f"rewriting {listed} gave {found} rows instead of {expected}")


def rewritten(paths: TablePaths, run_id: str) -> Iterator[dict[str, Any]]:
    """Manifests of all rewrites of a run.

    Raises:
        RunError: one is not done.
    """
    for name in storage.names_below(paths.staging(run_id, "rewrites"), suffix=".json"):
        try:
            yield read_json(paths.staging(run_id, "rewritten", name))
        except FileNotFoundError:
            number = name.removesuffix(".json")
            raise RunError(f"rewrite {number} was not finished; run it again") from None


def _drops_uri(paths: TablePaths, run_id: str) -> str:
    return paths.staging(run_id, "drops.parquet")


def _write_drops(uri: str, dropped: Iterable[tuple[str, str, int]]) -> set[str]:
    """Write (clip id, file, window where its rows end there); returns the files."""
    files: set[str] = set()
    with storage.writing(uri) as target, pq.ParquetWriter(target, DROPS_SCHEMA) as writer:
        rows = iter(dropped)
        while batch := list(islice(rows, DROPS_BATCH)):
            columns = [pa.array(values, field.type) for values, field in zip(zip(*batch), DROPS_SCHEMA)]
            files.update(file for _, file, _ in batch)
            writer.write_batch(pa.record_batch(columns, schema=DROPS_SCHEMA))
    return files


def _read_drops(uri: str, files: Sequence[str]) -> dict[str, dict[str, int]]:
    """File -> clip -> window where its rows end there, for some files."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    if not storage.is_object(uri):
        return found
    fs, path = storage.filesystem(uri)
    wanted = pa.array(files, pa.string())
    with fs.open(path, "rb") as file:
        for batch in pq.ParquetFile(file).iter_batches():
            here = batch.filter(pc.is_in(batch["file"], wanted))
            for clip_id, name, end in zip(*(column.to_pylist() for column in here.columns)):
                found[name][clip_id] = min(end, found[name].get(clip_id, end))
    return found
