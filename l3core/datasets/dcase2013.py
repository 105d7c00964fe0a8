"""DCASE 2013, scene classification: thirty seconds of ten places (Stowell et al., IEEE TMM 2015).

Two sets of 100 recordings whose files have the same names. The paper trains on the public one (here
fold 1) and tests on the one that was private (fold 2). The challenge itself had five folds within the
private set, which its key file tells.
"""

import re
from collections.abc import Iterable, Sequence

from l3core.datasets.base import Annotation, Dataset, DatasetError
from l3core.datasets.tables import parse_csv

TRAIN, TEST = 1, 2
SET_NAMES = {TRAIN: "train", TEST: "test"}
# Folders that tell the set: as the authors' archives unpack, and as the paper's code wants them.
TEST_FOLDERS = frozenset({"scenes_stereo_testset", "testset", "test", "fold2"})
TRAIN_FOLDERS = frozenset({"scenes_stereo", "trainset", "train", "dev", "fold1"})
# A class name and two digits, which do not run from 01 to 10; "bus" begins "busystreet", too.
_NAME = re.compile(r"([a-z]+)\d\d\.(?:wav|flac)")


class Dcase2013(Dataset):
    """Training and test set as in the paper; labels are in the names."""

    name = "dcase2013"
    title = "DCASE 2013 SCD"
    classes = (
        "bus",
        "busystreet",
        "office",
        "openairmarket",
        "park",
        "quietstreet",
        "restaurant",
        "supermarket",
        "tube",
        "tubestation",
    )
    fold_sizes = dict.fromkeys((TRAIN, TEST), 100)
    class_sizes = dict.fromkeys(classes, 20)
    test_folds: tuple[int, ...] = (TEST,)
    seconds = 200 * 30.0
    licence = "see the items' pages"
    address = "https://archive.org/details/dcase2013_scene_classification"
    download = (
        "scenes_stereo.zip (362 MB) from https://archive.org/details/dcase2013_scene_classification and "
        "scenes_stereo_testset.zip (372 MB) from "
        "https://archive.org/details/dcase2013_scene_classification_testset; unpack each into a folder "
        "of its name"
    )
    citation = "Stowell et al.: Detection and Classification of Acoustic Scenes, IEEE TMM 2015"

    def key_of(self, path: str) -> str | None:
        """`train/bus01` or `test/bus01`, by the folders on the way to the file."""
        *folders, name = path.split("/")
        match = _NAME.fullmatch(name)
        if match is None or match[1] not in self.classes:
            return None
        stem = name.rpartition(".")[0]
        if TEST_FOLDERS.intersection(folders):  # it may lie in a folder that is called as the other set
            return f"{SET_NAMES[TEST]}/{stem}"
        return f"{SET_NAMES[TRAIN]}/{stem}" if TRAIN_FOLDERS.intersection(folders) else None

    def annotations(self, metadata: str | None, keys: Iterable[str]) -> Sequence[Annotation]:
        """From the names; every clip is a source of its own."""
        folds = {name: fold for fold, name in SET_NAMES.items()}
        return [
            Annotation(key, _label(key), folds[key.partition("/")[0]], key) for key in sorted(set(keys))
        ]


class Dcase2013Challenge(Dcase2013):
    """The five folds of the challenge, within the set that was private."""

    name = "dcase2013-challenge"
    title = "DCASE 2013 SCD, the challenge's folds"
    fold_sizes = dict.fromkeys(range(1, 6), 20)
    test_folds = (1, 2, 3, 4, 5)
    class_sizes = dict.fromkeys(Dcase2013.classes, 10)
    metadata = "dcase2013_task1_filenamekey.csv"
    seconds = 100 * 30.0
    download = (
        "scenes_stereo_testset.zip (372 MB) and dcase2013_task1_filenamekey.csv from "
        "https://archive.org/details/dcase2013_scene_classification_testset"
    )

    def annotations(self, metadata: str | None, keys: Iterable[str]) -> Sequence[Annotation]:
        """Folds from the key: the fifth character of column 1; column 4 is the file's own name."""
        assert metadata is not None
        rows = parse_csv(metadata, name=str(self.metadata))[1:]
        found = []
        for number, row in enumerate(rows, start=2):
            name = row[3] if len(row) > 3 else ""
            key = self.key_of(f"{SET_NAMES[TEST]}/{name}")
            fold = row[0][4:5]
            if key is None or not fold.isdecimal() or int(fold) not in self.fold_sizes:
                raise DatasetError(f"{self.metadata}: row {number} names no fold and test file")
            found.append(Annotation(key, _label(key), int(fold), key))
        return found


def _label(key: str) -> str:
    return key.rpartition("/")[2][:-2]


DCASE2013, DCASE2013_CHALLENGE = Dcase2013(), Dcase2013Challenge()
