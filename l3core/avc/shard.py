"""Sampling a shard: its videos are cut into moments, these are paired, and the pairs are one file."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from l3core import storage
from l3core.ahead import map_ahead
from l3core.avc.codecs import encode_audio, encode_image
from l3core.avc.dividing import Video
from l3core.avc.errors import VideoError
from l3core.avc.layout import OK, UNPAIRED, CorpusPaths, VideoRow
from l3core.avc.moments import Moment, MomentSettings, SampledVideo, sample_video
from l3core.avc.pairs import Encoded, pairs_of
from l3core.avc.plan import Plan, read_shard
from l3core.avc.records import write_records
from l3core.avc.video import VideoLimits
from l3core.storage import StoredObject, as_text
from l3core.table.json_objects import read_json, write_json

Sample = Callable[[StoredObject, str, MomentSettings, VideoLimits], SampledVideo]
NOTE_EVERY_S = 2.0


class _Cut(NamedTuple):
    """A video's row and its moments, as they will lie in records."""

    row: VideoRow
    moments: tuple[Encoded, ...]


def sample_shard(
    paths: CorpusPaths,
    plan: Plan,
    name: str,
    *,
    limits: VideoLimits,
    threads: int,
    noted: Callable[[], object] = lambda: None,
    sample: Sample = sample_video,
) -> dict[str, Any]:
    """Sample the videos of a shard, and write its pairs; done already is fine.

    In memory are the encoded moments of all of its videos (about 90 kB each), and the moments as they
    come from the videos that are at work.

    Args:
        paths: of the corpus.
        plan: of the run.
        name: of the shard.
        limits: of each video.
        threads: videos that are decoded at the same time.
        noted: called whenever a note was left of how far the shard is.
        sample: cuts a video into moments.

    Returns:
        The shard's manifest: its file, and the rows of its videos.
    """
    with suppress(FileNotFoundError):  # a runner may try again
        return read_json(paths.manifest(name))
    start = time.monotonic()
    per_video, seed = plan.settings["per_video"], plan.settings["seed"]
    settings = MomentSettings(per_video=per_video, seed=seed, augmented=plan.settings["augmented"])
    videos = read_shard(paths, name)
    work = partial(_cut, plan.run_id, settings=settings, limits=limits, sample=sample)
    notes = _Notes(paths, name, noted)
    found = [notes.counted(each) for each in map_ahead(work, videos, threads=threads)]
    usable = {each.row.video_id: each.moments for each in found if each.moments}
    groups = {video.video_id: video.group for video in videos}
    pairs = pairs_of(usable, per_video=per_video, seed=seed, groups=groups)
    counts = Counter(pair.image_video for pair in pairs)
    file = None
    if pairs:
        written = write_records(paths.staged(name), pairs)
        file = {"size_bytes": written.size, "sha256": written.sha256}
        file |= {"pairs": written.pairs, "positives": sum(pair.label for pair in pairs)}
    rows = [_settled(each, counts[each.row.video_id]) for each in found]
    manifest: dict[str, Any] = {"name": name, "split": videos[0].split, "file": file, "videos": rows}
    manifest["seconds"] = time.monotonic() - start
    write_json(paths.manifest(name), manifest)
    return manifest


def counted(manifest: Mapping[str, Any]) -> dict[str, int]:
    """What the manifest of a shard adds to each counter of a runner."""
    videos = Counter(f"videos_{row['status']}" for row in manifest["videos"])
    return {"shards": 1, "pairs": manifest["file"]["pairs"] if manifest["file"] else 0, **videos}


def _settled(cut: _Cut, pairs: int) -> dict[str, Any]:
    """A video's row, now that it is known whether there were others."""
    row = cut.row
    if row.status == OK:
        row = row._replace(pairs=pairs) if pairs else row._replace(status=UNPAIRED)
    return row._asdict()


def _cut(
    run_id: str, video: Video, *, settings: MomentSettings, limits: VideoLimits, sample: Sample
) -> _Cut:
    listed = video.listed
    row = VideoRow(
        video.video_id,
        as_text(listed.uri),
        listed.size_bytes,
        listed.version,
        video.checksum or listed.checksum,
        split=video.split,
        run_id=run_id,
    )
    try:
        found = sample(listed, video.video_id, settings, limits)
    except VideoError as error:
        return _Cut(row._replace(status=error.status, error=str(error)), ())
    moments = tuple(map(_encoded, found.moments))
    facts = found.facts
    row = row._replace(
        error=found.note,
        duration_s=facts.duration_s,
        width=facts.width,
        height=facts.height,
        fps=facts.frames_per_s,
        sample_rate=facts.sample_rate,
        channels=facts.channels,
        video_codec=facts.video_codec,
        audio_codec=facts.audio_codec,
        rotation=facts.rotation,
        moments=len(moments),
    )
    return _Cut(row, moments)


def _encoded(moment: Moment) -> Encoded:
    return Encoded(
        audio=encode_audio(moment.audio),
        image=encode_image(moment.image),
        audio_start_us=round(1e6 * moment.audio_start_s),
        image_us=round(1e6 * moment.image_s),
        gain=moment.gain,
        saturation=moment.saturation,
        brightness=moment.brightness,
        box=moment.box,
        flipped=int(moment.flipped),
    )


class _Notes:
    """Leaves a note of how many videos of a shard are done, every few seconds."""

    def __init__(self, paths: CorpusPaths, name: str, noted: Callable[[], object]) -> None:
        self._uri = paths.staging("progress", f"{name}.json")
        self._noted = noted
        self._count = 0
        self._next = time.monotonic() + NOTE_EVERY_S

    def counted(self, cut: _Cut) -> _Cut:
        """Count a video that is done; returns it."""
        self._count += 1
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + NOTE_EVERY_S
            write_json(self._uri, {"videos": self._count})
            self._noted()
        return cut


def finished_names(paths: CorpusPaths) -> set[str]:
    """Names of the shards whose manifests are in place."""
    names = storage.names_below(paths.staging("done"), suffix=".json")
    return {name.removesuffix(".json") for name in names}
