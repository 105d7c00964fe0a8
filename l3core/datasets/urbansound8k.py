"""UrbanSound8K: 8,732 clips of urban sound in ten folds (Salamon, Jacoby and Bello, ACM MM 2014)."""

import re
from collections.abc import Iterable, Sequence

from l3core.datasets.base import Annotation, Dataset
from l3core.datasets.tables import read_rows, refuse_altered

COLUMNS = ("slice_file_name", "fsID", "fold", "classID", "class")
FOLD_SIZES = dict(zip(range(1, 11), (873, 888, 925, 990, 936, 823, 838, 806, 816, 837)))
# fsID-classID-occurrenceID-sliceID.wav
_NAME = re.compile(r"(\d+)-(\d)-\d+-\d+\.wav")
_PLACE = re.compile(r"(?:.*/)?(fold\d+/[^/]+\.wav)")


class UrbanSound8K(Dataset):
    """Clips of at most four seconds, cut from recordings of Freesound; folds of unequal size."""

    name = "urbansound8k"
    title = "UrbanSound8K"
    classes = (
        "air_conditioner",
        "car_horn",
        "children_playing",
        "dog_bark",
        "drilling",
        "engine_idling",
        "gun_shot",
        "jackhammer",
        "siren",
        "street_music",
    )
    fold_sizes = FOLD_SIZES
    class_sizes = dict.fromkeys(classes, 1000) | {"car_horn": 429, "gun_shot": 374, "siren": 929}
    test_folds = tuple(range(1, 11))
    metadata = "UrbanSound8K.csv"
    seconds = 8.75 * 3600
    licence = "CC BY-NC 3.0"
    address = "https://urbansounddataset.weebly.com/urbansound8k.html"
    download = "UrbanSound8K.tar.gz (6 GB) from https://zenodo.org/records/1203745; unpack it"
    citation = "Salamon, Jacoby, Bello: A Dataset and Taxonomy for Urban Sound Research, ACM MM 2014"

    def key_of(self, path: str) -> str | None:
        """`fold3/7061-6-0-0.wav`, wherever the folds lie."""
        match = _PLACE.fullmatch(path)
        return match[1] if match else None

    def annotations(self, metadata: str | None, keys: Iterable[str]) -> Sequence[Annotation]:
        """From UrbanSound8K.csv; the source is the recording on Freesound."""
        assert metadata is not None
        rows = read_rows(metadata, COLUMNS, name=str(self.metadata))
        refuse_altered(rows, self._agrees, column="slice_file_name", name=str(self.metadata))
        return [
            Annotation(f"fold{row['fold']}/{row['slice_file_name']}", row["class"], fold, row["fsID"])
            for row in rows
            for fold in (int(row["fold"]),)
        ]

    def _agrees(self, row: dict[str, str]) -> bool:
        match = _NAME.fullmatch(row["slice_file_name"])
        return (
            match is not None
            and (match[1], match[2]) == (row["fsID"], row["classID"])
            and row["class"] == self.classes[int(match[2])]
            and row["fold"].isdecimal()
            and int(row["fold"]) in self.fold_sizes
        )


URBANSOUND8K = UrbanSound8K()
