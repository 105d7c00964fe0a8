"""Planning a cross-validation: a copy of a dataset meets a table, and what cannot work is refused."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from l3core import storage
from l3core.classifier import HIDDEN
from l3core.crossval.hyperparameters import GRID
from l3core.crossval.plan import CrossvalPlan, Fold, content_of
from l3core.crossval.protocols import PROTOCOLS
from l3core.datasets import DatasetCopy, DatasetError, LabelledClip, shared_sources
from l3core.errors import UsageError
from l3core.features import join_clips, refuse_missing
from l3core.machine import usable_memory
from l3core.table.journal import published_state
from l3core.table.layout import TablePaths
from l3core.table.ledger import read_ledger
from l3core.table.state import choose_spec, read_spec

# What TensorFlow, Beam and this process take besides features and models (measured: 1.3 GB).
BASE_BYTES = 1_500_000_000


class Load(NamedTuple):
    """How much a cross-validation is.

    Attributes:
        windows: of all clips.
        size: numbers in one.
        steps: of training, if every model used all epochs of all folds.
        memory_bytes: that a worker needs.
    """

    windows: int
    size: int
    steps: int
    memory_bytes: int


def plan_crossval(
    copy: DatasetCopy,
    table: str,
    *,
    spec: str | None,
    protocol: str,
    folds: Sequence[int] | None,
    repeats: int | None,
    final: bool,
    seed: int,
    batch_size: int | None,
    epochs: int,
    allow_partial: bool,
) -> tuple[CrossvalPlan, list[str], Load]:
    """Plan a cross-validation.

    Args:
        copy: of the dataset.
        table: URI.
        spec: a fingerprint or the beginning of one; None if the table has only one.
        protocol: of `PROTOCOLS`.
        folds: to test; None: all of the dataset.
        repeats: of each; None: the protocol's.
        final: whether a model learns from all folds, too.
        seed: of all that is drawn.
        batch_size: windows in a step; None: the protocol's.
        epochs: at most.
        allow_partial: do without clips that the table has no windows of.

    Returns:
        The plan, the names of the folds to train, and how much that is.

    Raises:
        UsageError: with what cannot be.
    """
    if protocol not in PROTOCOLS:
        raise UsageError(f"--protocol must be one of {', '.join(PROTOCOLS)}, got {protocol!r}")
    rules = PROTOCOLS[protocol]
    paths = TablePaths(storage.absolute(table).rstrip("/"))
    state = published_state(paths)
    fingerprint = choose_spec(paths, state, spec)
    rows = list(read_ledger(paths, state.ledger(fingerprint)))
    found = join_clips(copy.clips, rows)
    if not any(found):
        raise DatasetError(f"--table {table} has no windows of any clip below {copy.root}")
    if not allow_partial:
        refuse_missing(copy.clips, found)
    joined = [(clip, clip_id) for clip, clip_id in zip(copy.clips, found) if clip_id is not None]
    clips = tuple(clip for clip, _ in joined)
    clip_ids = tuple(clip_id for _, clip_id in joined)
    windows = {row.clip_id: row.windows_written for row in rows}
    counts = [windows[clip_id] for clip_id in clip_ids]
    tested = _tested_folds(copy, clips, folds)
    refuse_small(clips)
    embedding = read_spec(paths, fingerprint)
    plan = CrossvalPlan(
        dataset=copy.dataset.name,
        classes=tuple(label for label in copy.dataset.classes if any(c.label == label for c in clips)),
        clips=clips,
        clip_ids=clip_ids,
        table=paths.root,
        fingerprint=fingerprint,
        embedding=embedding | {"weights": paths.weights(embedding["weights_digest"])},
        content=content_of(rows, clip_ids),
        protocol=protocol,
        seed=seed,
        batch_size=batch_size or rules.batch_size(sum(counts)),
        epochs=epochs,
        facts=_facts_of(copy, clips),
    )
    names = [
        Fold(fold, repeat).name
        for fold in tested
        for repeat in range(1, (repeats or rules.repeats(copy.dataset.name)) + 1)
    ]
    if final:
        names.append(Fold(None, 1).name)
    return plan, names, _load_of(plan, names, counts)


def refuse_too_large(load: Load) -> None:
    """Refuse what does not fit in memory.

    Raises:
        UsageError: with the figures.
    """
    free = usable_memory()
    if load.memory_bytes > free:
        raise UsageError(
            f"--table: {load.windows} windows of {load.size} numbers need {load.memory_bytes / 1e9:.1f} "
            f"GB of memory, and {free / 1e9:.1f} GB are free; embed with a longer --hop or a smaller "
            "--embedding-size, or use a larger machine"
        )


def _tested_folds(
    copy: DatasetCopy, clips: Sequence[LabelledClip], folds: Sequence[int] | None
) -> list[int]:
    there = {clip.fold for clip in clips}
    known = copy.dataset.test_folds
    if folds is not None and (wrong := [fold for fold in folds if fold not in known]):
        raise UsageError(
            f"--folds {wrong[0]}: {copy.dataset.title} tests on {', '.join(map(str, known))}"
        )
    asked = known if folds is None else sorted(set(folds))
    if lacking := [fold for fold in asked if fold not in there]:
        raise DatasetError(f"fold {lacking[0]} has no clips here; --folds names the folds to test")
    return list(asked)


def refuse_small(clips: Sequence[LabelledClip]) -> None:
    """Hold that there are two classes, and clips of each for every fold.

    Raises:
        DatasetError: what is lacking.
    """
    sizes = Counter(clip.label for clip in clips)
    folds = len({clip.fold for clip in clips})
    if len(sizes) < 2:
        raise DatasetError(f"all clips are of the class {next(iter(sizes))}: there is nothing to tell")
    if small := [label for label, size in sorted(sizes.items()) if size < folds]:
        raise DatasetError(
            f"class {small[0]} has {sizes[small[0]]} clips, fewer than there are folds ({folds})"
        )


def _facts_of(copy: DatasetCopy, clips: Sequence[LabelledClip]) -> dict[str, Any]:
    return {
        "dataset_title": copy.dataset.title,
        "dataset_root": copy.root,
        "published_clips": copy.dataset.clips,
        "subset": copy.subset,
        "complete": copy.complete and len(clips) == copy.dataset.clips,
        "differences": list(copy.differences),
        "shared_sources": {name: list(folds) for name, folds in shared_sources(clips).items()},
    }


def load_of(
    trained: Sequence[int], *, windows: int, size: int, classes: int, batch_size: int, epochs: int
) -> Load:
    """How much some trainings are.

    Args:
        trained: windows that each learns from.
        windows: of all clips.
        size: numbers in one.
        classes: to tell apart.
        batch_size: windows in a step.
        epochs: at most.
    """
    steps = sum(epochs * -(-each // batch_size) for each in trained)
    layers = [size, *HIDDEN, classes]
    numbers = sum((a + 1) * b for a, b in pairwise(layers))
    # each model's weights, two moments and gradient, and the weights of its best epoch
    models = len(GRID) * numbers * 4 * 5
    return Load(windows, size, steps, BASE_BYTES + 4 * windows * size + models)


def _load_of(plan: CrossvalPlan, names: Sequence[str], counts: Sequence[int]) -> Load:
    tested = [Fold.from_name(name).test_fold for name in names]
    return load_of(
        [sum(n for n, clip in zip(counts, plan.clips) if clip.fold != fold) for fold in tested],
        windows=sum(counts),
        size=plan.embedding_size,
        classes=len(plan.classes),
        batch_size=plan.batch_size,
        epochs=plan.epochs,
    )
