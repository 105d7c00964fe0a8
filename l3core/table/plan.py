"""Planning a run: what must be embedded, cut into shards of about equal work.

Listing and ledger, both sorted, are merged as streams; what has to be done is cut into pieces at fixed
places of each recording, finished shards of dead runs are adopted, and the rest becomes shard files in
the run's staging folder. Neither the launcher nor a runner ever holds the corpus.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import IO, Any

from l3core import storage
from l3core.listing import clip_id_of
from l3core.spec import EmbeddingSpec
from l3core.storage import StorageOptions, StoredObject
from l3core.table.adopt import Adopted, adopt, claim_staging
from l3core.table.layout import TRANSIENT, WITH_WINDOWS, LedgerRow, TablePaths
from l3core.table.ledger import read_ledger
from l3core.table.pieces import Piece, cut_pieces, shard_windows
from l3core.table.state import TableState, write_json

# What is known of an object that needs no work.
UNCHANGED = "unchanged"
FAILED_BEFORE = "failed before"
SHARD_CLIPS = 5000
SHARDS_WANTED = 16  # of a small run, so that a killed one can be adopted in parts


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
        root: clip ids are paths below it.
        shards: sorted by first clip; the adopted ones are done already.
        counts: matched objects by what is known of them: new, changed, retried, unchanged.
        started_at: ISO time.
    """

    run_id: str
    base: int
    fingerprint: str
    spec: dict[str, Any]
    weights_digest: str
    root: str
    shards: tuple[ShardPlan, ...]
    counts: dict[str, int] = field(default_factory=dict)
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
        return Plan(**value | {"shards": tuple(ShardPlan(**shard) for shard in value["shards"])})


def make_plan(
    paths: TablePaths,
    state: TableState,
    listing: Iterable[StoredObject],
    *,
    spec: EmbeddingSpec,
    weights_digest: str,
    root: str,
    run_id: str,
    started_at: str,
    full: bool = False,
    storage_options: StorageOptions = None,
) -> Plan:
    """Plan a run and write it to its staging folder.

    Args:
        paths: of the table.
        state: its last commit.
        listing: the input, sorted by URI.
        spec: what to embed.
        weights_digest: of the weights.
        root: clip ids are paths below it.
        run_id: of this run.
        started_at: ISO time.
        full: embed unchanged objects again, too.
        storage_options: for fsspec, for the input.

    Raises:
        UsageError: an object that is not below `root`.
    """
    fingerprint = spec.fingerprint(weights_digest)
    claim_staging(paths, run_id, fingerprint)
    counts: Counter[str] = Counter()
    todo = find_work(paths, state, listing, fingerprint=fingerprint, root=root, full=full, counts=counts)
    # the to-do list goes through a file, because it is read twice and may not fit in memory
    with tempfile.TemporaryFile("w+", encoding="utf-8") as spool:
        total = _spool(cut_pieces(todo, spec, storage_options), spool)
        adopted = adopt(paths, run_id, fingerprint, (piece.key for piece in _unspool(spool)))
        rest = (piece for piece in _unspool(spool) if piece.key not in adopted.keys)
        shards = list(_write_shards(paths, run_id, rest, spec=spec, total=total))
    plan = Plan(
        run_id=run_id,
        base=state.commits,
        fingerprint=fingerprint,
        spec=spec.to_dict(),
        weights_digest=weights_digest,
        root=root,
        shards=tuple(sorted(shards + _adopted_shards(adopted), key=lambda shard: shard.first_clip)),
        counts=dict(counts),
        started_at=started_at,
    )
    write_json(storage.join(paths.staging(run_id), "plan.json"), plan.to_json())
    return plan


def load_plan(paths: TablePaths, run_id: str) -> Plan:
    """The plan of a run from its staging folder."""
    return Plan.from_json(
        json.loads(storage.read_bytes(paths.at(f"_l3flow/staging/{run_id}/plan.json")))
    )


def load_pieces(paths: TablePaths, run_id: str, shard: str) -> list[Piece]:
    """What a shard is made of."""
    uri = storage.join(paths.staging(run_id), "shards", f"{shard}.json")
    return [Piece(*piece) for piece in json.loads(storage.read_bytes(uri))]


def find_work(
    paths: TablePaths,
    state: TableState,
    listing: Iterable[StoredObject],
    *,
    fingerprint: str,
    root: str,
    full: bool,
    counts: Counter[str],
) -> Iterator[tuple[str, StoredObject]]:
    """(clip id, object) of what must be embedded; counts what every object is: new, changed, ..."""
    ledger = read_ledger(paths, state.ledger(fingerprint))
    row = next(ledger, None)
    for listed in listing:
        clip_id = clip_id_of(listed.uri, root)
        while row is not None and row.clip_id < clip_id:
            row = next(ledger, None)
        known = row if row is not None and row.clip_id == clip_id else None
        verdict = _verdict(known, listed)
        counts[verdict] += 1
        if full or verdict not in (UNCHANGED, FAILED_BEFORE):
            yield clip_id, listed


def _verdict(known: LedgerRow | None, listed: StoredObject) -> str:
    if known is None:
        return "new"
    if (known.size_bytes, known.version) != (listed.size_bytes, listed.version):
        return "changed"
    # a good row with an error is one whose last try failed for a reason that passes; permissions change
    # without a trace in size or version
    failed = known.status in TRANSIENT or known.status == "forbidden"
    failed |= known.status == "ok" and known.error is not None
    if failed:
        return "retried"
    return UNCHANGED if known.status in WITH_WINDOWS else FAILED_BEFORE


def _spool(pieces: Iterable[Piece], spool: IO[str]) -> int:
    total = 0
    for piece in pieces:
        spool.write(json.dumps(piece) + "\n")
        total += piece.estimate
    return total


def _unspool(spool: IO[str]) -> Iterator[Piece]:
    spool.seek(0)
    for line in spool:
        yield Piece(*json.loads(line))


def _write_shards(
    paths: TablePaths, run_id: str, pieces: Iterable[Piece], *, spec: EmbeddingSpec, total: int
) -> Iterator[ShardPlan]:
    target = min(shard_windows(spec), max(1, -(-total // SHARDS_WANTED)))
    shard: list[Piece] = []
    filled = number = 0
    for piece in pieces:
        if shard and (filled + piece.estimate > target or len(shard) >= SHARD_CLIPS):
            yield _write_shard(paths, run_id, number, shard)
            shard, filled, number = [], 0, number + 1
        shard.append(piece)
        filled += piece.estimate
    if shard:
        yield _write_shard(paths, run_id, number, shard)


def _write_shard(paths: TablePaths, run_id: str, number: int, pieces: list[Piece]) -> ShardPlan:
    name = f"{number:06d}"
    uri = storage.join(paths.staging(run_id), "shards", f"{name}.json")
    storage.write_bytes(uri, json.dumps(pieces).encode())
    return ShardPlan(
        name=name,
        first_clip=pieces[0].clip_id,
        pieces=len(pieces),
        estimate=sum(piece.estimate for piece in pieces),
    )


def _adopted_shards(adopted: Adopted) -> list[ShardPlan]:
    return [
        ShardPlan(
            name=shard.name, first_clip=shard.first_clip, pieces=shard.pieces, estimate=0, adopted=True
        )
        for shard in adopted.shards
    ]
