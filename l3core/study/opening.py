"""What there is of a study here: copies of datasets and weights, and why the rest is missing."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from l3core.crossval.planning import refuse_small
from l3core.datasets import DATASETS, DatasetCopy, read_dataset
from l3core.engines import check_installed
from l3core.errors import FetchError, StorageError, UsageError
from l3core.study.checked import as_in_a_plan
from l3core.study.chosen import StudyEmbedding
from l3core.study.plan import StudyDataset, StudyPlan
from l3core.weights import load_weights

_Missing = UsageError | StorageError | OSError
_MISSING = (UsageError, StorageError, OSError)


class Part(NamedTuple):
    """An embedding of a dataset; each protocol makes a cell of it.

    Attributes:
        dataset, embedding: of the plan.
        reason: why it cannot be made; None: it can.
    """

    dataset: StudyDataset
    embedding: StudyEmbedding
    reason: str | None


class Opened(NamedTuple):
    """A study whose datasets and weights were looked for.

    Attributes:
        plan: of the study.
        copies: of the datasets that are there, by name.
        fingerprints: of the embeddings whose weights are there, by name.
        parts: all of them, in the order of the plan.
    """

    plan: StudyPlan
    copies: Mapping[str, DatasetCopy]
    fingerprints: Mapping[str, str]
    parts: tuple[Part, ...]

    @property
    def there(self) -> list[Part]:
        """Those that can be made."""
        return [part for part in self.parts if part.reason is None]

    @property
    def missing(self) -> list[Part]:
        """Those that cannot."""
        return [part for part in self.parts if part.reason is not None]


def open_study(
    plan: StudyPlan, *, skip_missing: bool, looking: Callable[[str], None] = lambda name: None
) -> Opened:
    """Look for all that a study needs.

    Args:
        plan: of the study.
        skip_missing: do without what is not there.
        looking: told each embedding whose weights are looked for, which may be to fetch them.

    Raises:
        UsageError, StorageError: something is missing, and is not to be skipped, or nothing is left.
    """
    copies: dict[str, DatasetCopy] = {}
    fingerprints: dict[str, str] = {}
    without_copy: dict[str, _Missing] = {}
    without_weights: dict[str, _Missing] = {}
    for dataset in plan.datasets:
        try:
            copies[dataset.name] = _copy(dataset)
        except _MISSING as error:
            without_copy[dataset.name] = error
    for embedding in plan.embeddings if copies else ():  # else nobody needs weights, which are fetched
        looking(embedding.name)
        try:
            fingerprints[embedding.name] = _fingerprint(embedding)
        except _MISSING as error:
            without_weights[embedding.name] = error
    reasons = [
        (dataset, embedding, without_copy.get(dataset.name) or without_weights.get(embedding.name))
        for dataset in plan.datasets
        for embedding in plan.embeddings
    ]
    parts = tuple(
        Part(dataset, embedding, str(why) if why else None) for dataset, embedding, why in reasons
    )
    opened = Opened(plan, copies, fingerprints, parts)
    if opened.missing and not (opened.there and skip_missing):
        raise _refusal(opened, next(why for *_, why in reasons if why), skip_missing=skip_missing)
    return opened


def _copy(dataset: StudyDataset) -> DatasetCopy:
    known = DATASETS[dataset.name]
    if dataset.root is None:
        raise UsageError(
            f"nobody has said where {known.title} is: give --dataset-root {dataset.name}=URI; "
            f"get it: {known.download}"
        )
    with as_in_a_plan():
        copy = read_dataset(known, dataset.root, allow_partial=dataset.allow_partial)
    if lacking := sorted({*known.fold_sizes} - {clip.fold for clip in copy.clips}):
        raise UsageError(f"fold {lacking[0]} has no clips below {copy.root}: a study needs all folds")
    refuse_small(copy.clips)
    return copy


def _fingerprint(embedding: StudyEmbedding) -> str:
    if embedding.spec is None:
        raise UsageError(embedding.problem)
    check_installed(embedding.spec.engine)
    with as_in_a_plan():
        return embedding.spec.fingerprint(load_weights(embedding.spec).digest)


def _refusal(opened: Opened, why: _Missing, *, skip_missing: bool) -> UsageError | StorageError:
    """That cells cannot be made: wrong use, or what nobody here can help and another time may be."""
    first = opened.missing[0]
    protocols = len(opened.plan.protocols)
    cells = protocols * len(opened.missing)
    which = f"{cells} of {protocols * len(opened.parts)} cells cannot be made"
    hint = "" if skip_missing or not opened.there else "; --skip-missing leaves them out, and says why"
    told = f"{which}, the first is {first.dataset.name}, {first.embedding.name}: {first.reason}{hint}"
    if isinstance(why, StorageError):
        return StorageError(told)
    return FetchError(told) if isinstance(why, FetchError) else UsageError(told)
