"""Corpora of pairs without videos: what is sampled is a file of text, in no time."""

import numpy as np

from l3core.avc.commit import commit_run
from l3core.avc.comparing import Rules
from l3core.avc.corpus import load_corpus
from l3core.avc.dividing import alone, split_by_hash
from l3core.avc.errors import VideoError
from l3core.avc.layout import CorpusPaths, CorpusSettings
from l3core.avc.ledger import read_ledger
from l3core.avc.moments import Moment, SampledVideo
from l3core.avc.plan import make_plan, write_plan
from l3core.avc.records import parse, read_records
from l3core.avc.shard import sample_shard
from l3core.avc.video import VideoFacts, VideoLimits
from l3core.errors import AudioError
from l3core.listing import list_inputs, parse_input
from l3core.pinned import open_pinned
from l3core.table.failures import MOST_STORAGE_ERRORS

FACTS = VideoFacts(
    duration_s=2.5,
    width=320,
    height=240,
    frames_per_s=25.0,
    sample_rate=48000,
    channels=2,
    video_codec="h264",
    audio_codec="aac",
    rotation=None,
)
SETTINGS = CorpusSettings(per_video=4)
STARTED = "2026-01-01T00:00:00+00:00"


def sample_text(listed, video_id, settings, limits):
    """Moments of a text file; one that begins with `bad` has the status that follows."""
    try:
        with open_pinned(listed) as file:
            content = file.read()
    except AudioError as error:
        raise VideoError(error.status, str(error)) from None
    if content.startswith(b"bad "):
        raise VideoError(content.split()[1].decode(), "it says so")
    generator = np.random.default_rng([settings.seed, *content])
    moments = tuple(_moment(generator, number) for number in range(settings.per_video))
    return SampledVideo(facts=FACTS, moments=moments, note=None)


def _moment(generator, number):
    image = np.full((224, 224, 3), generator.integers(256, size=3), np.uint8)
    tone = np.full(48000, generator.integers(-9000, 9000), np.int16)
    return Moment(
        image=image,
        audio=tone,
        audio_start_s=0.1 * number,
        image_s=0.1 * number + 0.5,
        gain=1.0,
        box=(number, 0),
        flipped=bool(number % 2),
        saturation=1.5,
        brightness=-0.125,
    )


def write_texts(folder, names, prefix="video"):
    """Files of different contents and sizes."""
    folder.mkdir(exist_ok=True, parents=True)
    for number, name in enumerate(names):
        (folder / name).write_text(f"{prefix} {name} {'x' * number}")
    return folder


def train_only(video_id):
    """All in one split."""
    return "train"


class PlainRun:
    """A run without Beam, step by step."""

    def __init__(
        self,
        folder,
        corpus,
        run_id,
        *,
        rules=None,
        settings=SETTINGS,
        split_of=None,
        group_of=alone,
        inputs=None,
        **wanted,
    ):
        self.paths = CorpusPaths(str(corpus))
        self.run_id = run_id
        inputs = inputs or [parse_input(f"{folder}/*")]

        def named(uri):
            return any(each.names(uri) for each in inputs)

        before = load_corpus(self.paths.root)
        self.planned = make_plan(
            self.paths,
            before,
            read_ledger(before),
            list_inputs(inputs),
            settings=settings,
            root=str(folder),
            split_of=split_of or split_by_hash(settings.seed),
            rules=rules or Rules(named=named, **wanted),
            run_id=run_id,
            started_at=STARTED,
            group_of=group_of,
        )
        self.plan = self.planned.plan

    def sample(self, names=None):
        """Sample shards, all by default."""
        for name in self.plan.todo if names is None else names:
            limits = VideoLimits()
            sample_shard(self.paths, self.plan, name, limits=limits, threads=2, sample=sample_text)

    def commit(self):
        """Commit."""
        return commit_run(self.paths, self.run_id, info={}, most_storage_errors=MOST_STORAGE_ERRORS)

    def all(self):
        """The whole run; its record."""
        write_plan(self.paths, self.planned)
        self.sample()
        return self.commit()


def pairs_in(corpus, split=None):
    """All pairs of a corpus, or of a split."""
    files = corpus.files if split is None else corpus.of_split(split)
    return [parse(record) for file in files for record in read_records(corpus.uri(file))]


def ledger_of(corpus):
    """Id -> (status, split, whether it has pairs)."""
    return {row.video_id: (row.status, row.split, row.pairs > 0) for row in read_ledger(corpus).values()}


def tree(root):
    """Every file of a folder with its content."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def write_videos(folder, count, *, seconds=1.3):
    """Real videos, each with a sound of its own: 00.mp4, 01.mp4, ..."""
    from tests.videos import coded_sound, write_video

    folder.mkdir(exist_ok=True, parents=True)
    for number in range(count):
        sound = coded_sound(seconds, seed=number)
        write_video(folder / f"{number:02}.mp4", seconds=seconds, sound=sound)
    return folder
