"""What a run has to do: its listing and the ledger, both sorted, merged as streams.

An object is unchanged if its size is and its checksum, where the store gives one (a copied object has a
new version and the same content), else its version. Without any of these nobody can say that it is.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from l3core.ahead import map_ahead
from l3core.checksums import COMPUTED
from l3core.clip_ids import clip_id_of
from l3core.downloads import too_large
from l3core.durations import too_long
from l3core.errors import UsageError
from l3core.pinned import content_checksum, readable
from l3core.storage import StoredObject, as_text
from l3core.table.layout import GONE, TRANSIENT, WITH_WINDOWS
from l3core.table.ledger import Known

# What a listed object is.
NEW = "new"
CHANGED = "changed"
RETRIED = "retried"  # its last try failed for a reason that passes
UNCHANGED = "unchanged"
FAILED_BEFORE = "failed before"  # unchanged, and nothing could be read of it
ABSENT = "not there"  # named by a list, or a link to nowhere
BACK = "back"  # was gone, and is what it was
_NO_WORK = frozenset({UNCHANGED, FAILED_BEFORE, ABSENT, BACK})

# What a note says of a ledger row that needs no embedding.
PRUNED = "pruned"
SEEN = "seen"  # the same content under a new version
VANISHED = "vanished"

# A clip's id, its ledger row and its object; one of the two may be missing.
Pair = tuple[str, Known | None, StoredObject | None]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How a run decides.

    Attributes:
        named: whether this run's patterns name a URI; None if its listing is not complete, so that
            nothing can be told to be gone.
        full: embed unchanged objects again.
        retry_unreadable: try unchanged objects again that could not be read.
        verify_content: compare contents, not versions.
        prune: drop the windows of what is gone.
    """

    named: Callable[[str], bool] | None = None
    full: bool = False
    retry_unreadable: bool = False
    verify_content: bool = False
    prune: bool = False


class Work(NamedTuple):
    """An object to embed."""

    clip_id: str
    listed: StoredObject


class Note(NamedTuple):
    """A change of a ledger row that needs no embedding.

    Attributes:
        clip_id: whose row.
        kind: `gone`, `pruned`, `seen`, `back` or `vanished`.
        uri, size_bytes, version, checksum: of the object as listed.
    """

    clip_id: str
    kind: str
    uri: str = ""
    size_bytes: int = 0
    version: str = ""
    checksum: str | None = None


@dataclass
class Tally:
    """What a merge counted.

    Attributes:
        counts: listed objects by what they are.
        gone: clips that are gone, those of earlier runs included.
        clips, windows: that the table has windows of, and how many.
        pruned_clips, pruned_windows: what `--prune` drops of them.
        held: windows file -> clips in it.
        dropped: windows file -> clips in it that the run replaces or prunes.
    """

    counts: Counter[str] = field(default_factory=Counter)
    gone: int = 0
    clips: int = 0
    windows: int = 0
    pruned_clips: int = 0
    pruned_windows: int = 0
    held: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def to_embed(self) -> int:
        """Objects that have to be embedded."""
        return sum(count for what, count in self.counts.items() if what not in _NO_WORK)

    def to_rewrite(self) -> list[str]:
        """Files that keep some of their clips and lose others."""
        return [file for file, clips in self.dropped.items() if 0 < clips < self.held[file]]


def find_work(
    ledger: Iterator[Known],
    listing: Iterable[StoredObject],
    *,
    root: str,
    rules: Rules,
    tally: Tally,
) -> Iterator[Work | Note]:
    """What must be embedded, and which ledger rows change without.

    Args:
        ledger: what is known, sorted by clip id.
        listing: the input, sorted by URI.
        root: clip ids are paths below it.
        rules: how to decide.
        tally: counts everything on the way.

    Returns:
        One item at most for each clip, sorted.

    Raises:
        UsageError: an object that is not below `root`.
    """
    pairs = _merged(ledger, listing, root)
    if rules.verify_content:
        pairs = _with_content(pairs)
    for pair in pairs:
        item = _decide(pair, rules, tally)
        if pair[1] is not None:
            _count_windows(pair[1], item, tally)
        if item is not None:
            yield item


def _merged(ledger: Iterator[Known], listing: Iterable[StoredObject], root: str) -> Iterator[Pair]:
    row = next(ledger, None)
    last, last_uri = "", ""
    for listed in listing:
        clip_id = clip_id_of(listed.uri, root)
        if clip_id == last:
            raise UsageError(
                f"{last_uri!r} and {listed.uri!r} would be one clip: a name that is no UTF-8 is written "
                "as another one is; rename one of them"
            )
        last, last_uri = clip_id, listed.uri
        while row is not None and row.clip_id < clip_id:
            yield row.clip_id, row, None
            row = next(ledger, None)
        if row is not None and row.clip_id == clip_id:
            yield clip_id, row, listed
            row = next(ledger, None)
        else:
            yield clip_id, None, listed
    while row is not None:
        yield row.clip_id, row, None
        row = next(ledger, None)


def _decide(pair: Pair, rules: Rules, tally: Tally) -> Work | Note | None:
    clip_id, row, listed = pair
    if listed is None:
        assert row is not None
        return _missing(row, rules, tally) if rules.named and rules.named(row.uri) else None
    verdict = _verdict(row, listed, rules)
    tally.counts[verdict] += 1
    if verdict == ABSENT:
        if row is None:
            return Note(clip_id, VANISHED, as_text(listed.uri))
        if row.status == VANISHED or rules.named is None:
            return None
        return _missing(row, rules, tally)
    if rules.full or verdict not in _NO_WORK:
        return Work(clip_id, listed)
    assert row is not None
    uri = as_text(listed.uri)
    if verdict != BACK and (row.version, row.uri) == (listed.version, uri):
        return None
    return Note(clip_id, BACK if verdict == BACK else SEEN, uri, *listed[1:4])


def _missing(row: Known, rules: Rules, tally: Tally) -> Note | None:
    """A row whose object is not there any more."""
    tally.gone += 1
    if rules.prune and row.files:
        return Note(row.clip_id, PRUNED)
    return None if row.status == GONE else Note(row.clip_id, GONE)


def _verdict(row: Known | None, listed: StoredObject, rules: Rules) -> str:
    if listed.absent:
        return ABSENT
    if row is None:
        return NEW
    if not _same(row, listed, rules):
        return CHANGED
    if row.status == GONE:
        return BACK if 0 < row.windows_written == row.windows_expected else NEW
    if row.status == "too-large":
        # or the limit was another one
        return FAILED_BEFORE if row.error in (too_large(), too_long()) else RETRIED
    if row.status == "forbidden":  # permissions change without a trace in size or version
        return RETRIED if readable(listed) else FAILED_BEFORE
    # a good row whose last try failed keeps its status, and its error begins with that of the try
    if row.status in TRANSIENT or (row.error and row.error.partition(":")[0] in TRANSIENT):
        return RETRIED
    if row.status == "unreadable" and rules.retry_unreadable:
        return RETRIED
    return UNCHANGED if row.status in WITH_WINDOWS else FAILED_BEFORE


def _same(row: Known, listed: StoredObject, rules: Rules) -> bool:
    """Whether an object is what it was."""
    if row.size_bytes != listed.size_bytes:
        return False
    if row.checksum and _kind(row.checksum) == _kind(listed.checksum):
        return row.checksum == listed.checksum
    if not listed.version and row.status != "forbidden":  # nothing tells
        return False
    comparable = row.status in WITH_WINDOWS or row.checksum is not None
    return row.version == listed.version and not (rules.verify_content and comparable)


def _kind(checksum: str | None) -> str:
    return (checksum or "").partition(":")[0]


def _count_windows(row: Known, item: Work | Note | None, tally: Tally) -> None:
    """What the table holds of a clip, and whether the run replaces it."""
    pruned = isinstance(item, Note) and item.kind == PRUNED
    drops = pruned or isinstance(item, Work)
    for file in row.files:
        tally.held[file] += 1
        if drops:
            tally.dropped[file] += 1
    if row.windows_written:
        tally.clips += 1
        tally.windows += row.windows_written
    if pruned:
        tally.pruned_clips += 1
        tally.pruned_windows += row.windows_written


def _with_content(pairs: Iterator[Pair]) -> Iterator[Pair]:
    """The same pairs; objects that may be what they were with the checksum of their content."""
    return map_ahead(_read_content, pairs)


def _read_content(pair: Pair) -> Pair:
    clip_id, row, listed = pair
    if row is not None and listed is not None and _may_be_same(row, listed):
        listed = listed._replace(checksum=content_checksum(listed, _kind(row.checksum)))
    return clip_id, row, listed


def _may_be_same(row: Known, listed: StoredObject) -> bool:
    """Whether only its content can tell."""
    if row.size_bytes != listed.size_bytes or _kind(row.checksum) not in COMPUTED:
        return False
    return _kind(listed.checksum) != _kind(row.checksum)
