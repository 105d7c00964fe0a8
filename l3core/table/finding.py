"""What a check of a table can find, and how far the check is."""

from dataclasses import dataclass
from typing import NamedTuple

# In the order in which they are worth reading: what is at the top explains what is below.
KINDS = (
    "journal",  # a commit is missing or cannot be read
    "index",  # what was kept of the commits is unlike them
    "pending",  # the last commit was journalled and never published
    "run-record",  # runs/: missing, or unlike the journal
    "table-json",  # missing, or unlike the last commit
    "spec",  # specs/: missing, edited, or of another fingerprint
    "unknown-model",  # a spec of a model that is not known here
    "weights",  # the table's copy: missing, or with another digest
    "missing-file",
    "orphan-file",  # no commit has it
    "size",
    "checksum",
    "unreadable-file",
    "schema",
    "row-count",
    "unsorted",
    "not-finite",  # NaN or infinity in an embedding or a start time
    "start-times",  # not where the grid has its windows
    "duplicate-windows",
    "missing-windows",
    "not-in-ledger",  # a clip with windows and without a ledger row
    "ledger-duplicate",
    "status",  # none of the closed list
    "ledger-counts",  # windows_written and windows_expected do not go together
    "failed-with-windows",  # a status that has no windows, and windows
    "windows-written",  # unlike the rows in the files
    "clip-files",  # `files` unlike the files that hold the clip
    "uri",  # not the root and the clip id
    "changed",  # another run committed during the check
)


class Finding(NamedTuple):
    """Something that is not as the layout promises.

    Attributes:
        kind: one of `KINDS`.
        path: of the file that it is about, below the table.
        problem: what was expected and what was found, one sentence for people.
    """

    kind: str
    path: str
    problem: str


class DamageError(Exception):
    """An object of ours that is not what it has to be; the message completes "<path>: ..."."""


@dataclass
class Tally:
    """What a check has looked at so far; it may be read from another thread.

    Attributes:
        specs: partitions.
        files, of_files: Parquet files that were checked, and all of them.
        bytes, of_bytes: in those files.
        windows: rows of windows.
        ledger_rows: rows of ledgers.
    """

    specs: int = 0
    files: int = 0
    of_files: int = 0
    bytes: int = 0
    of_bytes: int = 0
    windows: int = 0
    ledger_rows: int = 0

    @property
    def share(self) -> float:
        """Of all the work that is done, 0 to 1."""
        return self.bytes / max(1, self.of_bytes)

    @property
    def begun(self) -> bool:
        """Whether a file was checked yet: reading the journal is no part of the rate."""
        return self.files > 0
