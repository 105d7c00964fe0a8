"""What a cross-validation is, as every worker knows it: its clips, folds, protocol and seed."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from l3core import storage
from l3core.crossval.protocols import PROTOCOLS, Parts, Protocol
from l3core.datasets.base import LabelledClip
from l3core.spec import EmbeddingSpec
from l3core.table.layout import LedgerRow, place_below

# Raised whenever the same plan gives other figures.
ALGORITHM_VERSION = 1


class Fold(NamedTuple):
    """One training: a fold that is tested on, and which time.

    Attributes:
        test_fold: of the dataset; None: the model that learns from all of them.
        repeat: from 1.
    """

    test_fold: int | None
    repeat: int

    @property
    def name(self) -> str:
        """In file names."""
        return f"{'final' if self.test_fold is None else f'fold{self.test_fold}'}-repeat{self.repeat}"

    @staticmethod
    def from_name(name: str) -> "Fold":
        """The fold that has a name."""
        fold, _, repeat = name.partition("-repeat")
        return Fold(None if fold == "final" else int(fold.removeprefix("fold")), int(repeat))


@dataclass(frozen=True, kw_only=True)
class CrossvalPlan:
    """A cross-validation.

    Attributes:
        dataset: name of the dataset.
        classes: labels, in order.
        clips: all of them.
        clip_ids: of each in the table.
        table: URI.
        fingerprint: of the spec.
        embedding: the spec, the digest of its weights, and where the table keeps them.
        content: digest of what the table says of the clips; see `content_of`.
        protocol, seed, batch_size, epochs: of the training.
        facts: about the copy of the dataset, for the report.
    """

    dataset: str
    classes: tuple[str, ...]
    clips: tuple[LabelledClip, ...]
    clip_ids: tuple[str, ...]
    table: str
    fingerprint: str
    embedding: dict[str, Any]
    content: str
    protocol: str
    seed: int
    batch_size: int
    epochs: int
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def rules(self) -> Protocol:
        """The protocol that `protocol` names."""
        return PROTOCOLS[self.protocol]

    @property
    def embedding_size(self) -> int:
        """Numbers in one embedding."""
        return EmbeddingSpec(**self.embedding["spec"]).size

    @property
    def labels(self) -> np.ndarray:
        """Place of each clip's label in `classes`, int64 `(clips,)`."""
        place = {label: number for number, label in enumerate(self.classes)}
        return np.array([place[clip.label] for clip in self.clips], np.int64)

    def parts(self, window_clips: np.ndarray, fold: Fold) -> Parts:
        """The windows of a fold by what they are for.

        Args:
            window_clips: place of each window's clip in `clips`, ascending.
            fold: which.

        Raises:
            DatasetError: the clips cannot be split so.
        """
        return self.rules.parts(
            self.clips,
            window_clips,
            self.labels,
            test_fold=fold.test_fold,
            seed=self.seed,
            repeat=fold.repeat,
        )

    @cached_property
    def digest(self) -> str:
        """Names all that decides what a fold's training gives."""
        decides = {
            "clips": [[clip_id, *clip[1:]] for clip_id, clip in zip(self.clip_ids, self.clips)],
            "algorithm_version": ALGORITHM_VERSION,
        } | {
            name: getattr(self, name)
            for name in (
                "classes",
                "fingerprint",
                "content",
                "protocol",
                "seed",
                "batch_size",
                "epochs",
            )
        }
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @staticmethod
    def from_json(value: dict[str, Any]) -> "CrossvalPlan":
        """The plan that `to_json` was made of."""
        clips = tuple(LabelledClip(*clip) for clip in value["clips"])
        tuples = {name: tuple(value[name]) for name in ("classes", "clip_ids")}
        return CrossvalPlan(**value | tuples | {"clips": clips})


@dataclass(frozen=True)
class OutputPaths:
    """Where everything of a cross-validation lies; `root` is the output's own URI."""

    root: str

    def at(self, relative: str) -> str:
        """URI of a path below the output.

        Raises:
            TableError: it is not below it (see `l3core.table.layout.TablePaths.at`).
        """
        return place_below(self.root, relative, "the output")

    @property
    def summary(self) -> str:
        """The figures."""
        return self.at("summary.json")

    def work(self, digest: str) -> str:
        """Folder of one plan's work."""
        return self.at(f"_crossval/{digest}")

    def plan(self, digest: str) -> str:
        """The plan."""
        return storage.join(self.work(digest), "plan.json")

    def job(self, digest: str) -> str:
        """The job that trains it elsewhere, or has."""
        return storage.join(self.work(digest), "job.json")

    def fold(self, digest: str, name: str) -> str:
        """Folder of one fold."""
        return self.at(f"_crossval/{digest}/{name}")


def content_of(rows: Iterable[LedgerRow], clip_ids: Sequence[str]) -> str:
    """Digest of what a table holds of some clips: which version of each object, how many windows.

    Other clips may come and go: the folds that were trained stay those of these clips.
    """
    wanted = set(clip_ids)
    held = sorted(
        (row.clip_id, row.size_bytes, row.version, row.status, row.windows_written)
        for row in rows
        if row.clip_id in wanted
    )
    return hashlib.sha256(json.dumps(held).encode()).hexdigest()[:16]


def seeds_of(seed: int, fold: Fold) -> Sequence[int]:
    """What a fold's own random numbers begin with."""
    return [seed, fold.test_fold or 0, fold.repeat]
