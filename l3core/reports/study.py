"""The page of a study: the paper's figures again, its own numbers beside them, and the tests."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from markupsafe import Markup

from l3core.crossval.protocols import PROTOCOLS
from l3core.datasets import DATASETS
from l3core.paper import TABLE_2_CONTENTS, published
from l3core.reports.boxes import Box, draw_boxes
from l3core.reports.page import render_page
from l3core.reports.samples import draw_samples
from l3core.study.plan import StudyPlan
from l3core.study.questions import QUESTIONS, Comparison, Question, groups_of, pooled_fields
from l3core.study.scores import OK, Cell, cell_rows

TEST_COLUMNS = (
    "dataset",
    "compared",
    "pairs",
    "unpaired",
    "equal",
    "difference",
    "95 % interval",
    "effect",
    "V",
    "p",
    "p, Holm",
    "how",
)
CELL_COLUMNS = (
    "dataset",
    "embedding",
    "trainings",
    "mean accuracy",
    "deviation",
    "95 % interval of clips",
    "the paper",
    "difference",
    "not as in the paper",
    "to embed",
    "to train",
)
TABLE_2_COLUMNS = (
    "dataset",
    "embedding",
    "mean accuracy",
    "the paper",
    "difference",
    "not as in the paper",
)


POOLED = {"input_repr": "input representations", "content": "contents", "hop_s": "hops"}  # in words
WORDS = ("how", "why", "not as in the paper")  # columns that may need several lines


class Part(NamedTuple):
    """A chart with its tables.

    Attributes:
        name, about: its heading, and what it shows.
        svg: the chart.
        tests: rows of `TEST_COLUMNS`.
    """

    name: str
    about: str
    svg: Markup
    tests: list[tuple[str, ...]]


def study_page(plan: StudyPlan, cells: Sequence[Cell], tests: Sequence[Comparison]) -> str:
    """The page as HTML.

    Args:
        plan: of the study.
        cells: all of them, in the order of the plan, missing ones, too.
        tests: of all questions and protocols.
    """
    rows = cell_rows(cells)
    return render_page(
        "study.html",
        title=plan.title,
        facts=_facts(plan, cells),
        protocols=[
            {
                "name": name,
                "about": PROTOCOLS[name].about,
                "leaky": PROTOCOLS[name].leaky,
                "parts": _parts([c for c in cells if c.protocol == name], tests, name),
                "table_2": _table_2([cell for cell in cells if cell.protocol == name]),
                "cells": [
                    _cell_row(cell, row) for cell, row in zip(cells, rows) if cell.protocol == name
                ],
            }
            for name in plan.protocols
        ],
        missing=_missing(cells),
        test_columns=TEST_COLUMNS,
        cell_columns=CELL_COLUMNS,
        table_2_columns=TABLE_2_COLUMNS,
        words=WORDS,
    )


def _facts(plan: StudyPlan, cells: Sequence[Cell]) -> list[tuple[str, str]]:
    clips: dict[str, str] = {}
    for cell in cells:
        if cell.summary is not None:
            here, all_of_it = cell.summary["clips"], cell.summary["published_clips"]
            part = "" if cell.summary["complete"] else f" of {all_of_it}"
            clips[cell.dataset] = f"{_title(cell.dataset)}: {here}{part} clips"
    return [
        ("datasets", "; ".join(clips.values())),
        ("embeddings", ", ".join(each.name for each in plan.embeddings)),
        ("training", f"at most {plan.epochs} epochs, seed {plan.seed}"),
        ("classifier", "the paper's: two hidden layers, nine combinations of rate and weight decay"),
    ]


def _title(dataset: str) -> str:
    return DATASETS[dataset].title


def _parts(cells: Sequence[Cell], tests: Sequence[Comparison], protocol: str) -> list[Part]:
    found = []
    for question in QUESTIONS:
        mine = [test for test in tests if (test.question, test.protocol) == (question, protocol)]
        if boxes := _boxes(question, cells):
            found.append(
                Part(
                    f"Figure {question.figure}: {question.title}",
                    _about(question, cells),
                    draw_boxes(boxes),
                    [_test_row(test) for test in mine],
                )
            )
    if any(cell.embedding.samples is not None for cell in cells):
        about = (
            "Mean accuracy of classifiers on an embedding whose training had seen so many pairs of "
            "sound and picture; whiskers span all trainings. Dashed: its accuracy on its own task, "
            "whether the two belong together; dotted: the paper's on that task."
        )
        chart = draw_samples(cells)
        found.insert(_before_figure_5(found), Part("Figure 4: Amount of training", about, chart, []))
    return found


def _before_figure_5(parts: Sequence[Part]) -> int:
    return next((n for n, part in enumerate(parts) if part.name.startswith("Figure 5")), len(parts))


def _boxes(question: Question, cells: Sequence[Cell]) -> list[Box]:
    """A box for each answer on each dataset; none if a question has a single answer everywhere."""
    found = []
    several = False
    for dataset in dict.fromkeys(cell.dataset for cell in cells):
        groups = groups_of(question, [cell for cell in cells if cell.dataset == dataset])
        several = several or len(groups) > 1
        for group in groups:
            papers = [paper for cell in group.cells if (paper := _paper(cell)) is not None]
            accuracies = [100 * score for score in group.scores.values()]
            there = sum(cell.summary is not None for cell in group.cells)
            note = f"{there} of {len(group.cells)}" if 0 < there < len(group.cells) else ""
            found.append(Box(_title(dataset), group.level, tuple(accuracies), tuple(papers), note))
    return found if several else []


def _about(question: Question, cells: Sequence[Cell]) -> str:
    words = "A box spans the quartiles of the accuracies of all trainings, its line is the median, "
    words += "the diamond the mean."
    groups = [
        group
        for dataset in dict.fromkeys(cell.dataset for cell in cells)
        for group in groups_of(question, [cell for cell in cells if cell.dataset == dataset])
    ]
    if pooled := pooled_fields(groups):
        names = ", ".join(POOLED.get(name, name) for name in pooled)
        words += f" Pooled over {names}; n of m below a box: some of what it pools is left out."
    elif question.field == "model":
        shown = dict.fromkeys(group.cells[0].embedding.name for group in groups)
        words += f" One embedding stands for each model: {', '.join(shown)}."
    if any(_paper(cell) is not None for cell in cells):
        words += " A cross is what the paper reports."
    return words


def _paper(cell: Cell) -> float | None:
    """Percent; also where our cell is not quite what the paper did, which the tables say."""
    if cell.summary is None:
        return None
    spec = cell.summary["embedding"]["spec"]
    found = published(cell.dataset, spec, complete=cell.summary["complete"])
    return None if found is None else 100 * found.accuracy


def _test_row(test: Comparison) -> tuple[str, ...]:
    found = test.result
    interval = "" if found.interval is None else " to ".join(f"{100 * x:+.1f}" for x in found.interval)
    return (
        _title(test.dataset),
        f"{test.first} less {test.second}",
        str(found.pairs),
        str(test.unpaired),
        str(found.zeros),
        "" if found.mean is None else f"{100 * found.mean:+.1f}",
        interval,
        "" if found.effect is None else f"{found.effect:+.2f}",
        f"{found.plus:g}",
        "" if found.p is None else f"{found.p:.3g}",
        "" if test.p_holm is None else f"{test.p_holm:.3g}",
        f"not tested: {found.refused}" if found.refused else _how(found.method, ties=found.ties),
    )


def _how(method: str | None, *, ties: bool) -> str:
    return f"{method}, with ties" if ties else str(method)


def _table_2(cells: Sequence[Cell]) -> list[tuple[str, ...]]:
    """The comparison of models as the paper's table has it, a row for each dataset and model."""
    found: list[tuple[str, ...]] = []
    question = next(each for each in QUESTIONS if each.field == "model")
    for dataset in dict.fromkeys(cell.dataset for cell in cells):
        for group in groups_of(question, [cell for cell in cells if cell.dataset == dataset]):
            cell = _of_table_2(group.cells[0], cells)
            row = cell_rows([cell])[0]
            found.append((_title(dataset), cell.embedding.name, *_beside_paper(row)))
    return found


def _of_table_2(cell: Cell, cells: Sequence[Cell]) -> Cell:
    """The one that the paper's table has in the place of a cell, if it is here: of L3 it mixes two."""
    if cell.spec is None or cell.spec.model != "l3":
        return cell
    content = TABLE_2_CONTENTS.get(cell.dataset, cell.spec.content)
    for other in cells:
        if (other.dataset, other.spec) == (cell.dataset, replace(cell.spec, content=content)):
            return other
    return cell


def _cell_row(cell: Cell, row: Mapping[str, Any]) -> tuple[str | Markup, ...]:
    if row["status"] != OK:
        left_out, *paper = _beside_paper(row)
        return (_title(cell.dataset), cell.embedding.name, left_out, "", "", "", *paper, "", "")
    where = f"cells/{cell.dataset}/{cell.embedding.slug}/{cell.protocol}/report.html"
    link = Markup('<a href="{}">{}</a>').format(where, cell.embedding.name)
    mean, *paper = _beside_paper(row)
    return (
        _title(cell.dataset),
        link,
        str(row["trainings"]),
        mean,
        _percent(row["deviation"]),
        f"{100 * row['low']:.1f} to {100 * row['high']:.1f} %",
        *paper,
        _seconds(row["embedding_s"]),
        _seconds(row["training_s"]),
    )


def _beside_paper(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """(mean accuracy, the paper's, difference in points, in what they differ)."""
    if row["status"] != OK:
        return "left out", _hundredths(row["paper_accuracy"]), "", ""
    difference = row["paper_difference"]
    return (
        _percent(row["mean_accuracy"]),
        _hundredths(row["paper_accuracy"]),
        "" if difference is None else f"{100 * difference:+.1f}",
        row["paper_differs"] or "",
    )


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _hundredths(share: float | None) -> str:
    """As the paper's table has it."""
    return "" if share is None else f"{100 * share:.2f} %"


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.0f} s"


def _missing(cells: Iterable[Cell]) -> list[tuple[str, str, str]]:
    """Dataset, embedding and reason, each once."""
    rows = ((_title(c.dataset), c.embedding.name, c.reason) for c in cells if c.reason is not None)
    return list(dict.fromkeys(rows))
