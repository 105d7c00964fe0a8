"""What a corpus of pairs looks like on a store: its places, its settings and the words of its ledger."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from l3core.avc.codecs import AUDIO_CODEC, IMAGE_CODEC
from l3core.avc.corpus import run_name
from l3core.errors import UsageError
from l3core.storage import StoredObject, join
from l3core.table.layout import TRANSIENT, TablePaths, place_below

# Raised whenever the same videos and settings give other pairs.
ALGORITHM_VERSION = 1
MOST_PER_VIDEO = 1024  # moments of which are in memory at the same time, 90 kB each
LOCK = "avc"  # one run at a time: what a table's locks call a spec

OK = "ok"
# Good, but alone: there was no other video of its split to take a wrong sound from.
UNPAIRED = "unpaired"
DUPLICATE = "duplicate"
# None of the subset that the corpus is made of.
UNLISTED = "unlisted"
# Nothing is wrong with the video.
FINE = frozenset({OK, UNPAIRED, DUPLICATE, UNLISTED})
# Tried again by the next run; what is forbidden today may be allowed tomorrow.
TRIED_AGAIN = TRANSIENT | {"forbidden"}


class VideoRow(NamedTuple):
    """What became of one video.

    Attributes:
        video_id: path below the root.
        uri: where it was read.
        size_bytes, version: as listed.
        checksum: of its content, where it is known.
        status: `ok`, `unpaired`, `duplicate`, `unlisted`, or that of a `VideoError`.
        error: for people: why it is not `ok`, or what is remarkable.
        split: that its pairs are in, or would be; None: of none.
        duration_s, width, height, fps, sample_rate, channels, video_codec, audio_codec, rotation: as
            the file says; None where it says nothing.
        moments: that were cut.
        pairs: whose picture is of this video; as many have its sound.
        file: of the pairs, path below the corpus.
        run_id: the run that sampled it.
    """

    video_id: str
    uri: str
    size_bytes: int
    version: str
    checksum: str | None = None
    status: str = OK
    error: str | None = None
    split: str | None = None
    duration_s: float | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    sample_rate: int | None = None
    channels: int | None = None
    video_codec: str | None = None
    audio_codec: str | None = None
    rotation: int | None = None
    moments: int = 0
    pairs: int = 0
    file: str | None = None
    run_id: str = ""

    @property
    def stored(self) -> StoredObject:
        """The object that it is about."""
        return StoredObject(self.uri, self.size_bytes, self.version)


LEDGER_SCHEMA = pa.schema(
    [
        pa.field("video_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("size_bytes", pa.int64(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
        pa.field("checksum", pa.string()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("error", pa.string()),
        pa.field("split", pa.string()),
        pa.field("duration_s", pa.float64()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("fps", pa.float64()),
        pa.field("sample_rate", pa.int32()),
        pa.field("channels", pa.int32()),
        pa.field("video_codec", pa.string()),
        pa.field("audio_codec", pa.string()),
        pa.field("rotation", pa.int32()),
        pa.field("moments", pa.int32(), nullable=False),
        pa.field("pairs", pa.int32(), nullable=False),
        pa.field("file", pa.string()),
        pa.field("run_id", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True, kw_only=True)
class CorpusSettings:
    """How the pairs of a corpus are made; a corpus has one of it.

    Attributes:
        per_video: pairs that each video gives its picture to, half of them right; even.
        seed: of all that is drawn.
        augmented: whether pictures and sounds are varied.
        splits: `hash`: 80/10/10 by seed and id, or `subset`: as a file says.
    """

    per_video: int = 16
    seed: int = 0
    augmented: bool = True
    splits: str = "hash"

    def __post_init__(self) -> None:
        """Raises UsageError."""
        if not 2 <= self.per_video <= MOST_PER_VIDEO or self.per_video % 2:
            raise UsageError(
                f"--per-video needs an even number up to {MOST_PER_VIDEO}, half are right pairs: "
                f"got {self.per_video}"
            )
        if self.seed < 0:
            raise UsageError(f"--seed needs a number of at least 0, got {self.seed}")

    def to_json(self) -> dict[str, Any]:
        """All that decides what the pairs are."""
        codecs = {"audio_codec": AUDIO_CODEC, "image_codec": IMAGE_CODEC}
        return vars(self) | codecs | {"algorithm_version": ALGORITHM_VERSION}


@dataclass(frozen=True)
class CorpusPaths:
    """Where everything of a corpus lies; `root` is its own URI."""

    root: str

    def at(self, relative: str) -> str:
        """URI of a path below the corpus.

        Raises:
            TableError: it is not below it.
        """
        return place_below(self.root, relative, "the corpus")

    @property
    def settings(self) -> str:
        """avc.json."""
        return self.at("avc.json")

    def record(self, number: int) -> str:
        """The record of the n-th run."""
        return self.at(f"runs/{run_name(number)}")

    def staging(self, *parts: str) -> str:
        """Folder of what no run has committed yet, or what is at a path in it."""
        return self.at(join("_l3flow/staging", *parts))

    @property
    def plan(self) -> str:
        """What the run at work has planned."""
        return self.staging("plan.json")

    def settled(self, run_id: str) -> str:
        """Rows of the videos that a run does not sample."""
        return self.staging(f"settled-{run_id}.parquet")

    def dropped(self, run_id: str) -> str:
        """Ids of the rows that a run drops."""
        return self.staging(f"dropped-{run_id}.json")

    def shard(self, name: str) -> str:
        """The videos of a shard."""
        return self.staging("shards", f"{name}.json")

    def manifest(self, name: str) -> str:
        """What a finished shard has come to."""
        return self.staging("done", f"{name}.json")

    def staged(self, name: str) -> str:
        """The pairs of a finished shard."""
        return self.staging("records", f"{name}.tfrecord")

    @property
    def locks(self) -> TablePaths:
        """What the locks of tables (`l3core.table.lock`) take."""
        return TablePaths(self.root)


def records_folder(split: str) -> str:
    """A split's pairs, path below the corpus."""
    return f"records/split={split}"


def records_path(split: str, number: int, shard: str) -> str:
    """Path below the corpus of a shard's pairs, committed by the n-th run."""
    return f"{records_folder(split)}/{number:08d}-{shard}.tfrecord"
