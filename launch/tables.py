"""What the commands share that work on a table that is there."""

import argparse
import secrets
from datetime import datetime, timezone

from l3core import storage
from l3core.table.journal import published_state
from l3core.table.layout import TablePaths
from l3core.table.state import TableState
from launch.options import naming


def open_table(args: argparse.Namespace) -> tuple[TablePaths, TableState]:
    """The table that `--table` names, and its last commit.

    Raises:
        UsageError: there is none.
    """
    with naming("--table"):
        paths = TablePaths(storage.absolute(args.table).rstrip("/"))
        return paths, published_state(paths)


def new_run_id() -> str:
    """A name for a run; names sort by time."""
    return f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
