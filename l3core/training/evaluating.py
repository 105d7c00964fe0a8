"""How well a trained network tells pairs that belong together, on pairs that it was not trained on."""

from collections.abc import Callable
from typing import NamedTuple

from l3core.avc.corpus import Corpus
from l3core.errors import UsageError
from l3core.metrics import Interval
from l3core.training.chance import accuracy_interval
from l3core.training.opening import Training


class Score(NamedTuple):
    """The accuracy of one checkpoint on one corpus.

    Attributes:
        samples: pairs that the checkpoint had seen.
        correct, pairs: told right, of how many.
        loss: mean cross-entropy, with the l2 losses.
    """

    samples: int
    correct: int
    pairs: int
    loss: float

    @property
    def accuracy(self) -> float:
        """Share that was told right."""
        return self.correct / self.pairs

    @property
    def interval(self) -> Interval:
        """95 % interval of it."""
        return accuracy_interval(self.correct, self.pairs)


class Evaluator:
    """A checkpoint that pairs are given to.

    Args:
        training: it is of.
        which: `best`, `latest` or a number of samples.

    Raises:
        UsageError: there is none such.
        DamagedError: it is not what was written.
        RunError: a training at work has removed it meanwhile.
    """

    def __init__(self, training: Training, which: str) -> None:
        self._settings = training.identity.settings
        self.samples = training.checkpoints.find(which)
        weights = training.checkpoints.weights(self.samples)  # at once: a training at work removes them
        import tensorflow as tf

        from l3core.training.step import Trainer

        self._trainer = Trainer(self._settings, tf.distribute.get_strategy())
        self._trainer.restore(weights, None, where=training.checkpoints.folder(self.samples))

    def score(
        self,
        corpus: Corpus,
        split: str,
        *,
        report: Callable[[int, int], None] = lambda done, pairs: None,
    ) -> Score:
        """The accuracy on all pairs of a split.

        Args:
            corpus: of the pairs.
            split: of the corpus.
            report: told how many pairs are done, of how many.

        Raises:
            UsageError: the split has no pairs.
        """
        from l3core.training.feed import Source
        from l3core.training.history import Sums

        pairs = sum(file.pairs for file in corpus.of_split(split))
        if not pairs:
            raise UsageError(f"{corpus.root} has no pairs in its split {split}")
        source = Source(corpus, split, batch_size=self._settings.batch_size, seed=0, limit=pairs)
        sums = Sums()
        for batch in source.batches():
            sums.add(self._trainer.judge(batch))
            report(sums.pairs, pairs)
        return Score(self.samples, sums.correct, sums.pairs, sums.loss / sums.pairs)
