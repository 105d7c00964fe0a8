"""What the commands share that work on a table that is there."""

import argparse
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

from l3core import storage
from l3core.containment import leads_out
from l3core.errors import RunError, UsageError
from l3core.table.journal import published_state
from l3core.table.layout import TablePaths
from l3core.table.state import TableState, load_state
from l3core.urls import refuse_web
from launch.options import naming
from launch.places import reach_places


def open_table(args: argparse.Namespace) -> tuple[TablePaths, TableState]:
    """The table that `--table` names, and its last commit.

    Raises:
        UsageError: there is none.
    """
    paths = table_of(args)
    with naming("--table"):
        return paths, published_state(paths)


def table_of(args: argparse.Namespace) -> TablePaths:
    """The paths of the table that `--table` names, there or not, in a store that answers."""
    reach_places({"--table": args.table})
    return table_at("--table", args.table)


def table_at(flag: str, uri: str) -> TablePaths:
    """The paths of a table, there or not, that a flag names."""
    with naming(flag):
        refuse_web(uri)
        return TablePaths(storage.absolute(uri).rstrip("/"))


def refuse_within(flag: str, place: str, paths: TablePaths) -> None:
    """Let nothing that is written lie among the files of the table that it is about.

    Raises:
        UsageError: it would.
    """
    uri = storage.absolute(place).rstrip("/")
    with naming(flag):
        if uri == paths.root or not leads_out(uri, paths.root):
            raise UsageError(f"{place} lies in the table: name another place")


@contextmanager
def saying_how_it_is(paths: TablePaths, run_id: str) -> Iterator[None]:
    """Let a disk or store that fails be a failed run, and say how the table is.

    Raises:
        RunError: the block met such a failure.
    """
    try:
        yield
    except OSError as error:
        raise failure(paths, run_id, str(error)) from error


def failure(paths: TablePaths, run_id: str, problem: str) -> RunError:
    """The error of a run that failed: what was journalled has happened, whatever failed after it."""
    try:
        pending = load_state(paths).pending
        published = storage.is_object(paths.record(run_id))
    except (OSError, UsageError):
        how = "and the table cannot be read: l3flow repair will tell how it is"
    else:
        if published:
            how = "after its commit, which is published"
        elif pending is not None and pending["record"]["run_id"] == run_id:
            how = "after its commit: the next command finishes publishing it"
        elif paths.staging(run_id) in problem and "No such file" in problem:
            how = "another run has taken over from this one, which was silent for too long"
        else:
            how = "the table is as it was"
    return RunError(f"the run failed, {how}: {problem}")


def new_run_id() -> str:
    """A name for a run; names sort by time."""
    return f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def results_folder(output: str) -> str:
    """The URI of the folder that `--output` names for results.

    Raises:
        UsageError: it is none, or a feature table.
    """
    with naming("--output"):
        refuse_web(output)
        root = storage.absolute(output).rstrip("/")
    if not storage.is_folder_or_absent(root):
        raise UsageError(f"--output {output} is a file; the results need a folder")
    if storage.is_object(TablePaths(root).table):
        raise UsageError(f"--output {output} is a feature table; name a folder for the results")
    return root
