"""What `l3flow bench` can measure: a function for each part, whose first line says what it is.

They load what they measure when they are called, so that asking what there is loads nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from l3core.spec import EmbeddingSpec
from launch.benchmarks.figures import Figure

if TYPE_CHECKING:
    from launch.benchmarks.costs import Costs

# The whole command is measured at this hop, too, over more audio: it has fewer windows, and loading
# takes as long as ever.
SECOND_HOP_S = 1.0
MORE_AUDIO = 3


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all parts are measured with.

    Attributes:
        spec: of the model.
        folder: an empty one, for corpora and tables.
        minutes: of generated audio.
        seconds: to time the bare model, each time.
        scale: of the lengths and numbers that parts choose themselves, to try them out.
        profile: tell which functions cost most.
        bucket: URI of a folder in a store.
        against: whom the whole command is compared with.
        say: what a part is doing, for who waits.
        patterns: of real audio, as `l3flow embed --input` takes them.
    """

    spec: EmbeddingSpec
    folder: Path
    minutes: float
    seconds: float
    scale: float = 1.0
    profile: bool = False
    bucket: str | None = None
    against: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    say: Callable[[str], None] = lambda doing: None

    @cached_property
    def corpora(self) -> tuple[Path, Path]:
        """A recording, and clips; see `corpora.make_corpora`."""
        from launch.benchmarks.corpora import make_corpora

        return make_corpora(self.folder, self.minutes)

    @cached_property
    def costs(self) -> "Costs":
        """What is done once for all workers; see `costs.measure_costs`."""
        from launch.benchmarks.costs import measure_costs

        return measure_costs(self.folder, scale=self.scale)


def model(setting: Setting) -> Iterator[Figure]:
    """The bare compiled model, and for l3 its share of a matrix product's GFLOP/s"""
    from launch.benchmarks.model import bare_model

    return bare_model(setting.spec, setting.seconds)


def engines(setting: Setting) -> Iterator[Figure]:
    """Every engine and precision that is installed, by turns, beside the default"""
    from launch.benchmarks.engines import engines

    return engines(setting.spec, setting.seconds)


def stages(setting: Setting) -> Iterator[Figure]:
    """decoding, resampling and writing, each alone"""
    from launch.benchmarks.model import stages

    return stages(setting.spec, setting.corpora[0] / "recording.wav", setting.folder)


def plumbing(setting: Setting) -> Iterator[Figure]:
    """The whole run with a model that costs nothing"""
    from launch.benchmarks import plumbing

    yield from plumbing.plumbing(*setting.corpora, setting.folder)
    if setting.profile:
        yield from plumbing.profile(*setting.corpora, setting.folder)


def whole(setting: Setting) -> Iterator[Figure]:
    """The whole command on a generated corpus, at the given hop, and at 1 s over 3 x the audio"""
    from launch.benchmarks.corpora import make_corpora
    from launch.benchmarks.whole import whole_runs

    spec, folder, seconds = setting.spec, setting.folder, setting.seconds
    yield from whole_runs(spec, setting.corpora, folder, seconds=seconds)
    if spec.hop_s != SECOND_HOP_S:
        more = make_corpora(folder / "more", MORE_AUDIO * setting.minutes)
        yield from whole_runs(replace(spec, hop_s=SECOND_HOP_S), more, folder, seconds=seconds)


def memory(setting: Setting) -> Iterator[Figure]:
    """Peak memory over 10 min and 10 h, over 1,000 and 10,000 files (takes minutes, and 1.2 GB)"""
    from launch.benchmarks.whole import memory

    return memory(setting.folder, scale=setting.scale)


def planning(setting: Setting) -> Iterator[Figure]:
    """Planning 1,000,000 names, listing 100,000 files"""
    from launch.benchmarks.planning import planning

    return planning(setting.folder, scale=setting.scale)


def delta(setting: Setting) -> Iterator[Figure]:
    """A second run: planning and updating ledgers of 1,000,000 files, embedding nothing or 1
    in 1,000 of 10,000, thirty nights of a few (minutes)
    """
    from launch.benchmarks.delta import delta

    return delta(setting.folder, scale=setting.scale)


def store(setting: Setting) -> Iterator[Figure]:
    """The whole command from --bucket to --bucket, beside the same on the disk"""
    from launch.benchmarks.store import store_runs

    assert setting.bucket is not None
    return store_runs(setting.spec, setting.corpora, setting.folder, setting.bucket)


def decoding(setting: Setting) -> Iterator[Figure]:
    """What it costs that other processes decode, against soundfile in this one"""
    from launch.benchmarks.decoding import decoding

    return decoding(setting.folder, scale=setting.scale)


def similar(setting: Setting) -> Iterator[Figure]:
    """Nearest neighbours: going through a gigabyte of vectors beside pyarrow's reading, memory,
    and the recall of an index (minutes, and 3 GB)
    """
    from launch.benchmarks.similar import similar

    return similar(setting.folder, scale=setting.scale)


def crossval(setting: Setting) -> Iterator[Figure]:
    """Training all combinations at once, against Keras, and a run of ESC-50's size (minutes)"""
    from launch.benchmarks import crossval

    yield from crossval.grid_against_keras(scale=setting.scale)
    yield from crossval.whole_run(scale=setting.scale)


def dense(setting: Setting) -> Iterator[Figure]:
    """Dense windows: audio an hour beside exact ones, and with --input how near they are"""
    from launch.benchmarks.dense import dense

    yield from dense(setting.spec, setting.patterns, setting.folder, minutes=setting.minutes)


def query(setting: Setting) -> Iterator[Figure]:
    """SQL over a table: start-up, and the speed of reading vectors, against pyarrow; recall of an
    index
    """
    from launch.benchmarks.query import query

    return query(setting.folder, scale=setting.scale)


def trunk(setting: Setting) -> Iterator[Figure]:
    """The network alone, under each Keras backend that is installed (or KERAS_BACKEND), by turns"""
    from launch.benchmarks.trunk import trunk

    return trunk(setting.spec, setting.seconds, setting.folder)


def gpu(setting: Setting) -> Iterator[Figure]:
    """The model on a GPU in each precision: windows/s, share of its peak, utilisation"""
    from launch.benchmarks.gpu import gpu_model

    return gpu_model(setting.spec, setting.seconds)


def costs(setting: Setting) -> Iterator[Figure]:
    """What is done once for all workers: listing, planning, commit, by object and by shard"""
    from launch.benchmarks.costs import cost_figures

    return cost_figures(setting.costs)


def scale(setting: Setting) -> Iterator[Figure]:
    """Planning and commit of 10,000,000 generated names for 1,000 workers (a quarter of an hour, and
    10 GB)
    """
    from launch.benchmarks.scale import scale

    return scale(setting.folder, setting.costs, factor=setting.scale, say=setting.say)


def avc(setting: Setting) -> Iterator[Figure]:
    """Training L3 itself: pairs a second and memory of a step, days of the paper's, what feeds it"""
    from launch.benchmarks.avc import avc

    return avc(setting.folder, seconds=setting.seconds, scale=setting.scale)


def against(setting: Setting) -> Iterator[Figure]:
    """With --against: openl3, Ray Data or a plain loop over the same files, by turns with
    the whole command; each is installed once, into an environment of its own
    """
    from launch.benchmarks.against import against

    return against(
        setting.spec,
        setting.against,
        setting.folder / "against",
        minutes=setting.minutes,
        say=setting.say,
    )


PARTS: dict[str, Callable[[Setting], Iterator[Figure]]] = {
    part.__name__: part
    for part in (
        model,
        stages,
        plumbing,
        whole,
        memory,
        planning,
        delta,
        store,
        decoding,
        similar,
        crossval,
        query,
        trunk,
        gpu,
        costs,
        scale,
        against,
        dense,
        engines,
        avc,
    )
}
DEFAULT_PARTS = ("model", "stages", "plumbing", "whole")
NOT_IN_ALL = ("store", "gpu", "against", "avc")  # need a place, a GPU, peers or an extra


def described() -> str:
    """A line or more for each part."""
    width = max(map(len, PARTS))
    lines = []
    for name, part in PARTS.items():
        first, *rest = [line.strip() for line in (part.__doc__ or "").strip().splitlines()]
        lines += [f"  {name:{width}}  {first}", *(f"  {'':{width}}  {line}" for line in rest)]
    return "\n".join(lines)
