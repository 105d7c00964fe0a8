"""The embeddings of a study, each by the run that `l3flow embed` would be."""

import argparse
import json
import time
from dataclasses import fields
from typing import Any

from l3core import storage
from l3core.datasets import DatasetCopy
from l3core.spec import EmbeddingSpec
from l3core.study.opening import Opened, Part
from l3core.study.paths import StudyPaths
from l3core.table.json_objects import read_json, write_json
from launch import embed
from launch.options import FLAGS
from launch.tables import new_run_id
from launch.telling import RunSoFar
from launch.words import duration


def write_clips(opened: Opened, paths: StudyPaths) -> None:
    """Leave a list of each dataset's clips, which is what is embedded."""
    for dataset in opened.plan.datasets:
        if dataset.name in opened.copies:
            storage.write_bytes(paths.clips(dataset), list_of(opened.copies[dataset.name]))


def list_of(copy: DatasetCopy) -> bytes:
    """A list of clips as `--input @LIST.jsonl` takes it."""
    return "".join(f"{json.dumps(clip.uri)}\n" for clip in copy.clips).encode()


def embed_part(args: argparse.Namespace, paths: StudyPaths, part: Part, fingerprint: str) -> str:
    """Embed what a table lacks of a part; a line on what was done.

    How long it took is kept, and added up: also of a run that is interrupted or fails.

    Raises:
        RunError: the run failed; the message says how the table is.
    """
    from launch.embed_run import embed_inputs

    spec = part.embedding.spec
    assert spec is not None
    table = paths.table(part.dataset)
    own = embed_args(
        args,
        part,
        paths.clips(part.dataset),
        table.root,
        *(("--workers", str(args.workers)) if args.workers > 1 else ()),
        *(("--quiet",) if args.quiet or args.json else ()),
    )
    begin = time.monotonic()
    idle = False
    try:
        run = RunSoFar("embed", table.root, new_run_id())
        plan, record = embed_inputs(own, table, spec, [], None, run)
        assert record is not None  # it is local
        idle = record["windows"] == 0
    finally:
        seconds = time.monotonic() - begin
        if not idle:
            before = embedding_seconds(paths, part, fingerprint) or 0.0
            facts = {"fingerprint": fingerprint, "seconds": before + seconds}
            write_json(paths.embedded(part.dataset, part.embedding), facts)
    if plan.empty:
        return "embedded before"
    return f"{record['windows']} windows embedded in {duration(seconds)}"


def embedding_seconds(paths: StudyPaths, part: Part, fingerprint: str) -> float | None:
    """What embedding a part took, in all runs; None if this study has not done it."""
    try:
        facts = read_json(paths.embedded(part.dataset, part.embedding))
    except FileNotFoundError:
        return None
    return float(facts["seconds"]) if facts.get("fingerprint") == fingerprint else None


def embed_args(
    args: argparse.Namespace, part: Part, clips: str, table: str, *more: str
) -> argparse.Namespace:
    """The options of `l3flow embed` that embed a part.

    Args:
        args: of the study; parsing others forgets its options of stores, unless they are the same.
        part: dataset and embedding.
        clips: a list of the dataset's clips.
        table: to embed into.
        more: further options.
    """
    assert part.embedding.spec is not None
    stores = [f"--storage-option={option}" for option in args.storage_option]
    argv = ["--input", f"@{clips}", "--output", table, *flags_of(part.embedding.spec), *stores, *more]
    return embed.check(argv, embed.build_parser("l3flow embed")).args


def flags_of(spec: EmbeddingSpec) -> list[str]:
    """The flags that mean a spec."""
    found: list[str] = []
    for each in fields(spec):
        value: Any = getattr(spec, each.name)
        flag = FLAGS.get(each.name, "--" + each.name.replace("_", "-"))
        if each.name == "model_options":
            for key, choice in value.items():
                found.append(f"{flag}={key}={choice}")
        elif value is not None:
            found.append(f"{flag}={value}")  # in one: a path may begin with a dash
    return found
