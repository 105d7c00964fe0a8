"""What a run of `avc sample` does: the input and the ledger compared, and cut into shards."""

import json
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from l3core import storage
from l3core.ahead import do_all
from l3core.avc.comparing import Compared, Rules
from l3core.avc.corpus import SPLITS, Corpus
from l3core.avc.dividing import GroupOf, SplitOf, Video, alone, cut, shard_name, videos_a_shard
from l3core.avc.layout import CorpusPaths, CorpusSettings, VideoRow
from l3core.avc.ledger import read_rows, write_ledger
from l3core.avc.leftovers import clear_staging, finished_shards
from l3core.clip_ids import clip_id_of
from l3core.storage import StoredObject
from l3core.table.json_objects import read_json, write_json


class Shard(NamedTuple):
    """Some videos of one split, whose pairs are one file.

    Attributes:
        name: of its content.
        split: one of `SPLITS`.
        videos: how many.
        finished: whether another run has sampled it.
    """

    name: str
    split: str
    videos: int
    finished: bool


class Plan(NamedTuple):
    """What a run does.

    `rows` and `dropped` may be as many as the input has videos. Only the commit needs them, so they lie
    apart from the rest, which all workers read.

    Attributes:
        run_id: its name.
        number: of the run, the corpus's next.
        root: video ids are paths below it.
        settings: of the corpus.
        started_at: ISO 8601.
        shards: all whose pairs it adds.
        rows: of videos that are not sampled.
        files_removed: files of pairs whose videos are sampled again, or are gone.
        dropped: ids whose rows go.
        counts: kind -> how many videos of the input.
    """

    run_id: str
    number: int
    root: str
    settings: dict[str, Any]
    started_at: str
    shards: tuple[Shard, ...]
    rows: tuple[VideoRow, ...]
    files_removed: tuple[str, ...]
    dropped: tuple[str, ...]
    counts: dict[str, int]

    @property
    def empty(self) -> bool:
        """Whether the corpus is as it should be."""
        return not (self.shards or self.rows or self.files_removed or self.dropped)

    @property
    def todo(self) -> list[str]:
        """Names of the shards that are to be sampled."""
        return [shard.name for shard in self.shards if not shard.finished]

    def to_json(self) -> dict[str, Any]:
        """What workers need of it, as JSON."""
        shards = [shard._asdict() for shard in self.shards]
        return self._asdict() | {"shards": shards, "rows": [], "dropped": []}

    @staticmethod
    def from_json(value: dict[str, Any]) -> "Plan":
        """The plan that `to_json` was made of, without `rows` and `dropped`."""
        lists = {name: tuple(value[name]) for name in ("files_removed", "dropped", "rows")}
        shards = tuple(Shard(**shard) for shard in value["shards"])
        return Plan(**value | lists | {"shards": shards})


class Planned(NamedTuple):
    """A plan, and the videos of each of its shards by name."""

    plan: Plan
    videos: Mapping[str, Sequence[Video]]


def make_plan(
    paths: CorpusPaths,
    corpus: Corpus | None,
    known: Mapping[str, VideoRow],
    listing: Iterable[StoredObject],
    *,
    settings: CorpusSettings,
    root: str,
    split_of: SplitOf,
    rules: Rules,
    run_id: str,
    started_at: str,
    group_of: GroupOf = alone,
) -> Planned:
    """Compare the input with the corpus; writes nothing.

    Args:
        paths: of the corpus.
        corpus: as it is; None: there is none.
        known: its ledger.
        listing: the input.
        settings: of the corpus.
        root: video ids are paths below it.
        split_of: tells the split of an id.
        rules: of the run.
        run_id: its name.
        started_at: when it began.
        group_of: tells the recording that an id is of.

    Raises:
        UsageError: an object lies elsewhere.
    """
    compared = Compared(known, split_of, rules, group_of, _lost(paths, corpus))
    for listed in listing:
        compared.add(clip_id_of(listed.uri, root), listed)
    compared.look_for_gone()
    compared.let_wait()
    compared.look_for_duplicates()
    compared.dissolve(videos_a_shard(settings.per_video))
    number = corpus.runs + 1 if corpus else 1
    shards = _cut(paths, compared.todo, settings, number)
    plan = Plan(
        run_id=run_id,
        number=number,
        root=root,
        settings=settings.to_json(),
        started_at=started_at,
        shards=tuple(shards),
        rows=tuple(row._replace(run_id=run_id) for row in compared.rows.values()),
        files_removed=tuple(sorted(compared.removed)),
        dropped=tuple(sorted(compared.dropped)),
        counts={kind: count for kind, count in compared.counts.items() if count},
    )
    return Planned(plan, {shard.name: videos for shard, videos in shards.items()})


def _lost(paths: CorpusPaths, corpus: Corpus | None) -> frozenset[str]:
    """Files of pairs that are not there as they were committed, by their sizes."""
    files = corpus.files if corpus else ()
    sizes: dict[str, int] = {}
    for folder in {posixpath.dirname(file.path) for file in files}:
        below = storage.sizes_below(paths.at(folder))
        sizes |= {posixpath.join(folder, name): size for name, size in below.items()}
    return frozenset(file.path for file in files if sizes.get(file.path) != file.size_bytes)


def _cut(
    paths: CorpusPaths, todo: Mapping[str, Video], settings: CorpusSettings, number: int
) -> dict[Shard, Sequence[Video]]:
    """Shards of all that is to be sampled, those first that another run has finished."""
    text = json.dumps(settings.to_json(), sort_keys=True)
    found: dict[Shard, Sequence[Video]] = {}

    def add(videos: Sequence[Video], *, finished: bool) -> None:
        name = shard_name(videos, text)
        found[Shard(name, videos[0].split, len(videos), finished)] = videos

    left = dict(todo)
    finished = list(finished_shards(paths, todo, settings=text, number=number))
    for videos in finished:
        for video in videos:
            del left[video.video_id]
    for split in SPLITS:
        rest = [video for video in left.values() if video.split == split]
        own = [videos for videos in finished if videos[0].split == split]
        if len(rest) == 1 and own:  # not alone
            rest += own.pop()
        for videos in own:
            add(videos, finished=True)
        if rest:
            for videos in cut(rest, seed=settings.seed, per_shard=videos_a_shard(settings.per_video)):
                add(videos, finished=False)
    return found


def write_plan(paths: CorpusPaths, planned: Planned) -> None:
    """Put a plan where workers find it, and clear away what it does not use of earlier ones."""
    clear_staging(paths, [shard.name for shard in planned.plan.shards])
    todo = planned.plan.todo
    do_all(lambda name: write_json(paths.shard(name), _to_json(planned.videos[name])), todo)
    write_ledger(paths.settled(planned.plan.run_id), planned.plan.rows)
    write_json(paths.dropped(planned.plan.run_id), {"dropped": planned.plan.dropped})
    write_json(paths.plan, planned.plan.to_json())


def read_plan(paths: CorpusPaths) -> Plan:
    """The plan of the run at work, without `rows` and `dropped`."""
    return Plan.from_json(read_json(paths.plan))


def completed(paths: CorpusPaths, plan: Plan) -> Plan:
    """A plan that was read, with its `rows` and `dropped`."""
    rows = tuple(read_rows(paths.settled(plan.run_id)))
    return plan._replace(rows=rows, dropped=tuple(read_json(paths.dropped(plan.run_id))["dropped"]))


def read_shard(paths: CorpusPaths, name: str) -> list[Video]:
    """The videos of a shard."""
    return [
        Video(**video | {"listed": StoredObject(**video["listed"])})
        for video in read_json(paths.shard(name))["videos"]
    ]


def _to_json(videos: Sequence[Video]) -> dict[str, Any]:
    return {"videos": [video._asdict() | {"listed": video.listed._asdict()} for video in videos]}
