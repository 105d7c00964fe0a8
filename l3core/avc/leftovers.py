"""What runs that did not finish have left: their finished shards are taken over, the rest goes."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress

from l3core import storage
from l3core.avc.corpus import SPLITS, Corpus
from l3core.avc.dividing import Video, shard_name
from l3core.avc.layout import TRIED_AGAIN, CorpusPaths, records_folder, records_path
from l3core.errors import TableError
from l3core.table.json_objects import read_json


def finished_shards(
    paths: CorpusPaths, todo: Mapping[str, Video], *, settings: str, number: int
) -> Iterator[tuple[Video, ...]]:
    """The videos of finished shards all of which are wanted as they were; none of them twice.

    Args:
        paths: of the corpus.
        todo: id -> video that is to be sampled.
        settings: of the corpus, as in the names of its shards.
        number: of the run that would commit them.
    """
    taken: set[str] = set()
    for file in storage.names_below(paths.staging("done"), suffix=".json"):
        name = file.removesuffix(".json")
        with suppress(FileNotFoundError, TableError, KeyError, TypeError):  # it was not finished, then
            videos = _videos(paths, name, todo)
            if taken.isdisjoint(each.video_id for each in videos) and _is_usable(
                paths, name, videos, settings=settings, number=number
            ):
                taken.update(each.video_id for each in videos)
                yield videos


def _videos(paths: CorpusPaths, name: str, todo: Mapping[str, Video]) -> tuple[Video, ...]:
    """Those of a shard, as they are now. Raises KeyError if one is not wanted."""
    return tuple(todo[video["video_id"]] for video in read_json(paths.shard(name))["videos"])


def _is_usable(
    paths: CorpusPaths, name: str, videos: Sequence[Video], *, settings: str, number: int
) -> bool:
    if shard_name(videos, settings) != name:
        return False
    manifest = read_json(paths.manifest(name))
    if any(row["status"] in TRIED_AGAIN for row in manifest["videos"]):
        return False
    if manifest["file"] is None:
        return True
    # a run that was ended while it committed has moved some
    moved = paths.at(records_path(videos[0].split, number, name))
    return storage.is_object(paths.staged(name)) or storage.is_object(moved)


def clear_staging(paths: CorpusPaths, keep: Collection[str] = ()) -> None:
    """Remove what unfinished runs have left, but not of the shards `keep`."""
    if not keep:
        storage.remove_folder(paths.staging())
        return
    for folder, suffix in (("shards", ".json"), ("done", ".json"), ("records", ".tfrecord")):
        for name in storage.names_below(paths.staging(folder), suffix=suffix):
            if name.removesuffix(suffix) not in keep:
                storage.remove(paths.staging(folder, name))
    storage.remove_folder(paths.staging("progress"))


def clear_unnamed(paths: CorpusPaths, corpus: Corpus) -> None:
    """Remove pairs and ledgers that neither of the last two runs names: replaced, or never committed."""
    named = {file.path for file in corpus.files} | {corpus.ledger} | corpus.before
    folders = [(records_folder(split), ".tfrecord") for split in SPLITS] + [("videos", ".parquet")]
    for folder, suffix in folders:
        for name in storage.names_below(paths.at(folder), suffix=suffix):
            if f"{folder}/{name}" not in named:
                storage.remove(paths.at(f"{folder}/{name}"))
