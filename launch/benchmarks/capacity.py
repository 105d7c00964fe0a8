"""How long a corpus takes on this machine and on many like it, by what was measured of one.

Workers embed and merge side by side; listing, planning and the commit are one process's, whatever the
number of workers, and so much an object and a shard (`launch.benchmarks.costs`). Shards are cut as the
planner cuts them, so a corpus of few recordings keeps few workers busy.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from l3core.spec import EmbeddingSpec
from l3core.table.pieces import SHARD_BYTES, shard_windows
from l3core.table.plan import SHARD_CLIPS, SHARDS_WANTED
from l3core.table.rewrite import MOST_MERGED, MOST_SMALL, SMALL_BYTES
from launch.benchmarks.costs import Costs
from launch.benchmarks.figures import Figure

LEAST_SAVED = 0.1  # of the time, by twice as many workers, or they do not scale any more
MOST_WORKERS = 2**20  # that anybody asks for


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What one machine manages.

    Attributes:
        windows_per_s: once it has begun.
        start_s: until it has: start-up, and loading the model. None: not measured, nor is the whole
            command, but only the bare model.
    """

    windows_per_s: float
    start_s: float | None

    @property
    def source(self) -> str:
        """What was measured, in words."""
        if self.start_s is None:
            return "the bare model, since whole was not measured"
        return f"the whole command after a start-up of {self.start_s:.1f} s"


def speed_of(figures: Sequence[Figure], spec: EmbeddingSpec) -> Speed | None:
    """The speed at the spec's hop among measured figures, the slower of recording and clips."""
    hop = f", hop {spec.hop_s} s"
    speeds, starts = (
        [figure.value for figure in figures if figure.name == name and hop in figure.note]
        for name in ("whole command, start-up apart", "start-up")
    )
    if speeds and starts:
        return Speed(windows_per_s=min(speeds), start_s=max(starts))
    bare = [f.value for f in figures if (f.name, f.unit) == ("bare model", "windows/s")]
    return Speed(windows_per_s=bare[0], start_s=None) if bare else None


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Recordings of one length.

    Attributes:
        spec: what is embedded.
        hours: of audio, all together.
        clip_s: seconds of a recording.
    """

    spec: EmbeddingSpec
    hours: float
    clip_s: float

    @property
    def objects(self) -> int:
        """How many recordings."""
        return max(1, round(3600 * self.hours / self.clip_s))

    @property
    def clip_windows(self) -> int:
        """Windows of a recording."""
        samples = round(self.clip_s * self.spec.sample_rate_hz)
        return self.spec.window_grid.count(max(1, samples))

    @property
    def windows(self) -> int:
        """Of all recordings."""
        return self.objects * self.clip_windows


class Shards(NamedTuple):
    """How many shards a corpus is cut into, and the windows of a full one."""

    number: int
    windows: int


def cut_shards(corpus: Corpus, workers: int) -> Shards:
    """Shards as `l3core.table.plan` cuts them, with the estimate of each recording being right."""
    most = shard_windows(corpus.spec)
    target = min(most, ceil(corpus.windows / (SHARDS_WANTED * workers)))
    piece = min(most, corpus.clip_windows)
    pieces = max(1, min(SHARD_CLIPS, target // piece))
    number = ceil(corpus.objects * ceil(corpus.clip_windows / most) / pieces)
    return Shards(number, min(corpus.windows, pieces * piece))


class Planned(NamedTuple):
    """Seconds of a run by what happens one after the other, and its workers."""

    workers: int
    listing: float
    planning: float
    start: float
    embedding: float
    merging: float
    commit: float

    @property
    def time(self) -> float:
        """All of it."""
        return sum(self[1:])

    @property
    def alone(self) -> float:
        """What one process does while workers wait."""
        return self.listing + self.planning + self.commit


def plan_run(corpus: Corpus, speed: Speed, costs: Costs, workers: int) -> Planned:
    """How long a run takes with so many workers, each a machine like this one."""
    shards = cut_shards(corpus, workers)
    files = _merged_together(corpus, shards)
    merging = 0.0
    if files:
        megabytes = files * _bytes(corpus, shards) / 1e6
        merges = shards.number // files + (shards.number % files > 1)  # one alone stays
        merging = ceil(merges / workers) * costs.merge(files=files, megabytes=megabytes)
    work = {"objects": corpus.objects, "shards": shards.number}
    rounds = ceil(shards.number / workers)
    return Planned(
        workers=workers,
        listing=costs.list(objects=corpus.objects),
        planning=costs.plan(**work),
        start=speed.start_s or 0.0,
        embedding=rounds * shards.windows / speed.windows_per_s,
        merging=merging,
        commit=costs.plan_merges(**work) + costs.commit(**work),
    )


def _bytes(corpus: Corpus, shards: Shards) -> int:
    return 4 * corpus.spec.size * shards.windows


def _merged_together(corpus: Corpus, shards: Shards) -> int:
    """How many shards' files become one; 0 if they stay (`l3core.table.rewrite.choose_groups`)."""
    if shards.number <= MOST_SMALL or _bytes(corpus, shards) >= SMALL_BYTES:
        return 0
    files = min(MOST_MERGED, SHARD_BYTES // _bytes(corpus, shards))
    return files if files > 1 else 0


def scaling_ends(corpus: Corpus, speed: Speed, costs: Costs) -> int:
    """The first power of two of workers of which twice as many save less than `LEAST_SAVED`."""
    workers, now = 1, plan_run(corpus, speed, costs, 1).time
    while workers < MOST_WORKERS:
        twice = plan_run(corpus, speed, costs, 2 * workers).time
        if twice > (1 - LEAST_SAVED) * now:
            break
        workers, now = 2 * workers, twice
    return workers


def audio_rate(corpus: Corpus, speed: Speed) -> float:
    """Hours of audio in an hour on this machine, once it has begun."""
    return speed.windows_per_s * corpus.clip_s / corpus.clip_windows


def rate_figure(corpus: Corpus, speed: Speed) -> Figure:
    """The same as a figure."""
    note = f"{speed.source}, {_recordings(corpus)}"
    return Figure("audio hours an hour", audio_rate(corpus, speed), "hours/hour", note)


def time_figures(corpus: Corpus, speed: Speed, price: float | None) -> Iterator[Figure]:
    """Hours, and money if a machine's hour has a price, on this machine."""
    hours = corpus.hours / audio_rate(corpus, speed) + (speed.start_s or 0.0) / 3600
    note = f"{corpus.hours:,.10g} hours of audio, {_recordings(corpus)}, this machine"
    yield Figure("time", hours, "hours", note)
    if price is not None:
        yield Figure("money", hours * price, "", f"{note}, {price:.10g} an hour")


def plan_figures(
    corpus: Corpus, speed: Speed, costs: Costs, workers: int, price: float | None
) -> Iterator[Figure]:
    """The same on many machines, and where more of them do not help any more."""
    planned = plan_run(corpus, speed, costs, workers)
    note = f"{corpus.hours:,.10g} hours of audio, {_recordings(corpus)}, {workers:,} workers"
    yield Figure("planned objects", corpus.objects, "", note)
    yield Figure("planned shards", cut_shards(corpus, workers).number, "", note)
    for name in ("listing", "planning", "start", "embedding", "merging", "commit"):
        yield Figure(f"planned {name}", getattr(planned, name), "s", f"{workers:,} workers")
    hours = planned.time / 3600
    yield Figure("planned time", hours, "hours", note)
    paid = f"{workers:,} workers, all the time"
    yield Figure("planned machine hours", workers * hours, "hours", paid)
    if price is not None:
        yield Figure("planned money", workers * hours * price, "", f"{paid}, {price:.10g} an hour")
    alone = plan_run(corpus, speed, costs, 1).time
    yield Figure("planned speed-up", alone / planned.time, "x", f"{workers:,} workers against one")
    ends = scaling_ends(corpus, speed, costs)
    end = f"twice as many save less than {100 * LEAST_SAVED:g} % of the time"
    found = end if ends < MOST_WORKERS else "or later: more were not looked at"
    yield Figure("scaling ends at", ends, "workers", found)


def _recordings(corpus: Corpus) -> str:
    return f"{corpus.spec.model}, recordings of {corpus.clip_s:.10g} s, hop {corpus.spec.hop_s:g} s"
