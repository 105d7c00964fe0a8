"""A planned run, as its staging folder holds it: what launcher, workers and commit know of it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import IO, Any

from l3core import storage
from l3core.errors import RunError
from l3core.table.adopt import owner_of
from l3core.table.delta import Note
from l3core.table.failures import MOST_STORAGE_ERRORS
from l3core.table.json_objects import read_json
from l3core.table.layout import TablePaths
from l3core.table.pieces import Piece


@dataclass(frozen=True, kw_only=True)
class ShardPlan:
    """A shard: its name, where it begins and about how much it is."""

    name: str
    first_clip: str
    pieces: int
    estimate: int
    adopted: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A planned run.

    Attributes:
        run_id: sorts by time.
        base: number of the commit it builds on.
        fingerprint, spec, weights_digest: what is embedded.
        identity: what the fingerprint is of (`EmbeddingSpec.identity`).
        root: clip ids are paths below it.
        shards: sorted by first clip; the adopted ones are done already.
        counts: matched objects by what is known of them: new, changed, retried, unchanged, ...
        gone: clips of the ledger that the patterns name and that are not there.
        pruned: of those, whose windows are dropped.
        to_rewrite: bytes of windows files that hold some replaced or pruned clips.
        max_storage_errors: objects that the store may fail to give.
        max_unreadable: objects that may turn out unreadable; None: any number.
        compact: vectors are written as `l3core.table.windows_file.COMPACT`.
        dead: runs whose staging folders this run takes over, and removes.
        noted: ledger rows change without embedding.
        empty: none does, and nothing is to embed: the table stays as it is.
        started_at: ISO time.
    """

    run_id: str
    base: int
    fingerprint: str
    spec: dict[str, Any]
    weights_digest: str
    root: str
    identity: dict[str, Any] = field(default_factory=dict)
    shards: tuple[ShardPlan, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    gone: int = 0
    pruned: int = 0
    to_rewrite: int = 0
    max_storage_errors: int = MOST_STORAGE_ERRORS.number
    max_unreadable: int | None = None
    compact: bool = False
    dead: tuple[str, ...] = ()
    noted: bool = False
    empty: bool = False
    started_at: str = ""

    @property
    def to_embed(self) -> tuple[ShardPlan, ...]:
        """Shards that are still to do, longest first."""
        todo = [shard for shard in self.shards if not shard.adopted]
        return tuple(sorted(todo, key=lambda shard: -shard.estimate))

    @property
    def matched(self) -> int:
        """Objects that the patterns name."""
        return sum(self.counts.values())

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @staticmethod
    def from_json(value: dict[str, Any]) -> "Plan":
        """The plan that `to_json` was made of."""
        shards = tuple(ShardPlan(**shard) for shard in value["shards"])
        return Plan(**value | {"shards": shards, "dead": tuple(value["dead"])})


def load_plan(paths: TablePaths, run_id: str) -> Plan:
    """The plan of a run from its staging folder.

    Raises:
        RunError: another run has taken it over.
    """
    with _taken_over(paths, run_id):
        return Plan.from_json(read_json(paths.staging(run_id, "plan.json")))


def load_pieces(paths: TablePaths, run_id: str, shard: str) -> list[Piece]:
    """What a shard is made of.

    Raises:
        RunError: another run has taken it over.
    """
    uri = paths.staging(run_id, "shards", f"{shard}.json")
    with _taken_over(paths, run_id):
        return [Piece(*piece) for piece in json.loads(storage.read_bytes(uri))]


@contextmanager
def _taken_over(paths: TablePaths, run_id: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        if owner_of(paths, run_id) is not None:
            raise
        raise RunError(
            f"the staging folder of run {run_id} is gone: another run has taken over from this one, "
            "which was silent for too long"
        ) from None


def write_notes(paths: TablePaths, run_id: str, notes: IO[str]) -> None:
    """Copy spooled notes to the run's staging folder."""
    notes.seek(0)
    with storage.writing(paths.staging(run_id, "notes.jsonl")) as file:
        for line in notes:
            file.write(line.encode("utf-8", "surrogatepass"))


def load_notes(paths: TablePaths, run_id: str) -> Iterator[Note]:
    """The ledger rows of a run that change without embedding, sorted by clip id."""
    fs, path = storage.filesystem(paths.staging(run_id, "notes.jsonl"))
    with fs.open(path, "rb") as file:
        for line in file:
            yield Note(*json.loads(line))
