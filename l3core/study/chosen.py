"""The embeddings of a study: an entry of its plan may choose several values, each combination is one."""

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from typing import Any

from l3core.errors import SpecError, UsageError
from l3core.models import MODELS
from l3core.spec import EmbeddingSpec
from l3core.study.checked import as_table, near, number, refuse_unknown, text

EMBEDDINGS, CHECKPOINTS = "embeddings", "checkpoints"
_SPEC_FIELDS = tuple(each.name for each in fields(EmbeddingSpec))
LONGEST_SLUG = 80
_PLAIN = r"[A-Za-z0-9][A-Za-z0-9 ._:,=/-]*"
# Those whose value is always part of a name; others only where several are chosen.
_NAMED = ("input_repr", "content")


@dataclass(frozen=True, kw_only=True)
class StudyEmbedding:
    """An embedding of a study.

    Attributes:
        name: for people; unique.
        spec: what it is; None: this version has no such model.
        problem: why there is no spec.
        samples: of a checkpoint, pairs that its training had seen; None: it is no checkpoint.
        avc_accuracy: of a checkpoint, on its own task, 0 to 1.
    """

    name: str
    spec: EmbeddingSpec | None
    problem: str | None = None
    samples: float | None = None
    avc_accuracy: float | None = None

    @property
    def slug(self) -> str:
        """In file names: what a store can take of the name, and a digest where that says less."""
        found = re.sub(r"[^a-z0-9.]+", "-", self.name.lower()).strip("-.")
        if len(found) <= LONGEST_SLUG and re.fullmatch(_PLAIN, self.name):
            return found
        digest = hashlib.sha256(self.name.encode()).hexdigest()[:8]
        return f"{found[: LONGEST_SLUG - 9]}-{digest}".lstrip("-")


def embeddings_of(value: Any, kind: str) -> list[StudyEmbedding]:
    """The embeddings that a plan's entries mean, in order.

    Args:
        value: of the key.
        kind: the key, `EMBEDDINGS` or `CHECKPOINTS`.

    Raises:
        UsageError: what is wrong with an entry.
    """
    if not isinstance(value, list):
        raise UsageError(f"{kind} needs tables, as [[{kind}]]")
    return [each for place, table in enumerate(value, start=1) for each in _entry(table, kind, place)]


def refuse_same(embeddings: Sequence[StudyEmbedding]) -> None:
    """Hold that each has a name of its own, and is something else than the others."""
    names: dict[str, str] = {}
    specs: dict[str, str] = {}
    for each in embeddings:
        spec = repr(each.spec)
        if each.spec is not None and spec in specs:
            if each.name == specs[spec]:
                raise UsageError(f"the embedding {each.name!r} is there twice")
            raise UsageError(f"{each.name!r} and {specs[spec]!r} are the same embedding")
        if other := names.get(each.slug):
            if each.name == other:
                raise UsageError(f"two embeddings are called {each.name!r}: give one of them a name")
            raise UsageError(f"{each.name!r} and {other!r} would have the same files: rename one")
        names[each.slug] = specs[spec] = each.name


def _entry(table: Any, kind: str, place: int) -> Iterable[StudyEmbedding]:
    where = f"{kind} {place}"
    table = as_table(table, where)
    own = ("samples", "avc_accuracy") if kind == CHECKPOINTS else ()
    refuse_unknown(table, ("name", *own, *_SPEC_FIELDS), where)
    samples = number(table, "samples", where, high=math.inf)
    if kind == CHECKPOINTS and not samples:
        raise UsageError(f"{where} needs samples, the number of pairs that its training had seen")
    for name, spec, problem in _choices(table, where):
        unnamed = samples is not None and "name" not in table
        yield StudyEmbedding(
            name=f"{name} at {samples:,.0f}" if unnamed else name,
            spec=spec,
            problem=problem,
            samples=samples,
            avc_accuracy=number(table, "avc_accuracy", where, high=1),
        )


def _choices(
    table: Mapping[str, Any], where: str
) -> Iterable[tuple[str, EmbeddingSpec | None, str | None]]:
    """(name, spec, why there is none) of each combination of what an entry chooses."""
    named = text(table, "name", where)
    given = {"model": "l3"} | {key: table[key] for key in table if key in _SPEC_FIELDS}
    given |= {key: _choices_within(value) for key, value in given.items() if isinstance(value, dict)}
    several = {key: value for key, value in given.items() if isinstance(value, list)}
    if empty := [key for key, value in several.items() if not value]:
        raise UsageError(f"{where}: {empty[0]} needs at least one value, got []")
    for values in product(*several.values()):
        chosen = given | dict(zip(several, values))
        model = chosen["model"]
        if not isinstance(model, str) or not model.strip():
            raise UsageError(f"{where}: model needs text, or a list of some, got {model!r}")
        if model not in MODELS:
            problem = f"there is no model {model!r}{near(model, MODELS)}"
            yield _name(chosen, several, named), None, problem
            continue
        spec = _spec(chosen, where)
        yield _name(spec.to_dict(), several, named), spec, None


def _choices_within(value: Mapping[str, Any]) -> Any:
    """A table whose values choose among several -> a list of tables; others as they are."""
    if not any(isinstance(each, list) for each in value.values()):
        return value
    several = [each if isinstance(each, list) else [each] for each in value.values()]
    return [dict(zip(value, chosen)) for chosen in product(*several)]


def _spec(chosen: Mapping[str, Any], where: str) -> EmbeddingSpec:
    as_table(chosen.get("model_options", {}), f"{where}: model_options")
    for key, value in chosen.items():
        if isinstance(value, dict | list) and key != "model_options":
            raise UsageError(f"{where}: {key} needs a value, or a list of some, got {value!r}")
    try:
        return EmbeddingSpec(**chosen)
    except SpecError as error:
        raise UsageError(f"{where}: {error}") from None


def _name(values: Mapping[str, Any], several: Mapping[str, Any], named: str | None) -> str:
    """As people call it: the model, and what was chosen among several."""
    shown = [key for key in _SPEC_FIELDS if key in several or (key in _NAMED and not named)]
    words = [_word(values[key]) for key in shown if key != "model" and values.get(key) is not None]
    if named and "model" in several:
        words.insert(0, str(values["model"]))
    return " ".join([named or str(values["model"]), *words])


def _word(value: Any) -> str:
    return " ".join(map(str, value.values())) if isinstance(value, Mapping) else str(value)
