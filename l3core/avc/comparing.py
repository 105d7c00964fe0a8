"""The input of a run and the ledger of the corpus, compared: what is to be sampled, and what is not.

Pairs that are there are made anew only from videos that are there, too: a file of pairs that also holds
a video which the input does not have any more stays as it is, until that one is pruned. A file that is
lost is made anew from what there is.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from l3core.avc.corpus import SPLITS
from l3core.avc.dividing import GroupOf, SplitOf, Video, alone
from l3core.avc.duplicates import Content, find_duplicates
from l3core.avc.layout import DUPLICATE, FINE, OK, TRIED_AGAIN, UNLISTED, UNPAIRED, VideoRow
from l3core.checksums import expected_kind
from l3core.storage import StoredObject, as_text


class Rules(NamedTuple):
    """What a run does beside what is new or changed.

    Attributes:
        named: whether the input names a URI; None: the listing is not complete, and nothing is gone.
        prune: drop videos that are gone, and their pairs.
        retry_unreadable: sample unchanged videos again that could not be.
        within: folder that objects are read below only; None: wherever they really lie.
    """

    named: Callable[[str], bool] | None = None
    prune: bool = False
    retry_unreadable: bool = False
    within: str | None = None


class Compared:
    """What a run has to do; its methods are called in their order.

    Args:
        known: the ledger.
        split_of: tells the split of an id.
        rules: of the run.
        group_of: tells the recording that an id is of.
        lost: files of pairs that are not there, or not whole.

    Attributes:
        todo: id -> video that is to be sampled.
        rows: id -> row of a video that is known without sampling it.
        removed: files of pairs whose videos are sampled again, or are gone.
        dropped: ids whose rows go.
        counts: kind -> how many videos.
    """

    def __init__(
        self,
        known: Mapping[str, VideoRow],
        split_of: SplitOf,
        rules: Rules,
        group_of: GroupOf = alone,
        lost: Collection[str] = (),
    ) -> None:
        self._known = known
        self._split_of = split_of
        self._group_of = group_of
        self._rules = rules
        self._lost = lost
        self._listed: dict[str, StoredObject] = {}
        self._absent: set[str] = set()
        self._gone: set[str] = set()
        self._tried_again: set[str] = set()
        self.todo: dict[str, Video] = {}
        self.rows: dict[str, VideoRow] = {}
        self.removed: set[str] = set()
        self.dropped: set[str] = set()
        self.counts: Counter[str] = Counter()

    def add(self, video_id: str, listed: StoredObject) -> None:
        """Take an object of the input."""
        row = self._known.get(video_id)
        if listed.absent:
            self._add_absent(video_id, listed, row)
            return
        self._listed[video_id] = listed
        split = self._split_of(video_id)
        if split is None:
            self.counts[UNLISTED] += 1
            if row is None or row.status != UNLISTED:
                error = "the subset does not have it"
                self._put(_row(video_id, listed, status=UNLISTED, error=error))
        elif row is None or row.status == UNLISTED:
            self._sample(video_id, split, "new")
        elif not _same(row, listed) or row.split != split:
            self._sample(video_id, split, "changed")
        elif row.status in TRIED_AGAIN or (self._rules.retry_unreadable and row.status not in FINE):
            self._tried_again.add(video_id)
            self._sample(video_id, split, "tried again")
        else:
            self.counts["unchanged"] += 1

    def _add_absent(self, video_id: str, listed: StoredObject, row: VideoRow | None) -> None:
        """One that a list names and that is not there; one that has pairs is gone."""
        self.counts["absent"] += 1
        self._absent.add(video_id)
        if row is None or (row.status not in (OK, "vanished")):
            self._put(_row(video_id, listed, status="vanished", error="there is no such file"))

    def _sample(self, video_id: str, split: str, kind: str) -> None:
        self.counts[kind] += 1
        self._add(Video(video_id, split, self._listed[video_id]))

    def _add(self, video: Video) -> None:
        self.todo[video.video_id] = video._replace(group=self._group_of(video.video_id))

    def _put(self, row: VideoRow) -> None:
        """Say what a video is without sampling it."""
        self.todo.pop(row.video_id, None)
        self.rows[row.video_id] = row

    def look_for_gone(self) -> None:
        """Count what the input names and has no more; with `prune` it goes."""
        if self._rules.named is None:
            return
        for video_id, row in self._known.items():
            there = video_id in self._listed or (video_id in self._absent and row.status != OK)
            if not there and self._rules.named(row.uri):
                self.counts["gone"] += 1
                self._gone.add(video_id)
                if self._rules.prune:
                    self.dropped.add(video_id)

    def let_wait(self) -> None:
        """Leave files as they are that cannot be made anew without losing pairs; with `prune` none is.

        A video of theirs that has changed keeps its row and pairs, and is `waiting`.
        """
        if self._rules.prune:
            return
        for path, rows in self._files().items():
            if path in self._lost:
                continue
            stay = [row for row in rows if self._stays(row)]
            if len(stay) == len(rows) or all(row.video_id in self._listed for row in stay):
                continue
            for row in rows:
                if not self._stays(row):
                    self.counts["waiting"] += 1
                    self.todo.pop(row.video_id, None)
                    self.rows.pop(row.video_id, None)

    def look_for_duplicates(self) -> None:
        """Sample no video that is another one under another name."""
        stays = [row for row in self._known.values() if self._stays(row)]
        known = [
            row
            for row in stays
            if row.status not in (DUPLICATE, UNLISTED) and (row.pairs or self._may_be_there(row))
        ]
        later = [
            _content(row.video_id, self._object(row), row.checksum)
            for row in stays
            if row.status == DUPLICATE and row.video_id in self._listed
        ]
        later += [_content(each.video_id, each.listed, None) for each in self.todo.values()]
        later.sort(key=lambda content: content.video_id)
        before = [_content(row.video_id, self._object(row), row.checksum) for row in known]
        found = find_duplicates(before, later)
        for each in later:
            checksum = found.checksums.get(each.video_id, each.checksum)
            first = found.first.get(each.video_id)
            split = self._split_of(each.video_id)
            if first is not None:
                self._put_duplicate(each, split, first, checksum)
            elif split is not None:
                self._add(Video(each.video_id, split, each.listed, checksum))

    def _put_duplicate(
        self, content: Content, split: str | None, first: str, checksum: str | None
    ) -> None:
        row = _row(content.video_id, content.listed, status=DUPLICATE, error=f"the same as {first!r}")
        row = row._replace(checksum=checksum, split=split)
        before = self._known.get(content.video_id)
        if before is None or row != before._replace(run_id=""):
            self._put(row)

    def dissolve(self, per_shard: int) -> None:
        """Sample again what shares a file with what has to go, or with too little to be a file.

        Args:
            per_shard: videos that make a file.
        """
        files = self._files()
        for path in [path for path, rows in files.items() if not all(map(self._stays, rows))]:
            self._dissolve(path, files.pop(path))
        for path in [path for path in files if path in self._lost]:
            listed = sum(row.video_id in self._listed for row in files[path])
            self.counts.update({"unchanged": -listed, "lost": listed})
            self._dissolve(path, files.pop(path))
        for split in SPLITS:
            left = {
                path: rows
                for path, rows in files.items()
                if rows[0].split == split and all(row.video_id in self._listed for row in rows)
            }
            self._pair_up(split, others=bool(left))
            new = self._new(split)
            if new and left:
                path = min(left, key=lambda path: (len(left[path]), path))
                is_alone = len({video.group for video in new}) == 1
                if is_alone or len(new) + len(left[path]) <= per_shard:
                    self._dissolve(path, left[path])

    def _files(self) -> dict[str, list[VideoRow]]:
        """Path -> rows of the videos whose pairs are in it."""
        files: dict[str, list[VideoRow]] = defaultdict(list)
        for row in self._known.values():
            if row.file is not None:
                files[row.file].append(row)
        return files

    def _new(self, split: str) -> list[Video]:
        """What joins others; for one that was tried again and may fail again no file is made anew."""
        todo = (video for video in self.todo.values() if video.split == split)
        return [video for video in todo if video.video_id not in self._tried_again]

    def _pair_up(self, split: str, *, others: bool) -> None:
        """Sample again what was alone, if that is over."""
        found = [
            row
            for row in self._known.values()
            if row.status == UNPAIRED
            and row.split == split
            and row.video_id in self._listed
            and self._stays(row)
        ]
        groups = {self._group_of(row.video_id) for row in found}
        if others or len(groups) > 1 or groups < groups | {video.group for video in self._new(split)}:
            for row in found:
                self._sample_again(row)

    def _dissolve(self, path: str, rows: Iterable[VideoRow]) -> None:
        self.removed.add(path)
        for row in rows:
            if self._stays(row):
                self._sample_again(row)

    def _sample_again(self, row: VideoRow) -> None:
        assert row.split is not None
        self._add(Video(row.video_id, row.split, self._object(row), row.checksum))

    def _stays(self, row: VideoRow) -> bool:
        """Whether a row of the ledger is to stay, as far as is known."""
        return not any(row.video_id in gone for gone in (self.todo, self.rows, self.dropped))

    def _may_be_there(self, row: VideoRow) -> bool:
        """Whether the input has a video, or does not tell."""
        return row.video_id not in self._gone and row.video_id not in self._absent

    def _object(self, row: VideoRow) -> StoredObject:
        """The object of a row; one that the input does not name as the ledger knows it."""
        known = row.stored._replace(within=self._rules.within)
        return self._listed.get(row.video_id, known)


def _content(video_id: str, listed: StoredObject, checksum: str | None) -> Content:
    return Content(video_id, listed, checksum or listed.checksum)


def _row(video_id: str, listed: StoredObject, *, status: str, error: str) -> VideoRow:
    return VideoRow(
        video_id,
        as_text(listed.uri),
        max(0, listed.size_bytes),
        listed.version,
        listed.checksum,
        status=status,
        error=error,
    )


def _same(row: VideoRow, listed: StoredObject) -> bool:
    """Whether an object is the one that a row is about."""
    if row.size_bytes != listed.size_bytes:
        return False
    kind = expected_kind(listed.checksum)
    if kind is not None and expected_kind(row.checksum) == kind:  # a copy has another version
        return str(row.checksum).partition(":")[2] == str(listed.checksum).partition(":")[2]
    return row.version == listed.version
