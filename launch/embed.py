"""`l3flow embed`: plan, run the pipeline, say what became of the input."""

import argparse
import json
import platform
import secrets
import socket
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from l3core import storage
from l3core.errors import RunError, UsageError
from l3core.listing import Pattern, common_root, list_inputs, parse_pattern
from l3core.spec import EmbeddingSpec
from l3core.table.commit import commit_run
from l3core.table.layout import WITH_WINDOWS, TablePaths
from l3core.table.ledger import read_ledger
from l3core.table.lock import acquire, release
from l3core.table.plan import Plan, make_plan
from l3core.table.state import TableState, load_state, repair
from l3core.weights import Weights, load_weights, to_h5
from launch.options import Parser, add_output_flags, add_spec_flags, quiet_libraries, spec_of
from launch.signals import Interrupted, interruptible
from pipelines.job import EmbedJob

RUNNERS = ("local",)
TROUBLE_SHOWN = 5

DESCRIPTION = """\
Embed audio into a feature table: one row per window, and a ledger with one row per file.

A second run into the same table embeds only files that are new or changed.

examples:
  l3flow embed --input 'corpus/**/*.wav' --output table --model edgel3-sea-64
  l3flow embed --input a.flac 'more/*.ogg' --output table --hop 0.5 --embedding-size 512
  l3flow embed --input corpus --output table --weights my_weights.h5 --content env
  l3flow embed --input 'corpus/*.wav' --output table --weights random:0 --json
"""


def build_parser(prog: str) -> Parser:
    """The options of this command."""
    parser = Parser(prog=prog, description=DESCRIPTION)
    add = parser.add_argument
    add(
        "--input",
        nargs="+",
        required=True,
        metavar="PATTERN",
        help="files, patterns with * ? [] **, or folders (the audio files below them); quote patterns",
    )
    add("--output", required=True, metavar="URI", help="the table, a folder; made if it is not there")
    add("--root", metavar="URI", help="clip ids are paths below it (default: what the inputs share)")
    add("--runner", default="local", metavar="NAME", help="local: in this process")
    add("--full", action="store_true", help="embed unchanged files again, too")
    add("--strict", action="store_true", help="exit with 3 if a file could not be read")
    add("--allow-empty", action="store_true", help="no matching file is no error")
    add_spec_flags(parser)
    add_output_flags(parser)
    parser.epilog = "Options of Apache Beam may follow; they are handed to the runner."
    return parser


def run(argv: Sequence[str], parser: Parser) -> int:
    """Embed; returns the exit code."""
    quiet_libraries()
    if strangers := parser.strangers(argv):
        _check_beam_options(strangers, parser)
    args, beam_options = parser.parse_known_args(argv)
    if beam_options and not beam_options[0].startswith("-"):
        parser.refuse(beam_options)
    if args.runner not in RUNNERS:
        raise UsageError(f"--runner must be one of {', '.join(RUNNERS)}, got {args.runner!r}")
    spec = spec_of(args)
    patterns = [parse_pattern(pattern) for pattern in args.input]
    weights = load_weights(spec)
    record = embed_table(args, spec, weights, patterns, beam_options)
    if record is None:
        return 0
    bad = {status: n for status, n in record["clips"].items() if status not in WITH_WINDOWS}
    return 3 if args.strict and bad else 0


def embed_table(
    args: argparse.Namespace,
    spec: EmbeddingSpec,
    weights: Weights,
    patterns: Sequence[Pattern],
    beam_options: Sequence[str],
) -> dict[str, Any] | None:
    """Plan, embed and commit; returns the run record, None where nothing matched and may not."""
    paths = TablePaths(storage.absolute(args.output).rstrip("/"))
    if not storage.is_folder_or_absent(paths.root):
        raise UsageError(f"--output {args.output} is a file; a table needs a folder")
    fingerprint = spec.fingerprint(weights.digest)
    run_id = _run_id()
    acquire(paths, fingerprint, run_id)
    try:
        state = repair(paths)
        root = _root(args, state, patterns)
        plan = make_plan(
            paths,
            state,
            list_inputs(patterns),
            spec=spec,
            weights_digest=weights.digest,
            root=root,
            run_id=run_id,
            started_at=datetime.now(timezone.utc).isoformat(),
            full=args.full,
        )
        if plan.matched == 0 and not args.allow_empty:
            storage.remove(paths.staging(run_id), recursive=True)
            raise UsageError(
                f"--input {' '.join(args.input)} matches no file; --allow-empty makes that no error"
            )
        with interruptible():
            record = _execute(args, paths, plan, spec, weights, beam_options)
    except KeyboardInterrupt:
        raise Interrupted(_after_interrupt(paths, run_id)) from None
    finally:
        release(paths, fingerprint, run_id)
    _say_result(args, paths, spec, plan, record)
    return record


def _after_interrupt(paths: TablePaths, run_id: str) -> str:
    """Finish a publication that had begun; how the table is."""
    pending = load_state(paths).pending
    if pending is not None and pending["record"]["run_id"] == run_id:
        repair(paths)
        return f"interrupted while publishing: that was finished, the table is at run {run_id}"
    if storage.exists(storage.join(paths.runs, f"{run_id}.json")):
        return f"interrupted after the commit: the table is at run {run_id}"
    return "interrupted; the table is as it was, the next run takes over the shards that are finished"


def _run_id() -> str:
    return f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def _root(args: argparse.Namespace, state: TableState, patterns: Sequence[Pattern]) -> str:
    given = storage.absolute(args.root).rstrip("/") if args.root else None
    if state.root is None:
        return given or common_root(patterns)
    if given is not None and given != state.root:
        raise UsageError(f"--root {given}: this table's root is {state.root}, and a table has one")
    return state.root


def _execute(
    args: argparse.Namespace,
    paths: TablePaths,
    plan: Plan,
    spec: EmbeddingSpec,
    weights: Weights,
    beam_options: Sequence[str],
) -> dict[str, Any]:
    info = {
        "command": "embed",
        "input": list(args.input),
        "host": socket.gethostname(),
        "versions": _versions(),
        "weights": weights.origin,
    }
    if not plan.to_embed:  # nothing to compute: no model, no pipeline
        return commit_run(paths, plan.run_id, info=info)
    weights_uri = paths.weights(weights.digest)
    if not storage.exists(weights_uri):
        layers = spec.network.layer_shapes(spec)
        storage.write_bytes(weights_uri, to_h5(weights, layers))
    job = EmbedJob(
        table=paths.root,
        run_id=plan.run_id,
        fingerprint=plan.fingerprint,
        spec=plan.spec,
        weights=weights_uri,
        info=info,
    )
    from launch.screen import showing_progress  # rich and Beam are loaded when they are needed
    from pipelines.embed import run_local

    shards = [shard.name for shard in plan.to_embed]
    total = sum(shard.estimate for shard in plan.to_embed)
    quiet = args.quiet or args.json
    with showing_progress("embedding", total, _Done(paths, plan), quiet=quiet):
        try:
            run_local(job, shards, beam_options)
        except RunError:
            raise
        except Exception as error:  # whatever a worker died of: Beam wraps it in its own words
            raise RunError(f"the run failed, the table is as it was: {_last_line(error)}") from error
    return storage_record(paths, plan.run_id)


class _Done:
    """How much of a run is done, from the manifests in its staging folder."""

    def __init__(self, paths: TablePaths, plan: Plan) -> None:
        self._folder = storage.join(paths.staging(plan.run_id), "done")
        self._estimates = {shard.name: shard.estimate for shard in plan.to_embed}
        self._windows: dict[str, int] = {}

    def __call__(self) -> tuple[int, int]:
        for name in storage.names_below(self._folder, suffix=".json"):
            shard = name.removesuffix(".json")
            if shard in self._estimates and shard not in self._windows:
                manifest = json.loads(storage.read_bytes(storage.join(self._folder, name)))
                self._windows[shard] = sum(clip["windows_written"] for clip in manifest["clips"])
        return sum(self._estimates[shard] for shard in self._windows), sum(self._windows.values())


def storage_record(paths: TablePaths, run_id: str) -> dict[str, Any]:
    """The run record of a committed run."""
    return json.loads(storage.read_bytes(storage.join(paths.runs, f"{run_id}.json")))


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("l3flow", "apache-beam", "tensorflow", "keras", "kapre", "soxr", "soundfile"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _check_beam_options(strangers: Sequence[str], parser: Parser) -> None:
    """Refuse flags that are neither ours nor Beam's, with the nearest of both."""
    from apache_beam.options.pipeline_options import PipelineOptions

    beam = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(beam)
    flags = {flag for action in beam._actions for flag in action.option_strings}
    if unknown := [flag for flag in strangers if flag not in flags]:
        parser.refuse(unknown, flags)


def _say_result(
    args: argparse.Namespace, paths: TablePaths, spec: EmbeddingSpec, plan: Plan, record: dict[str, Any]
) -> None:
    if args.json:
        print(json.dumps({"table": paths.root, **record}, indent=1, sort_keys=True, ensure_ascii=False))
        return
    if args.quiet:
        return
    matched = ", ".join(f"{count} {kind}" for kind, count in plan.counts.items()) or "none"
    print(f"{plan.matched} files matched ({matched}), clip ids are paths below {plan.root}")
    if plan.shards:
        statuses = ", ".join(f"{count} {status}" for status, count in sorted(record["clips"].items()))
        speed = record["audio_s"] / record["wall_s"] if record["wall_s"] else 0.0
        print(
            f"embedded: {statuses}; {record['windows']} windows of {spec.size} numbers "
            f"from {_duration(record['audio_s'])} of audio in {_duration(record['wall_s'])} "
            f"({speed:.0f} x real time)"
        )
        if adopted := sum(shard.pieces for shard in plan.shards if shard.adopted):
            print(f"{adopted} of them were taken over from a run that did not finish")
        _say_trouble(paths, plan, record)
    else:
        print("nothing to do: every file is in the table as it is")
    print(f"table: {paths.root}  spec={plan.fingerprint}")


def _say_trouble(paths: TablePaths, plan: Plan, record: dict[str, Any]) -> None:
    """The first few files that are not all right."""
    bad = sum(count for status, count in record["clips"].items() if status != "ok")
    if not bad:
        return
    shown = 0
    for row in read_ledger(paths, load_state(paths).ledger(plan.fingerprint)):
        if row.run_id == plan.run_id and row.error:
            print(f"  {row.status}: {_printable(row.clip_id)}: {row.error}")
            shown += 1
            if shown == TROUBLE_SHOWN:
                break
    if bad > shown:
        print(f"  ... and {bad - shown} more")
    print(f"  all of them: SELECT * FROM '{paths.root}/clips/*/*.parquet' WHERE status <> 'ok'")


def _printable(text: str) -> str:
    """A file name without characters that a terminal would act on."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"
