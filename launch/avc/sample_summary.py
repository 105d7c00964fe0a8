"""What people and machines read when a run of `l3flow avc sample` is over."""

import argparse
import json
from collections import Counter
from typing import Any

from l3core.avc.corpus import SPLITS, Corpus
from l3core.avc.layout import OK, CorpusPaths
from l3core.avc.ledger import read_ledger
from l3core.avc.plan import Plan
from launch.exits import DONE, WORDS
from launch.words import duration, printable, size

TROUBLE_SHOWN = 5


def print_summary(
    args: argparse.Namespace,
    paths: CorpusPaths,
    plan: Plan,
    record: dict[str, Any],
    corpus: Corpus | None,
    code: int,
) -> None:
    """What was matched, what became of it, and what the corpus is now."""
    if args.json:
        facts = {"corpus": paths.root, "status": WORDS[code], "exit_code": code, "message": ""}
        print(json.dumps(facts | record | {"total": _total(corpus)}, indent=1, sort_keys=True))
        return
    if args.quiet:
        return
    matched = ", ".join(f"{count} {kind}" for kind, count in plan.counts.items()) or "none"
    print(f"videos: {matched}; ids are paths below {printable(plan.root)}")
    if waiting := plan.counts.get("waiting"):
        print(
            f"{waiting} wait with their old pairs: these share a file with those of videos that are not "
            "listed any more; --prune drops those"
        )
    elif plan.empty:
        known = "every video is in the corpus as it is" if plan.counts else "there is no video"
        print(f"nothing to do: {known}")
    if not plan.empty:
        _print_sampled(plan, record)
        _print_trouble(corpus, plan.run_id)
    if corpus is not None:
        print(f"corpus: {_parts(corpus)}, {printable(paths.root)}")
        print(f"look at it: l3flow avc inspect --corpus {printable(args.output)}")


def _print_sampled(plan: Plan, record: dict[str, Any]) -> None:
    counts = sorted(record["videos"].items(), key=lambda item: (item[0] != OK, item[0]))
    statuses = ", ".join(f"{count} {status}" for status, count in counts)
    wall_s = max(record["wall_s"], 1e-9)
    rate = sum(shard.videos for shard in plan.shards if not shard.finished) / wall_s
    print(
        f"sampled: {statuses}; {record['pairs']} pairs, {record['positives']} of them belong together, "
        f"{size(record['bytes'])} in {duration(record['wall_s'])} ({rate:.1f} videos/s)"
    )
    if taken := sum(shard.videos for shard in plan.shards if shard.finished):
        print(f"{taken} of them were taken over from a run that did not finish")
    if record["videos_dropped"]:
        print(f"{record['videos_dropped']} that are no longer there were dropped, with their pairs")


def _print_trouble(corpus: Corpus | None, run_id: str) -> None:
    """The first few videos of a run that gave no pairs, and why."""
    rows = [row for row in read_ledger(corpus).values() if row.run_id == run_id and row.status != OK]
    for row in rows[:TROUBLE_SHOWN]:
        print(f"  {row.status}: {printable(row.video_id)}: {printable(row.error or '')}".rstrip(": "))
    if len(rows) > TROUBLE_SHOWN:
        print(f"  and {len(rows) - TROUBLE_SHOWN} more")


def _parts(corpus: Corpus) -> str:
    total = _total(corpus)
    parts = ", ".join(f"{total['splits'][split]} {split}" for split in SPLITS)
    return f"{total['pairs']} pairs ({parts}), {size(total['bytes'])}"


def _total(corpus: Corpus | None) -> dict[str, Any]:
    if corpus is None:
        return {"pairs": 0, "positives": 0, "bytes": 0, "splits": {}, "digest": None}
    pairs = {split: sum(file.pairs for file in corpus.of_split(split)) for split in SPLITS}
    return {
        "pairs": sum(pairs.values()),
        "positives": sum(file.positives for file in corpus.files),
        "bytes": sum(file.size_bytes for file in corpus.files),
        "splits": pairs,
        "digest": corpus.digest,
    }


def print_preview(args: argparse.Namespace, plan: Plan) -> None:
    """What a run would do."""
    videos = dict.fromkeys(SPLITS, 0)
    for shard in plan.shards:
        videos[shard.split] += shard.videos
    total = sum(videos.values())
    facts = {
        "matched": plan.counts,
        "videos": videos,
        "shards": len(plan.shards),
        "shards_to_sample": len(plan.todo),
        "pairs_at_most": total * plan.settings["per_video"],
        "files_removed": len(plan.files_removed),
        "videos_dropped": len(plan.dropped),
        "not_sampled": [[row.video_id, row.status, row.error] for row in plan.rows],
    }
    if args.json:
        print(json.dumps(facts, indent=1))
    elif not args.quiet:
        matched = ", ".join(f"{count} {kind}" for kind, count in plan.counts.items()) or "none"
        print(f"videos: {matched}; ids are paths below {printable(plan.root)}")
        parts = ", ".join(f"{count} {split}" for split, count in videos.items())
        known = Counter(row.status for row in plan.rows)
        if known:
            print("not to sample: " + ", ".join(f"{count} {status}" for status, count in known.items()))
        print(f"to sample: {total} videos ({parts}) in {len(plan.todo)} shards")
        print(
            f"that gives {facts['pairs_at_most']} pairs at most, and replaces or drops "
            f"{facts['files_removed']} files"
        )


def print_submitted(args: argparse.Namespace, job_id: str) -> None:
    """That a job goes on without us."""
    if not args.detach:
        return
    if args.json:
        print(json.dumps({"status": "submitted", "exit_code": DONE, "message": "", "job": job_id}))
    elif args.quiet:
        print(job_id)
    else:
        print(f"submitted: {args.runner.title()} job {job_id}; l3flow avc inspect shows the result")
