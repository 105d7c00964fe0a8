"""The embeddings of a study, each by the run that `l3flow embed` would be."""

import argparse
import json
import time
from dataclasses import fields
from typing import Any

from l3core import storage
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
            uris = [json.dumps(clip.uri) for clip in opened.copies[dataset.name].clips]
            storage.write_bytes(paths.clips(dataset), ("\n".join(uris) + "\n").encode())


def embed_part(args: argparse.Namespace, paths: StudyPaths, part: Part) -> str:
    """Embed what a table lacks of a part; a line on what was done.

    Raises:
        RunError: the run failed; the message says how the table is.
    """
    from launch.embed_run import embed_inputs

    spec = part.embedding.spec
    assert spec is not None
    table = paths.table(part.dataset)
    own = embed_args(paths, part, quiet=args.quiet or args.json, workers=args.workers)
    begin = time.monotonic()
    plan, record = embed_inputs(own, table, spec, [], None, RunSoFar("embed", table.root, new_run_id()))
    seconds = time.monotonic() - begin
    assert record is not None  # it is local
    if plan.empty:
        return "embedded before"
    write_json(
        paths.embedded(part.dataset, part.embedding),
        {"fingerprint": plan.fingerprint, "seconds": seconds, "windows": record["windows"]},
    )
    return f"{record['windows']} windows embedded in {duration(seconds)}"


def embedding_seconds(paths: StudyPaths, part: Part, fingerprint: str) -> float | None:
    """What embedding a part took; None if this study has not done it."""
    try:
        facts = read_json(paths.embedded(part.dataset, part.embedding))
    except FileNotFoundError:
        return None
    return float(facts["seconds"]) if facts.get("fingerprint") == fingerprint else None


def embed_args(paths: StudyPaths, part: Part, *, quiet: bool, workers: int) -> argparse.Namespace:
    """The options of `l3flow embed` that embed a part."""
    assert part.embedding.spec is not None
    argv = [
        *("--input", f"@{paths.clips(part.dataset)}"),
        *("--output", paths.table(part.dataset).root),
        *flags_of(part.embedding.spec),
        *(("--workers", str(workers)) if workers > 1 else ()),
        *(("--quiet",) if quiet else ()),
    ]
    return embed.check(argv, embed.build_parser("l3flow embed")).args


def flags_of(spec: EmbeddingSpec) -> list[str]:
    """The flags that mean a spec."""
    found: list[str] = []
    for each in fields(spec):
        value: Any = getattr(spec, each.name)
        flag = FLAGS.get(each.name, "--" + each.name.replace("_", "-"))
        if each.name == "model_options":
            for key, choice in value.items():
                found += [flag, f"{key}={choice}"]
        elif value is not None:
            found += [flag, str(value)]
    return found
