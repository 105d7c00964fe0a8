"""Copies of the datasets in their true layout and naming, of any size, with files of any content."""

import csv
import io
import random
from pathlib import Path

from l3core.datasets import DATASETS
from l3core.datasets.dcase2013 import SET_NAMES
from l3core.datasets.esc50 import CATEGORIES

US8K, ESC10 = DATASETS["urbansound8k"], DATASETS["esc10"]
DCASE_FOLDERS = {"train": "scenes_stereo", "test": "scenes_stereo_testset"}


def urbansound8k_rows(folds=None):
    """Rows of UrbanSound8K.csv: all clips of every class in mixed order, dealt to the folds.

    A source has up to five clips, all of one class and in one fold.

    Args:
        folds: fold -> clips; the published sizes by default.
    """
    labels = [name for name, size in US8K.class_sizes.items() for _ in range(size)]
    random.Random(0).shuffle(labels)
    rows = []
    for fold, size in dict(folds or US8K.fold_sizes).items():
        for number in range(size):
            label = labels.pop()
            class_id = US8K.classes.index(label)
            source = 10_000 * fold + 10 * (number // 50) + class_id
            name = f"{source}-{class_id}-0-{number}.wav"
            rows.append((name, source, 0.0, 4.0, 1, fold, class_id, label))
    return rows


def esc50_rows(classes=CATEGORIES, extension="wav"):
    """Rows of esc50.csv: eight clips of each class in each fold, two of a source."""
    rows = []
    for fold in range(1, 6):
        for label in classes:
            target = CATEGORIES.index(label)
            for number in range(8):
                source, take = 1000 * fold + 10 * target + number // 2, "AB"[number % 2]
                name = f"{fold}-{source}-{take}-{target}.{extension}"
                rows.append((name, fold, target, label, label in ESC10.classes, source, take))
    return rows


def dcase2013_names():
    """Names of one set, the same in both: numbers that do not run from 01."""
    labels = DATASETS["dcase2013"].classes
    return [f"{label}{number:02d}.wav" for label in labels for number in range(2, 22, 2)]


def dcase2013_key():
    """The challenge's key: 20 of the test set's clips in each of five folds."""
    lines = ["filename,label,extra,original"]
    for number, name in enumerate(dcase2013_names()):
        lines.append(f"fold{number % 5 + 1}_{number:03d}.wav,{name[:-6]},x,{name}")
    return "\n".join(lines) + "\n"


def as_csv(header, rows):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header.split(","), *rows])
    return text.getvalue()


US8K_HEADER = "slice_file_name,fsID,start,end,salience,fold,classID,class"
ESC50_HEADER = "filename,fold,target,category,esc10,src_file,take"


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def write_urbansound8k(root, *, audio="audio", metadata="metadata", rows=None, write=touch):
    """UrbanSound8K below `root`: folds in the folder `audio`, the csv in the folder `metadata`."""
    rows = urbansound8k_rows() if rows is None else rows
    for row in rows:
        write(Path(root, audio, f"fold{row[5]}", row[0]))
    place = Path(root, metadata)
    place.mkdir(parents=True, exist_ok=True)
    (place / "UrbanSound8K.csv").write_text(as_csv(US8K_HEADER, rows))
    return root


def write_esc50(root, *, audio="audio", metadata="meta", rows=None, extension=None, write=touch):
    """ESC-50 below `root`; `extension`: of the files, where it is not that of the csv."""
    rows = esc50_rows() if rows is None else rows
    for row in rows:
        path = Path(root, audio, row[0])
        write(path.with_suffix(f".{extension}") if extension else path)
    place = Path(root, metadata)
    place.mkdir(parents=True, exist_ok=True)
    (place / "esc50.csv").write_text(as_csv(ESC50_HEADER, rows))
    return root


def write_dcase2013(root, *, folders=None, key=False, write=touch):
    """Both sets of DCASE 2013, whose files have the same names."""
    for name in SET_NAMES.values():
        for file in dcase2013_names():
            write(Path(root, (folders or DCASE_FOLDERS)[name], file))
    if key:
        Path(root, "dcase2013_task1_filenamekey.csv").write_text(dcase2013_key())
    return root
