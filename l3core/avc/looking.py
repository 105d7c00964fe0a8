"""Some pairs of a corpus, drawn at random, for people to look at."""

from typing import NamedTuple

import numpy as np

from l3core.avc.corpus import Corpus, RecordFile
from l3core.avc.records import Pair, parse, read_records
from l3core.errors import DamagedError

MOST_FILES = 4  # each is read as a whole
_ADVICE = "; l3flow avc sample makes files anew that are not there, so remove a damaged one"


class Drawn(NamedTuple):
    """Pairs that were drawn.

    Attributes:
        pairs: in the order of their places.
        files: that they are of.
    """

    pairs: list[Pair]
    files: list[RecordFile]


def draw_pairs(corpus: Corpus, *, split: str, count: int, seed: int) -> Drawn:
    """Pairs of a split, of at most `MOST_FILES` files; the same seed draws the same.

    Args:
        corpus: to draw from.
        split: one of `SPLITS`.
        count: of pairs, if there are so many.
        seed: of what is drawn.

    Raises:
        DamagedError: a file is not what was committed.
    """
    generator = np.random.default_rng(seed)
    files = corpus.of_split(split)
    some = sorted(generator.permutation(len(files))[:MOST_FILES].tolist())
    chosen = [files[place] for place in some]
    places = [(file, place) for file in chosen for place in range(file.pairs)]
    wanted = sorted(generator.permutation(len(places))[:count].tolist())
    found = []
    for file in chosen:
        own = [places[each][1] for each in wanted if places[each][0] is file]
        if own:
            records = _records(corpus, file)
            found += [parse(records[place]) for place in own]
    return Drawn(found, chosen)


def _records(corpus: Corpus, file: RecordFile) -> list[bytes]:
    """Those of a file that is as it was committed."""
    uri = corpus.uri(file)
    try:
        records = read_records(uri)
    except DamagedError as error:
        raise DamagedError(f"{error}{_ADVICE}") from None
    if len(records) != file.pairs:
        counts = f"has {len(records)} pairs, and the corpus says {file.pairs}"
        raise DamagedError(f"{uri} is damaged: it {counts}{_ADVICE}")
    return records
