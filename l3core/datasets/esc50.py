"""ESC-50 and its part ESC-10: environmental sounds of five seconds in five folds (Piczak, 2015)."""

import posixpath
import re
from collections.abc import Iterable, Sequence

from l3core.datasets.base import Annotation, Dataset, Subset
from l3core.datasets.tables import read_rows, refuse_altered

COLUMNS = ("filename", "fold", "target", "category", "esc10", "src_file")
# {FOLD}-{CLIP_ID}-{TAKE}-{TARGET}.wav; Ogg before version 2, and where people saved space
_NAME = re.compile(r"([1-5])-(\d+)-([A-Z])-(\d+)\.(?:wav|ogg|flac)")
ANIMALS = ("dog", "rooster", "pig", "cow", "frog", "cat", "hen", "insects", "sheep", "crow")
NATURE = (
    "rain",
    "sea_waves",
    "crackling_fire",
    "crickets",
    "chirping_birds",
    "water_drops",
    "wind",
    "pouring_water",
    "toilet_flush",
    "thunderstorm",
)
HUMAN = (
    "crying_baby",
    "sneezing",
    "clapping",
    "breathing",
    "coughing",
    "footsteps",
    "laughing",
    "brushing_teeth",
    "snoring",
    "drinking_sipping",
)
INTERIOR = (
    "door_wood_knock",
    "mouse_click",
    "keyboard_typing",
    "door_wood_creaks",
    "can_opening",
    "washing_machine",
    "vacuum_cleaner",
    "clock_alarm",
    "clock_tick",
    "glass_breaking",
)
EXTERIOR = (
    "helicopter",
    "chainsaw",
    "siren",
    "car_horn",
    "engine",
    "train",
    "church_bells",
    "airplane",
    "fireworks",
    "hand_saw",
)
CATEGORIES = ANIMALS + NATURE + HUMAN + INTERIOR + EXTERIOR  # the place is the target's number


class Esc50(Dataset):
    """2,000 clips, eight of each class in each fold."""

    name = "esc50"
    title = "ESC-50"
    classes: tuple[str, ...] = CATEGORIES
    fold_sizes = dict.fromkeys(range(1, 6), 400)
    class_sizes = dict.fromkeys(CATEGORIES, 40)
    test_folds = (1, 2, 3, 4, 5)
    metadata = "esc50.csv"
    seconds = 2000 * 5.0
    licence = "CC BY-NC 3.0"
    address = "https://github.com/karolpiczak/ESC-50"
    download = "https://github.com/karolpiczak/ESC-50/archive/master.zip (600 MB); unpack it"
    citation = "Piczak: ESC: Dataset for Environmental Sound Classification, ACM MM 2015"

    def key_of(self, path: str) -> str | None:
        """The file's name without its extension."""
        name = posixpath.basename(path)
        return _stem(name) if _NAME.fullmatch(name) else None

    def annotations(self, metadata: str | None, keys: Iterable[str]) -> Sequence[Annotation]:
        """From esc50.csv, all classes of it; the source is the recording on Freesound."""
        assert metadata is not None
        rows = read_rows(metadata, COLUMNS, name=str(self.metadata))
        refuse_altered(rows, _agrees, column="filename", name=str(self.metadata))
        return [
            Annotation(_stem(row["filename"]), row["category"], int(row["fold"]), row["src_file"])
            for row in rows
        ]


class Esc10(Esc50):
    """The 400 clips of ESC-50 whose classes are easiest to tell apart."""

    name = "esc10"
    title = "ESC-10"
    classes = (
        "dog",
        "rooster",
        "rain",
        "sea_waves",
        "crackling_fire",
        "crying_baby",
        "sneezing",
        "clock_tick",
        "helicopter",
        "chainsaw",
    )
    fold_sizes = dict.fromkeys(range(1, 6), 80)
    class_sizes = dict.fromkeys(classes, 40)
    seconds = 400 * 5.0
    licence = "CC BY 3.0"
    download = "part of ESC-50"
    subsets = (
        Subset(
            "the 100 clips of l3flow's demo",
            "af873b8f25bdcece4c8343a369d745ded69dc8339b66cf852bd6f3966c7b1b49",
        ),
    )


def _stem(name: str) -> str:
    return posixpath.splitext(name)[0]


def _agrees(row: dict[str, str]) -> bool:
    match = _NAME.fullmatch(row["filename"])
    if match is None or int(match[4]) >= len(CATEGORIES):
        return False
    category = CATEGORIES[int(match[4])]
    named = (match[1], match[2], match[4], category, str(category in Esc10.classes))
    return named == tuple(row[column] for column in ("fold", "src_file", "target", "category", "esc10"))


ESC50, ESC10 = Esc50(), Esc10()
