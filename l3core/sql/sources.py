"""What the views are over: the files of one commit, and what is known of runs and specs."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from l3core import storage
from l3core.ahead import map_ahead
from l3core.errors import UsageError
from l3core.sql.files import BASE, Made, Stored
from l3core.sql.text import glob_text
from l3core.sql.views import (
    RUN_COLUMNS,
    SPEC_COLUMNS,
    Sources,
    json_file,
    json_lines,
    json_text,
    picked,
)
from l3core.table.failed import ended_at, failed_runs
from l3core.table.json_objects import read_json
from l3core.table.layout import TablePaths
from l3core.table.places import places_of
from l3core.table.row_groups import vector_size
from l3core.table.state import TableState, read_spec

RUNS, SPECS = "runs.json", "specs.json"
CROSSVAL = ("predictions", "splits", "trials")


def serve_state(
    paths: TablePaths, state: TableState, fingerprint: str, crossval: str | None
) -> tuple[dict[str, Stored | Made], Sources]:
    """The files of a commit that SQL may read, and what the views are over by their names.

    Args:
        paths: of the table.
        state: the commit.
        fingerprint: of the spec whose windows and ledger they are.
        crossval: path or URI of a result of cross-validation; None for none.

    Raises:
        UsageError: no such result.
    """
    parts = (*state.windows(fingerprint), *state.ledger(fingerprint))
    served: dict[str, Stored | Made] = {path: _stored(paths, state, path) for path in parts}
    served[RUNS] = Made(lambda: json_lines(list(run_rows(paths)), RUN_COLUMNS))
    served[SPECS] = Made(lambda: json_lines(list(spec_rows(paths, state)), SPEC_COLUMNS))
    results = {} if crossval is None else crossval_files(crossval)
    served |= {_result_name(name): Made(partial(storage.read_bytes, results[name])) for name in results}
    sources = Sources(
        windows=[BASE + path for path in state.windows(fingerprint)],
        clips=[BASE + path for path in state.ledger(fingerprint)],
        vector_size=vector_size(paths, state, fingerprint) or 1,
        runs=json_file(BASE + RUNS, RUN_COLUMNS),
        specs=json_file(BASE + SPECS, SPEC_COLUMNS),
        crossval={name: BASE + _result_name(name) for name in results},
    )
    return served, sources


def plain_sources(
    paths: TablePaths, state: TableState, fingerprint: str, crossval: str | None
) -> Sources:
    """The same for any DuckDB: files by where they are, runs and specs as they are now.

    Args:
        paths: of the table.
        state: a commit that is published.
        fingerprint: of the spec.
        crossval: path or URI of a result of cross-validation; None for none.
    """

    def places(files: list[str]) -> list[str]:
        return [glob_text(paths.at(path)) for path in files]

    results = {} if crossval is None else crossval_files(crossval)
    return Sources(
        windows=places(state.windows(fingerprint)),
        clips=places(state.ledger(fingerprint)),
        vector_size=vector_size(paths, state, fingerprint) or 1,
        runs=json_text([picked(row, RUN_COLUMNS) for row in run_rows(paths)], RUN_COLUMNS),
        specs=json_text([picked(row, SPEC_COLUMNS) for row in spec_rows(paths, state)], SPEC_COLUMNS),
        crossval={name: glob_text(uri) for name, uri in results.items()},
    )


def crossval_files(crossval: str) -> dict[str, str]:
    """The tables of a result of cross-validation: name -> URI.

    Raises:
        UsageError: it is not there, or not finished.
    """
    root = storage.absolute(crossval).rstrip("/")
    files = {name: storage.join(root, f"{name}.parquet") for name in CROSSVAL}
    for uri in files.values():
        if not storage.is_object(uri):
            raise UsageError(f"no result of l3flow crossval at {root}: {uri} is not there")
    return files


def run_rows(paths: TablePaths) -> Iterator[Mapping[str, Any]]:
    """All runs by when they ended, those that failed among them: a value for each of `RUN_COLUMNS`."""
    names = storage.names_below(paths.runs, suffix=".json")
    records = map_ahead(lambda name: read_json(storage.join(paths.runs, name)), names)
    done = [{"status": "ok"} | record for record in records]
    failed = failed_runs(paths, [name.removesuffix(".json") for name in names])
    for record in sorted([*done, *failed], key=ended_at):
        yield {
            **record,
            "ended_at": record.get("committed_at") or record.get("failed_at"),
            "wall_s": record.get("wall_s", record.get("duration_s")),
        }


def spec_rows(paths: TablePaths, state: TableState) -> Iterator[Mapping[str, Any]]:
    """The specs of a commit: a value for each of `SPEC_COLUMNS`."""
    for fingerprint in state.fingerprints:
        known = read_spec(paths, fingerprint)
        files = [state.files[path] for path in state.windows(fingerprint)]
        yield {
            **known["spec"],
            "fingerprint": fingerprint,
            "weights_digest": known["weights_digest"],
            "windows": sum(file["rows"] for file in files),
            "clips": sum(state.files[path]["rows"] for path in state.ledger(fingerprint)),
            "files": len(files),
            "bytes": sum(file["bytes"] for file in files),
        }


def _result_name(name: str) -> str:
    return f"crossval/{name}.parquet"


def _stored(paths: TablePaths, state: TableState, path: str) -> Stored:
    facts = state.files[path]
    return Stored(places_of(paths, state, path), facts["bytes"], facts["sha256"])
