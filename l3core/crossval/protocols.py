"""Protocols: which windows train, which validate, and what the validation is asked.

`clean` validates with whole source recordings that no part of the training has heard, and asks for
clips, as the test does. `paper` is what the code of Cramer et al. 2019 did: windows of the training
clips, drawn at random, validate. Windows of a clip overlap by up to 90 %, so such a validation knows the
answers.
"""

import abc
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from l3core.datasets.base import DatasetError, LabelledClip
from l3core.metrics import cross_entropy, vote
from l3core.splits import Split, split_clips


class Parts(NamedTuple):
    """The windows of a fold by what they are for, as rows of the features.

    Attributes:
        train, validation, test: int64 arrays, ascending.
        scaled: rows whose mean and deviation standardise all windows.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    scaled: np.ndarray


class Verdict(NamedTuple):
    """How several models do on the validation part.

    Attributes:
        loss, accuracy: float64 `(models,)`.
    """

    loss: np.ndarray
    accuracy: np.ndarray


class Protocol(abc.ABC):
    """How a fold is trained and judged.

    Attributes:
        name: what `--protocol` takes.
        leaky: whether the validation has heard what it is asked.
        about: in words.
    """

    name: str
    leaky: bool
    about: str

    @abc.abstractmethod
    def repeats(self, dataset: str) -> int:
        """Trainings of each fold."""

    @abc.abstractmethod
    def batch_size(self, windows: int) -> int:
        """Windows in a training step, for a corpus of so many."""

    @abc.abstractmethod
    def parts(
        self,
        clips: Sequence[LabelledClip],
        window_clips: np.ndarray,
        labels: np.ndarray,
        *,
        test_fold: int | None,
        seed: int,
        repeat: int,
    ) -> Parts:
        """The windows of a fold by what they are for.

        Args:
            clips: all clips.
            window_clips: place of each window's clip, int64 `(windows,)`, ascending.
            labels: of the clips, int64 `(clips,)`.
            test_fold: the fold to test on; None: none.
            seed: of the cross-validation.
            repeat: from 1.

        Raises:
            DatasetError: the clips cannot be split so.
        """

    @abc.abstractmethod
    def judge(
        self,
        probabilities: np.ndarray,
        *,
        clips: np.ndarray,
        labels: np.ndarray,
        penalties: np.ndarray,
    ) -> Verdict:
        """Loss to stop by, and accuracy to choose by.

        Args:
            probabilities: of the windows that validate, `(models, windows, classes)`.
            clips: the clip of each of them, ascending.
            labels: of each of them.
            penalties: what the weight decay adds to each model's training loss, `(models,)`.
        """

    @abc.abstractmethod
    def best(self, verdicts: Verdict) -> int:
        """The model that is chosen, by each one's best epoch."""


class Clean(Protocol):
    """Without leaks."""

    name = "clean"
    leaky = False
    about = (
        "one tenth of the training clips, whole source recordings, validates; models are compared by "
        "their accuracy on clips"
    )

    def repeats(self, dataset: str) -> int:
        """One."""
        return 1

    def batch_size(self, windows: int) -> int:
        """A power of two from 32 to 256, so that an epoch has about a dozen steps at least.

        Larger batches are faster, and as good on ESC-10 (docs/performance.md).
        """
        return int(np.clip(2 ** int(np.log2(max(1, windows // 15))), 32, 256))

    def parts(
        self,
        clips: Sequence[LabelledClip],
        window_clips: np.ndarray,
        labels: np.ndarray,
        *,
        test_fold: int | None,
        seed: int,
        repeat: int,
    ) -> Parts:
        """By source recordings; the same split for every repeat."""
        split = split_clips(clips, test_fold=test_fold, seed=seed)
        train, validation, test = (_windows_of(part, window_clips) for part in split)
        return Parts(train, validation, test, scaled=train)

    def judge(
        self,
        probabilities: np.ndarray,
        *,
        clips: np.ndarray,
        labels: np.ndarray,
        penalties: np.ndarray,
    ) -> Verdict:
        """Cross-entropy and accuracy of clips."""
        _, first, numbers = np.unique(clips, return_index=True, return_inverse=True)
        votes = vote(probabilities, numbers, len(first))
        return _verdict(votes, labels[first])

    def best(self, verdicts: Verdict) -> int:
        """The highest accuracy; of equal ones the lowest loss, then the first."""
        return int(np.lexsort((verdicts.loss, -verdicts.accuracy))[0])


class Paper(Protocol):
    """As the paper's code, leak and all."""

    name = "paper"
    leaky = True
    about = (
        "as the paper's code: 15 % of the training windows, drawn at random, validate, so that windows "
        "of one clip are on both sides; they are standardised with the training, and models are "
        "compared by their accuracy on windows"
    )
    validation_share = 0.15

    def repeats(self, dataset: str) -> int:
        """As the paper repeated."""
        return {"urbansound8k": 2, "esc50": 5, "esc10": 5}.get(dataset, 1)

    def batch_size(self, windows: int) -> int:
        """32."""
        return 32

    def parts(
        self,
        clips: Sequence[LabelledClip],
        window_clips: np.ndarray,
        labels: np.ndarray,
        *,
        test_fold: int | None,
        seed: int,
        repeat: int,
    ) -> Parts:
        """By windows, stratified by class; another split for every repeat."""
        from sklearn.model_selection import StratifiedShuffleSplit

        tested = np.array([clip.fold == test_fold for clip in clips])
        if tested.all() or (test_fold is not None and not tested.any()):
            raise DatasetError(f"fold {test_fold} has {tested.sum()} of {len(clips)} clips")
        rest = np.flatnonzero(~tested[window_clips])
        state = np.random.SeedSequence([seed, test_fold or 0, repeat]).generate_state(1)[0]
        splitter = StratifiedShuffleSplit(1, test_size=self.validation_share, random_state=int(state))
        try:
            train, validation = next(splitter.split(rest, labels[window_clips[rest]]))
        except ValueError as error:
            raise DatasetError(f"the windows that train cannot be split: {error}") from None
        if absent := set(labels) - set(labels[window_clips[rest[train]]]):
            label = next(clip.label for clip, number in zip(clips, labels) if number in absent)
            raise DatasetError(f"class {label} has no clips outside of fold {test_fold}")
        test = np.flatnonzero(tested[window_clips])
        return Parts(np.sort(rest[train]), np.sort(rest[validation]), test, scaled=rest)

    def judge(
        self,
        probabilities: np.ndarray,
        *,
        clips: np.ndarray,
        labels: np.ndarray,
        penalties: np.ndarray,
    ) -> Verdict:
        """Keras' val_loss, which includes the penalties, and accuracy of windows."""
        verdict = _verdict(probabilities, labels)
        return verdict._replace(loss=verdict.loss + penalties)

    def best(self, verdicts: Verdict) -> int:
        """The highest accuracy; of equal ones the first."""
        return int(np.argmax(verdicts.accuracy))


PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in (Clean(), Paper())}


def split_of(parts: Parts, window_clips: np.ndarray) -> Split:
    """The clips of each part; where a protocol leaks, one may be in two of them."""
    return Split(*(np.unique(window_clips[rows]) for rows in parts[:3]))


def _windows_of(clips: np.ndarray, window_clips: np.ndarray) -> np.ndarray:
    """Rows of the windows of some clips, ascending."""
    return np.flatnonzero(np.isin(window_clips, clips))


def _verdict(probabilities: np.ndarray, labels: np.ndarray) -> Verdict:
    hits = probabilities.argmax(axis=-1) == labels
    return Verdict(cross_entropy(probabilities, labels), hits.mean(axis=-1))
