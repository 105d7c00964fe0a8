"""A second run's own work on generated ledgers: planning against them, and updating them."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pyarrow as pa

from l3core.errors import RunError
from l3core.spec import EmbeddingSpec
from l3core.storage import StoredObject, join
from l3core.table.json_objects import write_json
from l3core.table.layout import (
    LAYOUT_VERSION,
    LedgerRow,
    TablePaths,
    ledger_batch,
    ledger_folder,
    windows_folder,
)
from l3core.table.ledger import Moved, Settle, update_ledger, write_ledger
from l3core.table.limits import Limits
from l3core.table.plan import make_plan
from l3core.table.state import load_state
from launch.benchmarks.alone import answer, in_process
from launch.benchmarks.figures import Figure

ROWS = (100_000, 1_000_000)
CHANGED_EVERY = 1_000
CLIPS_IN_FILE = 5_000
CLIPS_IN_FOLDER = 1_000
CLIP_WINDOWS = 36  # of 4 s at hop 0.1 s
FIRST_NS = 1_557_619_200 * 10**9
APART_NS = 1_234_567_891  # between two files' times
WHEN = datetime(2019, 5, 12, tzinfo=timezone.utc)

DIGEST = "0" * 64
SPEC = EmbeddingSpec(weights="random:0")
FINGERPRINT = SPEC.fingerprint(DIGEST)
LEDGER = f"{ledger_folder(FINGERPRINT)}/first.parquet"


def known_names(folder: Path, *, scale: float = 1.0) -> Iterator[Figure]:
    """Plan names that a ledger knows, none or 1 in 1,000 changed, and update the larger ledger.

    Args:
        folder: for tables.
        scale: of all numbers, to try it out.
    """
    sizes = [round(size * scale) for size in ROWS]
    tables = [folder / f"known-{count}" for count in sizes]
    for table, count in zip(tables, sizes):
        make_table(table, count)
    growth = f"{ROWS[1] / ROWS[0]:g} times as many"
    for verb, name in (("unchanged", "plan, unchanged"), ("changed", "plan, delta")):
        peaks = []
        for table, count in zip(tables, sizes):
            found = in_process("launch.benchmarks.ledgers", verb, count, table)
            peaks.append(found["peak_mb"])
            yield from _figures(name, found, _note(count, 0 if verb == "unchanged" else _changed(count)))
        yield Figure(f"{name}, peak memory, ratio", peaks[1] / peaks[0], "", growth)
    note = _note(sizes[1], _changed(sizes[1]))
    for verb, name in (("update", "update"), ("follow", "update, rewritten files")):
        found = in_process("launch.benchmarks.ledgers", verb, sizes[1], tables[1])
        yield from _figures(name, found, note)


def _figures(name: str, found: dict[str, float], note: str) -> Iterator[Figure]:
    yield Figure(name, found["seconds"], "s", note)
    yield Figure(f"{name}, peak memory", found["peak_mb"], "MB", note)


def _note(rows: int, changed: int) -> str:
    return f"{rows:,} rows, {changed:,} changed"


def _changed(count: int) -> int:
    return len(range(0, count, CHANGED_EVERY))


def make_table(folder: Path, count: int) -> None:
    """A table of one commit: a ledger, and windows files of which only the journal knows."""
    paths = TablePaths(str(folder))
    files = [{"path": LEDGER, "sha256": "", "bytes": 1, "rows": count}]
    files += [
        {"path": _file(n), "sha256": "", "bytes": 1, "rows": CLIPS_IN_FILE * CLIP_WINDOWS}
        for n in range(0, count, CLIPS_IN_FILE)
    ]
    record = {"layout": LAYOUT_VERSION, "run_id": "first", "fingerprint": FINGERPRINT, "root": "/corpus"}
    record |= {"commit": 1, "files_added": files, "files_removed": []}
    write_ledger(paths.at(LEDGER), ledger_batches(count))
    write_json(join(paths.journal, "00000001.json"), {"record": record, "staged": {}})
    write_json(paths.record("first"), record)


def ledger_batches(count: int) -> Iterator[pa.RecordBatch]:
    """The ledger of so many clips."""
    for start in range(0, count, CLIPS_IN_FILE):
        yield ledger_batch(_row(n) for n in range(start, min(count, start + CLIPS_IN_FILE)))


def _row(number: int) -> LedgerRow:
    return LedgerRow(
        clip_id=clip_name(number),
        uri=f"/corpus/{clip_name(number)}",
        size_bytes=352_844,
        version=str(FIRST_NS + number * APART_NS),
        sample_rate=44_100,
        channels=1,
        frames=176_400,
        duration_s=4.0,
        codec="WAV/PCM_16",
        windows_expected=CLIP_WINDOWS,
        windows_written=CLIP_WINDOWS,
        files=(_file(number),),
        run_id="first",
        embedded_at=WHEN,
    )


def clip_name(number: int) -> str:
    """The clip of that number."""
    return f"{number // CLIPS_IN_FOLDER:06d}/{number:08d}.wav"


def _file(number: int, run_id: str = "first") -> str:
    return f"{windows_folder(FINGERPRINT)}/{run_id}-{number // CLIPS_IN_FILE:06d}.parquet"


def plan_unchanged(count: int, folder: Path) -> None:
    """Plan what the ledger holds."""
    _plan(count, folder, changed=0)


def plan_changed(count: int, folder: Path) -> None:
    """Plan it with every thousandth file changed."""
    _plan(count, folder, changed=_changed(count))


def _plan(count: int, folder: Path, *, changed: int) -> None:
    paths = TablePaths(str(folder))
    planned = make_plan(
        paths,
        load_state(paths),
        _listing(count, later_ns=1 if changed else 0),
        spec=SPEC,
        weights_digest=DIGEST,
        root="/corpus",
        run_id="second",
        started_at=WHEN.isoformat(),
        limits=Limits(max_rewrite=count),  # the files say that they are of a byte
    )
    expected = {"unchanged": count - changed} | ({"changed": changed} if changed else {})
    if planned.counts != expected or planned.empty != (changed == 0):
        raise RunError(f"planned {planned.counts} instead of {expected}")


def _listing(count: int, later_ns: int) -> Iterator[StoredObject]:
    for n in range(count):
        time_ns = FIRST_NS + n * APART_NS + (later_ns if n % CHANGED_EVERY == 0 else 0)
        yield StoredObject(f"/corpus/{clip_name(n)}", 352_844, str(time_ns))


def update(count: int, folder: Path) -> None:
    """Change every thousandth row."""
    _update(count, folder, {})


def follow(count: int, folder: Path) -> None:
    """Change every thousandth row, so that all windows files are rewritten."""
    moved = {}
    for n in range(0, count, CLIPS_IN_FILE):
        last = min(count, n + CLIPS_IN_FILE) - 1
        moved[_file(n)] = [Moved(_file(n, "second"), clip_name(n), clip_name(last))]
    _update(count, folder, moved)


def _update(count: int, folder: Path, moved: dict[str, list[Moved]]) -> None:
    paths = TablePaths(str(folder))
    ledger = load_state(paths).ledger(FINGERPRINT)
    settled = []

    def settle(old: LedgerRow | None) -> LedgerRow:
        assert old is not None
        settled.append(old.clip_id)
        return replace(old, version="later", run_id="second")

    changes: Iterator[tuple[str, Settle]] = (
        (clip_name(n), settle) for n in range(0, count, CHANGED_EVERY)
    )
    updated = update_ledger(paths, ledger, changes, moved)
    rows = write_ledger(paths.at("updated.parquet"), updated).rows
    if (rows, len(settled)) != (count, _changed(count)):
        raise RunError(f"{len(settled)} of {rows} rows changed instead of {_changed(count)} of {count}")


if __name__ == "__main__":
    verbs = {"unchanged": plan_unchanged, "changed": plan_changed, "update": update, "follow": follow}
    answer(verbs, *sys.argv[1:])
