"""What a study asks: which spectrogram, which training content, which model; and the tests of each.

Two things are compared on all that they share: fold, repeat, and every other choice of the embedding
(the nuisance factors), so that mel256 on music meets linear on music, and never linear on environmental
sound. Tests of one question under one protocol are a family, whose p-values are corrected together.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import pyarrow as pa

from l3core.spec import EmbeddingSpec
from l3core.study.scores import Cell
from l3core.study.significance import NO_PAIRS, Key, SignedRank, holm, pair_scores, signed_rank

Rest = tuple[tuple[str, str], ...]


class Question(NamedTuple):
    """Something that embeddings differ in.

    Attributes:
        field: of `EmbeddingSpec`.
        figure: of the paper that asks it.
        title: in words.
    """

    field: str
    figure: int
    title: str


QUESTIONS = (
    Question("input_repr", 2, "Input representation"),
    Question("content", 3, "Content that the embedding was trained on"),
    Question("model", 5, "Embedding"),
)


class Group(NamedTuple):
    """One answer to a question, on one dataset under one protocol.

    Attributes:
        level: the answer, as `mel256`.
        cells: that have it, missing ones, too.
        scores: accuracies by fold, repeat and all else that two answers have to share.
    """

    level: str
    cells: tuple[Cell, ...]
    scores: dict[Key, float]


class Comparison(NamedTuple):
    """A test of two answers.

    Attributes:
        question: that they answer.
        dataset, protocol: where.
        first, second: the answers.
        result: of the test; differences are first less second.
        p_holm: corrected within the family; None: refused.
        unpaired: trainings that have no partner.
    """

    question: Question
    dataset: str
    protocol: str
    first: str
    second: str
    result: SignedRank
    p_holm: float | None
    unpaired: int


TESTS = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in ("question", "dataset", "protocol")),
        *(pa.field(name, pa.string(), nullable=False) for name in ("first", "second")),
        *(pa.field(name, pa.int32(), nullable=False) for name in ("pairs", "unpaired", "zeros")),
        pa.field("ties", pa.bool_(), nullable=False),
        pa.field("rank_sum_plus", pa.float64(), nullable=False),
        pa.field("rank_sum_minus", pa.float64(), nullable=False),
        pa.field("method", pa.string()),
        pa.field("refused", pa.string()),
        *(pa.field(name, pa.float64()) for name in ("p", "p_holm", "effect")),
        *(pa.field(name, pa.float64()) for name in ("mean_difference", "median_difference")),
        *(pa.field(name, pa.float64()) for name in ("low", "high")),
    ]
)


def groups_of(question: Question, cells: Sequence[Cell]) -> list[Group]:
    """The answers that cells of one dataset and protocol give to a question, in their order.

    Checkpoints answer nothing. Of a model that has several embeddings one stands for it where models are
    compared: the one that is nearest to the model's own defaults, of several the first.
    """
    asked = [cell for cell in cells if cell.embedding.samples is None]
    if question.field == "model":
        asked = _representatives(asked)
    levels: dict[str, list[Cell]] = {}
    for cell in asked:
        level = _level(question, cell)
        if level is not None:
            levels.setdefault(level, []).append(cell)
    return [Group(level, tuple(found), _scores(question, found)) for level, found in levels.items()]


def ask(question: Question, cells: Sequence[Cell], *, seed: int = 0) -> list[Comparison]:
    """All tests of a question under one protocol.

    Args:
        question: of `QUESTIONS`.
        cells: of one protocol, of any datasets.
        seed: of the bootstraps.
    """
    found = []
    for dataset in dict.fromkeys(cell.dataset for cell in cells):
        groups = groups_of(question, [cell for cell in cells if cell.dataset == dataset])
        for first, second in combinations(groups, 2):
            if first.scores and second.scores:
                result, unpaired = _tested(first, second, seed)
                names = (first.level, second.level)
                protocol = cells[0].protocol
                found.append(Comparison(question, dataset, protocol, *names, result, None, unpaired))
    corrected = holm([test.result.p for test in found])
    return [test._replace(p_holm=p) for test, p in zip(found, corrected)]


def _tested(first: Group, second: Group, seed: int) -> tuple[SignedRank, int]:
    """The test of two answers, and how many trainings have no partner."""
    if first.scores.keys() & second.scores.keys():
        pairs = pair_scores(first.scores, second.scores)
        return signed_rank(pairs, seed=seed), len(pairs.unpaired)
    return NO_PAIRS, len(first.scores) + len(second.scores)


def pooled_fields(groups: Sequence[Group]) -> list[str]:
    """Fields of `EmbeddingSpec` in which the embeddings of an answer differ, as far as they are told."""
    found: dict[str, None] = {}
    for group in groups:
        specs = [cell.spec.to_dict() for cell in group.cells if cell.spec is not None]
        for name in specs[0] if specs else ():
            if any(spec[name] != specs[0][name] for spec in specs):
                found[name] = None
    return list(found)


def comparison_rows(tests: Sequence[Comparison]) -> list[dict[str, Any]]:
    """A row of `TESTS` each."""
    return [
        {
            "question": test.question.field,
            "rank_sum_plus": test.result.plus,
            "rank_sum_minus": test.result.minus,
            "mean_difference": test.result.mean,
            "median_difference": test.result.median,
            "low": test.result.interval.low if test.result.interval else None,
            "high": test.result.interval.high if test.result.interval else None,
        }
        | {
            name: getattr(test, name)
            for name in ("dataset", "protocol", "first", "second", "p_holm", "unpaired")
        }
        | {
            name: getattr(test.result, name)
            for name in ("pairs", "zeros", "ties", "method", "refused", "p", "effect")
        }
        for test in tests
    ]


def _level(question: Question, cell: Cell) -> str | None:
    if cell.spec is None:  # a model that there is not here is still an answer, without scores
        return cell.embedding.name if question.field == "model" else None
    value = getattr(cell.spec, question.field)
    return None if value is None else str(value)


def _scores(question: Question, cells: Sequence[Cell]) -> dict[Key, float]:
    rests = [(cell, _rest(question, cell.spec)) for cell in cells if cell.spec is not None]
    times = Counter(rest for _, rest in rests)
    return {
        # of two that differ in nothing but where their weights lie nobody knows whose partner is whose
        (fold, repeat, rest if times[rest] == 1 else (rest, cell.embedding.name)): accuracy
        for cell, rest in rests
        for (fold, repeat), accuracy in cell.scores.items()
    }


def _rest(question: Question, spec: EmbeddingSpec) -> Rest:
    """All other choices; each answer has weights files of its own, so they are no choice."""
    if question.field == "model":
        return ()
    own = not f"{spec.weights}:".startswith(("published:", "random:"))
    choices = spec.to_dict() | ({"weights": "own"} if own else {})
    return tuple((name, str(value)) for name, value in choices.items() if name != question.field)


def _representatives(cells: Sequence[Cell]) -> list[Cell]:
    """A cell for each model."""
    models: dict[str, list[Cell]] = {}
    for cell in cells:
        models.setdefault(cell.spec.model if cell.spec else cell.embedding.name, []).append(cell)
    return [max(mine, key=lambda cell: _likeness(cell.spec)) for mine in models.values()]


def _likeness(spec: EmbeddingSpec | None) -> tuple[bool, int]:
    """How near an embedding is to its model's defaults: above all, of L3, mel256 and music."""
    if spec is None:
        return False, 0
    default, own = EmbeddingSpec(model=spec.model).to_dict(), spec.to_dict()
    alike = [name for name in own if own[name] == default[name]]
    return {"input_repr", "content"} <= {*alike}, len(alike)
