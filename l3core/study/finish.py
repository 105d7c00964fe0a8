"""The last step of a study: its tables, its tests and its page, from its cells."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from l3core import storage
from l3core.reports.study import study_page
from l3core.storage import as_text
from l3core.study.paths import StudyPaths
from l3core.study.plan import StudyPlan
from l3core.study.questions import QUESTIONS, TESTS, Comparison, ask, comparison_rows
from l3core.study.scores import CELLS, SCORES, Cell, cell_rows, rows_to_table, score_rows
from l3core.table.json_objects import write_json


def finish_study(paths: StudyPaths, plan: StudyPlan, cells: Sequence[Cell]) -> dict[str, Any]:
    """Write tables and page; may be repeated. Returns the facts.

    Args:
        paths: of the study.
        plan: of the study.
        cells: all of them, in the order of the plan, missing ones, too.
    """
    tests = all_tests(plan, cells)
    rows = {
        "scores": (score_rows(cells), SCORES),
        "cells": (cell_rows(cells), CELLS),
        "tests": (comparison_rows(tests), TESTS),
    }
    for name, (found, schema) in rows.items():
        _write(paths, name, rows_to_table(found, schema))
    facts = {
        "title": plan.title,
        "seed": plan.seed,
        "epochs": plan.epochs,
        "protocols": list(plan.protocols),
        "cells": _filled(rows["cells"][0], CELLS),
        "tests": _filled(rows["tests"][0], TESTS),
    }
    page = study_page(plan, cells, tests)
    storage.write_bytes(paths.page, as_text(page).encode())
    write_json(paths.facts, facts)
    return facts


def all_tests(plan: StudyPlan, cells: Sequence[Cell]) -> list[Comparison]:
    """The tests of every question under every protocol."""
    return [
        test
        for question in QUESTIONS
        for protocol in plan.protocols
        for test in ask(question, [cell for cell in cells if cell.protocol == protocol], seed=plan.seed)
    ]


def _filled(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> list[dict[str, Any]]:
    return [{name: row.get(name) for name in schema.names} for row in rows]


def _write(paths: StudyPaths, name: str, table: pa.Table) -> None:
    with storage.writing(paths.at(f"{name}.parquet")) as file:
        pq.write_table(table, file, compression="zstd")
    text = io.BytesIO()
    pacsv.write_csv(table, text)
    storage.write_bytes(paths.at(f"{name}.csv"), text.getvalue())
