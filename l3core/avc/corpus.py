"""A corpus of pairs as its readers see it: what its runs come to, whatever is being written meanwhile.

CORPUS/avc.json                       how its pairs were made
CORPUS/records/split=<split>/*.tfrecord   the pairs (`l3core.avc.records`)
CORPUS/videos/*.parquet               the ledger: one row a video
CORPUS/runs/<n>.json                  what the n-th run added and removed; what none names is not there
CORPUS/_l3flow/                       ours: lock and staging; nobody else reads it
"""

import hashlib
import json
import re
from functools import cached_property
from typing import Any, NamedTuple

from l3core import storage
from l3core.errors import TableError
from l3core.table.json_objects import read_json
from l3core.table.layout import place_below

LAYOUT_VERSION = 1
SPLITS = ("train", "valid", "test")
_RUN = re.compile(r"\d{8}\.json")


class RecordFile(NamedTuple):
    """A file of pairs.

    Attributes:
        path: below the corpus.
        split: one of `SPLITS`.
        pairs: how many it holds.
        positives: of these, belong together.
        size_bytes: its size.
        sha256: of its content, hex.
    """

    path: str
    split: str
    pairs: int
    positives: int
    size_bytes: int
    sha256: str


class Corpus:
    """What is in a corpus after its last run.

    Attributes:
        root: URI of its folder.
        settings: how its pairs were made.
        files: of pairs, sorted by path.
        ledger: path of the ledger below the corpus.
        runs: how many were committed.
        before: paths of the files and the ledger before the last run; readers may still be at them.
    """

    def __init__(
        self,
        root: str,
        settings: dict[str, Any],
        files: tuple[RecordFile, ...],
        *,
        ledger: str | None,
        runs: int,
        before: frozenset[str] = frozenset(),
    ) -> None:
        self.root = root
        self.settings = settings
        self.files = files
        self.ledger = ledger
        self.runs = runs
        self.before = before

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the settings and the files' contents, hex: the identity of the data."""
        contents = [[file.path, file.sha256] for file in self.files]
        return hashlib.sha256(json.dumps([self.settings, contents], sort_keys=True).encode()).hexdigest()

    def of_split(self, split: str) -> tuple[RecordFile, ...]:
        """The files of a split, sorted by path."""
        return tuple(file for file in self.files if file.split == split)

    def uri(self, file: RecordFile) -> str:
        """Where a file is."""
        return place_below(self.root, file.path, "the corpus")


def open_corpus(uri: str) -> Corpus:
    """The corpus in a folder.

    Raises:
        TableError: there is none, nothing was ever committed, or it is damaged.
    """
    found = load_corpus(storage.absolute_folder(uri))
    if found is None:
        raise TableError(f"no corpus of pairs at {uri}: l3flow avc sample makes one")
    return found


def load_corpus(root: str) -> Corpus | None:
    """The same; None where nothing was committed."""
    names = storage.names_below(storage.join(root, "runs"), suffix=".json")
    names = [name for name in names if _RUN.fullmatch(name)]
    if not names:
        return None
    files: dict[str, RecordFile] = {}
    record: dict[str, Any] = {}
    before: frozenset[str] = frozenset()
    for number, name in enumerate(names, 1):
        if name != run_name(number):
            raise TableError(f"run {number} of {root} is missing: restore it from a backup")
        before = frozenset(files).union([record["ledger"]] if record else [])
        record = read_json(storage.join(root, "runs", name))
        _apply(root, name, record, files)
    ordered = tuple(files[path] for path in sorted(files))
    return Corpus(
        root, record["settings"], ordered, ledger=record["ledger"], runs=len(names), before=before
    )


def run_name(number: int) -> str:
    """Name of a run's record."""
    return f"{number:08d}.json"


def _apply(root: str, name: str, record: dict[str, Any], files: dict[str, RecordFile]) -> None:
    try:
        if record["layout"] != LAYOUT_VERSION:
            raise TableError(
                f"{root} has corpus layout {record['layout']}, this l3flow knows {LAYOUT_VERSION}"
            )
        for path in record["files_removed"]:
            files.pop(path, None)
        for file in record["files_added"]:
            files[file["path"]] = RecordFile(**{field: file[field] for field in RecordFile._fields})
        if not (isinstance(record["settings"], dict) and isinstance(record["ledger"], str)):
            raise TypeError
    except (KeyError, TypeError):
        raise TableError(f"{root}/runs/{name} is damaged: it is no record of a run") from None
