"""Runs that failed: a small JSON object each, `_l3flow/failed/<run_id>.json`; no part of any commit."""

import re
from collections.abc import Iterable
from datetime import datetime, timezone
from functools import partial
from typing import Any

from l3core import storage
from l3core.ahead import map_ahead
from l3core.errors import TableError
from l3core.table.json_objects import read_json, write_json
from l3core.table.layout import TablePaths

KEPT = 1_000  # of the newest; a night has one
SILENT = "ended without a word: it was killed, or its machine went away"

_OWN_NAME = re.compile(r"(\d{8}T\d{6})Z-[0-9a-f]+")  # of a run, as commands make it


def note_failure(paths: TablePaths, facts: dict[str, Any]) -> bool:
    """Record that a run failed, unless it has committed; the oldest records go.

    Args:
        paths: of the table, there or not.
        facts: of the run: `run_id`, `message` and what else is known.

    Returns:
        Whether it was recorded.
    """
    if storage.is_object(paths.record(facts["run_id"])):
        return False
    write_json(paths.failed_run(facts["run_id"]), facts)
    clear_old(paths)
    return True


def note_silent(paths: TablePaths, fingerprint: str, dead: Iterable[str]) -> None:
    """Record runs that have ended and could not say so themselves, for the run that takes over.

    Args:
        paths: of the table.
        fingerprint: of their partition.
        dead: they, and perhaps others that have their record.
    """
    for run_id in dead:
        if not storage.is_object(paths.failed_run(run_id)):
            facts = {
                "run_id": run_id,
                "fingerprint": fingerprint,
                "status": "failed",
                "message": SILENT,
                "exit_code": None,
                "stage": None,
                "started_at": _started_at(run_id),
                "failed_at": None,
            }
            note_failure(paths, facts)


def _started_at(run_id: str) -> str | None:
    if (named := _OWN_NAME.fullmatch(run_id)) is None:
        return None
    return datetime.strptime(named[1], "%Y%m%dT%H%M%S").replace(tzinfo=timezone.utc).isoformat()


def clear_old(paths: TablePaths) -> None:
    """Remove all records of failed runs but the newest."""
    for name in storage.names_below(paths.failed, suffix=".json")[:-KEPT]:  # names sort by time
        storage.remove(storage.join(paths.failed, name))


def failed_runs(paths: TablePaths, committed: Iterable[str]) -> list[dict[str, Any]]:
    """What is known of the runs that failed, oldest first.

    Args:
        paths: of the table, there or not.
        committed: ids of runs that have a record: somebody finished the publication for them.
    """
    names = storage.names_below(paths.failed, suffix=".json")
    done = {f"{run_id}.json" for run_id in committed}
    wanted = [name for name in names if name not in done]
    found = [facts for facts in map_ahead(partial(_read, paths), wanted) if facts is not None]
    return sorted(found, key=lambda facts: (ended_at(facts), facts["run_id"]))


def ended_at(facts: dict[str, Any]) -> str:
    """When a run ended, as far as is known; sorts."""
    return facts.get("committed_at") or facts.get("failed_at") or facts.get("started_at") or ""


def _read(paths: TablePaths, name: str) -> dict[str, Any] | None:
    """A record; None if it has just been cleared away."""
    facts = {
        "run_id": name.removesuffix(".json"),
        "status": "failed",
        "message": "its record is damaged",
    }
    try:
        found = read_json(storage.join(paths.failed, name))
    except TableError:
        return facts
    except FileNotFoundError:
        return None
    return found | {"run_id": facts["run_id"]} if _is_sound(found) else facts


def _is_sound(facts: dict[str, Any]) -> bool:
    """Whether a record has what people are shown of it; anybody who writes to a table can write one."""
    texts = ("fingerprint", "stage", "started_at", "failed_at")
    kinds: dict[str, Any] = dict.fromkeys(texts, str)
    kinds |= {"clips": dict, "duration_s": (int, float), "workers": int}
    try:
        for name in ("started_at", "failed_at"):
            if facts.get(name) is not None:
                datetime.fromisoformat(facts[name])
    except (TypeError, ValueError):
        return False
    return (
        "committed_at" not in facts
        and all(isinstance(facts.get(name), str) for name in ("status", "message"))
        and all(facts.get(name) is None or isinstance(facts[name], kinds[name]) for name in kinds)
        and all(isinstance(count, int) for count in (facts.get("clips") or {}).values())
    )
