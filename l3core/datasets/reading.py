"""Reading a copy of a dataset: its annotations joined with its files, and what is not as published."""

import hashlib
import posixpath
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from l3core import storage
from l3core.datasets.base import Annotation, Dataset, DatasetError, LabelledClip
from l3core.datasets.tables import first_few
from l3core.walk import files_below

DIFFERENCES_SHOWN = 3  # in one line of an error


class DatasetCopy(NamedTuple):
    """A dataset as it lies on a store.

    Attributes:
        dataset: which one.
        root: where.
        clips: those that are there, by fold and name.
        differences: in what the copy is not what was published, a line each.
        complete: whether all published clips are there, in their folds and classes.
        subset: name of the known part that it is, if it is one.
    """

    dataset: Dataset
    root: str
    clips: tuple[LabelledClip, ...]
    differences: tuple[str, ...]
    complete: bool
    subset: str | None


def read_dataset(
    dataset: Dataset,
    root: str,
    *,
    allow_partial: bool = False,
) -> DatasetCopy:
    """Read labels, folds and sources of a dataset's clips, and check them against what was published.

    Files are found by their names wherever they lie below the root, so that it does not matter how the
    archive was unpacked; where a name is there several times, the one nearest to the root counts.

    Args:
        dataset: of `l3core.datasets.DATASETS`.
        root: folder on any store.
        allow_partial: take a copy that lacks clips, or has them in other folds.

    Raises:
        DatasetError: no such dataset there, one that was altered, or one that lacks clips.
    """
    root = storage.absolute(root).rstrip("/")
    files = files_below(root)
    metadata = _read_metadata(dataset, root, files)
    keyed = [(key, path) for path in files if (key := dataset.key_of(path)) is not None]
    paths = nearest(keyed)
    annotations = _unique(dataset, dataset.annotations(metadata, paths))
    wanted = sorted(
        (each for each in annotations.values() if each.label in dataset.classes),
        key=lambda each: (each.fold, each.key),
    )
    missing = [each.key for each in wanted if each.key not in paths]
    there = [each for each in wanted if each.key in paths]
    if not there:
        raise DatasetError(f"no clip of {dataset.title} below {root}; get it: {dataset.download}")
    extra = sorted(paths.keys() - annotations.keys())
    counts = _differences(dataset, wanted)
    subset = _known_subset(dataset, there)
    if subset is not None:
        counts = []  # it is known that they are not those of the whole
    differences = (*_named(missing, "missing"), *_named(extra, "extra"), *counts)
    complete = not missing and len(there) == dataset.clips and not counts
    if not (complete or subset or allow_partial):
        raise DatasetError(
            f"{root} is not {dataset.title} as published ({len(there)} of {dataset.clips} clips): "
            f"{'; '.join(differences[:DIFFERENCES_SHOWN])}. "
            "Give --allow-partial to use what is there"
        )
    clips = tuple(
        LabelledClip(f"{root}/{paths[each.key]}", each.label, each.fold, each.source) for each in there
    )
    return DatasetCopy(dataset, root, clips, differences, complete, subset)


def nearest(keyed: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The path of each key that is nearest to the root; of several formats in one folder the .wav.

    Raises:
        DatasetError: two folders that are as near have it.
    """
    found: dict[str, str] = {}
    for key, path in sorted(
        keyed, key=lambda item: (item[0], item[1].count("/"), _format_rank(item[1]))
    ):
        other = found.setdefault(key, path)
        folders = posixpath.dirname(other), posixpath.dirname(path)
        if folders[0] != folders[1] and other.count("/") == path.count("/"):
            raise DatasetError(f"{key} is there twice, {other} and {path}: keep only one below the root")
    return found


def _format_rank(path: str) -> tuple[bool, str]:
    return not path.endswith(".wav"), path


def _read_metadata(dataset: Dataset, root: str, files: Sequence[str]) -> str | None:
    if dataset.metadata is None:
        return None
    named = [(dataset.metadata, path) for path in files if posixpath.basename(path) == dataset.metadata]
    if not named:
        raise DatasetError(
            f"no {dataset.metadata} below {root}; get {dataset.title}: {dataset.download}"
        )
    path = nearest(named)[dataset.metadata]
    try:
        return storage.read_bytes(f"{root}/{path}").decode("utf-8")
    except UnicodeDecodeError:
        raise DatasetError(f"{root}/{path} is no text; take the authors' own file") from None


def _unique(dataset: Dataset, annotations: Sequence[Annotation]) -> dict[str, Annotation]:
    counts = Counter(each.key for each in annotations)
    if twice := [key for key, count in counts.items() if count > 1]:
        raise DatasetError(f"{dataset.metadata} lists {len(twice)} clips twice: {first_few(twice)}")
    return {each.key: each for each in annotations}


def _differences(dataset: Dataset, wanted: Sequence[Annotation]) -> list[str]:
    """Numbers of rows that are not as published."""
    where = dataset.metadata or "the files"
    folds = Counter(each.fold for each in wanted)
    found = [
        f"{where}: fold {fold} has {folds[fold]} clips, published are {size}"
        for fold, size in dataset.fold_sizes.items()
        if folds[fold] != size
    ]
    classes = Counter(each.label for each in wanted)
    found += [
        f"{where}: class {label} has {classes[label]} clips, published are {size}"
        for label, size in dataset.class_sizes.items()
        if classes[label] != size
    ]
    return found


def _named(names: Sequence[str], what: str) -> list[str]:
    return [f"{len(names)} {what}: {first_few(names)}"] if names else []


def _known_subset(dataset: Dataset, there: Sequence[Annotation]) -> str | None:
    digest = digest_of(each.key for each in there)
    return next((subset.name for subset in dataset.subsets if subset.digest == digest), None)


def digest_of(keys: Iterable[str]) -> str:
    """SHA-256 of a set of clips' keys."""
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()
