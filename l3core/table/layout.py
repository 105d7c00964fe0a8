"""What a feature table looks like on a store: its folders, its schemas, and the words of its ledger.

OUT/table.json                        layout version and root
OUT/specs/<fp>.json                   the whole spec and the digest of its weights
OUT/windows/spec=<fp>/*.parquet       one row per window, sorted by clip_id, window within a file
OUT/clips/spec=<fp>/*.parquet         the ledger: one row per input object
OUT/runs/<run_id>.json                what each run added and removed
OUT/_l3flow/                          ours: journal, index, lock, staging, weights, reference, failed,
                                      neighbours; nobody else reads it
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from l3core.containment import leads_out
from l3core.errors import TableError
from l3core.storage import join

LAYOUT_VERSION = 1

STATUSES = (
    "ok",
    "empty",
    "unreadable",
    "truncated",
    "forbidden",
    "too-large",
    "changed",
    "vanished",
    "storage-error",
    "gone",
)
# The next run tries again; an earlier good row keeps its windows.
TRANSIENT = frozenset({"changed", "vanished", "storage-error"})
# The windows that were embedded are in the table.
WITH_WINDOWS = frozenset({"ok", "truncated"})
# The object is no longer there; its windows are, until they are pruned.
GONE = "gone"


@dataclass(frozen=True, kw_only=True)
class LedgerRow:
    """What became of one input object.

    Attributes:
        clip_id: path below the table's root.
        uri: where it was read.
        size_bytes: as listed.
        version: the store's name for this content (a disk's modification time in nanoseconds).
        checksum: of the content, where the store gives one.
        status: one of `STATUSES`.
        error: for people, if the status is not `ok`.
        sample_rate, channels, frames, duration_s, codec: as the decoder says; None if it says nothing.
        windows_expected: by the grid, from the frames that the header claims.
        windows_written: rows of this clip in the table.
        files: table files that hold them, paths below the table.
        run_id: the run that embedded it.
        embedded_at: when, UTC.
    """

    clip_id: str
    uri: str
    size_bytes: int
    version: str
    checksum: str | None = None
    status: str = "ok"
    error: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    frames: int | None = None
    duration_s: float | None = None
    codec: str | None = None
    windows_expected: int = 0
    windows_written: int = 0
    files: tuple[str, ...] = ()
    run_id: str = ""
    embedded_at: datetime

    def to_json(self) -> dict[str, Any]:
        """All fields, as JSON can hold them."""
        return vars(self) | {"files": list(self.files), "embedded_at": self.embedded_at.isoformat()}

    @staticmethod
    def from_json(row: dict[str, Any]) -> "LedgerRow":
        """The row that `to_json` was made of."""
        when = row["embedded_at"]
        if isinstance(when, str):
            when = datetime.fromisoformat(when)
        return LedgerRow(**row | {"files": tuple(row["files"]), "embedded_at": when})


LEDGER_SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("size_bytes", pa.int64(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
        pa.field("checksum", pa.string()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("error", pa.string()),
        pa.field("sample_rate", pa.int32()),
        pa.field("channels", pa.int32()),
        pa.field("frames", pa.int64()),
        pa.field("duration_s", pa.float64()),
        pa.field("codec", pa.string()),
        pa.field("windows_expected", pa.int64(), nullable=False),
        pa.field("windows_written", pa.int64(), nullable=False),
        pa.field("files", pa.list_(pa.string()), nullable=False),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("embedded_at", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)


def windows_schema(size: int) -> pa.Schema:
    """Columns of a windows file whose vectors have `size` numbers."""
    return pa.schema(
        [
            pa.field("clip_id", pa.string(), nullable=False),
            pa.field("window", pa.int32(), nullable=False),
            pa.field("start_s", pa.float64(), nullable=False),
            pa.field("silent", pa.bool_(), nullable=False),
            pa.field("embedding", pa.list_(pa.float32(), size), nullable=False),
        ]
    )


def ledger_batch(rows: Iterable[LedgerRow]) -> pa.RecordBatch:
    """Ledger rows as Arrow."""
    return pa.RecordBatch.from_pylist([vars(row) for row in rows], LEDGER_SCHEMA)


def is_plain(relative: str) -> bool:
    """Whether a path names something below where it begins, links apart."""
    return not relative.startswith("/") and "\0" not in relative and ".." not in relative.split("/")


def place_below(root: str, relative: str, what: str) -> str:
    """URI of a path below a folder; "" gives what all of them begin with.

    Raises:
        TableError: it leads out of `what` is there, by its name or by a link.
    """
    uri = join(root, relative)
    if relative and (not is_plain(relative) or leads_out(uri, root)):
        raise TableError(f"{root}: {relative!r} leads out of {what}; nothing is done to it")
    return uri


@dataclass(frozen=True)
class TablePaths:
    """Where everything of a table lies; `root` is the table's own URI."""

    root: str

    def at(self, relative: str) -> str:
        """URI of a path below the table; "" gives what all of them begin with.

        Whatever is read, moved or removed because a table says so goes through here: neither a path
        in its history nor a link among its folders makes a run touch what is not the table's.

        Raises:
            TableError: it is not below the table.
        """
        return place_below(self.root, relative, "the table")

    @property
    def table(self) -> str:
        """table.json."""
        return self.at("table.json")

    @property
    def ours(self) -> str:
        """Folder of what only we read."""
        return self.at("_l3flow")

    @property
    def runs(self) -> str:
        """Folder of the run records."""
        return self.at("runs")

    def record(self, run_id: str) -> str:
        """The record of one run."""
        return self.at(f"runs/{run_id}.json")

    @property
    def journal(self) -> str:
        """Folder of the commits."""
        return self.at("_l3flow/journal")

    @property
    def index(self) -> str:
        """Folder of what the commits up to some number come to."""
        return self.at("_l3flow/index")

    @property
    def locks(self) -> str:
        """Folder of the locks."""
        return self.at("_l3flow/lock")

    @property
    def failed(self) -> str:
        """Folder of what is known of runs that failed."""
        return self.at("_l3flow/failed")

    def failed_run(self, run_id: str) -> str:
        """What is known of one run that failed."""
        return self.at(f"_l3flow/failed/{run_id}.json")

    @property
    def all_staging(self) -> str:
        """Folder of the unfinished runs."""
        return self.at("_l3flow/staging")

    def staging(self, run_id: str, *parts: str) -> str:
        """Folder of one unfinished run, or what is at a path in it."""
        return self.at(join("_l3flow/staging", run_id, *parts))

    def lock(self, fingerprint: str) -> str:
        """The lock of one partition."""
        return self.at(f"_l3flow/lock/{fingerprint}.json")

    def weights(self, digest: str) -> str:
        """The table's own copy of some weights."""
        return self.at(f"_l3flow/weights/{digest}.h5")

    def reference(self, fingerprint: str) -> str:
        """What workers of a spec are compared with."""
        return self.at(f"_l3flow/reference/{fingerprint}.json")

    def neighbours(self, fingerprint: str) -> str:
        """Folder of a spec's indexes of nearest neighbours."""
        return self.at(f"_l3flow/neighbours/{fingerprint}")

    def spec(self, fingerprint: str) -> str:
        """A spec in words."""
        return self.at(f"specs/{fingerprint}.json")


def windows_folder(fingerprint: str) -> str:
    """A partition's windows, path below the table."""
    return f"windows/spec={fingerprint}"


def ledger_folder(fingerprint: str) -> str:
    """A partition's ledger, path below the table."""
    return f"clips/spec={fingerprint}"
