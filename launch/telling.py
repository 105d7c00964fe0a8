"""How a run of `embed` or `crossval` ended, told to all who should know: the table, scripts, people.

The line on the screen comes first, then the JSON of `--json`. What fails on the way is a line of its own
and changes neither the first one nor the exit code.
"""

import argparse
import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from l3core.errors import StorageError, UsageError
from launch.exits import DONE, FAILED, INTERRUPTED, WORDS, Ending, ending_of
from launch.signals import interruptible
from launch.words import last_line, printable

if TYPE_CHECKING:
    from l3core.table.layout import TablePaths
    from l3core.table.plan import Plan

LONGEST_MESSAGE = 2_000


@dataclass
class RunSoFar:
    """What is known of a run; filled in by the run.

    Attributes:
        command: `embed` or `crossval`.
        output: what it makes, as the user called it.
        run_id: its name.
        paths: of the table that it embeds into, in a store that has answered.
        fingerprint: of the spec.
        plan: of an embedding run.
        record: of a run that has committed.
        code: it will exit with.
        started_at: when the command began.
    """

    command: str
    output: str
    run_id: str
    paths: "TablePaths | None" = None
    fingerprint: str | None = None
    plan: "Plan | None" = None
    record: dict[str, Any] | None = None
    code: int = DONE
    started_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    _start: float = field(default_factory=time.monotonic)

    def facts(self, code: int, message: str) -> dict[str, Any]:
        """How it ended, for JSON."""
        from launch.embed_job import versions  # after --help

        return {
            "status": WORDS[code],
            "exit_code": code,
            "message": printable(message)[:LONGEST_MESSAGE],
            "command": self.command,
            "table": self.paths.root if self.paths else self.output,
            "run_id": self.run_id,
            "fingerprint": self.fingerprint,
            "started_at": self.started_at.isoformat(),
            "duration_s": round(time.monotonic() - self._start, 3),
            "host": socket.gethostname(),
            "versions": versions(),
        }

    def facts_of_failure(self, ending: Ending) -> dict[str, Any]:
        """The same of a run that did not come to its end, and how far it was."""
        facts = self.facts(ending.code, ending.message)
        facts["failed_at"] = datetime.now(timezone.utc).isoformat()
        facts["interrupted"] = ending.code == INTERRUPTED
        try:
            return facts | self._how_far()
        except (OSError, UsageError, StorageError):  # the store that has failed us does not tell, either
            return facts | {"stage": "embedding" if self.plan else "planning", "clips": {}, "bad": []}

    def _how_far(self) -> dict[str, Any]:
        if self.paths is None or self.plan is None:
            return {"stage": "planning", "clips": {}, "bad": []}
        from l3core import storage
        from l3core.table.manifests import found_so_far

        if storage.is_object(self.paths.record(self.plan.run_id)):
            return {"stage": "committed", "clips": {}, "bad": []}
        found = found_so_far(self.paths, self.plan)
        stage = "embedding" if found.unfinished else "committing"
        return {"stage": stage, "clips": found.clips, "bad": found.bad}


@contextmanager
def told(args: argparse.Namespace, command: str) -> Iterator[RunSoFar]:
    """Within the block a run happens, which fills in what is known of it; its end is told.

    Raises:
        SystemExit: the run failed, and that has been told.
    """
    from launch.tables import new_run_id  # after --help

    run = RunSoFar(command, args.output, new_run_id())
    try:
        with interruptible():
            yield run
    except (Exception, KeyboardInterrupt) as error:
        ending = ending_of(error, command)
        _tell_failure(args, run, error, ending)
        if ending is None:
            raise
        raise SystemExit(ending.code) from None


def _tell_failure(
    args: argparse.Namespace, run: RunSoFar, error: BaseException, ending: Ending | None
) -> None:
    if ending is None:  # a mistake of ours: Python prints where
        ending = Ending(FAILED, f"{type(error).__name__}: {last_line(error)}")
    elif ending.message:
        _say(f"{ending.message}{ending.hint}")
    facts = run.facts_of_failure(ending)
    if ending.code in (FAILED, INTERRUPTED) and not getattr(args, "dry_run", False):
        _record(run, facts)
    if args.json and not isinstance(error, BrokenPipeError):
        print(json.dumps(facts, indent=1, sort_keys=True), flush=True)


def _record(run: RunSoFar, facts: dict[str, Any]) -> None:
    """Leave a record of the failure in the table, if its store takes it."""
    if run.paths is None:
        return
    from l3core.table.failed import note_failure

    kept = {name: value for name, value in facts.items() if name not in ("table", "bad")}
    try:
        note_failure(run.paths, kept)
    except (OSError, UsageError, StorageError) as error:
        _say(f"that it failed could not be recorded in the table: {last_line(error)}")


def _say(line: str) -> None:
    print(f"l3flow: {printable(line)}", file=sys.stderr)  # one line, whatever is in it
