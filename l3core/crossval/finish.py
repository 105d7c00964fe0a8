"""The last step of a cross-validation: tables, figures and the report, from its finished folds."""

from typing import Any

from l3core import storage
from l3core.crossval.plan import CrossvalPlan, OutputPaths
from l3core.crossval.results import TABLES, merge_folds, read_table
from l3core.crossval.summary import summarise
from l3core.reports.crossval import crossval_page
from l3core.table.state import write_json


def finish(paths: OutputPaths, plan: CrossvalPlan) -> dict[str, Any]:
    """Put everything in place once all folds are trained; may be repeated. Returns the summary."""
    folds = merge_folds(paths, plan)
    tables = {name: read_table(paths, name) for name in TABLES}
    summary = summarise(plan, folds, tables["predictions"])
    page = crossval_page(plan, summary, tables["predictions"], tables["trials"])
    storage.write_bytes(paths.at("report.html"), page.encode())
    write_json(paths.at("summary.json"), summary)
    return summary
