"""The figures of a study's cells, one row for each training, as tables that anybody reads."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from l3core.paper import published
from l3core.spec import EmbeddingSpec
from l3core.study.chosen import StudyEmbedding

OK, MISSING = "ok", "missing"


class Cell(NamedTuple):
    """A dataset, an embedding and a protocol, with what came of it.

    Attributes:
        dataset: name of the dataset.
        embedding: of the plan.
        protocol: name.
        summary: what `l3core.crossval.summary.summarise` says; None: it is missing.
        reason: why it is missing.
        embedding_s: seconds that the dataset's embedding took; None: not known.
    """

    dataset: str
    embedding: StudyEmbedding
    protocol: str
    summary: Mapping[str, Any] | None = None
    reason: str | None = None
    embedding_s: float | None = None

    @property
    def spec(self) -> EmbeddingSpec | None:
        """Of the embedding; None: there is no such model."""
        return self.embedding.spec

    @property
    def scores(self) -> dict[tuple[int, int], float]:
        """(fold, repeat) -> accuracy, of all trainings that were tested."""
        folds = self.summary["folds"] if self.summary else ()
        return {
            (each["fold"], each["repeat"]): each["accuracy"]
            for each in folds
            if each["fold"] is not None
        }

    @property
    def accuracies(self) -> np.ndarray:
        """Of all trainings, as the paper's box plots show them, 0 to 1."""
        return np.array(list(self.scores.values()), np.float64)


def _string(name: str, *, null: bool = False) -> pa.Field:
    return pa.field(name, pa.string(), nullable=null)


def _float(name: str, *, null: bool = True) -> pa.Field:
    return pa.field(name, pa.float64(), nullable=null)


def _int(name: str, *, null: bool = False) -> pa.Field:
    return pa.field(name, pa.int32(), nullable=null)


_CELL = [
    _string("dataset"),
    _string("embedding"),
    _string("protocol"),
    _string("model", null=True),
    _string("input_repr", null=True),
    _string("content", null=True),
    _float("samples"),
]
SCORES = pa.schema(
    [
        *_CELL,
        _int("fold"),
        _int("repeat"),
        _float("accuracy", null=False),
        _int("clips"),
        _float("seconds"),
    ]
)
CELLS = pa.schema(
    [
        *_CELL,
        _string("status"),
        _string("reason", null=True),
        pa.field("leaky_validation", pa.bool_()),
        _string("fingerprint", null=True),
        _int("trainings"),
        _int("clips", null=True),
        pa.field("complete", pa.bool_()),
        *(_float(name) for name in ("mean_accuracy", "deviation", "clip_accuracy", "low", "high")),
        _float("paper_accuracy"),
        _float("paper_difference"),
        _string("paper_differs", null=True),
        _float("embedding_s"),
        _float("training_s"),
    ]
)


def score_rows(cells: Iterable[Cell]) -> list[dict[str, Any]]:
    """A row of `SCORES` for each training."""
    return [
        _what(cell) | {name: fold[name] for name in ("fold", "repeat", "accuracy", "clips", "seconds")}
        for cell in cells
        if cell.summary
        for fold in cell.summary["folds"]
        if fold["fold"] is not None
    ]


def cell_rows(cells: Iterable[Cell]) -> list[dict[str, Any]]:
    """A row of `CELLS` for each cell, also for those that are missing."""
    return [_what(cell) | _figures(cell) for cell in cells]


def rows_to_table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as Arrow has them; what a row does not name is null."""
    return pa.table(
        {field.name: pa.array([row.get(field.name) for row in rows], field.type) for field in schema},
        schema=schema,
    )


def _what(cell: Cell) -> dict[str, Any]:
    spec = cell.spec
    return {
        "dataset": cell.dataset,
        "embedding": cell.embedding.name,
        "protocol": cell.protocol,
        "model": spec.model if spec else None,
        "input_repr": spec.input_repr if spec else None,
        "content": spec.content if spec else None,
        "samples": cell.embedding.samples,
    }


def _figures(cell: Cell) -> dict[str, Any]:
    summary = cell.summary
    if summary is None:
        paper = cell.spec and published(cell.dataset, cell.spec.to_dict(), complete=True)
        accuracy = paper.accuracy if paper else None
        return {
            "status": MISSING,
            "reason": cell.reason,
            "trainings": 0,
            "paper_accuracy": accuracy,
        }
    spec = summary["embedding"]["spec"]
    paper = published(cell.dataset, spec, complete=summary["complete"], training=summary)
    mean = float(cell.accuracies.mean())
    low, high = summary["interval"]
    return {
        "status": OK,
        "leaky_validation": summary["leaky_validation"],
        "fingerprint": summary["fingerprint"],
        "trainings": len(cell.scores),
        "clips": summary["clips"],
        "complete": summary["complete"],
        "mean_accuracy": mean,
        "deviation": float(cell.accuracies.std(ddof=1)) if len(cell.scores) > 1 else None,
        "clip_accuracy": summary["clip_accuracy"],
        "low": low,
        "high": high,
        "paper_accuracy": paper.accuracy if paper else None,
        "paper_difference": mean - paper.accuracy if paper else None,
        "paper_differs": ", ".join(paper.differs) if paper else None,
        "embedding_s": cell.embedding_s,
        "training_s": sum(fold["seconds"] for fold in summary["folds"]),
    }
