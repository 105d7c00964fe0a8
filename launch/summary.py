"""What people and machines read when a run is over."""

import argparse
import json
from functools import partial
from itertools import islice
from shlex import quote
from typing import Any

from l3core.errors import BusyError
from l3core.spec import EmbeddingSpec
from l3core.sql.text import glob_text, sql_text
from l3core.table.journal import published_state
from l3core.table.layout import GONE, TRANSIENT, LedgerRow, TablePaths
from l3core.table.ledger import read_ledger
from l3core.table.planned import Plan
from l3core.table.preview import Preview
from l3core.table.read import following_commits
from l3core.table.state import TableState
from launch.exits import DONE, WORDS
from launch.memory import peak_rss_bytes
from launch.runners import Cost, Where
from launch.words import duration, printable, rounding_in_words, size

TROUBLE_SHOWN = 5


def print_json(paths: TablePaths, record: dict[str, Any], code: int) -> None:
    """The run record, where the table is, and the exit code."""
    ending = {"status": WORDS[code], "exit_code": code, "message": ""}
    facts = {"table": paths.root, "peak_rss_bytes": peak_rss_bytes(), **ending, **record}
    print(json.dumps(facts, indent=1, sort_keys=True))


def say_skipped(args: argparse.Namespace, busy: BusyError) -> None:
    """That nothing was done, because another run is at work."""
    if args.json:
        ending = {"status": "skipped", "exit_code": DONE, "message": str(busy)}
        print(json.dumps({**ending, "table": args.output, "skipped": str(busy)}))
    elif not args.quiet:
        print(f"skipped: {printable(str(busy))}")


def say_submitted(args: argparse.Namespace, run_id: str, job_id: str) -> None:
    """That a job goes on without us, and how to follow it; of one of Google's its id, for its page."""
    if not args.detach:
        if args.runner == "dataflow" and not (args.json or args.quiet):
            print(f"submitted: Dataflow job {job_id}, run {run_id}", flush=True)
        return
    if args.json:
        ending = {"status": "submitted", "exit_code": DONE, "message": ""}
        print(json.dumps({**ending, "run_id": run_id, "job": job_id, "table": args.output}))
    elif args.quiet:
        print(job_id)
    else:
        print(f"submitted: {args.runner.title()} job {job_id}, run {run_id}")
        print(f"follow it: l3flow runs --table {printable(quote(args.output))} --job {job_id}")


def print_summary(paths: TablePaths, spec: EmbeddingSpec, plan: Plan, record: dict[str, Any]) -> None:
    """What was matched, what became of it, and where it is."""
    matched = ", ".join(f"{count} {kind}" for kind, count in plan.counts.items()) or "none"
    print(f"{plan.matched} files matched ({matched}), clip ids are paths below {printable(plan.root)}")
    if plan.gone:
        pruned = f", the windows of {plan.pruned} were dropped" if plan.pruned else ""
        print(f"{plan.gone} files of the table are no longer there{pruned}")
    if plan.empty:
        print("nothing to do: every file is in the table as it is")
    elif plan.shards:
        embedded = {status: n for status, n in record["clips"].items() if status != GONE}
        counts = sorted(embedded.items(), key=lambda item: (item[0] != "ok", item[0]))
        statuses = ", ".join(f"{count} {status}" for status, count in counts)
        speed = record["audio_s"] / record["wall_s"] if record["wall_s"] else 0.0
        print(
            f"embedded: {statuses}; {record['windows']} windows of {spec.size} numbers "
            f"from {duration(record['audio_s'])} of audio in {duration(record['wall_s'])} "
            f"({speed:.0f} x real time)"
        )
        if adopted := sum(shard.pieces for shard in plan.shards if shard.adopted):
            print(f"{adopted} of them were taken over from a run that did not finish")
    if record["bytes_rewritten"]:
        print(
            f"rewritten: {size(record['bytes_rewritten'])} of files with replaced clips, or small ones"
        )
    _say_computing(spec, record)
    _say_trouble(paths, plan, record)
    print(f"table: {printable(paths.root)}  spec={plan.fingerprint}")


def _say_computing(spec: EmbeddingSpec, record: dict[str, Any]) -> None:
    """What mixed precision has cost, and that a device had too little memory."""
    if rounding := record.get("rounding"):
        print(
            f"{spec.precision}: {rounding_in_words(rounding)} to float32, at worst of "
            f"{rounding['windows']} windows"
        )
    metrics = record.get("metrics", {})
    if halved := metrics.get("batches_halved"):
        print(
            f"the device had no memory for a batch {halved} times: it takes "
            f"{metrics['batch_size']['min']} windows at once now"
        )


def _say_trouble(paths: TablePaths, plan: Plan, record: dict[str, Any]) -> None:
    """The first few files that are not all right."""
    bad = sum(count for status, count in record["clips"].items() if status not in ("ok", GONE))
    if not bad:
        return
    rows = troubled(paths, plan)
    for row in rows:
        # of a file that failed for a reason that passes the good row of before is kept
        status = "" if row.error and row.error.startswith(tuple(TRANSIENT)) else f"{row.status}: "
        print(f"  {status}{printable(row.clip_id)}: {printable(row.error or '')}")
    if bad > len(rows):
        print(f"  ... and {bad - len(rows)} more")
    files = sql_text(glob_text(paths.root) + "/clips/*/*.parquet")
    print(f"  all of them: SELECT * FROM read_parquet({files}) WHERE error IS NOT NULL")


def troubled(paths: TablePaths, plan: Plan, *, before: bool = False) -> list[LedgerRow]:
    """The first few files of a run that has committed that are not all right.

    Args:
        paths: of the table.
        plan: of the run.
        before: those that earlier runs left so, too.
    """
    return following_commits(paths, partial(_troubled, paths, plan, before), published_state)


def _troubled(paths: TablePaths, plan: Plan, before: bool, state: TableState) -> list[LedgerRow]:
    """The first few rows that this run, or one that it took over from, left with an error."""
    adopted = any(shard.adopted for shard in plan.shards)
    found = (
        row
        for row in read_ledger(paths, state.ledger(plan.fingerprint))
        if row.error and row.status != GONE and (before or adopted or _is_of(row, plan))
    )
    return list(islice(found, TROUBLE_SHOWN))


def _is_of(row: LedgerRow, plan: Plan) -> bool:
    """Whether a run has left this error; a kept good row says no more which."""
    return row.run_id == plan.run_id or (row.error or "").startswith(tuple(TRANSIENT))


def print_preview_json(
    paths: TablePaths, preview: Preview, speed: float | None, where: Where | None
) -> None:
    """What a run would do, for machines."""
    ending = {"status": "dry-run", "exit_code": DONE, "message": preview.refused or ""}
    facts = {"table": paths.root, **ending, **preview._asdict(), "windows_per_second": speed}
    if where:
        facts["where"] = where.facts
        if cost := _cost(preview, speed, where):
            facts["price"] = cost.facts
    print(json.dumps(facts, indent=1, sort_keys=True))


def print_preview(
    paths: TablePaths,
    spec: EmbeddingSpec,
    preview: Preview,
    speed: float | None,
    where: Where | None,
) -> None:
    """What a run would do."""
    matched = ", ".join(f"{count} {kind}" for kind, count in preview.counts.items()) or "none"
    print(f"{sum(preview.counts.values())} files matched ({matched})")
    if preview.gone:
        pruned = f", the windows of {preview.pruned} would be dropped" if preview.pruned else ""
        print(f"{preview.gone} files of the table are no longer there{pruned}")
    if preview.rewrite_bytes:
        print(f"to rewrite, without replaced or pruned clips: {size(preview.rewrite_bytes)} of files")
    if preview.refused:
        print(f"the run would be refused: {printable(preview.refused)}")
    if not preview.files:
        what = "embed" if preview.gone else "do"
        print(f"nothing to {what}: every file is in the table as it is")
        return
    about = f" +- {preview.windows_error}" if preview.windows_error else ""
    exactly = "about" if preview.windows_error else "exactly"
    print(
        f"to embed: {preview.files} files, {exactly} {duration(preview.audio_s)} of audio, "
        f"{preview.windows}{about} windows of {spec.size} numbers in {preview.shards} shards"
    )
    if preview.unreadable:
        print(f"{preview.unreadable} of the files that were opened hold nothing that can be embedded")
    print(f"output: about {size(preview.output_bytes)} in {printable(paths.root)}")
    if where:
        print(f"machines: {printable(where.words)}")
    if speed:
        print(f"time: about {duration(preview.windows / speed)} here, at {speed:.0f} windows/s")
    if cost := _cost(preview, speed, where):
        print(f"price: {printable(cost.words)}")


def _cost(preview: Preview, speed: float | None, where: Where | None) -> Cost | None:
    """Of a run that has something to embed, where it costs anything."""
    if not (speed and where and where.cost):
        return None
    return where.cost(preview.windows, preview.shards, speed)
