"""What every labelled corpus has: classes, folds, a licence, and a way to read its annotations."""

import abc
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from l3core.errors import UsageError


class DatasetError(UsageError):
    """A copy of a dataset is missing, incomplete or altered (exit code 2)."""


class Annotation(NamedTuple):
    """What a dataset's authors say of one clip.

    Attributes:
        key: names the clip within the dataset; `Dataset.key_of` gives the same for its file.
        label: one of the dataset's classes.
        fold: one of the dataset's folds.
        source: the recording that it was cut from. Clips of one source are never to be in training and
            in validation at once.
    """

    key: str
    label: str
    fold: int
    source: str


class LabelledClip(NamedTuple):
    """A clip with its file.

    Attributes:
        uri: of the file.
        label, fold, source: see `Annotation`.
    """

    uri: str
    label: str
    fold: int
    source: str


class Subset(NamedTuple):
    """A part of a dataset that is known, and needs no leave to be used.

    Attributes:
        name: in words.
        digest: of its clips' keys (`l3core.datasets.reading.digest_of`).
    """

    name: str
    digest: str


class Dataset(abc.ABC):
    """A labelled corpus.

    Attributes:
        name: what `--dataset` takes.
        title: as people say it.
        classes: in the order of the authors' own numbers.
        fold_sizes: clips of each fold.
        test_folds: folds that are tested on, each with all others as training.
        class_sizes: clips of each class.
        metadata: file name of the annotations, None where names of audio files say all.
        seconds: of audio, about.
        licence, address, download, citation: for people.
        subsets: known parts.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    fold_sizes: Mapping[int, int]
    test_folds: tuple[int, ...]
    class_sizes: Mapping[str, int]
    metadata: str | None = None
    seconds: float
    licence: str
    address: str
    download: str
    citation: str
    subsets: tuple[Subset, ...] = ()

    @property
    def clips(self) -> int:
        """Clips of the whole dataset."""
        return sum(self.fold_sizes.values())

    @abc.abstractmethod
    def key_of(self, path: str) -> str | None:
        """The key of the clip that a file is, None for a file that is none of the dataset.

        Args:
            path: below the dataset's root.
        """

    @abc.abstractmethod
    def annotations(self, metadata: str | None, keys: Iterable[str]) -> Sequence[Annotation]:
        """The dataset's annotations; those of other classes than its own may be among them.

        Args:
            metadata: text of the metadata file.
            keys: of the files that are there, for datasets whose names say all.

        Raises:
            DatasetError: the text is not what the authors published, and no sense can be made of it.
        """


def shared_sources(clips: Iterable[LabelledClip | Annotation]) -> dict[str, tuple[int, ...]]:
    """Sources whose clips lie in several folds, source -> folds: five in UrbanSound8K as published."""
    folds: dict[str, set[int]] = {}
    for clip in clips:
        folds.setdefault(clip.source, set()).add(clip.fold)
    return {source: tuple(sorted(found)) for source, found in sorted(folds.items()) if len(found) > 1}
