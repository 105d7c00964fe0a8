"""In which order pairs are seen: a function of the corpus, the seed and how many were seen before.

A pass over a split takes its files in an order of its own. Some files that follow one another in it,
about eight thousand pairs, are a group: they are read whole, and their pairs are shuffled. Batches cross
the borders of groups and of passes. So a training can go on at any step, and remembers only its number.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from l3core.avc.corpus import RecordFile

GROUP_PAIRS = 8192
GROUP_BYTES = 512 * 2**20  # of files: one group is in use, and the next one is read meanwhile
TRAINING, JUDGING, DRAWN_LABELS = range(3)  # what random numbers are for


class Visit(NamedTuple):
    """A group of files and which of its pairs come next.

    Attributes:
        files: that are read.
        order: places of pairs among all those of the files, int64.
    """

    files: tuple[RecordFile, ...]
    order: np.ndarray


class Order:
    """The order of the pairs of some files.

    Args:
        files: of one split, sorted by path.
        digest: of their corpus, hex.
        seed: of the order.
        purpose: `TRAINING` or `JUDGING`.
        group_pairs: pairs of a group, at most, unless one file has more.
    """

    def __init__(
        self,
        files: Sequence[RecordFile],
        *,
        digest: str,
        seed: int,
        purpose: int,
        group_pairs: int = GROUP_PAIRS,
    ) -> None:
        self._files = [file for file in files if file.pairs]
        self._key = (int(digest[:16], 16), seed, purpose)
        self._group_pairs = group_pairs
        self.pairs = sum(file.pairs for file in self._files)

    def visits(self, start: int, end: int | None = None) -> Iterator[Visit]:
        """What is read from pair number `start` on; what is passed over is not read.

        Args:
            start: from 0.
            end: no group is read that begins there or later; None: for ever.
        """
        if not self.pairs:
            return
        number, skipped = divmod(start, self.pairs)
        begin = number * self.pairs
        while True:
            for place, group in enumerate(self._groups(number)):
                if end is not None and begin >= end:
                    return
                count = sum(file.pairs for file in group)
                begin += count
                if skipped < count:
                    order = np.random.default_rng((*self._key, number, place)).permutation(count)
                    yield Visit(group, order[skipped:])
                skipped = max(0, skipped - count)
            number += 1

    def _groups(self, number: int) -> Iterator[tuple[RecordFile, ...]]:
        group: list[RecordFile] = []
        pairs = size = 0
        for place in np.random.default_rng((*self._key, number)).permutation(len(self._files)):
            file = self._files[place]
            full = pairs + file.pairs > self._group_pairs or size + file.size_bytes > GROUP_BYTES
            if group and full:
                yield tuple(group)
                group, pairs, size = [], 0, 0
            group.append(file)
            pairs, size = pairs + file.pairs, size + file.size_bytes
        yield tuple(group)


def drawn_labels(file: RecordFile, *, digest: str, seed: int) -> np.ndarray:
    """Labels that say nothing, half of each, int64 `(file.pairs,)`; always the same for a file."""
    key = (int(digest[:16], 16), seed, DRAWN_LABELS, int.from_bytes(file.path.encode(), "big"))
    return np.random.default_rng(key).permutation(np.arange(file.pairs) % 2)
