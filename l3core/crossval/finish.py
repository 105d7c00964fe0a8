"""The last step of a cross-validation: tables, figures and the report, from its finished folds."""

import re
from collections.abc import Sequence
from typing import Any

from l3core import storage
from l3core.crossval.plan import CrossvalPlan, OutputPaths
from l3core.crossval.results import TABLES, merge_folds, read_table
from l3core.crossval.summary import summarise
from l3core.reports.crossval import crossval_page
from l3core.storage import as_text
from l3core.table.json_objects import read_json, write_json

MODEL_NAME = re.compile(r"models/(fold\d+|final)\.keras")


def finish(paths: OutputPaths, plan: CrossvalPlan, names: Sequence[str]) -> dict[str, Any]:
    """Put everything in place once some folds are trained; may be repeated. Returns the summary."""
    before = _models_before(paths)
    folds = merge_folds(paths, plan, names)
    tables = {name: read_table(paths, name) for name in TABLES}
    summary = summarise(plan, folds, tables["predictions"])
    page = crossval_page(plan, summary, tables["predictions"], tables["trials"])
    storage.write_bytes(paths.at("report.html"), as_text(page).encode())
    write_json(paths.summary, summary)
    for model in before.difference(summary["models"]):
        storage.remove(paths.at(model))  # of the results that were here before
    return summary


def _models_before(paths: OutputPaths) -> set[str]:
    """Models of the results that are here already; a summary.json that is none of ours names none."""
    try:
        models = read_json(paths.summary)["models"]
        return {name for name in models if MODEL_NAME.fullmatch(name)}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return set()
