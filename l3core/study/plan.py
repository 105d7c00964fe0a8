"""What a study compares: datasets, embeddings and protocols, as a TOML file says it (docs/study.md)."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from l3core.crossval.protocols import PROTOCOLS
from l3core.datasets import DATASETS
from l3core.errors import UsageError
from l3core.study.checked import (
    as_table,
    near,
    place,
    refuse_odd,
    refuse_unknown,
    text,
    whole,
    yes_or_no,
)
from l3core.study.chosen import (
    CHECKPOINTS,
    EMBEDDINGS,
    StudyEmbedding,
    embeddings_of,
    refuse_same,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PRESETS = ("paper",)
KEYS = ("title", "protocols", "seed", "epochs", "batch_size", "datasets", EMBEDDINGS, CHECKPOINTS)
DATASET_KEYS = ("root", "table", "repeats", "allow_partial")
MOST_EPOCHS, MOST_REPEATS, LARGEST_BATCH, LARGEST_SEED = 10_000, 100, 65_536, 2**32 - 1
EPOCHS = 50


@dataclass(frozen=True, kw_only=True)
class StudyDataset:
    """A dataset of a study.

    Attributes:
        name: of `l3core.datasets.DATASETS`.
        root: where it is; None: nobody has said.
        table: of its features; None: below the output.
        repeats: trainings of each fold; None: the protocol's.
        allow_partial: do with the clips that are there.
    """

    name: str
    root: str | None = None
    table: str | None = None
    repeats: int | None = None
    allow_partial: bool = False


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """A study.

    Attributes:
        title: of its page.
        datasets, embeddings: in the order of the file.
        protocols: of `l3core.crossval.protocols.PROTOCOLS`, in their order.
        seed, epochs, batch_size: of the trainings; None: the protocol's.
    """

    title: str
    datasets: tuple[StudyDataset, ...]
    embeddings: tuple[StudyEmbedding, ...]
    protocols: tuple[str, ...]
    seed: int = 0
    epochs: int = EPOCHS
    batch_size: int | None = None


def read_plan(content: bytes, name: str, roots: Mapping[str, str]) -> StudyPlan:
    """The study that a TOML file describes.

    Args:
        content: of the file.
        name: of the file, for people.
        roots: of datasets, instead of those in the file.

    Raises:
        UsageError: what is wrong with it, in a line.
    """
    try:
        value = tomllib.loads(content.decode("utf-8-sig"))  # some editors begin a text with a mark
    except (ValueError, RecursionError) as error:  # no UTF-8, no TOML, or a number of 5000 digits
        raise UsageError(f"{name} is no TOML: {error}") from None
    try:
        refuse_odd(value)
        return _plan(value, roots)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from None
    except RecursionError:
        raise UsageError(f"{name}: its keys are nested too deeply") from None


def preset_text(name: str) -> bytes:
    """The plan of a name of `PRESETS`, as TOML.

    Raises:
        UsageError: there is none of this name.
    """
    if name not in PRESETS:
        raise UsageError(f"must be one of {', '.join(PRESETS)}, got {name!r}{near(name, PRESETS)}")
    return (files("l3core.study") / "presets" / f"{name}.toml").read_bytes()


def _plan(value: Mapping[str, Any], roots: Mapping[str, str]) -> StudyPlan:
    refuse_unknown(value, KEYS)
    datasets = _datasets(value.get("datasets"), roots)
    embeddings = [
        each for kind in (EMBEDDINGS, CHECKPOINTS) for each in embeddings_of(value.get(kind, []), kind)
    ]
    if not embeddings:
        raise UsageError(f"needs at least one [[{EMBEDDINGS}]] or [[{CHECKPOINTS}]]")
    refuse_same(embeddings)
    return StudyPlan(
        title=text(value, "title") or "A comparison of embeddings",
        datasets=datasets,
        embeddings=tuple(embeddings),
        protocols=_protocols(value.get("protocols", list(PROTOCOLS))),
        seed=whole(value, "seed", low=0, high=LARGEST_SEED) or 0,
        epochs=whole(value, "epochs", low=1, high=MOST_EPOCHS) or EPOCHS,
        batch_size=whole(value, "batch_size", low=1, high=LARGEST_BATCH),
    )


def _protocols(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise UsageError(f"protocols needs a list of {', '.join(PROTOCOLS)}, got {value!r}")
    for each in value:
        if not isinstance(each, str) or each not in PROTOCOLS:
            names = ", ".join(PROTOCOLS)
            raise UsageError(f"protocols must be of {names}, got {each!r}{near(each, PROTOCOLS)}")
    return tuple(name for name in PROTOCOLS if name in value)


def _datasets(value: Any, roots: Mapping[str, str]) -> tuple[StudyDataset, ...]:
    if not isinstance(value, dict) or not value:
        raise UsageError("needs at least one dataset, as [datasets.esc50]")
    found = tuple(_dataset(name, table, roots.get(name)) for name, table in value.items())
    for name in roots:
        if name not in value:
            raise UsageError(
                f"has no dataset {name!r}, whose root was given{near(name, value)}; "
                f"it has {', '.join(value)}"
            )
    return found


def _dataset(name: str, table: Any, root: str | None) -> StudyDataset:
    if name not in DATASETS:
        known = ", ".join(DATASETS)
        raise UsageError(f"datasets must be of {known}, got {name!r}{near(name, DATASETS)}")
    where = f"datasets.{name}"
    table = as_table(table, where)
    refuse_unknown(table, DATASET_KEYS, where)
    return StudyDataset(
        name=name,
        root=place({"root": root} if root else table, "root", where),
        table=place(table, "table", where),
        repeats=whole(table, "repeats", where, low=1, high=MOST_REPEATS),
        allow_partial=yes_or_no(table, "allow_partial", where),
    )
